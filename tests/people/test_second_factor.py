"""A second factor, over HTTP as people use it."""

from __future__ import annotations

import html
import re
import sqlite3
from base64 import b32decode

import pytest
from django_otp.oath import totp

from tests.live_server import LiveServer
from tests.people.browsing import Visitor, is_inside
from tests.people.operating import make_operator, manage

PASSWORD = "a-right-password-1"
PAGE = "/admin/second-factor/"
CHECK = "/admin/second-factor/check/"


class App:
    """An authenticator app with one account in it."""

    def __init__(self, secret: str) -> None:
        self.secret = b32decode(secret.replace(" ", ""))
        self._steps = 0

    def code(self) -> str:
        """The current code, then the next one: each is taken once, and one step ahead is let pass."""
        ahead, self._steps = self._steps, self._steps + 1
        return f"{totp(self.secret, t0=-30 * ahead):06d}"


def enrol(visitor: Visitor) -> tuple[App, list[str]]:
    page = visitor.open(PAGE)
    assert "<svg" in page.text
    found = re.search(r'id="manual-key"[^>]*>([^<]+)<', page.text)
    assert found
    app = App(found[1])
    done = visitor.post(PAGE, {"action": "confirm", "code": app.code()})
    shown = re.search(r'id="backup-codes">([^<]+)<', done.text)
    assert shown, done.text
    return app, shown[1].split()


@pytest.fixture
def name(request: pytest.FixtureRequest, admin_server: LiveServer) -> str:
    """Somebody of this test's own."""
    name = re.sub(r"\W", "-", request.node.name)[:80]
    make_operator(admin_server, name, PASSWORD)
    return name


def test_whoever_has_one_is_asked_for_it_before_any_page(admin_server: LiveServer, name: str) -> None:
    with Visitor(admin_server.url) as visitor:
        assert is_inside(visitor.log_in(name, PASSWORD))
        app, _ = enrol(visitor)
        assert is_inside(visitor.open("/admin/"))
    with Visitor(admin_server.url) as visitor:
        asked = visitor.log_in(name, PASSWORD)
        assert asked.url.path == CHECK
        for path in (
            "/admin/",
            PAGE,
            "/admin/auth/user/",
            "/admin/password_change/",
            "/admin/search/",
            "/admin/nothing/",
        ):
            assert visitor.open(path).url.path == CHECK, path
        refused = visitor.post(PAGE, {"action": "remove"})
        assert refused.url.path == CHECK
        assert is_inside(visitor.post(CHECK, {"code": app.code()}))


def test_after_the_code_one_is_where_one_wanted_to_be(admin_server: LiveServer, name: str) -> None:
    with Visitor(admin_server.url) as visitor:
        visitor.log_in(name, PASSWORD)
        app, _ = enrol(visitor)
    with Visitor(admin_server.url) as visitor:
        visitor.log_in(name, PASSWORD)
        asked = visitor.open("/admin/auth/user/?q=x")
        arrived = visitor.post(
            str(asked.url.raw_path, "ascii"), {"code": app.code(), "next": "/admin/auth/user/?q=x"}
        )
        assert arrived.url.path == "/admin/auth/user/"
        assert arrived.url.query == b"q=x"


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/", "javascript:alert(1)"])
def test_the_way_on_never_leads_elsewhere(admin_server: LiveServer, name: str, target: str) -> None:
    with Visitor(admin_server.url) as visitor:
        visitor.log_in(name, PASSWORD)
        app, _ = enrol(visitor)
    with Visitor(admin_server.url) as visitor:
        visitor.log_in(name, PASSWORD)
        arrived = visitor.post(CHECK, {"code": app.code(), "next": target})
        assert str(arrived.url) == f"{admin_server.url}/admin/"


def test_a_wrong_code_does_not_let_in_and_slows_down(admin_server: LiveServer, name: str) -> None:
    with Visitor(admin_server.url) as visitor:
        visitor.log_in(name, PASSWORD)
        app, codes = enrol(visitor)
    with Visitor(admin_server.url) as visitor:
        visitor.log_in(name, PASSWORD)
        wrong = visitor.post(CHECK, {"code": "000000"})
        assert "This code is not right." in wrong.text
        visitor.post(CHECK, {"code": "000001"})
        # For a second even the right one is refused, so that nobody can try a thousand.
        slowed = visitor.post(CHECK, {"code": app.code()})
        assert "Wait a few seconds" in slowed.text
        assert not is_inside(visitor.open("/admin/"))
        # Slips with the app say nothing about backup codes.
        assert is_inside(visitor.post(CHECK, {"code": codes[0]}))


