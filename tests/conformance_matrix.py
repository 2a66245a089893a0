"""`make matrix`: writes docs/translation.md from the golden cases.

The prose stands in `conformance_matrix.md` beside this module. `{{name}}` in it becomes a
table made of the cases and of the product's own functions, `[[topic]]` the links to the
cases that show a topic. A topic that no case shows, a case whose topic stands nowhere and
a parameter without a note are mistakes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, get_args

from anthropic.types import StopReason
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
)

from api.services.translation import capabilities
from api.services.translation.dialects.anthropic_messages.requests import encode_request
from api.services.translation.dialects.openai_chat.requests import decode_request
from tests import conformance_evidence as evidence
from tests.golden_cases import GoldenCase, load_cases
from tests.golden_products import target_for

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "translation.md"
TEMPLATE: Final = Path(__file__).with_suffix(".md")

NOTES: Final[Mapping[str, str]] = {
    "audio": "No audio comes back from Claude.",
    "frequency_penalty": "No counterpart.",
    "function_call": "The older spelling of `tool_choice`.",
    "functions": "The older spelling of `tools`; the reply keeps the older shape too, with one call at most.",
    "logit_bias": "Token ids belong to one tokenizer.",
    "logprobs": "The reply has `logprobs: null`.",
    "max_completion_tokens": "Beats `max_tokens`. Above what the model can do it is lowered, and reported.",
    "max_tokens": "As `max_completion_tokens`. Without either: the model's default, else all that it can do.",
    "messages": "See below. Repairs that change nothing of what was said are made, and reported.",
    "metadata": "Never sent: Anthropic's own `metadata` is something else.",
    "modalities": "Text only; `audio` would change the reply's shape.",
    "model": "A model or alias that the operator has set up; its upstream id goes out.",
    "moderation": "A service of OpenAI's.",
    "n": "One choice. More would change the reply's shape.",
    "parallel_tool_calls": "`false` becomes `disable_parallel_tool_use`; without tools there is nothing to say.",
    "prediction": "A hint for speed.",
    "presence_penalty": "No counterpart.",
    "prompt_cache_key": "A hint for OpenAI's routing.",
    "prompt_cache_options": "Its lifetime goes to the breakpoints that name none.",
    "prompt_cache_retention": "No counterpart: a lifetime belongs to each breakpoint.",
    "reasoning_effort": "Becomes thinking and effort by model generation: see below.",
    "response_format": "Structured outputs where the model has them, else an instruction, which is reported.",
    "safety_identifier": "Becomes `metadata.user_id`; beats `user`.",
    "seed": "No counterpart; `system_fingerprint` is null.",
    "service_tier": "`default` becomes `standard_only`; `auto`, `priority` and `scale` become `auto`; the others are ignored.",
    "stop": "Blank sequences are left out, and reported.",
    "store": "Nothing is stored.",
    "stream": "Each event goes out as it comes in.",
    "stream_options": "`include_usage` is answered here; there is no padding to include.",
    "temperature": "Above 1 becomes 1. Left out, and reported, where the model or its thinking takes none.",
    "tool_choice": "See below. A forced choice that the model does not take becomes a free one, and is reported.",
    "tools": "See below.",
    "top_logprobs": "As `logprobs`.",
    "top_p": "Left out, and reported, where the model or its thinking takes none, or `temperature` is there.",
    "user": "Becomes `metadata.user_id`, unless it looks like an address or a telephone number.",
    "verbosity": "No counterpart.",
    "web_search_options": "Becomes Anthropic's web search tool.",
}

_RELAY_CHANGES: Final = {
    "model": "the upstream's own id",
    "stream_options": "usage is asked for, and taken out again",
}


def parameters() -> list[str]:
    """Every parameter of OpenAI's request type."""
    return sorted(
        CompletionCreateParamsNonStreaming.__annotations__.keys()
        | CompletionCreateParamsStreaming.__annotations__.keys()
    )


def generate() -> str:
    """The whole page.

    Raises:
        ValueError: the template and the cases do not fit together.
    """
    template = TEMPLATE.read_text(encoding="utf-8")
    topics = evidence.topics()
    used = set(re.findall(r"\[\[([^\]]+)\]\]", template))
    named = {topic for case in load_cases() for topic in case.covers}
    if missing := sorted(used - topics.keys()):
        raise ValueError(f"no case shows {missing}")
    if forgotten := sorted(named - used - set(parameters())):
        raise ValueError(f"the page has no place for {forgotten}")
    page = re.sub(r"\[\[([^\]]+)\]\]", lambda found: links(topics[found[1]]), template)
    return re.sub(r"\{\{(\w+)\}\}", lambda found: _TABLES[found[1]](), page)


def links(cases: Iterable[GoldenCase], count: int = 3, *, topic: str = "") -> str:
    """A few of the cases: those that cover the topic by name, then the simplest."""
    return " ".join(map(link, evidence.simplest(cases, count, topic)))


def link(case: GoldenCase) -> str:
    return f"[{_label(case)}](../{case.folder.relative_to(ROOT).as_posix()})"


def _label(case: GoldenCase) -> str:
    """The case's id, where it has it for itself."""
    is_alone = sum(case.id == other.id for other in load_cases()) == 1
    return case.id if is_alone else case.name


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _parameter_table() -> str:
    found, relayed = evidence.parameter_evidence(), evidence.relayed_parameters()
    rows = []
    for name in parameters():
        relay = "as it is" if relayed[name] else _RELAY_CHANGES[name]
        rows.append([f"`{name}`", relay, _claude_cell(name, found[name]), NOTES[name]])
    return _table(["Parameter", "OpenAI", "Claude", "Note"], rows)


