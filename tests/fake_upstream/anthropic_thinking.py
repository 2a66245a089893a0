"""What Anthropic refuses about `thinking` and `output_config.effort`, model by model."""

from __future__ import annotations

from typing import Any

from tests.fake_upstream.anthropic_fields import Field, check_fields, check_tag, string
from tests.fake_upstream.anthropic_models import Capabilities
from tests.fake_upstream.rejection import Rejected

_DISPLAY = string("summarized", "omitted", nullable=True)
_CONFIGS: dict[str, dict[str, Field]] = {
    "adaptive": {"display": _DISPLAY},
    "enabled": {"budget_tokens": Field(("integer",), required=True, low=1024), "display": _DISPLAY},
    "disabled": {},
    "between_tools": {},
}
_BETA = {"block_binding": Field(("dictionary",), nullable=True)}
_REFUSALS = {
    "adaptive": "adaptive thinking is not supported on this model",
    "enabled": (
        '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and '
        '"output_config.effort" to control thinking behavior.'
    ),
    "disabled": '"thinking.type.disabled" is not supported for this model. Use "output_config.effort" instead.',
    "between_tools": '"thinking.type.between_tools" is not supported for this model.',
}


def check_thinking(body: dict[str, Any], row: Capabilities, *, has_binding: bool) -> None:
    thinking = body.get("thinking")
    if thinking is None:
        return
    tag = check_tag(thinking, _CONFIGS, "thinking")
    fields = {"type": string(required=True), **_CONFIGS[tag]}
    if has_binding and tag == "adaptive":
        fields |= _BETA
    check_fields(thinking, fields, f"thinking.{tag}")
    if tag not in row.thinking:
        raise Rejected(_REFUSALS[tag])
    if tag == "enabled" and thinking["budget_tokens"] >= body.get("max_tokens", float("inf")):
        raise Rejected("`max_tokens` must be greater than `thinking.budget_tokens`.")


def check_effort(effort: str | None, thinking: dict[str, Any] | None, row: Capabilities) -> None:
    if effort is None:
        return
    if not row.efforts:
        raise Rejected("This model does not support the effort parameter.")
    if effort not in row.efforts:
        levels = ", ".join(row.efforts)
        raise Rejected(
            f"output_config.effort: This model does not support effort level '{effort}'. Supported levels: {levels}."
        )
    kind = (thinking or {}).get("type")
    if row.limits_effort_when_off and kind in ("disabled", "between_tools") and effort in ("xhigh", "max"):
        raise Rejected(f"output_config.effort: '{effort}' is not supported with thinking.type.{kind}")
