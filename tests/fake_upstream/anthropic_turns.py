"""What Anthropic refuses about the order of things: turns, tool pairs, thinking blocks, prefill."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Any

from tests.fake_upstream.anthropic_blocks import check_block
from tests.fake_upstream.anthropic_fields import Field, check_fields, string
from tests.fake_upstream.anthropic_models import Capabilities
from tests.fake_upstream.rejection import Rejected
from tests.fake_upstream.signatures import Signatures, prefix_of

_ID = "^[a-zA-Z0-9_-]+$"
_ONLY_ASSISTANT = ("tool_use", "thinking", "redacted_thinking", "server_tool_use")
_ONLY_USER = ("tool_result", "image", "search_result", "container_upload")
_MESSAGE = {"role": string(required=True), "content": Field(("string", "list"), required=True)}


@dataclass(slots=True)
class _Turn:
    """Neighbouring messages of one role, which the API reads as one turn."""

    role: str
    blocks: list[tuple[str, dict[str, Any]]]
    """With the path of each."""


def check_turns(body: dict[str, Any], row: Capabilities, *, version: str, has_files: bool) -> None:
    messages = body["messages"]
    if not messages:
        raise Rejected("messages: at least one message is required")
    for index, message in enumerate(messages):
        _check_message(message, index, is_last=index == len(messages) - 1, has_files=has_files)
        _check_role(messages, index, row, version=version)
    turns = _merged(messages)
    if turns[0].role != "user":
        raise Rejected('messages: first message must use the "user" role')
    _check_pairs(turns)
    _check_ids_unique(turns)
    if row.needs_tools_for_history and not body.get("tools"):
        kinds = {block["type"] for turn in turns for _, block in turn.blocks}
        if kinds & {"tool_use", "tool_result"}:
            raise Rejected("Requests which include `tool_use` or `tool_result` blocks must define tools")
    _check_final(turns[-1], row)
    _check_thinking_first(turns, body.get("thinking") or {})


def _check_message(message: Any, index: int, *, is_last: bool, has_files: bool) -> None:
    path = f"messages.{index}"
    check_fields(message, _MESSAGE, path)
    content, role = message["content"], message["role"]
    if role not in ("user", "assistant", "system"):
        raise Rejected(f"{path}.role: Input should be 'user' or 'assistant'")
    if not content and not (is_last and role == "assistant"):
        raise Rejected(
            f"{path}: all messages must have non-empty content except for the optional final assistant message"
        )
    if isinstance(content, str):
        if content and not content.strip():
            raise Rejected("messages: text content blocks must contain non-whitespace text")
        return
    for number, block in enumerate(content):
        here = f"{path}.content.{number}"
        kind = check_block(block, here, has_files=has_files)
        if role == "system" and kind != "text":
            raise Rejected(f"{here}: only text blocks are permitted in `system` messages")
        if role == "user" and kind in _ONLY_ASSISTANT:
            raise Rejected(f"{here}: `{kind}` blocks can only be in `assistant` messages")
        if role == "assistant" and kind in _ONLY_USER:
            raise Rejected(f"{here}: `{kind}` blocks can only be in `user` messages")
        for name in ("id", "tool_use_id"):
            if name in block and not re.fullmatch(_ID, block[name]):
                raise Rejected(f"{here}.{kind}.{name}: String should match pattern '{_ID}'")
        if kind == "tool_use" and not re.fullmatch(r"[a-zA-Z0-9_-]{1,200}", block["name"]):
            raise Rejected(f"{here}.tool_use.name: String should match pattern '^[a-zA-Z0-9_-]{{1,200}}$'")


def _check_role(messages: list[Any], index: int, row: Capabilities, *, version: str) -> None:
    message = messages[index]
    if message["role"] == "system":
        if not row.takes_system_turns:
            raise Rejected("role 'system' is not supported on this model")
        following = messages[index + 1]["role"] if index + 1 < len(messages) else "assistant"
        if index == 0 or messages[index - 1]["role"] != "user" or following != "assistant":
            raise Rejected(
                f"messages.{index}: a `system` message must come directly after a `user` message and before an "
                "`assistant` message or the end"
            )
    if version >= "2026-10-21" and isinstance(message["content"], list):
        for number, block in enumerate(message["content"]):
            here = f"messages.{index}.content.{number}"
            if message["role"] == "assistant" and block["type"] == "document":
                raise Rejected(f"{here}: `document` blocks can only be in `user` messages")
            if message["role"] == "user" and block["type"] == "text" and block.get("citations"):
                raise Rejected(f"{here}.text.citations: citations are not permitted in `user` messages")


def _merged(messages: list[dict[str, Any]]) -> list[_Turn]:
    turns: list[_Turn] = []
    for index, message in enumerate(messages):
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        placed = [(f"messages.{index}.content.{number}", block) for number, block in enumerate(blocks)]
        role = message["role"]
        if turns and turns[-1].role == role:
            turns[-1].blocks += placed
        else:
            turns.append(_Turn(role, placed))
    return turns


def _check_pairs(turns: list[_Turn]) -> None:
    """Every call is answered first thing in the next turn, once; nothing else is answered."""
    for index, turn in enumerate(turns):
        previous = turns[index - 1] if index else _Turn("", [])
        called = [block["id"] for _, block in previous.blocks if block["type"] == "tool_use"]
        answered: list[str] = []
        leading: set[str] = set()
        is_leading = True
        for path, block in turn.blocks:
            if block["type"] != "tool_result":
                is_leading = False
                continue
            wanted = block["tool_use_id"]
            if wanted not in called:
                raise Rejected(
                    f"{path}: unexpected `tool_use_id` found in `tool_result` blocks: {wanted}. Each `tool_result` "
                    "block must have a corresponding `tool_use` block in the previous message."
                )
            if wanted in answered:
                raise Rejected(
                    f"{path}: each tool_use must have a single result. Found multiple `tool_result` blocks "
                    f"with id: {wanted}"
                )
            answered.append(wanted)
            if is_leading:
                leading.add(wanted)
        _refuse_unanswered([entry for entry in called if entry not in leading], index)
    open_calls = [block["id"] for _, block in turns[-1].blocks if block["type"] == "tool_use"]
    _refuse_unanswered(open_calls, len(turns))


def _refuse_unanswered(ids: list[str], index: int) -> None:
    if ids:
        raise Rejected(
            f"messages.{index - 1}: `tool_use` ids were found without `tool_result` blocks immediately after: "
            f"{', '.join(ids)}. Each `tool_use` block must have a corresponding `tool_result` block in the next "
            "message."
        )


def _check_ids_unique(turns: list[_Turn]) -> None:
    seen: set[str] = set()
    for turn in turns:
        for path, block in turn.blocks:
            if block["type"] == "tool_use":
                if block["id"] in seen:
                    raise Rejected(f"{path}: `tool_use` ids must be unique")
                seen.add(block["id"])


def _check_final(turn: _Turn, row: Capabilities) -> None:
    if turn.role != "assistant":
        return
    if not row.takes_prefill:
        raise Rejected(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )
    last = turn.blocks[-1][1] if turn.blocks else {}
    if last.get("type") == "text" and last["text"] != last["text"].rstrip():
        raise Rejected("messages: final assistant content cannot end with trailing whitespace")


def _check_thinking_first(turns: list[_Turn], thinking: dict[str, Any]) -> None:
    """With a thinking budget, the assistant turn that the model continues has to begin with its thoughts."""
    if thinking.get("type") != "enabled":
        return
    continued = turns[-1] if turns[-1].role == "assistant" else None
    if any(block["type"] == "tool_result" for _, block in turns[-1].blocks):
        continued = turns[-2]
    if continued is None or not continued.blocks:
        return
    path, first = continued.blocks[0]
    if first["type"] not in ("thinking", "redacted_thinking"):
        raise Rejected(
            f"{path}.type: Expected `thinking` or `redacted_thinking`, but found `{first['type']}`. When `thinking` "
            "is enabled, a final `assistant` message must start with a thinking block (preceeding the lastmost set "
            "of `tool_use` and `tool_result` blocks)."
        )


def check_signatures(body: dict[str, Any], row: Capabilities, signatures: Signatures) -> None:
    """Thinking blocks are those that were issued, unchanged and, in the latest turn, in their order."""
    messages = body["messages"]
    assistants = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    for index in assistants:
        if isinstance(messages[index]["content"], str):
            continue
        prefix = prefix_of(body, messages[:index])
        runs: list[tuple[str, int]] = []
        for number, block in enumerate(messages[index]["content"]):
            kind = block["type"]
            if kind not in ("thinking", "redacted_thinking"):
                continue
            shown = block["thinking"] if kind == "thinking" else ""
            sealed = block["signature"] if kind == "thinking" else block["data"]
            verdict = signatures.verify(shown, sealed, model=body["model"], prefix=prefix)
            path = f"messages.{index}.content.{number}"
            if not verdict.is_genuine or (row.binds_prefix and not verdict.holds_here):
                what = "`signature` in `thinking`" if kind == "thinking" else "`data` in `redacted_thinking`"
                raise Rejected(f"{path}: Invalid {what} block")
            runs.append((verdict.turn, verdict.position))
        if index == assistants[-1] and not _is_run(runs):
            raise Rejected(
                f"messages.{index}.content: `thinking` or `redacted_thinking` blocks in the latest assistant "
                "message cannot be modified. These blocks must remain as they were in the original response."
            )


def _is_run(blocks: list[tuple[str, int]]) -> bool:
    """Within each reply's blocks: the original order, without a gap."""
    return all(
        turn != next_turn or following == position + 1
        for (turn, position), (next_turn, following) in itertools.pairwise(blocks)
    )
