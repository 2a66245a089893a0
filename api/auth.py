"""Who is calling. Touches memory only: keys are found in the routing table."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication

from api.request import ApiRequest
from api.services import key_use
from api.services.gateway import current_table
from api.services.translation.failures import Failure, FailureKind
from routing.access import current_access
from routing.domain.access import is_loopback_host
from routing.domain.keys import KeyProblem, KeyRow, is_ours

# Each says that the request came through somebody else.
_FORWARDING: Final = (
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "via",
)

_PROBLEMS: Final = {
    KeyProblem.REVOKED: "it was revoked",
    KeyProblem.DISABLED: "it is switched off",
    KeyProblem.TEAM_DISABLED: "its team is switched off",
    KeyProblem.EXPIRED: "it has expired",
    KeyProblem.REPLACED: "it was replaced by a new one",
}


@dataclass(slots=True)
class Caller:
    """The authenticated bearer of a token, with the key if it is one of ours. The token goes no further."""

    key: KeyRow | None = None


_ANYONE: Final = Caller()


class KeyAuthentication(BaseAuthentication):
    """A key of ours, or, where the access mode allows it, any token.

    Taken from `Authorization: Bearer`, `x-api-key` or `api-key`, in this order.
    """

    def authenticate(self, request: ApiRequest) -> tuple[Caller, None]:  # type: ignore[override]
        token = _token_of(request)
        if not token:
            raise exceptions.NotAuthenticated
        if is_ours(token):
            return Caller(_find_key(token)), None
        if not _accepts_any_token(request):
            raise Failure(
                FailureKind.INVALID_API_KEY,
                f"Incorrect API key provided: {mask(token)}. This proxy accepts the keys that its operator "
                "issues (they start with sk-pb-).",
            )
        return _ANYONE, None

    def authenticate_header(self, request: object) -> str:
        """Without this, DRF would answer 403 instead of 401."""
        return 'Bearer realm="api"'


class OpenOrKeyAuthentication(KeyAuthentication):
    """The same for what is open to everyone while any token is: the model list."""

    def authenticate(self, request: ApiRequest) -> tuple[Caller, None]:  # type: ignore[override]
        if not is_ours(_token_of(request)) and _accepts_any_token(request):
            return _ANYONE, None
        return super().authenticate(request)


def mask(token: str) -> str:
    """Enough of a token to recognise it by, for whoever has it."""
    return f"{token[:6]}****{token[-4:]}" if len(token) >= 20 else "****"


def _token_of(request: ApiRequest) -> str:
    headers = _headers_of(request)
    header = headers.get("authorization")
    if header:
        scheme, _, token = header.partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""
    return (headers.get("x-api-key") or headers.get("api-key") or "").strip()


def _headers_of(request: ApiRequest) -> Mapping[str, str]:
    """Names in lower case. Requests of Django's own handler, as those of its test client, have other ones."""
    try:
        return request.client_headers
    except AttributeError:
        return {name.lower(): value for name, value in request.headers.items()}


def _accepts_any_token(request: ApiRequest) -> bool:
    policy = current_access()
    if not policy.is_local_only:
        return policy.accepts_any_token(host="", is_forwarded=False)
    headers = _headers_of(request)
    return policy.accepts_any_token(
        host=headers.get("host", ""), is_forwarded=any(name in headers for name in _FORWARDING)
    )


def is_from_here(request: ApiRequest) -> bool:
    """Whether no header says that the request came through somebody else, or meant another machine."""
    headers = _headers_of(request)
    return is_loopback_host(headers.get("host", "")) and not any(name in headers for name in _FORWARDING)


def _find_key(token: str) -> KeyRow:
    keys = current_table().keys
    key = keys.find(keys.digest(token))
    if key is None:
        raise Failure(FailureKind.INVALID_API_KEY, f"Incorrect API key provided: {mask(token)}.")
    now = time.time()
    problem = key.problem(now)
    if problem is not None:
        raise Failure(
            FailureKind.INVALID_API_KEY, f"The API key {key.prefix}… is not accepted: {_PROBLEMS[problem]}."
        )
    key_use.note(key.id, now)
    return key
