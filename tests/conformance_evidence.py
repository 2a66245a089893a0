"""What the golden cases show, by topic: read from the cases' own files, and from their `covers`.

Owns which case is linked for what; says nothing about how the page looks.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.golden_cases import GoldenCase, load_cases

CLAUDE = "anthropic_messages"
EVERY_PARAMETER = "E.1"
"""The relayed request that has them all."""


@dataclass(slots=True)
class ParameterEvidence:
    """Which cases show what becomes of one parameter on its way to Claude."""

    mapped: list[GoldenCase] = field(default_factory=list)
    ignored: list[GoldenCase] = field(default_factory=list)
    partly_ignored: list[GoldenCase] = field(default_factory=list)
    """Of these, something inside the parameter."""
    refused: list[GoldenCase] = field(default_factory=list)


def simplest(cases: Iterable[GoldenCase], count: int, topic: str = "") -> list[GoldenCase]:
    """Those that name the topic, then those that show least besides."""
    return sorted(
        dict.fromkeys(cases), key=lambda case: (topic not in case.covers, _weight(case), case.name)
    )[:count]


def _weight(case: GoldenCase) -> tuple[int, int]:
    """How much there is to read: parameters first, then bytes."""
    if case.has("request.json"):
        return len(case.read_json("request.json")), len(case.read_bytes("request.json"))
    sizes = (len(case.read_bytes(path.name)) for path in case.folder.glob("upstream_*"))
    return 0, sum(sizes)


def parameter_evidence() -> Mapping[str, ParameterEvidence]:
    """For Claude. A case shows a parameter that its request has, or that its refusal names."""
    found: defaultdict[str, ParameterEvidence] = defaultdict(ParameterEvidence)
    for case in load_cases("chat_req"):
        reported = case.ignored or ()
        for name, value in case.read_json("request.json").items():
            if value is None:
                continue
            evidence = found[name]
            if name in reported:
                evidence.ignored.append(case)
                continue
            evidence.mapped.append(case)
            if any(entry.startswith(f"{name}.") for entry in reported):
                evidence.partly_ignored.append(case)
    for case in load_cases("chat_req_error"):
        param = case.read_json("reply.json")["error"]["param"]
        found[_root(param)].refused.append(case)
    return found


def relayed_parameters() -> Mapping[str, bool]:
    """Whether a relay leaves a parameter as the client sent it."""
    case = next(case for case in load_cases("oai_req") if case.id == EVERY_PARAMETER)
    asked, sent = case.read_json("request.json"), case.read_json("upstream_request.json")
    return {name: sent.get(name) == value for name, value in asked.items()}


def _root(param: str) -> str:
    return param.split(".")[0].split("[")[0]


def topics() -> Mapping[str, list[GoldenCase]]:
    """Topic -> the cases that show it. Topics with a colon were read from the files, the others are `covers`."""
    found: defaultdict[str, list[GoldenCase]] = defaultdict(list)
    for case in load_cases():
        for topic in dict.fromkeys((*case.covers, *_shown(case))):
            found[topic].append(case)
    return found


def _shown(case: GoldenCase) -> Iterator[str]:
    if case.upstream != CLAUDE:
        return
    if case.has("request.json"):
        yield from _shown_by_request(case.read_json("request.json"))
    if case.has("upstream_reply.json"):
        yield from (f"block:{block['type']}" for block in case.read_json("upstream_reply.json")["content"])
    if case.has("upstream_stream.sse"):
        for event in events_of(case):
            yield f"event:{event_name(event)}"


def _shown_by_request(body: dict[str, Any]) -> Iterator[str]:
    choice = body.get("tool_choice")
    if choice is not None:
        yield f"tool_choice:{choice if isinstance(choice, str) else choice['type']}"
    if body.get("response_format"):
        yield f"response_format:{body['response_format']['type']}"
    for message in body.get("messages") or ():
        yield f"role:{message.get('role')}"
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            if isinstance(part, dict):
                yield f"part:{part.get('type')}"


def events_of(case: GoldenCase) -> Iterator[dict[str, Any]]:
    """The upstream's events that can be read at all."""
    for line in case.read_bytes("upstream_stream.sse").decode().splitlines():
        try:
            event = json.loads(line.removeprefix("data:")) if line.startswith("data:") else None
        except ValueError:
            event = None
        if isinstance(event, dict) and isinstance(event.get("type"), str):
            yield event


def event_name(event: dict[str, Any]) -> str:
    """With the type of the delta that it carries; a block's start with the type of the block."""
    inner = event.get("content_block") or (
        event.get("delta") if event["type"] == "content_block_delta" else None
    )
    return (
        f"{event['type']} {inner['type']}" if isinstance(inner, dict) and "type" in inner else event["type"]
    )


def stop_reasons() -> Mapping[tuple[str, str], list[GoldenCase]]:
    """(stop reason, finish reason) -> cases."""
    found: defaultdict[tuple[str, str], list[GoldenCase]] = defaultdict(list)
    for case in load_cases("chat_resp"):
        given, made = case.read_json("upstream_reply.json"), case.read_json("reply.json")
        found[str(given["stop_reason"]), made["choices"][0]["finish_reason"]].append(case)
    return found


def bugs() -> Mapping[str, list[GoldenCase]]:
    """Address of a bug elsewhere -> the cases that are about it."""
    found: defaultdict[str, list[GoldenCase]] = defaultdict(list)
    for case in load_cases():
        for address in (case.source, *case.also):
            if address:
                found[address].append(case)
    return found
