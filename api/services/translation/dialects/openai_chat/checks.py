"""Reads single fields of a client's body and refuses wrong ones in OpenAI's words.

Owns the wording, `param` and `code` of a wrong type, value or range. `null` counts as
absent wherever a field is optional. Knows no field by name.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from api.services.translation.conversation import JsonObject
from api.services.translation.failures import Failure, FailureKind


def wrong(param: str, message: str, code: str | None = None) -> Failure:
    return Failure(FailureKind.INVALID_REQUEST, message, param=param, code=code)


def missing(param: str) -> Failure:
    return wrong(param, f"Missing required parameter: '{param}'.", "missing_required_parameter")


def wrong_type(param: str, expected: str, value: Any) -> Failure:
    return wrong(
        param,
        f"Invalid type for '{param}': expected {expected}, but got {_describe(value)} instead.",
        "invalid_type",
    )


def wrong_value(param: str, value: Any, supported: Collection[str]) -> Failure:
    shown = f"'{value[:100]}'" if isinstance(value, str) else _describe(value)
    return wrong(
        param, f"Invalid value: {shown}. Supported values are: {_enumerate(supported)}.", "invalid_value"
    )


def empty_array(param: str) -> Failure:
    return wrong(
        param,
        f"Invalid '{param}': empty array. Expected an array with minimum length 1, "
        "but got an empty array instead.",
        "empty_array",
    )


def unsupported_value(param: str, message: str) -> Failure:
    return Failure(FailureKind.UNSUPPORTED_VALUE, message, param=param)


def at(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def read_string(source: JsonObject, key: str, path: str = "") -> str | None:
    value = source.get(key)
    if value is not None and not isinstance(value, str):
        raise wrong_type(at(path, key), "a string", value)
    return value


def require_string(source: JsonObject, key: str, path: str = "") -> str:
    value = _require(source, key, path)
    if not isinstance(value, str):
        raise wrong_type(at(path, key), "a string", value)
    return value


def read_bool(source: JsonObject, key: str, path: str = "") -> bool | None:
    value = source.get(key)
    if value is not None and not isinstance(value, bool):
        raise wrong_type(at(path, key), "a boolean", value)
    return value


def read_integer(
    source: JsonObject, key: str, path: str = "", *, minimum: int | None = None, maximum: int | None = None
) -> int | None:
    value = source.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise wrong_type(at(path, key), "an integer", value)
    if minimum is not None and value < minimum:
        raise _below("integer", value, at(path, key), minimum)
    if maximum is not None and value > maximum:
        raise _above("integer", value, at(path, key), maximum)
    return value


def read_number(
    source: JsonObject,
    key: str,
    path: str = "",
    *,
    minimum: float | None = None,
    maximum: float | None = None,
) -> float | None:
    value = source.get(key)
    if value is None:
        return None
    if not isinstance(value, float) and (not isinstance(value, int) or isinstance(value, bool)):
        raise wrong_type(at(path, key), "a decimal", value)
    if minimum is not None and value < minimum:
        raise _below("decimal", value, at(path, key), minimum)
    if maximum is not None and value > maximum:
        raise _above("decimal", value, at(path, key), maximum)
    return value


def read_choice(source: JsonObject, key: str, supported: Collection[str], path: str = "") -> str | None:
    value = source.get(key)
    if value is None:
        return None
    if not isinstance(value, str):
        raise wrong_type(at(path, key), f"one of {_enumerate(supported, last='or')}", value)
    if value not in supported:
        raise wrong_value(at(path, key), value, supported)
    return value


def read_object(source: JsonObject, key: str, path: str = "") -> JsonObject | None:
    value = source.get(key)
    if value is not None and not isinstance(value, dict):
        raise wrong_type(at(path, key), "an object", value)
    return value


def require_object(source: JsonObject, key: str, path: str = "") -> JsonObject:
    value = _require(source, key, path)
    if not isinstance(value, dict):
        raise wrong_type(at(path, key), "an object", value)
    return value


def read_array(source: JsonObject, key: str, path: str = "") -> list[Any] | None:
    value = source.get(key)
    if value is not None and not isinstance(value, list):
        raise wrong_type(at(path, key), "an array", value)
    return value


def require_item(value: Any, param: str) -> JsonObject:
    """One object out of an array of objects."""
    if not isinstance(value, dict):
        raise wrong_type(param, "an object", value)
    return value


def _require(source: JsonObject, key: str, path: str) -> Any:
    if key not in source:
        raise missing(at(path, key))
    return source[key]


def _below(kind: str, value: float, param: str, minimum: float) -> Failure:
    return wrong(
        param,
        f"Invalid '{param}': {kind} below minimum value. "
        f"Expected a value >= {minimum}, but got {_number(value)} instead.",
        f"{kind}_below_min_value",
    )


def _above(kind: str, value: float, param: str, maximum: float) -> Failure:
    return wrong(
        param,
        f"Invalid '{param}': {kind} above maximum value. "
        f"Expected a value <= {maximum}, but got {_number(value)} instead.",
        f"{kind}_above_max_value",
    )


def _number(value: float) -> str:
    # Python refuses to print an integer of more than 4,300 digits.
    return str(value) if abs(value) < 10**30 else "a very large number"


def _enumerate(words: Collection[str], last: str = "and") -> str:
    quoted = [f"'{word}'" for word in words]
    if len(quoted) < 2:
        return "".join(quoted)
    if len(quoted) == 2:
        return f"{quoted[0]} {last} {quoted[1]}"
    return ", ".join(quoted[:-1]) + f", {last} {quoted[-1]}"


def _describe(value: Any) -> str:
    if value is None:
        return "null"
    for kind, words in _KINDS:
        if isinstance(value, kind):
            return words
    return "something else"


# bool before int: it is one.
_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "a boolean"),
    (int, "an integer"),
    (float, "a decimal number"),
    (str, "a string"),
    (list, "an array"),
    (dict, "an object"),
)
