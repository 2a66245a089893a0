from __future__ import annotations

from datetime import date

from openai.types import Model

from api.services.translation.dialects.openai_chat.models import encode_model, encode_model_list


def test_a_model_is_what_the_sdk_expects() -> None:
    wire = encode_model("anthropic/claude:x", created=1, owned_by="anthropic")
    assert wire == {"id": "anthropic/claude:x", "object": "model", "created": 1, "owned_by": "anthropic"}
    assert Model.model_validate(wire, strict=True).shutdown_date is None


def test_a_date_of_retirement_is_told() -> None:
    wire = encode_model("m", created=1, owned_by="o", shutdown_date=date(2026, 11, 30))
    assert Model.model_validate(wire, strict=True).shutdown_date == "2026-11-30"


def test_the_list_has_all_models_in_order() -> None:
    models = [encode_model(name, created=1, owned_by="o") for name in ("b", "a")]
    assert encode_model_list(iter(models)) == {"object": "list", "data": models}
    assert encode_model_list([]) == {"object": "list", "data": []}
