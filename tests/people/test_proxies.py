"""Which address, scheme and host the admin believes."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from hypothesis import given
from hypothesis import strategies as st

from proxy_site.security.proxies import TrustedProxies, find_client, parse_networks

TRUSTED = parse_networks(["10.0.0.0/8", "192.0.2.7", "2001:db8:1::/48"])


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("203.0.113.5", "1.2.3.4", "203.0.113.5"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.5", "203.0.113.5"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.5", "203.0.113.5"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.5, 192.0.2.7", "203.0.113.5"),
        ("10.0.0.1", "10.2.0.1, 10.3.0.1", "10.2.0.1"),
        ("10.0.0.1", "203.0.113.5, nonsense", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.5:4711", "203.0.113.5"),
        ("2001:db8:1::1", "[2001:db8:2::5]:4711", "2001:db8:2::5"),
        ("2001:db8:1::1", "2001:db8:2::5", "2001:db8:2::5"),
        ("::ffff:10.0.0.1", "::ffff:203.0.113.5", "203.0.113.5"),
        ("", "203.0.113.5", ""),
    ],
)
def test_the_client_is_the_last_address_that_is_no_proxy(peer: str, forwarded_for: str, client: str) -> None:
    assert find_client(peer, forwarded_for, TRUSTED) == client


@given(st.text(max_size=60))
def test_what_stands_left_of_the_client_never_matters(claimed: str) -> None:
    assert find_client("10.0.0.1", f"{claimed}, 203.0.113.5", TRUSTED) == "203.0.113.5"


@given(st.text(max_size=60))
def test_a_stranger_is_whoever_connects(claimed: str) -> None:
    assert find_client("203.0.113.5", claimed, TRUSTED) == "203.0.113.5"


def test_a_setting_that_is_no_network_is_refused_by_name() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"TRUSTED_PROXIES.*'10\.0\.0'"):
        parse_networks(["10.0.0"])


@pytest.mark.parametrize(("peer", "is_believed"), [("10.0.0.1", True), ("203.0.113.5", False)])
def test_only_a_trusted_proxy_says_scheme_and_host(settings: object, peer: str, is_believed: bool) -> None:
    settings.TRUSTED_PROXIES = TRUSTED  # type: ignore[attr-defined]
    settings.USE_X_FORWARDED_HOST = True  # type: ignore[attr-defined]
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")  # type: ignore[attr-defined]
    settings.ALLOWED_HOSTS = ["*"]  # type: ignore[attr-defined]
    request = HttpRequest()
    request.META = {
        "REMOTE_ADDR": peer,
        "HTTP_HOST": "inner",
        "HTTP_X_FORWARDED_HOST": "proxy.example.com",
        "HTTP_X_FORWARDED_PROTO": "https",
        "HTTP_X_FORWARDED_FOR": "198.51.100.9",
    }
    TrustedProxies(lambda request: HttpResponse())(request)
    assert request.is_secure() is is_believed
    assert request.get_host() == ("proxy.example.com" if is_believed else "inner")
    assert request.META["REMOTE_ADDR"] == ("198.51.100.9" if is_believed else peer)
