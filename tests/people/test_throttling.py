"""Guessing passwords at the admin's login."""

from __future__ import annotations

import pytest

from tests.live_server import LiveServer
from tests.people.browsing import Visitor, is_inside
from tests.people.operating import make_operator, manage

RIGHT = "a-right-password-1"


def fail_logins(visitor: Visitor, username: str, times: int) -> list[int]:
    return [visitor.log_in(username, f"wrong-{n}").status_code for n in range(times)]


def test_after_five_failures_even_the_right_password_is_refused(admin_server: LiveServer) -> None:
    make_operator(admin_server, "anna", RIGHT)
    with Visitor(admin_server.url) as visitor:
        assert fail_logins(visitor, "anna", 6) == [200, 200, 200, 200, 429, 429]
        refused = visitor.log_in("anna", RIGHT)
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "900"
        assert "There were too many failed logins with this user name from your address." in refused.text
        assert "Logging in is possible again in 15 minutes." in refused.text
        assert not is_inside(visitor.open("/admin/"))


def test_somebody_else_at_the_same_address_is_not_locked_out(admin_server: LiveServer) -> None:
    with Visitor(admin_server.url) as visitor:
        assert fail_logins(visitor, "nobody-by-that-name", 5)[-1] == 429
        assert is_inside(visitor.log_in())


def test_a_success_forgets_the_failures_before_it(admin_server: LiveServer) -> None:
    make_operator(admin_server, "berta", RIGHT)
    with Visitor(admin_server.url) as visitor:
        fail_logins(visitor, "berta", 4)
        assert is_inside(visitor.log_in("berta", RIGHT))
    with Visitor(admin_server.url) as visitor:
        assert fail_logins(visitor, "berta", 4) == [200] * 4


def test_an_operator_lets_somebody_in_again(admin_server: LiveServer) -> None:
    make_operator(admin_server, "clara", RIGHT)
    with Visitor(admin_server.url) as visitor:
        fail_logins(visitor, "clara", 5)
        assert visitor.log_in("clara", RIGHT).status_code == 429
        manage(admin_server, "axes_reset_username", "clara")
        assert is_inside(visitor.log_in("clara", RIGHT))


def test_all_workers_count_together() -> None:
    settings = {"WEB_CONCURRENCY": "2", "LOGIN_ATTEMPTS": "4"}
    with LiveServer(settings) as server:
        # A visitor each: connections are spread over the workers.
        answers = []
        for _ in range(6):
            with Visitor(server.url) as visitor:
                answers += fail_logins(visitor, "dora", 1)
        assert answers == [200, 200, 200, 429, 429, 429]


def test_a_header_does_not_make_another_address(admin_server: LiveServer) -> None:
    answers = []
    for n in range(6):
        with Visitor(admin_server.url, {"x-forwarded-for": f"198.51.100.{n}"}) as visitor:
            answers += fail_logins(visitor, "emma", 1)
    assert answers == [200, 200, 200, 200, 429, 429]


def test_behind_a_trusted_proxy_each_client_is_counted_by_itself() -> None:
    with LiveServer({"TRUSTED_PROXIES": "127.0.0.1", "LOGIN_ATTEMPTS": "2"}) as server:
        with Visitor(server.url, {"x-forwarded-for": "198.51.100.1"}) as attacker:
            assert fail_logins(attacker, "admin", 3) == [200, 429, 429]
        # What the client itself claims stands left of what the proxy adds, and counts for nothing.
        with Visitor(server.url, {"x-forwarded-for": "198.51.100.9, 198.51.100.1"}) as attacker:
            assert attacker.log_in().status_code == 429
        with Visitor(server.url, {"x-forwarded-for": "198.51.100.1, 198.51.100.2"}) as operator:
            assert is_inside(operator.log_in())


@pytest.mark.parametrize("field", ["username", "password"])
def test_odd_bytes_in_a_login_are_a_failure_and_no_error(admin_server: LiveServer, field: str) -> None:
    fields = {"username": "frieda", "password": "x"} | {field: "a\x00b\r\nc" + "é" * 300}
    with Visitor(admin_server.url) as visitor:
        assert visitor.post("/admin/login/", fields).status_code == 200


def test_a_password_reaches_neither_the_log_nor_the_database(admin_server: LiveServer) -> None:
    with Visitor(admin_server.url) as visitor:
        visitor.log_in("gerda", "planted-password-91827")
    assert "planted-password-91827" not in admin_server.log()
    for file in admin_server.data_dir.glob("patchbay.sqlite3*"):
        assert b"planted-password-91827" not in file.read_bytes(), file
