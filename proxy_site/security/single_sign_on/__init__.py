"""Signing in through an OpenID Connect provider. Loaded only when OIDC_ISSUER is set.

mozilla-django-oidc runs the authorization code flow with state, nonce and PKCE; here is
what it leaves to us: discovery, checking the ID token, and which account and groups a
person gets.
"""

from __future__ import annotations
