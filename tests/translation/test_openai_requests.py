"""A chat request is read strictly, in OpenAI's words, and nothing in it vanishes without a word."""

from __future__ import annotations

from typing import Any

import pytest

from api.services.translation.conversation import (
    CacheMark,
    ChatRequest,
    DocumentPart,
    Effort,
    FileReference,
    ImagePart,
    InlineData,
    NativePart,
    RemoteUrl,
    Role,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolChoice,
    ToolChoiceMode,
    ToolResultPart,
    Turn,
)
from api.services.translation.dialects.openai_chat.requests import check_relay, decode_request
from api.services.translation.failures import Failure
from api.services.translation.ignored import MAX_INVENTED

USER = {"role": "user", "content": "q"}
TOOL = {"type": "function", "function": {"name": "f"}}


def decode(**fields: Any) -> ChatRequest:
    return decode_request({"model": "m", "messages": [USER], **fields})


def decode_turn(message: dict[str, Any]) -> Turn:
    return decode(messages=[message]).turns[0]


def decode_part(part: dict[str, Any], role: str = "user") -> Any:
    (decoded,) = decode_turn({"role": role, "content": [part]}).parts
    return decoded


def refusal(**fields: Any) -> Failure:
    with pytest.raises(Failure) as caught:
        decode(**fields)
    assert caught.value.status == 400
    assert caught.value.type == "invalid_request_error"
    return caught.value


def calls(*ids: str) -> dict[str, Any]:
    return {
        "role": "assistant",
        "tool_calls": [
            {"id": name, "type": "function", "function": {"name": "f", "arguments": "{}"}} for name in ids
        ],
    }


