"""`make golden`: the expectations of every golden case, as the product now makes them.

Owns what is written and nothing of what is right: reviewing the diff is the review. A
file whose meaning is the product's already is left alone, spelling and all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from api.services.translation.dialects.openai_chat.failures import encode_stream_failure
from api.services.translation.failures import Failure
from tests import golden_products as products
from tests.golden_cases import GOLDEN, GoldenCase, load_cases
from tests.translation.feeding import read_chunks, run_stream


def rewrite() -> list[Path]:
    """Write what differs; returns the files that changed."""
    changed: list[Path] = []
    for case in load_cases():
        for name, text in _differences(case):
            path = case.folder / name
            path.write_text(text, encoding="utf-8")
            changed.append(path)
    return changed


def _differences(case: GoldenCase) -> Iterator[tuple[str, str]]:
    match case.kind:
        case "chat_req":
            encoded = products.encoded_request(case)
            yield from _json(case, "upstream_request.json", encoded.body)
            yield from _ignored(case, encoded.ignored)
        case "oai_req":
            yield from _json(case, "upstream_request.json", products.relayed_request(case).body)
        case "chat_req_error":
            yield from _json(case, "reply.json", _refusal(case))
        case "chat_resp":
            yield from _json(case, "reply.json", products.reply(case))
        case "oai_resp":
            text = products.relayed_reply(case).decode()
            if not case.has("reply.json") or _compact(case.read_json("reply.json")) != text:
                yield "reply.json", text + "\n"
        case "chat_stream" | "oai_stream":
            output = _stream(case)
            if not case.has("stream.sse") or read_chunks(case.read_bytes("stream.sse")) != read_chunks(
                output
            ):
                yield "stream.sse", output.decode()
        case "chat_stream_error" | "oai_stream_error":
            stream = products.open_stream(case)
            run_stream(stream, case.read_bytes("upstream_stream.sse"))
            assert stream.failure is not None, f"{case}: the stream did not fail"
            yield from _json(case, "reply.json", products.answer_of(stream.failure, _given(case)))
        case "error" | "oai_error":
            failure = products.upstream_failure(case)
            yield from _json(case, "reply.json", products.answer_of(failure, _given(case)))
        case other:
            raise ValueError(f"{case}: no expectations are known for the kind {other!r}")


def _given(case: GoldenCase) -> dict[str, Any]:
    """The expectation so far, since it says which headers count."""
    given: dict[str, Any] = case.read_json("reply.json") if case.has("reply.json") else {"headers": {}}
    return given


def _refusal(case: GoldenCase) -> dict[str, Any]:
    failure: Failure | None = None
    try:
        products.encoded_request(case)
    except Failure as caught:
        failure = caught
    assert failure is not None, f"{case}: the request is not refused"
    error = {"type": failure.type, "param": failure.param, "code": failure.code}
    return {"status": failure.status, "error": error}


def _stream(case: GoldenCase) -> bytes:
    stream = products.open_stream(case)
    output = run_stream(stream, case.read_bytes("upstream_stream.sse"))
    return output if stream.failure is None else output + encode_stream_failure(stream.failure)


def _json(case: GoldenCase, name: str, value: Any) -> Iterator[tuple[str, str]]:
    if not case.has(name) or case.read_json(name) != value:
        yield name, json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _ignored(case: GoldenCase, names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if case.ignored is not None and sorted(case.ignored) == sorted(names):
        return
    text = (case.folder / "case.toml").read_text(encoding="utf-8")
    line = f"ignored = {json.dumps(sorted(names), ensure_ascii=False)}\n"
    if case.ignored is None:
        yield "case.toml", text + line
    else:
        yield "case.toml", re.sub(r"^ignored = \[[^\]]*\]\n", lambda _: line, text, flags=re.MULTILINE)


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def main() -> None:
    changed = rewrite()
    for path in changed:
        print(path.relative_to(GOLDEN.parent))
    print(f"{len(changed)} files of {len(load_cases())} cases changed")
