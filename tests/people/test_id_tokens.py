"""Which ID tokens are believed. The provider here is a set of answers, some of which no real one would give."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
import requests
import responses
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from proxy_site.security.single_sign_on import provider as provider_module
from proxy_site.security.single_sign_on.backend import SingleSignOnBackend
from proxy_site.security.single_sign_on.provider import (
    Endpoints,
    Provider,
    ProviderTrouble,
    fetch_json,
    is_safe_address,
)

ISSUER = "https://sso.example.com/realms/staff"
SECRET = "client-secret-of-at-least-thirty-two-bytes"
DISCOVERY = f"{ISSUER}/.well-known/openid-configuration"
DOCUMENT = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/auth",
    "token_endpoint": f"{ISSUER}/token",
    "userinfo_endpoint": f"{ISSUER}/userinfo",
    "jwks_uri": f"{ISSUER}/keys",
}
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE_KEY = ec.generate_private_key(ec.SECP256R1())


def public(key: Any, kid: str) -> dict[str, Any]:
    algorithm = (
        jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    )
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig"}


def token(key: Any = KEY, kid: str | None = "k1", algorithm: str = "RS256", **changes: Any) -> str:
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": "patchbay", "sub": "a-1", "iat": now, "exp": now + 300, "nonce": "n" * 32}
    claims |= changes
    headers = {} if kid is None else {"kid": kid}
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(kept, key, algorithm=algorithm, headers=headers)


@pytest.fixture
def answers() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as answers:
        answers.get(DISCOVERY, json=DOCUMENT)
        answers.get(f"{ISSUER}/keys", json={"keys": [public(KEY, "k1"), public(CURVE_KEY, "k2")]})
        yield answers


@pytest.fixture
def backend(settings: Any, answers: responses.RequestsMock) -> Iterator[SingleSignOnBackend]:
    settings.OIDC_ISSUER = ISSUER
    settings.OIDC_CLIENT_ID = "patchbay"
    settings.OIDC_CLIENT_SECRET = SECRET
    provider_module._provider = Provider(ISSUER)
    yield SingleSignOnBackend()
    provider_module._provider = None


def test_a_good_token_is_believed(backend: SingleSignOnBackend) -> None:
    assert backend.verify_token(token(), nonce="n" * 32)["sub"] == "a-1"
    assert backend.verify_token(token(CURVE_KEY, "k2", "ES256"), nonce="n" * 32)["sub"] == "a-1"
    several = token(aud=["patchbay", "other"], azp="patchbay")
    assert backend.verify_token(several, nonce="n" * 32)["sub"] == "a-1"


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example"},
        {"iss": ISSUER + "/"},
        {"aud": "other"},
        {"aud": ["other", "another"]},
        {"aud": ["patchbay", "other"]},
        {"aud": ["patchbay", "other"], "azp": "other"},
        {"azp": "other"},
        {"exp": 1_000_000_000},
        {"iat": 32_000_000_000},
        {"exp": None},
        {"iat": None},
        {"sub": None},
        {"aud": None},
        {"iss": None},
        {"nonce": None},
        {"nonce": "m" * 32},
        {"key": OTHER_KEY},
        {"kid": "k2"},
        {"kid": "k3"},
        {"key": SECRET, "algorithm": "HS256"},
        {"key": SECRET, "algorithm": "HS256", "kid": None},
        {"key": "", "algorithm": "none"},
    ],
    ids=repr,
)
def test_any_other_token_is_not(backend: SingleSignOnBackend, changes: dict[str, Any]) -> None:
    with pytest.raises(ProviderTrouble):
        backend.verify_token(token(**changes), nonce="n" * 32)


@pytest.mark.parametrize("text", ["", "a", "a.b.c", "é", "eyJhbGciOiJSUzI1NiJ9.e30."])
def test_what_is_no_token_is_trouble_and_no_error(backend: SingleSignOnBackend, text: str) -> None:
    with pytest.raises(ProviderTrouble):
        backend.verify_token(text, nonce="n" * 32)


def test_a_sign_in_without_nonce_is_none(backend: SingleSignOnBackend) -> None:
    with pytest.raises(ProviderTrouble):
        backend.verify_token(token(nonce=""), nonce="")


def test_a_new_key_is_found_but_a_forged_one_does_not_make_us_ask_each_time(
    backend: SingleSignOnBackend, answers: responses.RequestsMock
) -> None:
    for _ in range(5):
        with pytest.raises(ProviderTrouble):
            backend.verify_token(token(OTHER_KEY, "k9"), nonce="n" * 32)
    assert len([call for call in answers.calls if call.request.url == f"{ISSUER}/keys"]) == 1


def test_userinfo_completes_the_token_but_never_for_somebody_else(
    backend: SingleSignOnBackend, answers: responses.RequestsMock
) -> None:
    answers.get(f"{ISSUER}/userinfo", json={"sub": "a-1", "groups": ["admins"]})
    claims = backend.get_userinfo("access", "id", {"sub": "a-1", "email": "a@example.com"})
    assert claims == {"sub": "a-1", "email": "a@example.com", "groups": ["admins"]}
    answers.replace("GET", f"{ISSUER}/userinfo", json={"sub": "a-2", "groups": ["admins"]})
    with pytest.raises(ProviderTrouble, match="somebody else"):
        backend.get_userinfo("access", "id", {"sub": "a-1"})


def test_the_client_secret_goes_in_a_header_and_only_to_the_token_endpoint(
    backend: SingleSignOnBackend, answers: responses.RequestsMock
) -> None:
    answers.post(f"{ISSUER}/token", json={"id_token": "x", "access_token": "y"})
    backend.get_token({"client_id": "patchbay", "client_secret": SECRET, "code": "c"})
    sent = answers.calls[-1].request
    assert sent.headers["authorization"].startswith("Basic ")
    assert "client_secret" not in str(sent.body)


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 500, "body": "oops"},
        {"status": 400, "json": {"error": "invalid_grant"}},
        {"status": 200, "json": ["x"]},
        {"status": 200, "json": {"access_token": "y"}},
        {"status": 200, "json": {"id_token": 7, "access_token": "y"}},
        {"status": 307, "headers": {"location": "https://evil.example/"}},
        {"body": requests.ConnectionError()},
        {"body": requests.Timeout()},
    ],
    ids=repr,
)
def test_a_token_endpoint_that_does_not_give_one_is_trouble(
    backend: SingleSignOnBackend, answers: responses.RequestsMock, answer: dict[str, Any]
) -> None:
    answers.post(f"{ISSUER}/token", **answer)
    with pytest.raises(ProviderTrouble) as trouble:
        backend.get_token({"client_id": "patchbay", "client_secret": SECRET, "code": "the-code"})
    assert SECRET not in str(trouble.value)
    assert "the-code" not in str(trouble.value)
    assert not [call for call in answers.calls if "evil" in str(call.request.url)]


@pytest.mark.parametrize(
    "document",
    [
        DOCUMENT | {"issuer": "https://evil.example"},
        DOCUMENT | {"token_endpoint": "http://sso.example.com/token"},
        DOCUMENT | {"jwks_uri": "file:///etc/passwd"},
        {"issuer": ISSUER},
        ["x"],
    ],
    ids=repr,
)
def test_a_discovery_document_that_cannot_be_trusted_is_trouble(document: object) -> None:
    with responses.RequestsMock() as answers:
        answers.get(DISCOVERY, json=document)
        with pytest.raises(ProviderTrouble):
            Provider(ISSUER).endpoints()


def test_discovery_is_read_once_and_not_at_all_with_given_endpoints(answers: responses.RequestsMock) -> None:
    one = Provider(ISSUER)
    assert one.endpoints() == one.endpoints()
    assert len(answers.calls) == 1
    given = Endpoints(ISSUER, "https://a", "https://t", "", "https://k")
    assert Provider(ISSUER, given).endpoints() is given
    assert len(answers.calls) == 1


def test_an_endless_answer_is_not_read_to_its_end() -> None:
    with responses.RequestsMock() as answers:
        answers.get(DISCOVERY, body=b" " * (2 * 1024 * 1024))
        with pytest.raises(ProviderTrouble, match="more than"):
            fetch_json(DISCOVERY)


@pytest.mark.parametrize(
    ("address", "is_safe"),
    [
        ("https://sso.example.com/x", True),
        ("http://127.0.0.1:8080/x", True),
        ("http://localhost/x", True),
        ("http://[::1]/x", True),
        ("http://sso.example.com/x", False),
        ("http://127.0.0.1.evil.example/x", False),
        ("http://127.0.0.1@evil.example/x", False),
        ("ftp://sso.example.com/x", False),
        ("https://", False),
        ("https://[", False),
        (None, False),
    ],
)
def test_only_https_or_this_machine_is_safe(address: object, is_safe: bool) -> None:
    assert is_safe_address(address) is is_safe
