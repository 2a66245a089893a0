"""Single sign-on through a real OpenID Connect provider on this machine."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.clients.environments import NoNode, find_node
from tests.live_server import LiveServer
from tests.people.browsing import Visitor, is_inside
from tests.people.identity_provider import CLIENT_SECRET, IdentityProvider
from tests.people.operating import manage

try:
    find_node()
    _missing = ""
except NoNode as reason:
    _missing = str(reason)
pytestmark = [pytest.mark.node, pytest.mark.skipif(bool(_missing), reason=_missing)]

DONE = "/admin/sign-in/done/"


def person(login: str, *groups: str, **claims: Any) -> dict[str, Any]:
    return {"email": f"{login}@example.com", "email_verified": True, "groups": list(groups), **claims}


PEOPLE = {
    "olga": person("olga", "proxy-admins", given_name="Olga", family_name="Ohm"),
    "stan": person("stan", "proxy-staff", "lunch"),
    "lara": person("lara", "lunch"),
    "uma": person("uma", "proxy-admins", email_verified=False),
    "evan": person("evan", "proxy-admins", email="evan@evil.example"),
    "admin": person("admin", "proxy-admins", email="admin"),
    "mover": person("mover", "proxy-admins"),
    "boss": person("boss", "proxy-admins"),
    "gone": person("gone", "proxy-admins"),
}


@pytest.fixture(scope="module")
def server() -> LiveServer:
    return LiveServer()


@pytest.fixture(scope="module")
def provider(server: LiveServer) -> Iterator[IdentityProvider]:
    """The provider, and the proxy that was told of it."""
    with IdentityProvider(server.url + DONE, PEOPLE) as provider:
        server.environment.update(provider.settings())
        with server:
            yield provider


@pytest.fixture
def visitor(server: LiveServer, provider: IdentityProvider) -> Iterator[Visitor]:
    provider.know(PEOPLE)
    with Visitor(server.url) as visitor:
        yield visitor


def account(server: LiveServer, username: str) -> tuple[bool, bool, set[str]] | None:
    """Is staff, is superuser, groups."""
    database = sqlite3.connect(server.data_dir / "patchbay.sqlite3")
    try:
        row = database.execute(
            "select id, is_staff, is_superuser from auth_user where username = ?", [username]
        ).fetchone()
        if row is None:
            return None
        groups = database.execute(
            "select name from auth_group join auth_user_groups on auth_group.id = group_id where user_id = ?",
            [row[0]],
        )
        return bool(row[1]), bool(row[2]), {name for (name,) in groups}
    finally:
        database.close()


def test_a_first_sign_in_makes_an_account_with_the_groups(server: LiveServer, visitor: Visitor) -> None:
    assert is_inside(visitor.sign_in("olga"))
    assert account(server, "olga@example.com") == (True, False, {"Owner"})
    assert visitor.open("/admin/auth/user/").status_code == 200


def test_somebody_with_fewer_rights_sees_less(server: LiveServer, visitor: Visitor) -> None:
    assert is_inside(visitor.sign_in("stan"))
    assert account(server, "stan@example.com") == (True, False, {"Viewer", "Operator"})
    assert visitor.open("/admin/routing/servedmodel/add/").status_code == 200
    assert visitor.open("/admin/auth/user/add/").status_code == 403


def test_groups_follow_the_provider_at_every_sign_in(
    server: LiveServer, provider: IdentityProvider, visitor: Visitor
) -> None:
    visitor.sign_in("mover")
    manage(
        server,
        "shell",
        "--no-imports",
        "--command",
        "from django.contrib.auth.models import User;"
        "User.objects.filter(username='mover@example.com').update(is_superuser=True)",
    )
    provider.know(PEOPLE | {"mover": person("mover", "proxy-staff")})
    with Visitor(server.url) as later:
        assert is_inside(later.sign_in("mover"))
    assert account(server, "mover@example.com") == (True, False, {"Viewer", "Operator"})
    provider.know(PEOPLE | {"mover": person("mover", "lunch")})
    with Visitor(server.url) as later:
        assert later.sign_in("mover").status_code == 403
    assert account(server, "mover@example.com") == (False, False, set())
    # The session that was open from the first day ends with it.
    assert not is_inside(visitor.open("/admin/"))


@pytest.mark.parametrize(
    ("login", "told"),
    [
        ("lara", "none of the groups"),
        ("uma", "not verified"),
        ("evan", "Addresses of your e-mail domain may not sign in here."),
        ("admin", "did not pass on an e-mail address"),
    ],
)
def test_whoever_may_not_come_in_reads_why_and_gets_no_account(
    server: LiveServer, visitor: Visitor, login: str, told: str
) -> None:
    refused = visitor.sign_in(login)
    assert refused.status_code == 403
    assert told in refused.text
    assert not is_inside(visitor.open("/admin/"))
    assert account(server, PEOPLE[login]["email"]) is None or login == "admin"


def test_an_account_that_was_made_here_is_not_taken_over(server: LiveServer, visitor: Visitor) -> None:
    manage(
        server,
        "shell",
        "--no-imports",
        "--command",
        "from django.contrib.auth.models import User;"
        "User.objects.create_superuser('boss@example.com', 'boss@example.com', 'a-password-of-the-boss')",
    )
    refused = visitor.sign_in("boss")
    assert refused.status_code == 403
    assert "another account here whose name is your e-mail address" in refused.text
    assert account(server, "boss@example.com") == (True, True, set())


def test_an_account_that_is_switched_off_stays_off(server: LiveServer, visitor: Visitor) -> None:
    assert is_inside(visitor.sign_in("gone"))
    manage(
        server,
        "shell",
        "--no-imports",
        "--command",
        "from django.contrib.auth.models import User;"
        "User.objects.filter(username='gone@example.com').update(is_active=False)",
    )
    assert not is_inside(visitor.open("/admin/"))
    with Visitor(server.url) as later:
        assert "switched off" in later.sign_in("gone").text


def test_the_way_out_has_state_nonce_and_a_challenge(server: LiveServer, provider: IdentityProvider) -> None:
    answer = httpx.get(f"{server.url}/admin/sign-in/")
    assert answer.status_code == 302
    target = urlsplit(answer.headers["location"])
    query = {name: values[0] for name, values in parse_qs(target.query).items()}
    assert answer.headers["location"].startswith(provider.issuer)
    assert query["redirect_uri"] == server.url + DONE
    assert query["response_type"] == "code"
    assert query["code_challenge_method"] == "S256"
    assert len(query["state"]) >= 32
    assert len(query["nonce"]) >= 32
    assert CLIENT_SECRET not in answer.headers["location"]


def test_a_callback_that_this_browser_did_not_ask_for_is_refused(
    server: LiveServer, visitor: Visitor
) -> None:
    for query in ("", "?error=access_denied", "?code=abc&state=def", "?error=x&state=y"):
        answer = visitor.open(DONE + query)
        assert answer.status_code == 400, query
        assert "The sign-in was not completed." in answer.text
    # With a sign-in under way the state must be this one's.
    visitor.http.get("/admin/sign-in/", follow_redirects=False)
    assert visitor.open(DONE + "?code=abc&state=def").status_code == 400
    assert not is_inside(visitor.open("/admin/"))


def test_a_code_from_another_browser_does_not_sign_in(server: LiveServer, visitor: Visitor) -> None:
    """The attacker's own code, put into the victim's sign-in: PKCE and nonce stop it."""
    with Visitor(server.url) as attacker:
        arrived = attacker.sign_in("olga")
        assert is_inside(arrived)
        stolen = next(
            parse_qs(urlsplit(str(step.url)).query)["code"][0]
            for step in arrived.history
            if step.url.path == DONE
        )
    away = visitor.http.get("/admin/sign-in/", follow_redirects=False)
    state = parse_qs(urlsplit(away.headers["location"]).query)["state"][0]
    answer = visitor.open(f"{DONE}?code={stolen}&state={state}")
    assert answer.status_code == 502
    assert not is_inside(visitor.open("/admin/"))


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/"])
def test_the_way_back_never_leads_elsewhere(server: LiveServer, visitor: Visitor, target: str) -> None:
    visitor.http.get("/admin/sign-in/", params={"next": target}, follow_redirects=False)
    # The provider remembers who is signed in there: the second way needs no form.
    arrived = visitor.sign_in("olga")
    assert str(arrived.url).startswith(server.url)
    session = visitor.http.get("/admin/sign-in/", params={"next": target})
    assert str(session.url) == f"{server.url}/admin/"


def test_a_password_still_lets_in_those_who_have_one(server: LiveServer, visitor: Visitor) -> None:
    assert is_inside(visitor.log_in())


def test_whoever_came_this_way_gives_no_second_factor_here(server: LiveServer, visitor: Visitor) -> None:
    visitor.sign_in("olga")
    page = visitor.open("/admin/second-factor/")
    assert "sign-in service" in page.text
    assert "manual-key" not in page.text


def test_a_provider_that_is_away_is_said_and_logged(visitor: Visitor, provider: IdentityProvider) -> None:
    settings = provider.settings() | {"OIDC_ISSUER": "http://127.0.0.1:9"}
    with LiveServer(settings) as server:
        with Visitor(server.url) as stranded:
            answer = stranded.open("/admin/sign-in/")
            assert answer.status_code == 502
            assert "The sign-in service does not answer as it should." in answer.text
            assert is_inside(stranded.log_in())
        assert "single sign-on does not work" in server.log()
        assert CLIENT_SECRET not in server.log()


def test_without_the_setting_nothing_of_it_is_there(admin_server: LiveServer) -> None:
    with Visitor(admin_server.url) as stranger:
        assert "/admin/sign-in/" not in stranger.open("/admin/login/").text
    loaded = manage(
        admin_server,
        "shell",
        "--no-imports",
        "--command",
        "import sys; import proxy_site.asgi, proxy_site.urls;"
        "print([name for name in ('jwt', 'mozilla_django_oidc') if name in sys.modules])",
    )
    assert loaded.strip().splitlines()[-1] == "[]"


def test_neither_secret_nor_tokens_are_logged_or_stored(server: LiveServer, visitor: Visitor) -> None:
    visitor.sign_in("olga")
    assert CLIENT_SECRET not in server.log()
    for file in server.data_dir.glob("patchbay.sqlite3*"):
        content = file.read_bytes()
        assert CLIENT_SECRET.encode() not in content
        # How every JSON Web Token begins.
        assert b"eyJhbGciOi" not in content
