"""From an authorization code to an account. The flow itself is mozilla-django-oidc's."""

from __future__ import annotations

import hmac
from typing import Any
from urllib.parse import quote_plus

import jwt
import requests
from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest
from mozilla_django_oidc.auth import OIDCAuthenticationBackend

from proxy_site.security.single_sign_on.accounts import bring_in, shut_out
from proxy_site.security.single_sign_on.claims import NoGroup, Rules, parse_domains, parse_group_map
from proxy_site.security.single_sign_on.provider import (
    ALGORITHMS,
    ProviderTrouble,
    configured_provider,
    fetch_json,
)

_CLOCKS_MAY_DIFFER = 60  # Seconds.


class SingleSignOnBackend(OIDCAuthenticationBackend):  # type: ignore[misc]
    """Trusts an ID token only after signature, issuer, audience, expiry and nonce."""

    def __init__(self) -> None:
        # Not the parent's: it wants the endpoints, and Django makes every backend at every
        # login with a password too.
        self.UserModel = User
        self.OIDC_RP_CLIENT_ID = settings.OIDC_CLIENT_ID
        self.OIDC_RP_CLIENT_SECRET = settings.OIDC_CLIENT_SECRET

    @property
    def OIDC_OP_TOKEN_ENDPOINT(self) -> str:
        return configured_provider().endpoints().token

    def authenticate(
        self, request: HttpRequest | None, *, nonce: str, code_verifier: str | None
    ) -> User | None:
        """Raises `Refused` or `ProviderTrouble` where the person cannot come in.

        The parameters are required, so that Django passes a login with a password by.
        """
        user: User | None = super().authenticate(request, nonce=nonce, code_verifier=code_verifier)
        return user

    def get_token(self, payload: dict[str, Any]) -> dict[str, Any]:
        try:
            response = requests.post(
                self.OIDC_OP_TOKEN_ENDPOINT,
                data={name: value for name, value in payload.items() if name != "client_secret"},
                # RFC 6749, 2.3.1: the basic scheme is the one that every provider must take.
                auth=requests.auth.HTTPBasicAuth(
                    _form(payload["client_id"]), _form(payload["client_secret"])
                ),
                timeout=(5, 10),
                allow_redirects=False,
            )
            answer = response.json()
        except (requests.RequestException, ValueError) as error:
            raise ProviderTrouble(f"the token endpoint does not answer: {type(error).__name__}") from None
        if response.status_code != 200 or not isinstance(answer, dict):
            code = str(answer.get("error", ""))[:80] if isinstance(answer, dict) else ""
            raise ProviderTrouble(f"the token endpoint answers with status {response.status_code} {code}")
        if not isinstance(answer.get("id_token"), str) or not isinstance(answer.get("access_token"), str):
            raise ProviderTrouble("the token endpoint gives no ID token")
        return answer

    def verify_token(self, token: str, **kwargs: Any) -> dict[str, Any]:
        provider = configured_provider()
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                provider.key_for(token),
                algorithms=list(ALGORITHMS),
                audience=settings.OIDC_CLIENT_ID,
                issuer=provider.endpoints().issuer,
                leeway=_CLOCKS_MAY_DIFFER,
                options={"require": ["exp", "iat", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as error:
            raise ProviderTrouble(f"the ID token is not valid: {error}") from None
        if isinstance(claims["aud"], list) and len(claims["aud"]) > 1 and claims.get("azp") is None:
            raise ProviderTrouble("the ID token is for several clients and does not say for which first")
        if claims.get("azp") not in (None, settings.OIDC_CLIENT_ID):
            raise ProviderTrouble("the ID token is another client's")
        nonce = kwargs.get("nonce") or ""
        if not nonce or not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise ProviderTrouble("the ID token answers another sign-in")
        return claims

    def get_userinfo(self, access_token: str, id_token: str, payload: dict[str, Any]) -> dict[str, Any]:
        """What the ID token says, completed and overruled by the userinfo endpoint."""
        address = configured_provider().endpoints().userinfo
        if not address:
            return payload
        claims = fetch_json(address, bearer=access_token)
        # OpenID Connect Core 5.3.2: otherwise it may be somebody else's.
        if claims.get("sub") != payload["sub"]:
            raise ProviderTrouble("the userinfo endpoint speaks of somebody else")
        return {**payload, **claims}

    def get_or_create_user(self, access_token: str, id_token: str, payload: dict[str, Any]) -> User:
        claims = self.get_userinfo(access_token, id_token, payload)
        issuer = configured_provider().endpoints().issuer
        rules = Rules(
            groups_claim=settings.OIDC_GROUPS_CLAIM,
            group_map=parse_group_map(settings.OIDC_GROUP_MAP),
            allowed_domains=parse_domains(settings.OIDC_ALLOWED_DOMAINS),
        )
        try:
            return bring_in(rules.admit(claims), issuer)
        except NoGroup as refusal:
            shut_out(refusal.subject, issuer)
            raise

    def get_user(self, user_id: int) -> User | None:
        """Nobody for an account that was switched off: the parent's would let open sessions go on."""
        user = User.objects.filter(pk=user_id).first()
        return user if user is not None and self.user_can_authenticate(user) else None


def _form(text: str) -> str:
    """RFC 6749, 2.3.1: both parts are form-encoded before they become a password."""
    return quote_plus(text)
