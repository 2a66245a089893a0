"""The rows that a new installation starts with. Later edits are the operator's and stay."""

from __future__ import annotations

from typing import Any

from django.db import migrations

PROVIDERS = (("openai", "openai"), ("anthropic", "anthropic"))

MODELS = (
    ("gpt-4o", "openai", "gpt-4o", "GPT-4o"),
    ("gpt-4o-mini", "openai", "gpt-4o-mini", "GPT-4o Mini"),
    ("gpt-4.1", "openai", "gpt-4.1", "GPT-4.1 family"),
    ("gpt-4.1-mini", "openai", "gpt-4.1-mini", "GPT-4.1 family"),
    ("gpt-4.1-nano", "openai", "gpt-4.1-nano", "GPT-4.1 family"),
    ("gpt-5-nano", "openai", "gpt-5-nano", "GPT-5 Nano"),
    ("claude-opus-4", "anthropic", "claude-opus-4-5", "Most capable"),
    ("claude-sonnet-4", "anthropic", "claude-sonnet-4-5", "Balanced"),
    ("claude-3-5-sonnet", "anthropic", "claude-3-5-sonnet-20241022", "Previous gen"),
    ("claude-3-5-haiku", "anthropic", "claude-3-5-haiku-20241022", "Fast & cheap"),
    ("claude-haiku-3-5", "anthropic", "claude-3-5-haiku-20241022", "Alias"),
    ("claude-3-opus", "anthropic", "claude-3-opus-20240229", "Legacy"),
)

ALIASES = (
    ("gpt-5", "gpt-4o", ""),
    ("gpt-5-turbo", "gpt-4o", ""),
    ("gpt-4", "gpt-4o", ""),
    ("gpt-4-turbo", "gpt-4o", ""),
    ("claude-4.6-sonnet", "claude-sonnet-4", ""),
    ("claude-4-sonnet", "claude-sonnet-4", ""),
    ("claude-sonnet-4-5", "claude-sonnet-4", ""),
    ("claude-4-opus", "claude-opus-4", ""),
    ("claude-4.6-opus", "claude-opus-4", ""),
    ("claude-3-sonnet", "claude-3-5-sonnet", ""),
    ("gemini-2.5-pro", "gpt-4o", "fallback"),
    ("gemini-1.5-pro", "gpt-4o", "fallback"),
)


def seed(apps: Any, schema_editor: Any) -> None:
    using = schema_editor.connection.alias
    provider_model, served_model, deployment_model, alias_model = (
        apps.get_model("routing", name).objects.using(using)
        for name in ("Provider", "ServedModel", "Deployment", "Alias")
    )
    providers = {
        name: provider_model.create(name=name, kind=kind, uses_environment=True) for name, kind in PROVIDERS
    }
    models = {}
    for public_id, provider, upstream_id, description in MODELS:
        models[public_id] = served_model.create(
            public_id=public_id, description=description, owned_by=provider
        )
        deployment_model.create(
            model=models[public_id], provider=providers[provider], upstream_id=upstream_id
        )
    for name, public_id, note in ALIASES:
        alias_model.create(name=name, model=models[public_id], note=note)


def unseed(apps: Any, schema_editor: Any) -> None:
    """Nothing: the schema below goes next, and rows that an operator edited are not ours to take."""


class Migration(migrations.Migration):
    dependencies = [("routing", "0001_schema")]

    operations = [migrations.RunPython(seed, unseed)]
