"""Whatever goes wrong: one status, one JSON body in OpenAI's shape, no hang, no traceback, no secret."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.http import BEARER, Response, chat, request, say
from tests.fake_upstream import (
    Cut,
    Disconnecting,
    FakeUpstream,
    Garbage,
    Html,
    Json,
    Redirect,
    Reply,
    Stall,
)
from tests.live_server import LiveServer

CHAT = "/api/v1/chat/completions"
BOTH = pytest.mark.parametrize("model", ["gpt-4o-mini", "claude-sonnet-4"])


def post(server: LiveServer, body: bytes | Any, **headers: str) -> Response:
    return request(server.url, CHAT, method="POST", body=body, headers={**BEARER, **headers})


@pytest.mark.parametrize(
    "body",
    [b"", b"x", b"{", b'{"model":', b"\xff\xfe", b"[]", b'"x"', b"null", b"1", b'{"a":NaN}', b"[" * 100_000],
    ids=lambda body: repr(body[:12]),
)
def test_what_is_not_a_json_object_is_a_400(server: LiveServer, body: bytes) -> None:
    answer = post(server, body)
    assert answer.status == 400
    assert answer.error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"messages": [{"role": "user", "content": "x"}]}, "model", "missing_required_parameter"),
        ({"model": "gpt-4o"}, "messages", "missing_required_parameter"),
        ({"model": 7, "messages": [{"role": "user", "content": "x"}]}, "model", "invalid_type"),
        ({"model": "gpt-4o", "messages": "x"}, "messages", "invalid_type"),
        ({"model": "gpt-4o", "messages": []}, "messages", "empty_array"),
        (
            {"model": "claude-sonnet-4", "messages": [{"role": "user", "content": 7}]},
            "messages[0].content",
            "invalid_type",
        ),
        (say("claude-sonnet-4", temperature=3), "temperature", "decimal_above_max_value"),
        (say("claude-sonnet-4", n=2), "n", "unsupported_value"),
        (say("claude-sonnet-4", max_tokens=0), "max_tokens", "integer_below_min_value"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str) else None,
)
def test_a_wrong_field_is_named(server: LiveServer, body: Any, param: str, code: str) -> None:
    answer = chat(server.url, body)
    assert answer.status == 400
    assert (answer.error["param"], answer.error["code"]) == (param, code)


def test_a_body_under_any_content_type_is_read_as_json(server: LiveServer) -> None:
    body = json.dumps(say("gpt-4o-mini")).encode()
    for content_type in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
    ):
        assert post(server, body, **{"content-type": content_type}).status == 200


def test_an_unknown_model_is_a_404_with_what_was_likely_meant(server: LiveServer) -> None:
    answer = chat(server.url, say("gpt-4o-mni"))
    assert answer.status == 404
    assert answer.error["code"] == "model_not_found"
    assert "`gpt-4o-mini`" in answer.error["message"]


@pytest.mark.parametrize(
    "name", ["", " ", "x" * 100_000, "a\r\nx-injected: 1", "\x00", "\ud83d", "モデル", "../../etc/passwd"]
)
def test_no_model_name_breaks_anything(server: LiveServer, name: str) -> None:
    answer = chat(server.url, say(name))
    assert answer.status in {400, 404}
    assert answer.error["type"] == "invalid_request_error"
    assert "x-injected" not in answer.headers
    assert len(answer.body) < 2000


@pytest.mark.parametrize(
    "path", ["/api/v1/x", "/v1/x", "/api/", "/v1", "/api/v2/models", "/v1/chat/completions/x", "/api/v1/%00"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_a_path_that_leads_nowhere_is_a_404(server: LiveServer, path: str, method: str) -> None:
    answer = request(server.url, path, method=method)
    assert answer.status == 404
    assert answer.error["type"] == "invalid_request_error"
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", CHAT, "POST"), ("DELETE", "/api/v1/models", "GET, HEAD"), ("PUT", "/healthz", "GET, HEAD")],
)
def test_a_wrong_method_is_a_405(server: LiveServer, method: str, path: str, allowed: str) -> None:
    answer = request(server.url, path, method=method, headers=BEARER)
    assert answer.status == 405
    assert answer.headers["allow"] == allowed
    assert answer.error["type"] == "invalid_request_error"


def test_an_oversized_body_is_a_413(shared_upstream: FakeUpstream) -> None:
    with LiveServer({"MAX_REQUEST_BYTES": "2000", "DEMO": "on"}) as server:
        answer = chat(server.url, say("demo", "x" * 3000))
        assert answer.status == 413
        assert "MAX_REQUEST_BYTES" in answer.error["message"]
        assert chat(server.url, say("demo", "x" * 1000)).status == 200


def test_a_model_without_a_key_says_what_to_set(keyless_server: LiveServer) -> None:
    for model, variable in (("gpt-4o", "OPENAI_API_KEY"), ("claude-sonnet-4", "ANTHROPIC_API_KEY")):
        for stream in (False, True):
            answer = chat(keyless_server.url, say(model, stream=stream))
            assert answer.status == 503
            assert answer.error["code"] == "provider_not_configured"
            assert variable in answer.error["message"]
            assert "/admin/" in answer.error["message"]
            assert answer.headers["x-should-retry"] == "false"


@BOTH
@pytest.mark.parametrize("stream", [False, True])
def test_an_upstream_that_refuses_our_key_is_the_operator_s_problem(
    server: LiveServer, upstream: FakeUpstream, model: str, stream: bool
) -> None:
    provider = "anthropic" if model.startswith("claude") else "openai"
    for status, code in ((401, "upstream_authentication_error"), (403, "upstream_permission_error")):
        upstream.script(
            Json(
                status,
                {
                    "error": {
                        "message": f"Incorrect API key provided: test-{provider}-key-do-not-leak",
                        "type": "x",
                    }
                },
            )
        )
        answer = chat(server.url, say(model, stream=stream))
        assert answer.status == 502
        assert answer.error["code"] == code
        assert b"do-not-leak" not in answer.body
        assert answer.headers["x-should-retry"] == "false"


@BOTH
@pytest.mark.parametrize("stream", [False, True])
def test_an_upstream_s_rate_limit_keeps_its_retry_after(
    server: LiveServer, upstream: FakeUpstream, model: str, stream: bool
) -> None:
    error: dict[str, Any] = {"error": {"type": "rate_limit_error", "message": "Slow down."}}
    if model.startswith("claude"):
        error["type"] = "error"
    upstream.script(Json(429, error, {"retry-after": "7", "x-request-id": "up_1", "request-id": "up_1"}))
    answer = chat(server.url, say(model, stream=stream))
    assert answer.status == 429
    assert answer.error["message"] == "Slow down."
    assert answer.headers["retry-after"] == "7"
    assert answer.headers["x-upstream-request-id"] == "up_1"


@BOTH
@pytest.mark.parametrize(
    ("behaviour", "status", "codes"),
    [
        (Html(502), 502, {"upstream_unavailable"}),
        (Html(413), 413, {"request_too_large"}),
        (Garbage(), 502, {"upstream_invalid_response", "upstream_unavailable"}),
        (Disconnecting(), 502, {"upstream_unavailable"}),
        (Disconnecting() + Cut(0, reset=True), 502, {"upstream_unavailable"}),
        (
            Reply(200, {"content-type": "application/json"}, b"<html>ok</html>"),
            502,
            {"upstream_invalid_response"},
        ),
        (Reply(200, {"content-type": "application/json"}, b""), 502, {"upstream_invalid_response"}),
        (Json(200, []), 502, {"upstream_invalid_response"}),
        (
            Json(529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
            503,
            {"overloaded"},
        ),
        (Redirect("http://127.0.0.1:9/elsewhere"), 502, {"upstream_invalid_response"}),
    ],
    ids=["html", "html-413", "garbage", "closed", "reset", "not-json", "empty", "list", "529", "redirect"],
)
def test_every_upstream_failure_has_its_status(
    server: LiveServer, upstream: FakeUpstream, model: str, behaviour: Any, status: int, codes: set[str]
) -> None:
    upstream.always(behaviour)
    answer = chat(server.url, say(model))
    assert answer.status == status, answer.body
    assert answer.error["code"] in codes
    assert b"127.0.0.1" not in answer.body


def test_a_refused_connection_is_a_502(server: LiveServer, upstream: FakeUpstream) -> None:
    with upstream.refuse_connections():
        upstream.close_connections()
        answer = chat(server.url, say("gpt-4o-mini"))
    assert answer.status == 502
    assert answer.error["code"] == "upstream_unavailable"


@BOTH
@pytest.mark.parametrize(
    ("where", "stream", "code"),
    [
        ("headers", False, "upstream_headers_timeout"),
        ("headers", True, "upstream_headers_timeout"),
        ("body", False, "upstream_total_timeout"),
        ("body", True, "upstream_first_token_timeout"),
    ],
)
def test_each_time_limit_is_a_504_with_its_own_code(
    hasty_server: LiveServer, upstream: FakeUpstream, model: str, where: Any, stream: bool, code: str
) -> None:
    from tests.fake_upstream import Answer

    upstream.always(Answer() + Stall(where, 5))
    body = say(model, stream=stream)
    if stream and where == "body":
        # The keep-alive opens the stream before the limit is reached: the failure is its last line.
        answer = chat(hasty_server.url, body)
        assert answer.status == 200
        last = answer.body.strip().split(b"\n\n")[-1]
        assert json.loads(last.removeprefix(b"data: "))["error"]["code"] == code
        assert b"[DONE]" not in answer.body
        return
    answer = chat(hasty_server.url, body)
    assert answer.status == 504
    assert answer.error["code"] == code


@pytest.mark.parametrize("path", ["/api/v1/models", CHAT, "/api/v1/none", "/healthz"])
def test_every_response_carries_a_request_id(server: LiveServer, path: str) -> None:
    own = request(server.url, path).headers["x-request-id"]
    assert own.startswith("req_")
    assert request(server.url, path, headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
    assert (
        request(server.url, path, headers={"x-request-id": "a b" * 99})
        .headers["x-request-id"]
        .startswith("req_")
    )


def test_the_upstream_s_request_id_is_logged_beside_ours(server: LiveServer, upstream: FakeUpstream) -> None:
    upstream.script(Json(500, {"error": {"message": "boom"}}, {"x-request-id": "up_42"}))
    answer = chat(server.url, say("gpt-4o-mini"), headers={"x-request-id": "ours-42"})
    assert answer.status == 500
    line = next(line for line in server.log().splitlines() if "ours-42" in line)
    assert "up_42" in line


def test_an_upstream_id_that_is_none_is_not_passed_on(server: LiveServer, upstream: FakeUpstream) -> None:
    for wrong in ("test-openai-key-do-not-leak", "a b", "x" * 200):
        for status in (200, 500):
            upstream.script(Json(status, {"error": {"message": "boom"}}, {"x-request-id": wrong}))
            answer = chat(server.url, say("gpt-4o-mini"))
            assert "x-upstream-request-id" not in answer.headers
    assert "do-not-leak" not in server.log()


def test_no_secret_and_no_prompt_is_logged(server: LiveServer) -> None:
    chat(server.url, say("claude-sonnet-4", "a very private thought"))
    chat(server.url, say("gpt-4o-mini", "a very private thought", temperature="x"))
    assert "do-not-leak" not in server.log()
    assert "a very private thought" not in server.log()
    assert "any-token" not in server.log()