def test_a_code_is_taken_once(admin_server: LiveServer, name: str) -> None:
    with Visitor(admin_server.url) as visitor:
        visitor.log_in(name, PASSWORD)
        app, codes = enrol(visitor)
    code = app.code()
    for attempt, expected in ((code, True), (code, False), (codes[3].upper(), True), (codes[3], False)):
        with Visitor(admin_server.url) as visitor:
            visitor.log_in(name, PASSWORD)
            assert is_inside(visitor.post(CHECK, {"code": attempt})) is expected, attempt


def test_backup_codes_are_renewed_and_the_old_ones_are_void(admin_server: LiveServer, name: str) -> None:
    with Visitor(admin_server.url) as visitor:
        visitor.log_in(name, PASSWORD)
        _, old = enrol(visitor)
        renewed = visitor.post(PAGE, {"action": "renew"})
        shown = re.search(r'id="backup-codes">([^<]+)<', renewed.text)
        assert shown
        new = shown[1].split()
        assert len(new) == len(set(new)) == 10
        assert not set(new) & set(old)
        assert is_inside(visitor.open("/admin/"))
        # Shown once.
        assert new[0] not in visitor.open(PAGE).text
    for code, expected in ((new[0], True), (old[0], False)):
        with Visitor(admin_server.url) as visitor:
            visitor.log_in(name, PASSWORD)
            assert is_inside(visitor.post(CHECK, {"code": code})) is expected


def test_it_is_switched_off_again(admin_server: LiveServer, name: str) -> None:
    with Visitor(admin_server.url) as visitor:
        visitor.log_in(name, PASSWORD)
        enrol(visitor)
        assert "The second factor is off." in html.unescape(visitor.post(PAGE, {"action": "remove"}).text)
    with Visitor(admin_server.url) as visitor:
        assert is_inside(visitor.log_in(name, PASSWORD))


def test_a_person_without_phone_and_codes_is_helped_by_the_operator(
    admin_server: LiveServer, name: str
) -> None:
    with Visitor(admin_server.url) as visitor:
        visitor.log_in(name, PASSWORD)
        enrol(visitor)
    assert "with the password alone" in manage(admin_server, "reset_second_factor", name)
    with Visitor(admin_server.url) as visitor:
        assert is_inside(visitor.log_in(name, PASSWORD))
    assert "has no second factor" in manage(admin_server, "reset_second_factor", name, fails=True)
    assert "There is no user" in manage(admin_server, "reset_second_factor", "nobody-here", fails=True)


def test_the_database_alone_is_no_second_factor(admin_server: LiveServer, name: str) -> None:
    with Visitor(admin_server.url) as visitor:
        visitor.log_in(name, PASSWORD)
        app, codes = enrol(visitor)
    with sqlite3.connect(admin_server.data_dir / "patchbay.sqlite3") as database:
        dump = "\n".join(database.iterdump())
    database.close()
    assert app.secret.hex() not in dump
    for code in codes:
        assert code not in dump
        assert code.replace("-", "") not in dump


def test_nobody_sees_devices_in_the_admin(admin_server: LiveServer) -> None:
    with Visitor(admin_server.url) as visitor:
        visitor.log_in()
        for path in ("otp_totp/totpdevice/", "otp_static/staticdevice/", "axes/accessattempt/"):
            assert visitor.open(f"/admin/{path}").status_code == 404


def test_where_everybody_must_have_one_nothing_else_opens_before_it_is_set_up() -> None:
    with LiveServer({"REQUIRE_SECOND_FACTOR": "on"}) as server:
        with Visitor(server.url) as visitor:
            assert visitor.log_in().url.path == PAGE
            assert visitor.open("/admin/auth/user/").url.path == PAGE
            enrol(visitor)
            assert is_inside(visitor.open("/admin/"))
            visitor.post(PAGE, {"action": "remove"})
        with Visitor(server.url) as visitor:
            assert visitor.log_in().url.path == CHECK


def test_a_stranger_is_sent_to_the_login(admin_server: LiveServer) -> None:
    with Visitor(admin_server.url) as visitor:
        for path in (PAGE, CHECK):
            assert visitor.open(path).url.path == "/admin/login/"
