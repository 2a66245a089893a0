"""Fields of Anthropic's own API that a client set beside OpenAI's.

Owns which of them are copied and that each has the right type; whether the model takes
them is between the client and upstream, since they were asked for by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from api.services.translation.capabilities import EFFORTS
from api.services.translation.conversation import JsonObject
from api.services.translation.failures import Failure, FailureKind
from api.services.translation.ignored import Ignored

_COPIED: Final[Mapping[str, tuple[tuple[type, ...], str]]] = {
    "container": ((str, dict), "one of a string or object"),
    "speed": ((str,), "a string"),
    "inference_geo": ((str,), "a string"),
    "context_management": ((dict,), "an object"),
    "mcp_servers": ((list,), "an array of objects"),
}
_SPEEDS: Final = ("standard", "fast")
_THINKING_FIELDS: Final = frozenset({"type", "budget_tokens", "display", "block_binding"})
_CONFIG_FIELDS: Final = frozenset({"effort", "format", "task_budget"})
_THINKING: Final = ("enabled", "adaptive", "disabled", "between_tools")


def copy_extensions(extensions: JsonObject) -> JsonObject:
    """The fields that go up as they are."""
    copied: JsonObject = {}
    for name, value in extensions.items():
        if name not in _COPIED:
            continue
        kinds, expected = _COPIED[name]
        _expect(isinstance(value, kinds), name, expected)
        if name == "speed" and value not in _SPEEDS:
            raise _refusal(name, f"expected one of {', '.join(_SPEEDS)}")
        if name == "mcp_servers":
            _expect(all(isinstance(server, dict) for server in value), name, expected)
        copied[name] = value
    return copied


def read_thinking(extensions: JsonObject, ignored: Ignored) -> JsonObject | None:
    """The client's own `thinking`, whole or refused."""
    thinking = extensions.get("thinking")
    if thinking is None:
        return None
    _expect(isinstance(thinking, dict), "thinking", "an object")
    thinking = _known(thinking, _THINKING_FIELDS, "thinking.", ignored)
    if thinking.get("type") not in _THINKING:
        raise _refusal("thinking.type", f"expected one of {', '.join(_THINKING)}")
    if thinking["type"] == "enabled":
        _expect(_is_integer(thinking.get("budget_tokens")), "thinking.budget_tokens", "an integer")
    if thinking.get("display") not in (None, "summarized", "omitted"):
        raise _refusal("thinking.display", "expected one of summarized, omitted")
    return thinking


def read_output_config(extensions: JsonObject, ignored: Ignored) -> JsonObject:
    """The keys of the client's own `output_config`; what it does not name is still ours to set."""
    config = extensions.get("output_config")
    if config is None:
        return {}
    _expect(isinstance(config, dict), "output_config", "an object")
    config = _known(config, _CONFIG_FIELDS, "output_config.", ignored)
    if config.get("effort", "low") not in EFFORTS:
        raise _refusal("output_config.effort", f"expected one of {', '.join(EFFORTS)}")
    wanted = config.get("format")
    if wanted is not None:
        is_schema = isinstance(wanted, dict) and wanted.get("type") == "json_schema"
        _expect(is_schema and isinstance(wanted.get("schema"), dict), "output_config.format", "a JSON schema")
        config["format"] = _known(wanted, frozenset({"type", "schema"}), "output_config.format.", ignored)
    return config


def read_top_k(extensions: JsonObject) -> int | None:
    top_k = extensions.get("top_k")
    if top_k is None:
        return None
    _expect(_is_integer(top_k), "top_k", "an integer")
    return int(top_k)


def _known(source: JsonObject, known: frozenset[str], prefix: str, ignored: Ignored) -> JsonObject:
    """What upstream knows of an object: a field that it does not know would fail the whole request."""
    ignored.add_unknown(source, known, prefix)
    return {name: value for name, value in source.items() if name in known and value is not None}


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _expect(is_right: bool, param: str, expected: str) -> None:
    if not is_right:
        raise Failure(
            FailureKind.INVALID_REQUEST,
            f"Invalid type for '{param}': expected {expected}.",
            param=param,
            code="invalid_type",
        )


def _refusal(param: str, reason: str) -> Failure:
    return Failure(
        FailureKind.INVALID_REQUEST,
        f"Invalid value for '{param}': {reason}.",
        param=param,
        code="invalid_value",
    )
