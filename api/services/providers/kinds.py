"""The types of the provider catalog: what a vendor's API looks like from outside.

A kind is a fact about a vendor, the same for every operator; what an operator sets
(address, key, quirks of his own) is a row of the database and comes in as an argument.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from api.services.translation.quirks import NO_QUIRKS, Quirks

__all__ = ["AuthStyle", "Dialect", "ProviderKind", "Quirks"]


class Dialect(StrEnum):
    """A wire format, by the name of its folder."""

    OPENAI_CHAT = "openai_chat"
    ANTHROPIC_MESSAGES = "anthropic_messages"


class AuthStyle(StrEnum):
    """How a key is presented."""

    BEARER = "bearer"
    X_API_KEY = "x_api_key"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ProviderKind:
    """One row of the catalog.

    `default_base_url` None means that an operator must set one. Paths are without the
    version: it is part of the base URL, or added to one that has none.
    `key_variable` and `base_url_variable` are the environment's names for both.
    `needs_key`: without one, no request is sent. `client_headers` are the client's
    headers that go up besides those that every kind takes.
    """

    name: str
    label: str
    dialect: Dialect
    default_base_url: str | None
    generate_path: str
    auth: AuthStyle
    key_variable: str | None = None
    base_url_variable: str | None = None
    needs_key: bool = True
    is_built_in: bool = False
    quirks: Quirks = NO_QUIRKS
    client_headers: frozenset[str] = frozenset()
    fixed_headers: dict[str, str] = field(default_factory=dict, hash=False)
