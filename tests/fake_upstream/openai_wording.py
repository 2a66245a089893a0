"""Type and range checks in the words of OpenAI's errors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from tests.fake_upstream.rejection import Rejected

Kind = Literal["string", "integer", "decimal", "boolean", "array", "object", "null"]
_ARTICLES = {"integer": "an integer", "array": "an array", "object": "an object", "null": "null"}


class Shape:
    """What a field may be: one or several kinds, and bounds for the kinds that have them."""

    __slots__ = ("choices", "high", "kinds", "low", "max_items", "min_items")

    def __init__(
        self,
        *kinds: Kind,
        low: float | None = None,
        high: float | None = None,
        choices: tuple[str, ...] = (),
        min_items: int = 0,
        max_items: int | None = None,
    ) -> None:
        self.kinds, self.low, self.high, self.choices = kinds, low, high, choices
        self.min_items, self.max_items = min_items, max_items


def check_shape(value: Any, path: str, shape: Shape) -> None:
    kind = kind_of(value)
    if kind not in shape.kinds and not (kind == "integer" and "decimal" in shape.kinds):
        raise Rejected(
            f"Invalid type for '{path}': expected {_expected(shape.kinds)}, but got {_named(kind)} instead.",
            param=path,
            code="invalid_type",
        )
    if shape.choices and kind == "string" and value not in shape.choices:
        raise bad_value(value, path, shape.choices)
    if kind in ("integer", "decimal"):
        _check_range(value, path, shape)
    if kind == "array":
        _check_length(value, path, shape)


def bad_value(value: Any, path: str, choices: Iterable[str]) -> Rejected:
    return Rejected(
        f"Invalid value: '{value}'. Supported values are: {quoted_list(choices)}.",
        param=path,
        code="invalid_value",
    )


def require(holder: dict[str, Any], name: str, path: str) -> Any:
    if name not in holder:
        raise Rejected(
            f"Missing required parameter: '{path}.{name}'.",
            param=f"{path}.{name}",
            code="missing_required_parameter",
        )
    return holder[name]


def kind_of(value: Any) -> Kind:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "decimal"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def quoted_list(values: Iterable[str]) -> str:
    quoted = [f"'{value}'" for value in values]
    if len(quoted) < 2:
        return "".join(quoted)
    return f"{', '.join(quoted[:-1])}, and {quoted[-1]}" if len(quoted) > 2 else " and ".join(quoted)


def _check_range(value: float, path: str, shape: Shape) -> None:
    word = "integer" if "integer" in shape.kinds else "decimal"
    if shape.high is not None and value > shape.high:
        side, bound, sign = "above maximum", shape.high, "<="
        code = f"{word}_above_max_value"
    elif shape.low is not None and value < shape.low:
        side, bound, sign = "below minimum", shape.low, ">="
        code = f"{word}_below_min_value"
    else:
        return
    raise Rejected(
        f"Invalid '{path}': {word} {side} value. Expected a value {sign} {bound}, but got {value} instead.",
        param=path,
        code=code,
    )


def _check_length(value: list[Any], path: str, shape: Shape) -> None:
    if len(value) < shape.min_items:
        raise Rejected(
            f"Invalid '{path}': empty array. Expected an array with minimum length {shape.min_items}, "
            "but got an empty array instead.",
            param=path,
            code="empty_array",
        )
    if shape.max_items is not None and len(value) > shape.max_items:
        raise Rejected(
            f"Invalid '{path}': array too long. Expected an array with maximum length {shape.max_items}, "
            f"but got an array with length {len(value)} instead.",
            param=path,
            code="array_above_max_length",
        )


def _named(kind: str) -> str:
    return _ARTICLES.get(kind, f"a {kind}")


def _expected(kinds: tuple[Kind, ...]) -> str:
    if len(kinds) == 1:
        return _named(kinds[0])
    words = ["array of objects" if kind == "array" else kind for kind in kinds]
    return f"one of a {' or '.join(words)}"
