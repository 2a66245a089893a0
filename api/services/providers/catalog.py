"""The table of provider kinds. A new vendor that speaks a known format is one row here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from api.services.providers.kinds import AuthStyle, Dialect, ProviderKind
from api.services.translation.quirks import Quirks

_OPENAI_HEADERS: Final = frozenset({"openai-beta", "idempotency-key", "x-client-request-id"})

KINDS: Final[Mapping[str, ProviderKind]] = {
    kind.name: kind
    for kind in (
        ProviderKind(
            name="openai",
            label="OpenAI",
            dialect=Dialect.OPENAI_CHAT,
            default_base_url="https://api.openai.com/v1",
            generate_path="chat/completions",
            auth=AuthStyle.BEARER,
            key_variable="OPENAI_API_KEY",
            base_url_variable="OPENAI_BASE_URL",
            quirks=Quirks(strips_extensions=True),
            client_headers=_OPENAI_HEADERS,
        ),
        ProviderKind(
            name="anthropic",
            label="Anthropic",
            dialect=Dialect.ANTHROPIC_MESSAGES,
            default_base_url="https://api.anthropic.com/v1",
            generate_path="messages",
            auth=AuthStyle.X_API_KEY,
            key_variable="ANTHROPIC_API_KEY",
            base_url_variable="ANTHROPIC_BASE_URL",
            # Version 2026-10-21 refuses temperature, top_p and top_k altogether.
            # https://platform.claude.com/docs/en/api/migration-2026-10-21 (read 2026-11)
            fixed_headers={"anthropic-version": "2023-06-01"},
        ),
        ProviderKind(
            name="openai_compatible",
            label="OpenAI-compatible",
            dialect=Dialect.OPENAI_CHAT,
            default_base_url=None,
            generate_path="chat/completions",
            auth=AuthStyle.BEARER,
            # Servers on one's own machine often have none.
            needs_key=False,
            client_headers=_OPENAI_HEADERS,
        ),
        ProviderKind(
            name="demo",
            label="Demo",
            dialect=Dialect.OPENAI_CHAT,
            # Answered inside this process: the address only gives its requests a form.
            default_base_url="https://demo.invalid/v1",
            generate_path="chat/completions",
            auth=AuthStyle.NONE,
            needs_key=False,
            is_built_in=True,
        ),
    )
}