WRONG: list[tuple[dict[str, Any], str, str | None]] = [
    # The top level.
    ({"model": None}, "model", "missing_required_parameter"),
    ({"model": 5}, "model", "invalid_type"),
    ({"messages": None}, "messages", "missing_required_parameter"),
    ({"messages": "q"}, "messages", "invalid_type"),
    ({"messages": []}, "messages", "empty_array"),
    ({"temperature": "1"}, "temperature", "invalid_type"),
    ({"temperature": True}, "temperature", "invalid_type"),
    ({"temperature": -0.1}, "temperature", "decimal_below_min_value"),
    ({"temperature": 2.1}, "temperature", "decimal_above_max_value"),
    ({"temperature": 10**400}, "temperature", "decimal_above_max_value"),
    ({"top_p": 1.1}, "top_p", "decimal_above_max_value"),
    ({"frequency_penalty": 3}, "frequency_penalty", "decimal_above_max_value"),
    ({"presence_penalty": -3}, "presence_penalty", "decimal_below_min_value"),
    ({"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
    ({"max_tokens": 1.5}, "max_tokens", "invalid_type"),
    ({"max_completion_tokens": "5"}, "max_completion_tokens", "invalid_type"),
    ({"n": 0}, "n", "integer_below_min_value"),
    ({"n": 2}, "n", "unsupported_value"),
    ({"n": "1"}, "n", "invalid_type"),
    ({"stream": "true"}, "stream", "invalid_type"),
    ({"stream_options": []}, "stream_options", "invalid_type"),
    ({"stream_options": {}}, "stream_options", None),
    (
        {"stream": True, "stream_options": {"include_usage": 1}},
        "stream_options.include_usage",
        "invalid_type",
    ),
    ({"stop": 5}, "stop", "invalid_type"),
    ({"stop": ["a", 5]}, "stop[1]", "invalid_type"),
    ({"logit_bias": []}, "logit_bias", "invalid_type"),
    ({"logprobs": 1}, "logprobs", "invalid_type"),
    ({"top_logprobs": 21}, "top_logprobs", "integer_above_max_value"),
    ({"seed": "7"}, "seed", "invalid_type"),
    ({"verbosity": "loud"}, "verbosity", "invalid_value"),
    ({"store": "yes"}, "store", "invalid_type"),
    ({"metadata": []}, "metadata", "invalid_type"),
    ({"user": 5}, "user", "invalid_type"),
    ({"reasoning_effort": "huge"}, "reasoning_effort", "invalid_value"),
    ({"reasoning_effort": 3}, "reasoning_effort", "invalid_type"),
    ({"service_tier": "gold"}, "service_tier", "invalid_value"),
    ({"modalities": ["audio"]}, "modalities", "unsupported_value"),
    ({"modalities": ["smell"]}, "modalities[0]", "invalid_value"),
    ({"modalities": "text"}, "modalities", "invalid_type"),
    ({"prompt_cache_options": {"mode": "x"}}, "prompt_cache_options.mode", "invalid_value"),
    ({"cache_control": {"type": "x"}}, "cache_control.type", "invalid_value"),
    ({"cache_control": {}}, "cache_control.type", "missing_required_parameter"),
    # Response format.
    ({"response_format": "json"}, "response_format", "invalid_type"),
    ({"response_format": {}}, "response_format.type", "missing_required_parameter"),
    ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
    (
        {"response_format": {"type": "json_schema"}},
        "response_format.json_schema",
        "missing_required_parameter",
    ),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "r"}}},
        "response_format.json_schema.schema",
        "missing_required_parameter",
    ),
    # Web search.
    (
        {"web_search_options": {"search_context_size": "x"}},
        "web_search_options.search_context_size",
        "invalid_value",
    ),
    (
        {"web_search_options": {"user_location": {"type": "approximate"}}},
        "web_search_options.user_location.approximate",
        "missing_required_parameter",
    ),
    (
        {"web_search_options": {"user_location": {"type": "approximate", "approximate": {"city": 5}}}},
        "web_search_options.user_location.approximate.city",
        "invalid_type",
    ),
    # Tools.
    ({"tools": {}}, "tools", "invalid_type"),
    ({"tools": ["f"]}, "tools[0]", "invalid_type"),
    ({"tools": [{"function": {"name": "f"}}]}, "tools[0].type", "missing_required_parameter"),
    ({"tools": [{"type": "magic"}]}, "tools[0].type", "invalid_value"),
    ({"tools": [{"type": "function", "name": "f"}]}, "tools[0].function", "missing_required_parameter"),
    (
        {"tools": [{"type": "function", "function": {}}]},
        "tools[0].function.name",
        "missing_required_parameter",
    ),
    ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools[0].function.name", None),
    ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name", None),
    ({"tools": [{"type": "function", "function": {"name": "f\n"}}]}, "tools[0].function.name", None),
    ({"tools": [{"type": "function", "function": {"name": "f" * 129}}]}, "tools[0].function.name", None),
    (
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]},
        "tools[0].function.parameters",
        "invalid_type",
    ),
    (
        {"tools": [{"type": "function", "function": {"name": "f", "strict": "yes"}}]},
        "tools[0].function.strict",
        "invalid_type",
    ),
    ({"tools": [TOOL, TOOL]}, "tools[1].function.name", None),
    (
        {"tools": [{"type": "custom", "custom": {"name": "c"}}], "stream": True},
        "tools[0].type",
        "unsupported_value",
    ),
    (
        {"tools": [{"type": "custom", "custom": {"name": "c", "format": {"type": "grammar"}}}]},
        "tools[0].custom.format.grammar",
        "missing_required_parameter",
    ),
    ({"tools": [{"type": "web_search_20250305"}]}, "tools[0].name", "missing_required_parameter"),
    ({"tools": [TOOL], "tool_choice": "any"}, "tool_choice", "invalid_value"),
    ({"tools": [TOOL], "tool_choice": 5}, "tool_choice", "invalid_type"),
    ({"tools": [TOOL], "tool_choice": {}}, "tool_choice.type", "missing_required_parameter"),
    (
        {"tools": [TOOL], "tool_choice": {"type": "function"}},
        "tool_choice.function",
        "missing_required_parameter",
    ),
    (
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}},
        "tool_choice",
        None,
    ),
    (
        {
            "tools": [TOOL],
            "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}},
        },
        "tool_choice.allowed_tools.tools",
        "empty_array",
    ),
    ({"tool_choice": "required"}, "tool_choice", None),
    ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice", None),
    ({"tools": [TOOL], "functions": [{"name": "f"}]}, "functions", None),
    ({"functions": [{"name": "f"}], "function_call": {"name": "g"}}, "function_call", None),
    ({"functions": [{"name": "f"}, {"name": "f"}]}, "functions[1].name", None),
    ({"functions": [{"name": "f"}], "function_call": "any"}, "function_call", "invalid_value"),
    ({"function_call": {"name": "f"}}, "function_call", None),
    ({"parallel_tool_calls": "no"}, "parallel_tool_calls", "invalid_type"),
]

