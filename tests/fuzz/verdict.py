"""Sends one body through the proxy and says what is wrong with what came of it.

Right is: an error in OpenAI's shape with a status of the client's doing, or a reply as
the SDK reads it, for which the upstream took every body that it was sent. A refusal by
the Anthropic upstream is the proxy's mistake, unless the rule is about what the
client wrote in Anthropic's own words, or about a JSON schema that is none.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.api.http import Response, chat
from tests.fake_upstream import FakeUpstream
from tests.fake_upstream.schema_soundness import find_fault

_ANTHROPIC = "/anthropic/"

# Asked for by name, in Anthropic's own words: whether the model takes them is between the
# client and upstream. With each, the words by which upstream's sentence is known.
_NATIVE = {
    "thinking": "hinking|budget_tokens",
    "output_config": "output_config|effort|chema is too complex",
    "top_k": "top_k",
    "container": "container",
    "speed": "speed",
    "inference_geo": "inference_geo",
    "context_management": "context_management",
    "mcp_servers": "mcp_servers",
}


class WrongAnswer(AssertionError):
    """`signature` is the same for two inputs that show the same mistake."""

    def __init__(self, signature: str, detail: str) -> None:
        super().__init__(f"{signature}\n{detail}")
        self.signature = signature
        self.detail = detail


@dataclass(slots=True)
class Tally:
    """What was tried and what came of it."""

    tried: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    upstream_refusals: Counter[str] = field(default_factory=Counter)
    has_failed: bool = False

    def lines(self) -> Iterator[str]:
        yield f"{self.tried} inputs"
        for name, count in sorted(self.answers.items()):
            yield f"  {count:7}  {name}"
        if self.upstream_refusals:
            yield "refused by the Anthropic upstream under a rule of its own:"
        for name, count in self.upstream_refusals.most_common():
            yield f"  {count:7}  {name}"


def send(url: str, upstream: FakeUpstream, body: bytes, tally: Tally) -> None:
    """One exchange.

    Raises:
        WrongAnswer: the proxy broke a promise.
    """
    try:
        _send(url, upstream, body, tally)
    except WrongAnswer:
        tally.has_failed = True
        raise


def _send(url: str, upstream: FakeUpstream, body: bytes, tally: Tally) -> None:
    upstream.forget()
    answer = chat(url, body)
    tally.tried += 1
    seen = upstream.requests
    reached = "no upstream" if not seen else "Claude" if seen[-1].path.startswith(_ANTHROPIC) else "GPT"
    is_stream = answer.headers.get("content-type", "").startswith("text/event-stream")
    tally.answers[f"{answer.status} {reached}{', streamed' if is_stream else ''}"] += 1
    if "x-request-id" not in answer.headers:
        raise WrongAnswer("no x-request-id", str(answer.headers))
    if answer.status == 200:
        _check_reply(answer, is_stream, is_ours=reached == "Claude")
    elif not 400 <= answer.status < 500:
        raise WrongAnswer(f"status {answer.status}", answer.body.decode(errors="replace"))
    else:
        message = _read_error(answer)
        if reached == "Claude":
            asked = seen[-1].body.decode(errors="replace")
            tally.upstream_refusals[_judge_refusal(answer.status, message, asked, body)] += 1


def _read_error(answer: Response) -> str:
    try:
        return str(answer.error["message"])
    except (AssertionError, ValueError, KeyError) as error:
        raise WrongAnswer("not an error of OpenAI's shape", f"{error!r} in {answer.body!r}") from error


def _check_reply(answer: Response, is_stream: bool, *, is_ours: bool) -> None:
    """A relayed reply is the upstream's own: there the frames are looked at, not what they say."""
    try:
        if is_stream:
            _check_stream(answer.body, is_ours=is_ours)
        elif not is_ours:
            json.loads(answer.body)
        else:
            ChatCompletion.model_validate(json.loads(answer.body))
    except (AssertionError, ValueError) as error:
        raise WrongAnswer("a reply that the SDK would not read", f"{error} in {answer.body!r}") from error


def _check_stream(data: bytes, *, is_ours: bool) -> None:
    *frames, rest = data.decode().split("\n\n")
    assert rest == "", "the last frame is not whole"
    lines = [frame for frame in frames if not frame.startswith(":")]
    assert lines[-1:] == ["data: [DONE]"], "the stream has no [DONE]"
    for line in lines[:-1]:
        assert line.startswith("data: {"), line
        chunk = json.loads(line.removeprefix("data: "))
        if is_ours:
            ChatCompletionChunk.model_validate(chunk)


def _judge_refusal(status: int, message: str, sent: str, body: bytes) -> str:
    """Under which rule of its own upstream refused; a rule that the proxy could have kept is its mistake."""
    asked = json.loads(body)
    for name, words in _NATIVE.items():
        if asked.get(name) is not None and re.search(words, message):
            return f"{status} the client's own `{name}`"
    kinds = {str(tool.get("type")) for tool in asked.get("tools") or ()}
    if (found := re.match(r"tools\.\d+\.(\w+_\d{8})\.", message)) and found[1] in kinds:
        return f"{status} the client's own tool of Anthropic's"
    if "input_schema: JSON schema is invalid" in message and any(map(find_fault, _schemas(asked))):
        return f"{status} the client's own JSON schema is none"
    rule = re.sub(r"\d+", "N", re.sub(r"(['\"]).*?\1", "…", message))[:160]
    raise WrongAnswer(f"upstream refused: {status} {rule}", f"{message}\nbody sent upstream: {sent[:4000]}")


def _schemas(asked: dict[str, Any]) -> Iterator[Any]:
    for tool in [*(asked.get("tools") or ()), *(asked.get("functions") or ())]:
        function = tool.get("function", tool)
        yield function.get("parameters", function.get("input_schema", {}))
