"""JSON text survives the way in and out: exact integers, valid UTF-8, no bombs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.services.translation.failures import Failure, FailureKind
from api.services.translation.json_text import MAX_DEPTH, dump_json, load_json, load_object

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=20,
)


@given(json_values)
def test_what_is_written_is_read_back_with_its_types(value: Any) -> None:
    again = load_json(dump_json(value))
    assert again == value
    assert repr(again) == repr(value)


@given(st.binary())
def test_any_bytes_give_a_value_or_a_failure(data: bytes) -> None:
    failure: Failure | None = None
    try:
        value = load_json(data)
    except Failure as caught:
        failure = caught
    if failure is None:
        assert json.loads(data) == value
    else:
        assert failure.kind is FailureKind.INVALID_REQUEST


@pytest.mark.parametrize(
    "number",
    [2**63, 2**64 - 1, 2**64, 2**64 + 1, -(2**63), -(2**63) - 1, 10**40, 12345678901234567890123],
)
def test_an_integer_keeps_every_digit(number: int) -> None:
    data = b'{"a":[%d],"b":"x"}' % number
    assert load_json(data) == {"a": [number], "b": "x"}
    assert dump_json(load_json(data)) == data


@pytest.mark.parametrize("digits", [18, 19, 20, 21, 40])
def test_an_integer_keeps_every_digit_wherever_it_stands(digits: int) -> None:
    number = int("9" * digits)
    for before in range(40):
        body = load_json(b'{"%b":%d}' % (b"x" * before, number))
        assert body == {"x" * before: number}
        assert type(body["x" * before]) is int


def test_a_decimal_stays_a_decimal() -> None:
    assert repr(load_json(b"[1.0,0.10000000000000000001,2]")) == "[1.0, 0.1, 2]"


@pytest.mark.parametrize("text", [r'{"a":"x\ud83dy"}', r'{"\ud83d":["\ude00"]}'])
def test_a_lone_surrogate_becomes_the_replacement_character(text: str) -> None:
    data = dump_json(load_json(text.encode()))
    assert b"\xef\xbf\xbd" in data
    assert "�" in data.decode("utf-8")


def test_a_pair_of_surrogates_is_one_character() -> None:
    assert load_json(rb'"\ud83d\ude00 \ud83d"') == "\U0001f600 �"


def test_a_lone_surrogate_made_here_is_written_as_valid_utf8() -> None:
    assert json.loads(dump_json({"a": "x\ud83d", "\udc00": 2**70})) == {"a": "x�", "�": 2**70}


def test_the_last_of_two_equal_keys_wins() -> None:
    assert load_json(b'{"a":1,"b":2,"a":3}') == {"a": 3, "b": 2}
    assert load_json(b'{"a":1,"b":2,"a":123456789012345678901}') == {"a": 123456789012345678901, "b": 2}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"{",
        b"nope",
        b"NaN",
        b"[Infinity]",
        b"[-Infinity]",
        b"1e400",
        b"[1e400, 1234567890123456789012]",
        b"[NaN, 1234567890123456789012]",
        b"\xff\xfe{\x00}\x00",
        '{"a":1}'.encode("utf-16"),
        b"\xef\xbb\xbf{}",
        b'{"a":"\xff"}',
        b"1" * 5000,
        b'{"a":1}x',
        b"{'a':1}",
        b"[1,]",
    ],
)
def test_what_is_not_json_is_an_invalid_request(data: bytes) -> None:
    with pytest.raises(Failure) as caught:
        load_json(data)
    assert caught.value.kind is FailureKind.INVALID_REQUEST
    assert caught.value.message.startswith("We could not parse the JSON body of your request.")
    assert (caught.value.status, caught.value.type) == (400, "invalid_request_error")
    assert (caught.value.param, caught.value.code) == (None, None)


@pytest.mark.parametrize("data", [b"[]", b'"x"', b"1", b"null", b"true"])
def test_a_body_is_an_object(data: bytes) -> None:
    with pytest.raises(Failure, match="We could not parse the JSON body"):
        load_object(data)
    assert load_object(b'{"a":null}') == {"a": None}


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 1000, 1025, 100_000])
@pytest.mark.parametrize(
    ("opening", "middle", "closing"),
    [(b"[", b"", b"]"), (b'{"a":', b"1", b"}"), (b"[", b"1234567890123456789012", b"]"), (b"[", b"", b"")],
)
def test_a_nesting_bomb_is_an_invalid_request(
    opening: bytes, middle: bytes, closing: bytes, levels: int
) -> None:
    with pytest.raises(Failure) as caught:
        load_json(opening * levels + middle + closing * levels)
    assert caught.value.kind is FailureKind.INVALID_REQUEST


@pytest.mark.parametrize("middle", [b"", b"1234567890123456789012", rb'"\ud83d"'])
def test_the_deepest_allowed_value_is_read_and_written(middle: bytes) -> None:
    data = b"[" * MAX_DEPTH + middle + b"]" * MAX_DEPTH
    assert load_json(dump_json(load_json(data))) == load_json(data)


def test_many_brackets_side_by_side_are_not_deep() -> None:
    assert len(load_json(b"[" + b"[[]]," * 5000 + b"{}]")) == 5001


def test_the_depth_limit_can_be_set() -> None:
    assert load_json(b"[[1]]", max_depth=2) == [[1]]
    with pytest.raises(Failure):
        load_json(b"[[[1]]]", max_depth=2)


def test_a_value_nested_too_deeply_is_not_written() -> None:
    value: list[Any] = []
    for _ in range(5000):
        value = [value]
    with pytest.raises(Failure):
        dump_json(value)


def test_text_is_read_like_bytes() -> None:
    assert load_json('{"é":1}') == {"é": 1}
    assert load_json('"\ud83d"') == "�"


@pytest.mark.parametrize(
    "text",
    [
        '{"id":"12345678901234567890","n":98765432109876543210}',
        r'{"quote\"12345678901234567890":98765432109876543210}',
        r'{"backslash\\":98765432109876543210,"a":"\\\\","b":"12345678901234567890"}',
        '["12345678901234567890", 98765432109876543210, "98765432109876543210"]',
        '{"id":"12345678901234567890","n":1}',
    ],
)
def test_long_numbers_are_exact_whatever_digits_stand_in_strings(text: str) -> None:
    assert load_json(text.encode()) == json.loads(text)
