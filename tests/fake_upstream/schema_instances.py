"""Values that satisfy a JSON schema: what a model would fill in, made without chance.

Covers the keywords that tool schemas use; refuses `pattern`, which it cannot satisfy in
general and therefore ignores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_FORMATS = {
    "date-time": "2026-01-02T03:04:05Z",
    "date": "2026-01-02",
    "time": "03:04:05Z",
    "duration": "PT1H",
    "email": "someone@example.com",
    "hostname": "example.com",
    "uri": "https://example.com/",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "00000000-0000-4000-8000-000000000001",
}
_DEPTH = 12


def make_instance(schema: Any, words: Sequence[str] = ()) -> Any:
    """An instance with the required properties; `words` go to the free string properties, in order."""
    return _Maker(schema, list(words)).make(schema, "value", _DEPTH)


class _Maker:
    def __init__(self, root: Any, words: list[str]) -> None:
        self._root = root
        self._words = words

    def make(self, schema: Any, name: str, depth: int) -> Any:
        if not isinstance(schema, dict) or depth <= 0:
            return None
        if "$ref" in schema:
            return self.make(self._resolve(schema["$ref"]), name, depth - 1)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][0]
        if "default" in schema:
            return schema["default"]
        if schema.get("examples"):
            return schema["examples"][0]
        for keyword in ("anyOf", "oneOf"):
            if schema.get(keyword):
                return self._from_branch(schema, keyword, name, depth)
        if schema.get("allOf"):
            merged = {key: value for key, value in schema.items() if key != "allOf"}
            for branch in schema["allOf"]:
                merged = _merge(merged, self._deref(branch))
            return self.make(merged, name, depth)
        return self._typed(schema, name, depth)

    def _from_branch(self, schema: dict[str, Any], keyword: str, name: str, depth: int) -> Any:
        rest = {key: value for key, value in schema.items() if key != keyword}
        branches = [self._deref(branch) for branch in schema[keyword]]
        if depth < _DEPTH // 2:  # deep inside a recursive schema: take the way out
            branches.sort(key=lambda branch: "$ref" in str(branch))
        return self.make(_merge(rest, branches[0]), name, depth - 1)

    def _typed(self, schema: dict[str, Any], name: str, depth: int) -> Any:
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = next((entry for entry in kind if entry != "null"), "null")
        if kind is None:
            kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
        match kind:
            case "object":
                properties = schema.get("properties") or {}
                return {
                    key: self.make(properties.get(key, {"type": "string"}), key, depth - 1)
                    for key in schema.get("required") or []
                }
            case "array":
                count = max(schema.get("minItems", 0), 1 if depth > _DEPTH // 2 else 0)
                items = schema.get("items", {"type": "string"})
                return [self.make(items, name, depth - 1) for _ in range(count)]
            case "integer" | "number":
                return _number(schema, is_integer=kind == "integer")
            case "boolean":
                return True
            case "null":
                return None
        return self._text(schema, name)

    def _text(self, schema: dict[str, Any], name: str) -> str:
        text = _FORMATS.get(schema.get("format", ""))
        if text is None:
            text = self._words.pop(0) if self._words else f"some {name}"
        text = text.ljust(schema.get("minLength", 0), ".")
        return text[: schema["maxLength"]] if "maxLength" in schema else text

    def _deref(self, schema: Any) -> dict[str, Any]:
        while isinstance(schema, dict) and "$ref" in schema:
            schema = self._resolve(schema["$ref"])
        return schema if isinstance(schema, dict) else {}

    def _resolve(self, reference: str) -> Any:
        target = self._root
        for step in reference.removeprefix("#").strip("/").split("/"):
            if step:
                target = target[step.replace("~1", "/").replace("~0", "~")]
        return target


def _merge(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    merged = {**left, **right}
    if "properties" in left and "properties" in right:
        merged["properties"] = {**left["properties"], **right["properties"]}
    if "required" in left and "required" in right:
        merged["required"] = [*left["required"], *right["required"]]
    return merged


def _number(schema: dict[str, Any], *, is_integer: bool) -> int | float:
    step = schema.get("multipleOf", 1 if is_integer else 0.5)
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    if low is None:
        high = schema.get("maximum", schema.get("exclusiveMaximum"))
        low = 1 if high is None or high > 1 else high - step
    value = -(-low // step) * step
    if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
        value += step
    return int(value) if is_integer else float(value)
