"""Small oddities of an upstream change a relayed body, and nothing else."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from api.services.translation.dialects.openai_chat.requests import check_relay, relay_request
from api.services.translation.failures import Failure
from api.services.translation.ignored import Ignored
from api.services.translation.quirks import (
    NO_QUIRKS,
    DeveloperRole,
    InvalidQuirk,
    Quirks,
    TokenParam,
    apply_quirks,
    check_quirks,
    override_quirks,
)

USER = {"role": "user", "content": "q"}
MARK = {"cache_control": {"type": "ephemeral"}}
STRIPPING = Quirks(strips_extensions=True)


def relay(body: dict[str, Any], quirks: Quirks = NO_QUIRKS, *, wants_usage: bool = True) -> Any:
    before = copy.deepcopy(body)
    relayed = relay_request(
        {"model": "m", "messages": [USER], **body}, upstream_id="m", quirks=quirks, wants_usage=wants_usage
    )
    assert body == before
    return relayed


def rest(relayed: Any) -> dict[str, Any]:
    return {key: value for key, value in relayed.body.items() if key not in ("model", "messages")}


ALONE: dict[str, tuple[Quirks, dict[str, Any]]] = {
    "body": (STRIPPING, {"thinking": {"type": "disabled"}}),
    "message": (STRIPPING, {"messages": [USER, {**USER, "reasoning_content": "so"}]}),
    "part": (STRIPPING, {"messages": [USER, {"role": "user", "content": [{"type": "text", **MARK}]}]}),
    "tool": (STRIPPING, {"tools": [{"type": "function", "function": {"name": "f"}, **MARK}]}),
    "function": (STRIPPING, {"tools": [{"type": "function", "function": {"name": "f", **MARK}}]}),
    "options": (Quirks(sends_stream_options=False), {"stream_options": {}}),
    "limit": (Quirks(token_param=TokenParam.MAX_TOKENS), {"max_completion_tokens": 5}),
    "role": (Quirks(developer_role=DeveloperRole.SYSTEM), {"messages": [{**USER, "role": "developer"}]}),
}
"""Bodies with a single thing that a quirk is about: a look for the others must not miss it."""


@pytest.mark.parametrize("place", ALONE)
def test_one_oddity_is_found_wherever_it_is(place: str) -> None:
    quirks, fields = ALONE[place]
    body = {"model": "m", "messages": [USER], **fields}
    relayed = relay_request(body, upstream_id="m", quirks=quirks, wants_usage=True)
    assert relayed.body == apply_quirks(body, quirks, Ignored())
    assert relayed.body != body


def test_a_plain_request_is_passed_on_as_it_is() -> None:
    body = {"max_tokens": 1, "temperature": 1.0, "big": 2**70, "x": {"b": None, "a": [1]}, "stream": False}
    assert rest(relay(body)) == body


@pytest.mark.parametrize(
    ("sent", "wants_usage", "expected", "client_asked"),
    [
        ({"stream": True}, True, {"stream": True, "stream_options": {"include_usage": True}}, False),
        ({"stream": True}, False, {"stream": True}, False),
        (
            {"stream_options": {"include_usage": False, "x": 1}, "stream": True},
            True,
            {"stream_options": {"include_usage": True, "x": 1}, "stream": True},
            False,
        ),
        (
            {"stream": True, "stream_options": {"include_usage": True}},
            True,
            {"stream": True, "stream_options": {"include_usage": True}},
            True,
        ),
        (
            {"stream": True, "stream_options": None},
            True,
            {"stream": True, "stream_options": {"include_usage": True}},
            False,
        ),
        # Upstream's own 400 is the right answer to this one.
        (
            {"stream_options": {"include_usage": True}},
            True,
            {"stream_options": {"include_usage": True}},
            False,
        ),
        ({"stream": None}, True, {"stream": None}, False),
    ],
)
def test_usage_is_asked_of_every_stream(
    sent: dict[str, Any], wants_usage: bool, expected: dict[str, Any], client_asked: bool
) -> None:
    relayed = relay(sent, wants_usage=wants_usage)
    assert rest(relayed) == expected
    assert list(rest(relayed)) == list(expected)
    assert relayed.client_asked_usage is client_asked
    assert relayed.ignored == ()


def test_an_upstream_without_stream_options_gets_none() -> None:
    quirks = Quirks(sends_stream_options=False)
    assert rest(relay({"stream": True}, quirks)) == {"stream": True}
    relayed = relay({"stream": True, "stream_options": {"include_usage": True}}, quirks)
    assert rest(relayed) == {"stream": True}
    assert relayed.client_asked_usage
    assert relayed.ignored == ("stream_options",)


@pytest.mark.parametrize(
    ("sent", "wanted", "expected"),
    [
        ({"max_tokens": 5, "n": 1}, TokenParam.MAX_COMPLETION_TOKENS, {"max_completion_tokens": 5, "n": 1}),
        ({"max_completion_tokens": 5, "n": 1}, TokenParam.MAX_TOKENS, {"max_tokens": 5, "n": 1}),
        ({"max_tokens": 5}, TokenParam.MAX_TOKENS, {"max_tokens": 5}),
        (
            {"max_tokens": 5, "n": 1, "max_completion_tokens": 6},
            TokenParam.MAX_TOKENS,
            {"max_tokens": 6, "n": 1},
        ),
        (
            {"max_tokens": 5, "max_completion_tokens": None},
            TokenParam.MAX_COMPLETION_TOKENS,
            {"max_completion_tokens": 5},
        ),
        ({"n": 1}, TokenParam.MAX_TOKENS, {"n": 1}),
        (
            {"max_tokens": 5, "max_completion_tokens": 6},
            TokenParam.AS_IS,
            {"max_tokens": 5, "max_completion_tokens": 6},
        ),
    ],
)
def test_the_token_limit_gets_the_name_that_upstream_knows(
    sent: dict[str, Any], wanted: TokenParam, expected: dict[str, Any]
) -> None:
    relayed = relay(sent, Quirks(token_param=wanted))
    assert list(rest(relayed).items()) == list(expected.items())


def test_a_developer_becomes_system_where_upstream_knows_no_other() -> None:
    developer = {"role": "developer", "content": "S", "x": 1}
    body = {"messages": [developer, USER]}
    relayed = relay(body, Quirks(developer_role=DeveloperRole.SYSTEM))
    assert relayed.body["messages"] == [{"role": "system", "content": "S", "x": 1}, USER]
    assert relay(body).body["messages"] == [developer, USER]


def test_extensions_are_stripped_and_reported_where_upstream_does_not_know_them() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    body = {
        "thinking": {"type": "adaptive"},
        "cache_control": None,
        "x_future": 1,
        "messages": [
            {
                "role": "user",
                "content": [{"type": "text", "text": "q", **mark}, {"type": "text", "text": "r"}],
                **mark,
            },
            {"role": "assistant", "content": "a", "reasoning_content": "hm", "thinking_blocks": None},
        ],
        "tools": [{"type": "function", "function": {"name": "f", **mark}, **mark}, "odd"],
    }
    relayed = relay(body, Quirks(strips_extensions=True))
    assert relayed.body == {
        "model": "m",
        "x_future": 1,
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "q"}, {"type": "text", "text": "r"}]},
            {"role": "assistant", "content": "a"},
        ],
        "tools": [{"type": "function", "function": {"name": "f"}}, "odd"],
    }
    assert set(relayed.ignored) == {
        "thinking",
        "messages.cache_control",
        "messages.content.cache_control",
        "messages.reasoning_content",
        "tools.cache_control",
        "tools.function.cache_control",
    }
    assert relay(body).body == {"model": "m", **body}


def test_a_model_is_renamed_only_where_it_must_be() -> None:
    body = {"messages": [USER], "model": "fast", "a": 1}
    relayed = relay_request(body, upstream_id="gpt-5-mini", quirks=NO_QUIRKS, wants_usage=True)
    assert list(relayed.body.items()) == [("messages", [USER]), ("model", "gpt-5-mini"), ("a", 1)]


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"messages": [USER]}, "model", "missing_required_parameter"),
        ({"model": None, "messages": [USER]}, "model", "missing_required_parameter"),
        ({"model": 1, "messages": [USER]}, "model", "invalid_type"),
        ({"model": "", "messages": [USER]}, "model", None),
        ({"model": "m"}, "messages", "missing_required_parameter"),
        ({"model": "m", "messages": {}}, "messages", "invalid_type"),
        ({"model": "m", "messages": []}, "messages", "empty_array"),
        ({"model": "m", "messages": [USER, "x"]}, "messages[1]", "invalid_type"),
        ({"model": "m", "messages": [USER], "stream": "yes"}, "stream", "invalid_type"),
        ({"model": "m", "messages": [USER], "stream": 1}, "stream", "invalid_type"),
        ({"model": "m", "messages": [USER], "stream_options": []}, "stream_options", "invalid_type"),
    ],
)
def test_what_we_read_ourselves_must_be_right(body: dict[str, Any], param: str, code: str | None) -> None:
    with pytest.raises(Failure) as caught:
        check_relay(body)
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, code)


def test_everything_else_is_for_upstream_to_judge() -> None:
    check_relay(
        {"model": "m", "messages": [{"role": "robot"}], "temperature": 99, "tools": "x", "stream": None}
    )


def test_quirks_of_an_operator() -> None:
    mapping = {"token_param": "max_tokens", "sends_stream_options": False}
    assert check_quirks(mapping) == []
    assert override_quirks(Quirks(strips_extensions=True), mapping) == Quirks(
        token_param=TokenParam.MAX_TOKENS, sends_stream_options=False, strips_extensions=True
    )
    assert override_quirks(NO_QUIRKS, {}) is NO_QUIRKS


@pytest.mark.parametrize(
    "mapping",
    [
        {"unknown": 1},
        {"token_param": "tokens"},
        {"token_param": None},
        {"sends_stream_options": "no"},
        {"developer_role": []},
    ],
)
def test_a_wrong_quirk_is_told_to_the_operator(mapping: dict[str, Any]) -> None:
    assert len(check_quirks(mapping)) == 1
    with pytest.raises(InvalidQuirk, match=next(iter(mapping))):
        override_quirks(NO_QUIRKS, mapping)