WRONG_MESSAGES: list[tuple[list[Any], str, str | None]] = [
    (["q"], "messages[0]", "invalid_type"),
    ([{}], "messages[0].role", "missing_required_parameter"),
    ([{"role": 5}], "messages[0].role", "invalid_type"),
    ([USER, {"role": "robot"}], "messages[1].role", "invalid_value"),
    ([{"role": "user"}], "messages[0].content", "missing_required_parameter"),
    ([{"role": "user", "content": None}], "messages[0].content", "invalid_type"),
    ([{"role": "user", "content": []}], "messages[0].content", "empty_array"),
    ([{"role": "user", "content": ["q"]}], "messages[0].content[0]", "invalid_type"),
    ([{"role": "user", "content": [{}]}], "messages[0].content[0].type", "missing_required_parameter"),
    (
        [{"role": "user", "content": [{"type": "text"}]}],
        "messages[0].content[0].text",
        "missing_required_parameter",
    ),
    ([{"role": "user", "content": [{"type": "video_url"}]}], "messages[0].content[0].type", "invalid_value"),
    (
        [{"role": "user", "content": [{"type": "refusal", "refusal": "x"}]}],
        "messages[0].content[0].type",
        "invalid_value",
    ),
    (
        [{"role": "system", "content": [{"type": "image_url", "image_url": {"url": "https://e.com"}}]}],
        "messages[0].content[0].type",
        "invalid_value",
    ),
    (
        [{"role": "assistant", "content": [{"type": "image_url", "image_url": {"url": "https://e.com"}}]}],
        "messages[0].content[0].type",
        "invalid_value",
    ),
    ([{"role": "user", "content": "q", "name": 5}], "messages[0].name", "invalid_type"),
    ([{"role": "assistant", "content": 5}], "messages[0].content", "invalid_type"),
    ([{"role": "assistant", "tool_calls": {}}], "messages[0].tool_calls", "invalid_type"),
    (
        [{"role": "assistant", "tool_calls": [{"id": "", "type": "function", "function": {"name": "f"}}]}],
        "messages[0].tool_calls[0].id",
        None,
    ),
    (
        [{"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": {}}}]}],
        "messages[0].tool_calls[0].function.arguments",
        "invalid_type",
    ),
    (
        [{"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "a.b"}}]}],
        "messages[0].tool_calls[0].function.name",
        None,
    ),
    (
        [{"role": "assistant", "thinking_blocks": [{"type": "x"}]}],
        "messages[0].thinking_blocks[0].type",
        "invalid_value",
    ),
    ([{"role": "assistant", "audio": {"id": "a"}}], "messages[0].audio", None),
    ([{"role": "tool", "content": "r"}], "messages[0].tool_call_id", "missing_required_parameter"),
    ([{"role": "tool", "tool_call_id": "a"}], "messages[0].content", "missing_required_parameter"),
    ([{"role": "tool", "tool_call_id": "a", "content": 5}], "messages[0].content", "invalid_type"),
    ([USER, {"role": "function", "name": "f", "content": "r"}], "messages.[1].role", None),
    (
        [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "q", "cache_control": {"type": "ephemeral", "ttl": "9h"}}
                ],
            }
        ],
        "messages[0].content[0].cache_control.ttl",
        "invalid_value",
    ),
]


@pytest.mark.parametrize(("fields", "param", "code"), WRONG)
def test_a_wrong_parameter_is_named(fields: dict[str, Any], param: str, code: str | None) -> None:
    failure = refusal(**fields)
    assert (failure.param, failure.code) == (param, code)