def _claude_cell(name: str, shown: evidence.ParameterEvidence) -> str:
    parts = []
    if shown.mapped:
        parts.append(f"**mapped** {links(shown.mapped, 2, topic=name)}")
    if shown.ignored or shown.partly_ignored:
        words = "ignored, reported" if not shown.mapped else "changed or in part ignored, reported"
        parts.append(f"**{words}** {links([*shown.ignored, *shown.partly_ignored], topic=name)}")
    if shown.refused:
        words = "refused (400)" if not shown.mapped else "refused (400) where wrong or impossible"
        parts.append(f"**{words}** {links(shown.refused, topic=name)}")
    if not parts:
        raise ValueError(f"no case shows what becomes of {name!r}")
    return " · ".join(parts)


def _effort_table() -> str:
    """Asked of the encoder itself: models that answer alike share a row."""
    groups: dict[tuple[str, ...], list[str]] = {}
    # The table of the product is the list of models; it is private to keep code from asking by name.
    for model in capabilities._MODELS:
        groups.setdefault(tuple(_reasoning(model, effort) for effort in _EFFORTS), []).append(model)
    rows = [
        ["<br>".join(f"`{model.removeprefix('claude-')}`" for model in models), *cells]
        for cells, models in groups.items()
    ]
    return _table(["claude-…", *(f"`{effort}`" for effort in _EFFORTS)], rows)


_EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def _reasoning(model: str, effort: str) -> str:
    request = decode_request(
        {"model": model, "messages": [{"role": "user", "content": "q"}], "reasoning_effort": effort}
    )
    encoded = encode_request(request, target_for(model))
    thinking: dict[str, Any] = encoded.body.get("thinking", {})
    parts = []
    if thinking.get("type") == "enabled":
        parts.append(f"budget {thinking['budget_tokens']}")
    elif thinking:
        parts.append(f"`{thinking['type']}`")
    if level := encoded.body.get("output_config", {}).get("effort"):
        parts.append(f"effort `{level}`")
    if "reasoning_effort" in encoded.ignored:
        parts.append("*reported*")
    return ", ".join(parts) or "–"


def _stop_table() -> str:
    known = get_args(StopReason)
    rows = [
        [f"`{stop}`" if stop in known else "any other", f"`{finish}`", links(cases)]
        for (stop, finish), cases in sorted(evidence.stop_reasons().items())
    ]
    return _table(["Anthropic's `stop_reason`", "`finish_reason`", "Cases"], rows)


def _error_table(kind: str) -> str:
    rows = []
    for case in load_cases(kind):
        given, made = case.read_json("upstream_error.json"), case.read_json("reply.json")
        error = made["body"]["error"]
        code = _code(error["code"])
        rows.append(
            [
                str(given["status"]),
                _error_type(given["body"]),
                str(made["status"]),
                _code(error["type"]),
                code,
                _text(case.title),
                link(case),
            ]
        )
    rows.sort()
    return _table(["Upstream", "its type", "Client", "`type`", "`code`", "", "Case"], rows)


def _error_type(body: Any) -> str:
    error = body.get("error") if isinstance(body, dict) else None
    return _code(error.get("type") if isinstance(error, dict) else None)


def _code(word: str | None) -> str:
    return f"`{word}`" if word else "–"


def _refusal_table() -> str:
    rows = []
    for case in load_cases("chat_req_error"):
        error = case.read_json("reply.json")["error"]
        code = _code(error["code"])
        rows.append([f"`{error['param']}`", code, _text(case.title), link(case)])
    return _table(["`param`", "`code`", "What is wrong", "Case"], sorted(rows))


def _ignored_table() -> str:
    """Reported names that are no parameters themselves: parts of one, and Anthropic's own."""
    found: dict[str, list[GoldenCase]] = {}
    for case in load_cases("chat_req"):
        for name in case.ignored or ():
            if name not in NOTES:
                found.setdefault(name, []).append(case)
    rows = [[f"`{name}`", links(cases)] for name, cases in sorted(found.items())]
    return _table(["Reported as", "Cases"], rows)


def _bug_table() -> str:
    rows = [
        [
            f"[{_bug_name(address)}]({address})",
            "<br>".join(_text(case.title) for case in cases),
            "<br>".join(map(link, cases)),
        ]
        for address, cases in sorted(evidence.bugs().items(), key=lambda item: _bug_order(item[0]))
    ]
    return _table(["Bug", "What holds here", "Case"], rows)


def _bug_name(address: str) -> str:
    found = re.fullmatch(
        r"https://github\.com/([\w.-]+/[\w.-]+)(?:/(?:issues|pull|discussions)/(\d+))?", address
    )
    if found is None:
        raise ValueError(f"not the address of a bug: {address}")
    return found[1] if found[2] is None else f"{found[1]}#{found[2]}"


def _bug_order(address: str) -> tuple[str, int]:
    repository, _, number = _bug_name(address).partition("#")
    return repository.lower(), int(number or 0)


def _text(title: str) -> str:
    return title.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _counts() -> str:
    return str(len(load_cases()))


_TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "parameters": _parameter_table,
    "efforts": _effort_table,
    "stop_reasons": _stop_table,
    "claude_errors": lambda: _error_table("error"),
    "openai_errors": lambda: _error_table("oai_error"),
    "refusals": _refusal_table,
    "ignored": _ignored_table,
    "bugs": _bug_table,
    "count": _counts,
}


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("usage: python -m tests.conformance_matrix --write")
    PAGE.write_text(generate(), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {len(parameters())} parameters, {len(load_cases())} cases")
