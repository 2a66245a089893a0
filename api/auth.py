"""Who is calling. Touches memory only."""

from __future__ import annotations

from dataclasses import dataclass

from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication

from api.request import ApiRequest


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated bearer of a token. The token itself goes no further."""


_ANYONE = Caller()


class BearerAuthentication(BaseAuthentication):
    """`Authorization: Bearer <token>`, where any token passes."""

    def authenticate(self, request: ApiRequest) -> tuple[Caller, None]:  # type: ignore[override]
        header: str = request.META.get("HTTP_AUTHORIZATION", "")
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise exceptions.NotAuthenticated
        return _ANYONE, None

    def authenticate_header(self, request: object) -> str:
        """Without this, DRF would answer 403 instead of 401."""
        return 'Bearer realm="api"'
