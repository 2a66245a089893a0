"""Rows for tests: plain functions, each with what a test does not care about filled in."""

from __future__ import annotations

from collections.abc import Collection
from itertools import count
from typing import Any

from routing.models import (
    Alias,
    ApiKey,
    Credential,
    Deployment,
    FallbackModel,
    Provider,
    ProviderKind,
    ServedModel,
    Team,
)
from routing.services import issue_key

_numbers = count(1)


def make_provider(name: str = "", *, using: str = "default", **fields: Any) -> Provider:
    """A local server without a key, unless `fields` say otherwise."""
    defaults: dict[str, Any] = {
        "kind": ProviderKind.OPENAI_COMPATIBLE,
        "base_url": "https://llm.example.com/v1",
    }
    return Provider.objects.using(using).create(
        name=name or f"provider-{next(_numbers)}", **(defaults | fields)
    )


def make_credential(
    provider: Provider | None = None, secret: str = "", label: str = "", **fields: Any
) -> Credential:
    """A stored key, or a reference if `fields` hold one."""
    provider = provider or make_provider()
    credential = Credential(provider=provider, label=label or f"key {next(_numbers)}", **fields)
    if not credential.reference:
        credential.store(secret or f"sk-secret-{next(_numbers)}")
    credential.save(using=provider._state.db)
    return credential


def make_model(public_id: str = "", *, using: str = "default", **fields: Any) -> ServedModel:
    """A model that nobody serves yet."""
    return ServedModel.objects.using(using).create(public_id=public_id or f"model-{next(_numbers)}", **fields)


def make_deployment(
    model: ServedModel | None = None, provider: Provider | None = None, upstream_id: str = "", **fields: Any
) -> Deployment:
    model = model or make_model()
    using = model._state.db or "default"
    return Deployment.objects.using(using).create(
        model=model,
        provider=provider or make_provider(using=using),
        upstream_id=upstream_id or f"upstream-{next(_numbers)}",
        **fields,
    )


def make_alias(name: str = "", model: ServedModel | None = None, **fields: Any) -> Alias:
    model = model or make_model()
    return Alias.objects.using(model._state.db or "default").create(
        name=name or f"alias-{next(_numbers)}", model=model, **fields
    )


def make_fallback(model: ServedModel, fallback: ServedModel, **fields: Any) -> FallbackModel:
    return FallbackModel.objects.using(model._state.db or "default").create(
        model=model, fallback=fallback, **fields
    )


def make_team(name: str = "", **fields: Any) -> Team:
    return Team.objects.create(name=name or f"team {next(_numbers)}", **fields)


def make_key(*, models: Collection[ServedModel] = (), **fields: Any) -> tuple[ApiKey, str]:
    """A key and its secret. `fields` are columns, also those that `issue_key` does not take."""
    key, secret = issue_key(models=models)
    if fields:
        ApiKey.objects.filter(pk=key.pk).update(**fields)
        key.refresh_from_db()
    return key, secret
