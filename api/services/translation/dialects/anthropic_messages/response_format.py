"""A wanted response format: a schema that the model is held to, or an instruction.

The instruction is the way out where the model or the schema does not allow the other;
it is a wish, not a guarantee, and so counts as ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from api.services.translation.conversation import ChatRequest, JsonObject
from api.services.translation.dialects.anthropic_messages.target import Target
from api.services.translation.ignored import Ignored
from api.services.translation.json_schema import Complexity, close_schema, measure
from api.services.translation.json_text import dump_json

_ANY_OBJECT: Final = "Respond with a single valid JSON object only, no prose, no code fences."
_BY_SCHEMA: Final = (
    "Respond with a single valid JSON value only, no prose, no code fences. "
    "It must conform to this JSON Schema:\n"
)


@dataclass(frozen=True, slots=True)
class EncodedFormat:
    """`output` goes to `output_config.format`, `instruction` to the system text; at most one of them."""

    output: JsonObject | None = None
    instruction: str | None = None
    complexity: Complexity = field(default_factory=Complexity)


_NO_FORMAT: Final = EncodedFormat()


def encode_format(
    request: ChatRequest, target: Target, ignored: Ignored, *, is_prefill: bool
) -> EncodedFormat:
    """`is_prefill`: the answer has begun already, which a compiled format does not allow."""
    wanted = request.response_format
    if wanted is None:
        return _NO_FORMAT
    if wanted.schema is None:
        ignored.add(request.name_of("response_format"))
        return EncodedFormat(instruction=_ANY_OBJECT)
    if target.capabilities.structured_outputs and not is_prefill:
        closed = close_schema(wanted.schema)
        complexity = Complexity() if closed is None else measure(closed)
        if closed is not None and complexity.is_allowed:
            return EncodedFormat({"type": "json_schema", "schema": closed}, complexity=complexity)
    ignored.add(request.name_of("response_format"))
    return EncodedFormat(instruction=_BY_SCHEMA + dump_json(wanted.schema).decode())
