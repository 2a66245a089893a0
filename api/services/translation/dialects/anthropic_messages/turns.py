"""The conversation as Anthropic takes it: one system text, turns that alternate, calls with results.

Owns the repair of turns: neighbours merge, results stand first and in the order of their
calls, ids are unique and of the right alphabet, the first turn is a user's. Every repair
that changes what the client wrote is noted as ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from api.services.translation.capabilities import Thinking
from api.services.translation.conversation import (
    ChatRequest,
    JsonObject,
    RedactedThinkingPart,
    Role,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    Turn,
)
from api.services.translation.dialects.anthropic_messages.blocks import (
    encode_block,
    encode_tool_result,
    encode_tool_use,
)
from api.services.translation.dialects.anthropic_messages.system import SystemText
from api.services.translation.dialects.anthropic_messages.target import Target
from api.services.translation.failures import Failure, FailureKind
from api.services.translation.ignored import Ignored

PLACEHOLDER: Final = "(continued)"
NO_RESULT: Final = "[no result]"

_ORPHAN: Final = "messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."
_UNANSWERED: Final = (
    "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
    "'tool_call_id'. (No tool message for: {names}.)"
)
_NO_PREFILL: Final = (
    "This model does not support assistant message prefill. The conversation must end with a user message."
)
_NO_TURN: Final = (
    "Invalid 'messages': at least one message with a role other than system/developer is required."
)
_NO_CONTENT: Final = "Invalid 'messages': there is no user message with content."

_ID: Final = re.compile(r"[a-zA-Z0-9_-]+\Z")
_NOT_IN_ID: Final = re.compile(r"[^a-zA-Z0-9_-]")
_THINKING: Final = ("thinking", "redacted_thinking")


@dataclass(slots=True)
class Conversation:
    """Turns on the wire. `lost_thinking`: the latest assistant turn calls tools without its thoughts."""

    messages: list[JsonObject]
    has_tool_blocks: bool = False
    is_prefill: bool = False
    lost_thinking: bool = False


class _Run:
    """Neighbouring turns of one side, which become one message."""

    __slots__ = ("after", "blocks", "calls", "results", "role", "text")

    def __init__(self, role: str) -> None:
        self.role = role
        self.blocks: list[JsonObject] = []
        self.text: str | None = None
        """The whole content, as long as it is one plain string."""
        self.calls: list[tuple[str, JsonObject]] = []
        self.results: list[tuple[ToolResultPart, JsonObject, int]] = []
        self.after = SystemText()
        """System messages that follow it in place."""

    def add(self, blocks: list[JsonObject], plain_text: str | None = None) -> None:
        is_first = not self.blocks and not self.results
        self.blocks += blocks
        self.text = plain_text if is_first else None

    @property
    def content(self) -> str | list[JsonObject]:
        return self.blocks if self.text is None else self.text


def encode_turns(
    request: ChatRequest, target: Target, system: SystemText, ignored: Ignored, betas: dict[str, None]
) -> Conversation:
    """The messages of a request; its system texts go to `system`."""
    plain = encode_plain_turns(request.turns)
    if plain is None:
        return _Encoder(target, system, ignored, betas).encode(request.turns)
    instructions, messages = plain
    for text in instructions:
        system.add_text(text)
    return Conversation(messages)


def encode_plain_turns(turns: tuple[Turn, ...]) -> tuple[list[str], list[JsonObject]] | None:
    """System texts and messages of turns that need no repair, as most do not: texts that take turns.

    None where there is more to look at.
    """
    instructions: list[str] = []
    messages: list[JsonObject] = []
    is_user_next = True
    for turn in turns:
        part = turn.parts[0] if turn.is_plain_text else None
        if not isinstance(part, TextPart) or part.cache is not None:
            return None
        text = part.text
        if not text or text.isspace():
            return None
        if turn.role is Role.SYSTEM and not messages:
            instructions.append(text)
        elif turn.role is (Role.USER if is_user_next else Role.ASSISTANT):
            messages.append({"role": "user" if is_user_next else "assistant", "content": text})
            is_user_next = not is_user_next
        else:
            return None
    return None if is_user_next else (instructions, messages)


class _Encoder:
    def __init__(self, target: Target, system: SystemText, ignored: Ignored, betas: dict[str, None]) -> None:
        self._target = target
        self._inlines_system = target.inlines_system and target.capabilities.takes_system_turns
        self._system = system
        self._held = SystemText()
        """Inline system messages that wait for the user's turn after which they may stand."""
        self._ignored = ignored
        self._betas = betas
        self._runs: list[_Run] = []
        self._used_ids: set[str] = set()
        self._next_number: dict[str, int] = {}

    def encode(self, turns: tuple[Turn, ...]) -> Conversation:
        for turn in turns:
            match turn.role:
                case Role.SYSTEM:
                    self._add_system(turn)
                case Role.USER:
                    self._add_user(turn)
                case Role.TOOL:
                    self._add_results(turn)
                case Role.ASSISTANT:
                    self._add_assistant(turn)
        self._check_sides(turns)
        self._pair()
        is_prefill = self._end()
        self._system.extend(self._held)
        messages: list[JsonObject] = []
        for run in self._runs:
            messages.append({"role": run.role, "content": run.content})
            after = run.after.encode()
            if after is not None:
                messages.append({"role": "system", "content": after})
        return Conversation(
            messages,
            has_tool_blocks=any(run.calls or run.results for run in self._runs),
            is_prefill=is_prefill,
            lost_thinking=self._has_lost_thinking(),
        )

    def _run(self, role: str) -> _Run:
        if not self._runs or self._runs[-1].role != role:
            self._runs.append(_Run(role))
            if role == "user" and self._held:
                self._runs[-1].after.extend(self._held)
                self._held = SystemText()
                self._ignored.add("messages")
        elif self._runs[-1].after:
            # Only after the whole of the user's turn may a system message stand.
            self._ignored.add("messages")
        return self._runs[-1]

    def _add_system(self, turn: Turn) -> None:
        place = self._system
        if self._inlines_system and self._runs:
            place = self._runs[-1].after if self._runs[-1].role == "user" else self._held
        place.add(turn)

    def _add_user(self, turn: Turn) -> None:
        blocks: list[JsonObject] = []
        for part in turn.parts:
            block = encode_block(part, self._betas)
            if block is None:
                self._ignored.add("messages.content")
            else:
                blocks.append(block)
        if blocks:
            self._run("user").add(blocks, _plain_text(turn))

    def _add_results(self, turn: Turn) -> None:
        run = self._run("user")
        if run.blocks:
            self._ignored.add("messages")
        for part in turn.parts:
            if isinstance(part, ToolResultPart):
                run.results.append((part, encode_tool_result(part, self._betas), turn.index))
                run.text = None

    def _add_assistant(self, turn: Turn) -> None:
        blocks: list[JsonObject] = []
        calls: list[tuple[str, JsonObject]] = []
        for part in turn.parts:
            block: JsonObject | None
            if isinstance(part, ToolCallPart):
                block = encode_tool_use(part, self._unique_id(part.id))
                calls.append((part.id, block))
            elif isinstance(part, ThinkingPart | RedactedThinkingPart) and not self._takes_thinking:
                self._ignored.add("messages.thinking_blocks")
                continue
            else:
                block = encode_block(part, self._betas)
            if block is None:
                self._ignored.add("messages.content")
            else:
                blocks.append(block)
        # "The final block in an assistant message cannot be `thinking`."
        while blocks and blocks[-1]["type"] in _THINKING:
            blocks.pop()
            self._ignored.add("messages.thinking_blocks")
        if blocks:
            run = self._run("assistant")
            run.add(blocks, _plain_text(turn))
            run.calls += calls

    @property
    def _takes_thinking(self) -> bool:
        return self._target.capabilities.thinking is not Thinking.NONE

    def _unique_id(self, call_id: str) -> str:
        """The id as upstream takes it: its alphabet, and never twice in one conversation."""
        wire_id = call_id if _ID.match(call_id) else _NOT_IN_ID.sub("_", call_id)
        candidate = wire_id
        while candidate in self._used_ids:
            number = self._next_number.get(wire_id, 2)
            self._next_number[wire_id] = number + 1
            candidate = f"{wire_id}_{number}"
        if candidate != call_id:
            self._ignored.add("messages.tool_calls.id")
        self._used_ids.add(candidate)
        return candidate

    def _check_sides(self, turns: tuple[Turn, ...]) -> None:
        if all(turn.role is Role.SYSTEM for turn in turns):
            raise Failure(FailureKind.INVALID_REQUEST, _NO_TURN, param="messages")
        had_user = any(turn.role in (Role.USER, Role.TOOL) for turn in turns)
        if not self._runs or (had_user and all(run.role == "assistant" for run in self._runs)):
            raise Failure(FailureKind.INVALID_REQUEST, _NO_CONTENT, param="messages")
        if self._runs[0].role == "assistant":
            self._runs.insert(0, _Run("user"))
            self._runs[0].text = PLACEHOLDER
            self._ignored.add("messages")

    def _pair(self) -> None:
        """Give each result the id of its call, and put the results first, in the order of the calls."""
        before: _Run | None = None
        for run in list(self._runs):
            if run.role == "user":
                self._answer(before.calls if before else [], run)
            before = run
        if before is not None and before.role == "assistant" and before.calls:
            added = _Run("user")
            self._answer(before.calls, added)
            self._runs.append(added)

    def _answer(self, calls: list[tuple[str, JsonObject]], run: _Run) -> None:
        if not calls and not run.results:
            return
        # Calls of one turn may share an id: then the results answer them one after the other.
        answers: list[JsonObject | None] = [None] * len(calls)
        waiting: dict[str, list[int]] = {}
        for place, (call_id, _) in reversed(list(enumerate(calls))):
            waiting.setdefault(call_id, []).append(place)
        for part, result, message_index in run.results:
            places = waiting.get(part.call_id)
            if not places:
                raise Failure(FailureKind.INVALID_REQUEST, _ORPHAN, param=f"messages.[{message_index}].role")
            if len(places) > 1 and answers[places[-1]] is not None:
                places.pop()
            if answers[places[-1]] is not None:
                self._ignored.add("messages")
            answers[places[-1]] = result
        unanswered = [calls[place][0] for place, answer in enumerate(answers) if answer is None]
        if unanswered and not self._target.repairs_turns:
            names = ", ".join(call_id[:100] for call_id in unanswered)
            raise Failure(FailureKind.INVALID_REQUEST, _UNANSWERED.format(names=names), param="messages")
        if unanswered:
            self._ignored.add("messages")
        results: list[JsonObject] = []
        for (_, call), answer in zip(calls, answers, strict=True):
            result = answer or {
                "type": "tool_result",
                "tool_use_id": "",
                "content": NO_RESULT,
                "is_error": True,
            }
            result["tool_use_id"] = call["id"]
            results.append(result)
        run.blocks[:0] = results
        run.text = None

    def _end(self) -> bool:
        """Whether the conversation ends with the assistant's words, to be continued."""
        last = self._runs[-1]
        if last.role == "user":
            return False
        if not self._target.capabilities.takes_prefill:
            raise Failure(FailureKind.UNSUPPORTED_VALUE, _NO_PREFILL, param="messages")
        final = last.blocks[-1]
        if final["type"] == "text" and final["text"] != final["text"].rstrip():
            final["text"] = final["text"].rstrip()
            last.text = final["text"] if last.text is not None else None
            self._ignored.add("messages")
        return True

    def _has_lost_thinking(self) -> bool:
        for run in reversed(self._runs):
            if run.role == "assistant":
                return bool(run.calls) and run.blocks[0]["type"] not in _THINKING
        return False


def _plain_text(turn: Turn) -> str | None:
    """The turn's text where it came as a string and can go as one."""
    first = turn.parts[0]
    if turn.is_plain_text and isinstance(first, TextPart) and first.cache is None:
        return first.text
    return None
