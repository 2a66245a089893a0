"""The identity provider's addresses and keys: read when first needed, kept for a while.

The discovery document is asked for at the first sign-in, not at the start: a provider
that is away must not keep the proxy from starting.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jwt
import requests
from django.conf import settings

_TIMEOUT = (5, 10)  # Seconds to connect, and between two reads.
_KEPT_SECONDS = 3600.0
# After an unknown key id: keys rotate, but a forged id must not make us ask at every try.
_KEYS_AT_MOST_EVERY = 30.0
_LARGEST = 1024 * 1024
# Signed with a private key of the provider's. The HS family would be signed with our own
# client secret, and `none` not at all.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


class ProviderTrouble(Exception):
    """The identity provider does not answer, or not as it must. The text is for the log."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    issuer: str
    authorization: str
    token: str
    userinfo: str
    """Empty where the provider has none: then the ID token says everything."""
    jwks: str


class Provider:
    """One issuer. Any thread may ask; of several at once, one fetches and the others wait."""

    def __init__(self, issuer: str, given: Endpoints | None = None) -> None:
        self._issuer = issuer
        self._given = given
        self._lock = threading.Lock()
        self._endpoints: Endpoints | None = None
        self._endpoints_until = 0.0
        self._keys: jwt.PyJWKSet | None = None
        self._keys_read_at = float("-inf")

    def endpoints(self) -> Endpoints:
        if self._given is not None:
            return self._given
        with self._lock:
            if self._endpoints is None or time.monotonic() >= self._endpoints_until:
                self._endpoints = self._discover()
                self._endpoints_until = time.monotonic() + _KEPT_SECONDS
            return self._endpoints

    def key_for(self, token: str) -> jwt.PyJWK:
        """The public key that `token` says it is signed with. The signature is for the caller to check."""
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise ProviderTrouble(f"the ID token is none: {error}") from None
        if header.get("alg") not in ALGORITHMS:
            raise ProviderTrouble("the ID token is signed in a way that is not accepted here")
        address = self.endpoints().jwks
        with self._lock:
            age = time.monotonic() - self._keys_read_at
            key = _find(self._keys, header) if age < _KEPT_SECONDS else None
            if key is None and age >= _KEYS_AT_MOST_EVERY:
                self._keys = self._read_keys(address)
                self._keys_read_at = time.monotonic()
                key = _find(self._keys, header)
        if key is None:
            raise ProviderTrouble("the ID token is signed with a key that the provider does not publish")
        return key

    def _discover(self) -> Endpoints:
        address = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        document = fetch_json(address)
        if document.get("issuer") != self._issuer:
            raise ProviderTrouble(
                f"OIDC_ISSUER is {self._issuer!r}, but the document there is of {document.get('issuer')!r}"
            )
        try:
            return Endpoints(
                issuer=self._issuer,
                authorization=_checked(document["authorization_endpoint"]),
                token=_checked(document["token_endpoint"]),
                userinfo=_checked(document["userinfo_endpoint"]) if document.get("userinfo_endpoint") else "",
                jwks=_checked(document["jwks_uri"]),
            )
        except KeyError as error:
            raise ProviderTrouble(f"the discovery document names no {error.args[0]}") from None

    @staticmethod
    def _read_keys(address: str) -> jwt.PyJWKSet:
        try:
            return jwt.PyJWKSet.from_dict(fetch_json(address))
        except (jwt.PyJWTError, TypeError, AttributeError, KeyError) as error:
            raise ProviderTrouble(f"the provider's keys cannot be read: {error}") from None


def is_safe_address(address: object) -> bool:
    """https, or http to this very machine. Anything else would show codes and secrets on the way."""
    if not isinstance(address, str):
        return False
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme == "https":
        return bool(host)
    return parts.scheme == "http" and host in {"localhost", "127.0.0.1", "::1"}


def _checked(address: object) -> str:
    if not is_safe_address(address):
        raise ProviderTrouble(f"the discovery document names the address {address!r}, which is not https")
    return str(address)


def fetch_json(address: str, *, bearer: str = "") -> dict[str, Any]:
    """The JSON object at `address`. Redirects are not followed: the token would go along."""
    headers = {"accept": "application/json"}
    if bearer:
        headers["authorization"] = f"Bearer {bearer}"
    try:
        with requests.get(
            address, headers=headers, timeout=_TIMEOUT, allow_redirects=False, stream=True
        ) as response:
            if response.status_code != 200:
                raise ProviderTrouble(f"{address} answers with status {response.status_code}")
            content = b""
            for piece in response.iter_content(65536):
                content += piece
                if len(content) > _LARGEST:
                    break
            if len(content) > _LARGEST:
                raise ProviderTrouble(f"{address} answers with more than {_LARGEST} bytes")
    except (requests.RequestException, OSError) as error:
        raise ProviderTrouble(f"{address} does not answer: {type(error).__name__}") from None
    try:
        document = json.loads(content)
    except ValueError:
        raise ProviderTrouble(f"{address} does not answer with JSON") from None
    if not isinstance(document, dict):
        raise ProviderTrouble(f"{address} does not answer with a JSON object")
    return document


def _find(keys: jwt.PyJWKSet | None, header: dict[str, Any]) -> jwt.PyJWK | None:
    if keys is None:
        return None
    fitting = [
        key
        for key in keys.keys
        if key.public_key_use in (None, "sig") and key.algorithm_name == header["alg"]
    ] + [
        key
        for key in keys.keys
        if key.public_key_use in (None, "sig") and key.algorithm_name != header["alg"]
    ]
    wanted = header.get("kid")
    if wanted is not None:
        return next((key for key in fitting if key.key_id == wanted), None)
    return fitting[0] if len(fitting) == 1 else None


_provider: Provider | None = None
_provider_lock = threading.Lock()


def configured_provider() -> Provider:
    """The provider that the settings name, one per process."""
    global _provider
    with _provider_lock:
        if _provider is None:
            given = None
            if settings.OIDC_TOKEN_ENDPOINT:
                given = Endpoints(
                    issuer=settings.OIDC_ISSUER,
                    authorization=settings.OIDC_AUTHORIZATION_ENDPOINT,
                    token=settings.OIDC_TOKEN_ENDPOINT,
                    userinfo=settings.OIDC_USERINFO_ENDPOINT,
                    jwks=settings.OIDC_JWKS_ENDPOINT,
                )
            _provider = Provider(settings.OIDC_ISSUER, given)
        return _provider
