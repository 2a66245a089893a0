"""The model list, in OpenAI's format."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from api.services.translation.conversation import JsonObject


def encode_model(
    model_id: str, *, created: int, owned_by: str, shutdown_date: date | None = None
) -> JsonObject:
    """One model under the id that clients send. `created` is when it was configured, in Unix seconds."""
    model: JsonObject = {"id": model_id, "object": "model", "created": created, "owned_by": owned_by}
    if shutdown_date is not None:
        model["shutdown_date"] = shutdown_date.isoformat()
    return model


def encode_model_list(models: Iterable[JsonObject]) -> JsonObject:
    """All of them at once: OpenAI's list has no pages."""
    return {"object": "list", "data": list(models)}