@pytest.mark.parametrize(("messages", "param", "code"), WRONG_MESSAGES)
def test_a_wrong_message_is_named(messages: list[Any], param: str, code: str | None) -> None:
    failure = refusal(messages=messages)
    assert (failure.param, failure.code) == (param, code)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": None}, "Missing required parameter: 'model'."),
        (
            {"messages": [{"role": "user", "content": 5}]},
            "Invalid type for 'messages[0].content': expected one of a string or array of objects, "
            "but got an integer instead.",
        ),
        ({"verbosity": "x"}, "Invalid value: 'x'. Supported values are: 'low', 'medium', and 'high'."),
        (
            {"temperature": 3},
            "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 3 instead.",
        ),
        (
            {"messages": []},
            "Invalid 'messages': empty array. Expected an array with minimum length 1, "
            "but got an empty array instead.",
        ),
        ({"stream_options": {}}, "The 'stream_options' parameter is only allowed when 'stream' is enabled."),
        ({"tool_choice": "required"}, "'tool_choice' is only allowed when 'tools' are specified."),
    ],
)
def test_refusals_are_in_openai_s_words(fields: dict[str, Any], message: str) -> None:
    assert refusal(**fields).message == message


@pytest.mark.parametrize("body", [None, [], "x", 1])
def test_a_body_that_is_no_object_could_not_be_read(body: Any) -> None:
    for read in (decode_request, check_relay):
        with pytest.raises(Failure, match="We could not parse the JSON body of your request") as caught:
            read(body)
        assert (caught.value.status, caught.value.param, caught.value.code) == (400, None, None)


def test_null_is_absent() -> None:
    optional = [
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "stop",
        "stream",
        "stream_options",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "functions",
        "function_call",
        "response_format",
        "reasoning_effort",
        "verbosity",
        "user",
        "safety_identifier",
        "metadata",
        "n",
        "seed",
        "logprobs",
        "top_logprobs",
        "logit_bias",
        "frequency_penalty",
        "presence_penalty",
        "prediction",
        "modalities",
        "audio",
        "store",
        "service_tier",
        "web_search_options",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "moderation",
        "thinking",
        "output_config",
        "top_k",
        "cache_control",
        "container",
        "speed",
        "x_unknown",
    ]
    assert decode(**dict.fromkeys(optional)) == decode()


def test_a_value_that_says_nothing_is_not_reported() -> None:
    harmless = {
        "n": 1,
        "logprobs": False,
        "top_logprobs": 0,
        "store": False,
        "frequency_penalty": 0,
        "presence_penalty": 0.0,
        "logit_bias": {},
        "metadata": {},
        "verbosity": "medium",
        "modalities": ["text"],
        "stream": True,
        "stream_options": {"include_usage": True, "include_obfuscation": False},
        "response_format": {"type": "text"},
    }
    request = decode(**harmless)
    assert request.ignored == ()
    assert request.includes_usage


def test_what_is_dropped_is_reported_by_name() -> None:
    request = decode(
        stream=True,
        stream_options={"include_obfuscation": True},
        seed=0,
        store=True,
        x_unknown=False,
        betas=["a"],
        prediction={"type": "content"},
        messages=[
            {"role": "user", "name": "bob", "content": [{"type": "text", "text": "q", "x": 1}], "y": 1},
            {
                "role": "assistant",
                "content": "a",
                "reasoning_content": "hm",
                "audio": {"id": "a"},
                "annotations": [],
                "parsed": {},
                "tool_calls": [
                    {
                        "id": "a",
                        "function": {"name": "f", "parsed_arguments": {}, "w": 1},
                        "extra_content": {},
                    }
                ],
            },
        ],
        tools=[{**TOOL, "z": 1}],
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "r", "strict": True, "schema": {}, "description": "d"},
        },
    )
    assert set(request.ignored) == {
        "stream_options.include_obfuscation",
        "seed",
        "store",
        "x_unknown",
        "betas",
        "prediction",
        "messages.name",
        "messages.y",
        "messages.content.x",
        "messages.reasoning_content",
        "messages.audio",
        "messages.tool_calls.extra_content",
        "messages.tool_calls.function.w",
        "response_format.json_schema.description",
        "tools.z",
    }


def test_of_a_client_s_inventions_no_more_are_listed_than_a_reader_could_use() -> None:
    request = decode(**{f"x{number}": 1 for number in range(1000)}, seed=1)
    assert len(request.ignored) == MAX_INVENTED + 1
    assert "seed" in request.ignored


