from __future__ import annotations

import pytest

from routing.domain.access import Access, AccessMode, choose_access, is_loopback_host


@pytest.mark.parametrize(
    ("setting", "is_production", "bound_host", "expected"),
    [
        ("", False, "127.0.0.1", Access(AccessMode.ANY_BEARER, is_local_only=True)),
        ("", False, "::1", Access(AccessMode.ANY_BEARER, is_local_only=True)),
        ("", False, "localhost", Access(AccessMode.ANY_BEARER, is_local_only=True)),
        ("", False, "0.0.0.0", Access(AccessMode.ISSUED_KEYS)),
        ("", False, "192.168.1.7", Access(AccessMode.ISSUED_KEYS)),
        ("", False, "", Access(AccessMode.ISSUED_KEYS)),
        ("", True, "127.0.0.1", Access(AccessMode.ISSUED_KEYS)),
        ("any_bearer", True, "0.0.0.0", Access(AccessMode.ANY_BEARER)),
        ("issued_keys", False, "127.0.0.1", Access(AccessMode.ISSUED_KEYS)),
    ],
)
def test_the_mode_follows_the_setting_or_the_address(
    setting: str, is_production: bool, bound_host: str, expected: Access
) -> None:
    assert choose_access(setting=setting, is_production=is_production, bound_host=bound_host) == expected


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.8.9.1:80", "[::1]:8000", "::1"]
)
def test_names_of_this_machine(host: str) -> None:
    assert is_loopback_host(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "example.com",
        "localhost.example.com",
        "127.0.0.1.example.com",
        "10.0.0.1:80",
        "[fe80::1]",
        "0.0.0.0",
        "::",
    ],
)
def test_names_of_others(host: str) -> None:
    assert not is_loopback_host(host)


def test_a_proxy_on_the_same_machine_does_not_publish_an_open_proxy() -> None:
    local = Access(AccessMode.ANY_BEARER, is_local_only=True)
    assert local.accepts_any_token(host="localhost:8000", is_forwarded=False)
    assert not local.accepts_any_token(host="localhost:8000", is_forwarded=True)
    assert not local.accepts_any_token(host="llm.example.com", is_forwarded=False)
    chosen = Access(AccessMode.ANY_BEARER)
    assert chosen.accepts_any_token(host="llm.example.com", is_forwarded=True)
    assert not Access(AccessMode.ISSUED_KEYS).accepts_any_token(host="localhost", is_forwarded=False)
