"""JSON text to values and back: the one place that knows which library does it.

orjson, and the standard library where orjson would refuse or change a value: lone
surrogates, integers beyond 64 bits. What comes in is never NaN, never infinite, never
nested deeper than `MAX_DEPTH` and holds no lone surrogates; what goes out is always
valid UTF-8. Duplicate keys: the last one wins.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final, NoReturn

import orjson

from api.services.translation.conversation import JsonObject
from api.services.translation.failures import Failure, FailureKind

_ORJSON_LEVELS: Final = 254
"""How many levels of arrays and objects orjson writes, at most."""

MAX_DEPTH: Final = 240
"""How many levels we read: translating adds a few, and what was read is to be written again."""

UNREADABLE: Final = (
    "We could not parse the JSON body of your request. "
    "(HINT: the body must be one JSON object, encoded in UTF-8.)"
)

# orjson 3.13 turns an integer beyond 64 bits into a float without a word. Such an integer
# has 19 digits or more: with every digit made a zero, a run of them is one substring
# search (17 ms for 20 MB of base64, where a regular expression takes 140 to 240).
_DIGITS_TO_ZERO: Final = bytes(0x30 if 0x30 <= byte <= 0x39 else byte for byte in range(256))
_LONG_NUMBER: Final = b"0" * 19
_SAMPLED: Final = 6
_SAMPLE_OF_LONG_NUMBER: Final = b"0" * (len(_LONG_NUMBER) // _SAMPLED)
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


def load_json(data: bytes | str, *, max_depth: int = MAX_DEPTH) -> Any:
    """Read one JSON value; what is not JSON, or is nested too deeply, is a Failure.

    `max_depth` is at most 254.
    """
    if isinstance(data, str):
        data = _SURROGATE.sub(_REPLACEMENT, data).encode()
    if not _may_have_long_number(data) or not _has_long_number(data):
        try:
            value = orjson.loads(data)
        except orjson.JSONDecodeError:
            pass
        else:
            # No value is nested deeper than it has opening brackets; counting them is far cheaper.
            if _has_more_brackets(data, max_depth):
                _check_depth(value, max_depth)
            return value
    return _load_slowly(data, max_depth)


def _has_more_brackets(data: bytes, limit: int) -> bool:
    """Whether more than `limit` brackets open.

    CPython's `count` compares byte after byte; `replace` leaps from one find to the next,
    which takes a sixth of the time in a body that is mostly text.
    """
    rest = data.replace(b"{", b"", limit + 1).replace(b"[", b"", limit + 1)
    return len(data) - len(rest) > limit


def _may_have_long_number(data: bytes) -> bool:
    """False for most bodies after a look at every sixth byte: three in a row of those are in any such run."""
    return _SAMPLE_OF_LONG_NUMBER in data[::_SAMPLED].translate(_DIGITS_TO_ZERO) and (
        _LONG_NUMBER in data.translate(_DIGITS_TO_ZERO)
    )


def _has_long_number(data: bytes) -> bool:
    """Whether so many digits stand outside strings; ids and base64 have them inside."""
    return _LONG_NUMBER in _STRING.sub(b'""', data).translate(_DIGITS_TO_ZERO)


def load_object(data: bytes | str, *, max_depth: int = MAX_DEPTH) -> JsonObject:
    """Read a request body, which is a JSON object or a Failure."""
    value = load_json(data, max_depth=max_depth)
    if not isinstance(value, dict):
        raise unreadable()
    return value


def dump_json(value: Any) -> bytes:
    """Write compact JSON. A lone surrogate becomes U+FFFD."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return _dump_slowly(value)


def is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _check_depth(value: Any, max_depth: int) -> None:
    """Refuse what is nested too deeply, by orjson's own limit: an eighth of the time of looking ourselves."""
    for _ in range(_ORJSON_LEVELS - max_depth):
        value = [value]
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        raise _too_deep() from None


def _load_slowly(data: bytes, max_depth: int) -> Any:
    try:
        # Decoded here, since `json.loads` would guess UTF-16 and UTF-32 too.
        value = json.loads(data.decode("utf-8"), parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        raise unreadable() from None
    if _is_deeper(value, max_depth):
        raise _too_deep()
    return _without_surrogates(value)


def _dump_slowly(value: Any) -> bytes:
    # How deep the standard library goes differs by version of Python.
    if _is_deeper(value, _ORJSON_LEVELS):
        raise _too_deep()
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return _SURROGATE.sub(_REPLACEMENT, text).encode()


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


def _is_deeper(value: Any, limit: int) -> bool:
    """Whether arrays and objects are nested deeper than `limit`; looks level by level, without recursion."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(limit):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub(_REPLACEMENT, value)
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return value


def unreadable() -> Failure:
    """What a client gets whose body is no JSON object."""
    return Failure(FailureKind.INVALID_REQUEST, UNREADABLE)


def _too_deep() -> Failure:
    return Failure(
        FailureKind.INVALID_REQUEST,
        "We could not parse the JSON body of your request: it is nested too deeply.",
    )