def test_native_fields_are_kept_in_the_client_s_order() -> None:
    request = decode(top_k=5, output_config={"effort": "low"}, thinking={"type": "adaptive"}, speed=None)
    assert list(request.extensions) == ["top_k", "output_config", "thinking"]
    assert request.ignored == ()


def test_the_client_s_own_words_are_remembered() -> None:
    assert decode(max_tokens=1).name_of("max_tokens") == "max_tokens"
    assert decode(max_tokens=1, max_completion_tokens=2).name_of("max_tokens") == "max_completion_tokens"
    assert decode(max_tokens=1, max_completion_tokens=2).max_tokens == 2
    assert decode(user="u").name_of("end_user") == "user"
    assert decode(safety_identifier="s", user="s").name_of("end_user") == "safety_identifier"
    assert decode(safety_identifier="s", user="u").ignored == ("user",)
    assert decode(reasoning_effort="low").name_of("effort") == "reasoning_effort"
    assert decode(functions=[{"name": "f"}]).name_of("tool_choice") == "function_call"
    assert decode(reasoning_effort="low").effort is Effort.LOW


def test_turns_keep_their_places() -> None:
    turns = decode(messages=[{"role": "developer", "content": "S"}, USER, calls("a")]).turns
    assert [(turn.role, turn.index) for turn in turns] == [
        (Role.SYSTEM, 0),
        (Role.USER, 1),
        (Role.ASSISTANT, 2),
    ]
    assert [turn.is_plain_text for turn in turns] == [True, True, False]


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("data:image/png;base64,aGk=", InlineData("image/png", "aGk=")),
        ("DATA:image/JPG;base64,aGk=", InlineData("image/jpeg", "aGk=")),
        ("data:image/png;name=a.png;base64,aGk", InlineData("image/png", "aGk=")),
        ("data:image/png;base64, a\nG k\r\n=", InlineData("image/png", "aGk=")),
        ("data:image/png;base64,aG%6B%3D", InlineData("image/png", "aGk=")),
        ("data:image/png;base64,_-_-", InlineData("image/png", "/+/+")),
        ("data:image/gif,hi%20", InlineData("image/gif", "aGkg")),
        ("https://example.com/a.png", RemoteUrl("https://example.com/a.png")),
        ("http://example.com/a.png", RemoteUrl("http://example.com/a.png")),
        ("file_1", FileReference("file_1")),
        ("file-1", FileReference("file-1")),
    ],
)
def test_an_image_comes_in_many_forms(url: str, source: object) -> None:
    part = decode_part({"type": "image_url", "image_url": {"url": url}})
    assert part == ImagePart(source, path="messages[0].content[0].image_url.url")  # type: ignore[arg-type]
    bare = decode_part({"type": "image_url", "image_url": url})
    assert bare == ImagePart(source, path="messages[0].content[0].image_url")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://e.com/a.png",
        "data:image/png",
        "data:image/png;base64,",
        "data:image/png;base64,aaaaa",
        "data:,",
        "x.png",
    ],
)
def test_an_image_that_is_none_is_refused(url: str) -> None:
    failure = refusal(
        messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]
    )
    assert (failure.param, failure.code) == ("messages[0].content[0].image_url.url", None)


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (
            {"file_data": "data:application/pdf;base64,JVBERi0="},
            (InlineData("application/pdf", "JVBERi0="), None, None),
        ),
        (
            {"file_data": "JVBERi0=", "filename": "a.PDF"},
            (InlineData("application/pdf", "JVBERi0="), None, "a.PDF"),
        ),
        ({"file_data": "JVBERi0="}, (InlineData("application/pdf", "JVBERi0="), None, None)),
        ({"file_data": "SGkh", "filename": "a.md"}, (None, "Hi!", "a.md")),
        ({"file_data": "data:text/csv;base64,SGkh"}, (None, "Hi!", None)),
        ({"file_data": "data:application/json;base64,e30="}, (None, "{}", None)),
        (
            {"file_data": "data:application/octet-stream;base64,SGkh", "filename": "a.py"},
            (None, "Hi!", "a.py"),
        ),
        ({"file_data": "77u/SGkh", "filename": "bom.txt"}, (None, "Hi!", "bom.txt")),
        ({"file_id": "file_1"}, (FileReference("file_1"), None, None)),
        (
            {"file_data": "UEsDBA==", "filename": "a.docx"},
            (InlineData("application/octet-stream", "UEsDBA=="), None, "a.docx"),
        ),
    ],
)
def test_a_file_is_what_its_type_its_name_or_its_first_bytes_say(
    file: dict[str, Any], expected: tuple[Any, Any, Any]
) -> None:
    part = decode_part({"type": "file", "file": file})
    assert isinstance(part, DocumentPart)
    assert (part.source, part.text, part.title) == expected


@pytest.mark.parametrize(
    ("file", "param"),
    [
        ({}, "messages[0].content[0].file"),
        ({"file_data": ""}, "messages[0].content[0].file.file_data"),
        ({"file_data": "/w==", "filename": "a.txt"}, "messages[0].content[0].file.file_data"),
        ({"file_data": "!!!!", "filename": "a.txt"}, "messages[0].content[0].file.file_data"),
        ({"file_data": 5}, "messages[0].content[0].file.file_data"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(file: dict[str, Any], param: str) -> None:
    assert refusal(messages=[{"role": "user", "content": [{"type": "file", "file": file}]}]).param == param


def test_a_mark_on_a_message_stands_on_its_last_part() -> None:
    mark = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    text = decode_turn({"role": "user", "content": "q", **mark})
    assert text.parts == (TextPart("q", cache=CacheMark("1h"), path="messages[0].content"),)
    call = decode_turn({**calls("a", "b"), **mark})
    assert [part.cache for part in call.parts if isinstance(part, ToolCallPart)] == [None, CacheMark("1h")]
    result = decode_turn({"role": "tool", "tool_call_id": "a", "content": "r", **mark})
    assert isinstance(result.parts[0], ToolResultPart)
    assert result.parts[0].cache == CacheMark("1h")


def test_a_mark_where_none_can_stand_is_reported() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    assert decode(messages=[{"role": "assistant", "content": None, **mark}]).ignored == (
        "messages.cache_control",
    )
    thought = {"type": "thinking", "thinking": "a", "signature": "s", **mark}
    assert decode(messages=[{"role": "assistant", "content": [thought]}]).ignored == (
        "messages.cache_control",
    )


def test_openai_s_breakpoints_inherit_the_lifetime_of_the_request() -> None:
    part = {"type": "text", "text": "q", "prompt_cache_breakpoint": {"mode": "explicit"}}
    messages = [{"role": "user", "content": [part]}]
    for options, ttl, automatic in [
        ({}, None, None),
        ({"mode": "explicit"}, None, False),
        ({"mode": "implicit", "ttl": "30m"}, "1h", True),
    ]:
        request = decode(messages=messages, prompt_cache_options=options)
        assert request.turns[0].parts[0].cache == CacheMark(ttl)  # type: ignore[union-attr]
        assert request.caches_automatically is automatic


def test_our_own_replies_are_taken_back() -> None:
    request = decode(
        messages=[
            USER,
            {
                "role": "assistant",
                "content": "x",
                "refusal": None,
                "annotations": [{"type": "url_citation"}],
                "reasoning_content": "hm",
                "thinking_blocks": [{"index": 0, "type": "thinking", "thinking": "hm", "signature": "S"}],
                "tool_calls": [
                    {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ],
                "function_call": None,
                "audio": None,
            },
            {"role": "tool", "tool_call_id": "a", "content": "r"},
        ]
    )
    assert request.ignored == ()
    assert request.turns[1].parts[0] == ThinkingPart("hm", "S")


def test_blocks_of_anthropic_s_api_pass_in_assistant_messages() -> None:
    search = {
        "type": "web_search_tool_result",
        "tool_use_id": "srv",
        "content": [{"type": "web_search_result", "url": "u", "title": "t", "encrypted_content": "e"}],
    }
    content = [
        {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {"query": "q"}},
        search,
        {"type": "tool_use", "id": "a", "name": "f", "input": {"n": 2**70}},
    ]
    parts = decode_turn({"role": "assistant", "content": content}).parts
    assert parts[0] == NativePart("anthropic_messages", content[0], path="messages[0].content[0]")
    assert parts[1] == NativePart("anthropic_messages", search, path="messages[0].content[1]")
    assert parts[2] == ToolCallPart("a", "f", f'{{"n":{2**70}}}', path="messages[0].content[2].input")


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", ToolChoice(ToolChoiceMode.AUTO)),
        ("none", ToolChoice(ToolChoiceMode.NONE)),
        ("required", ToolChoice(ToolChoiceMode.REQUIRED)),
        ({"type": "function", "function": {"name": "f"}}, ToolChoice(ToolChoiceMode.NAMED, name="f")),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": "f"}}],
                },
            },
            ToolChoice(ToolChoiceMode.REQUIRED, allowed=("f",)),
        ),
    ],
)
def test_every_tool_choice(choice: Any, expected: ToolChoice) -> None:
    assert decode(tools=[TOOL], tool_choice=choice).tool_choice == expected


def test_a_choice_among_no_tools_is_harmless_unless_it_forces() -> None:
    assert decode(tool_choice="auto").tool_choice is None
    assert decode(tool_choice="none").ignored == ()
    empty = decode(tools=[], tool_choice="required", parallel_tool_calls=False)
    assert empty.tool_choice is None
    assert empty.ignored == ("tool_choice",)


def test_legacy_calls_and_results_find_each_other() -> None:
    call = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    result = {"role": "function", "name": "f", "content": None}
    turns = decode(messages=[USER, call, result, call, result], functions=[{"name": "f"}]).turns
    ids = [
        part.id if isinstance(part, ToolCallPart) else part.call_id
        for turn in turns[1:]
        for part in turn.parts
    ]  # type: ignore[union-attr]
    assert ids == ["call_fn_1", "call_fn_1", "call_fn_3", "call_fn_3"]


def test_legacy_functions_allow_one_call_only() -> None:
    request = decode(functions=[{"name": "f"}])
    assert request.uses_legacy_functions
    assert request.is_parallel is False
    assert decode(functions=[], function_call="auto").tool_choice is None


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"stream": True},
        {"stream": False, "temperature": 0.5, "top_p": 1, "max_tokens": 7},
        {"stream": True, "stream_options": {"include_usage": True, "new": 1}},
        {"stream_options": None, "temperature": None, "max_tokens": None},
        {"temperature": 3},
        {"max_tokens": 0},
        {"stream": "yes"},
        {"stream_options": {}},
        {"messages": []},
    ],
)
def test_a_plain_request_is_read_like_any_other(more: dict[str, Any]) -> None:
    """`user` says nothing here, but takes the request out of the short way."""
    plain = {"model": "m", "messages": [{"role": "user", "content": "Hi", "x": 1}], **more}
    assert read_either_way(plain) == read_either_way({**plain, "user": None})


@pytest.mark.parametrize(
    "message",
    [
        *({"role": role, "content": "Hi"} for role in ("system", "developer", "user", "assistant")),
        *({"role": role, "content": ""} for role in ("system", "user", "assistant")),
        {"role": "user", "content": None},
        {"role": "assistant", "content": None},
        {"role": "tool", "content": "42"},
        {"role": "function", "content": "42"},
        {"role": "robot", "content": "Hi"},
        {"role": ["user"], "content": "Hi"},
        {"role": "user", "content": ["Hi"]},
        {"role": "user", "text": "Hi"},
        {"content": "Hi", "text": "Hi"},
        {},
        "Hi",
        None,
    ],
)
def test_a_plain_message_is_read_like_any_other(message: Any) -> None:
    """`cache_control` says nothing here, but takes the message out of the short way."""
    longer = {**message, "cache_control": None} if isinstance(message, dict) else message
    read = [
        read_either_way({"model": "m", "messages": [{"role": "user", "content": "Hi"}, last]})
        for last in (message, longer)
    ]
    assert read[0] == read[1]


def read_either_way(body: dict[str, Any]) -> Any:
    try:
        return decode_request(body)
    except Failure as failure:
        return failure.message, failure.param, failure.code
