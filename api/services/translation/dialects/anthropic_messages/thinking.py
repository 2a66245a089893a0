"""How hard a model thinks, and the sampling that goes with it.

Owns the table from an effort to each generation's way of asking for thought, and which
of `temperature`, `top_p` and `top_k` a model takes while it thinks or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from api.services.translation.capabilities import EFFORTS, Capabilities, Sampling, Thinking
from api.services.translation.conversation import ChatRequest, Effort, JsonObject
from api.services.translation.ignored import Ignored

MIN_BUDGET: Final = 1024

_BUDGETS: Final = {
    Effort.MINIMAL: 1024,
    Effort.LOW: 2048,
    Effort.MEDIUM: 8192,
    Effort.HIGH: 24576,
    Effort.XHIGH: 32768,
    Effort.MAX: 32768,
}


@dataclass(frozen=True, slots=True)
class Reasoning:
    """`thinking` and `output_config.effort`, each None where nothing is sent."""

    thinking: JsonObject | None = None
    effort: str | None = None

    @property
    def is_on(self) -> bool:
        return self.thinking is not None and self.thinking["type"] in ("enabled", "adaptive")

    @property
    def is_manual(self) -> bool:
        return self.thinking is not None and self.thinking["type"] == "enabled"


NO_REASONING: Final = Reasoning()


def encode_effort(
    request: ChatRequest, capabilities: Capabilities, max_tokens: int, ignored: Ignored
) -> Reasoning:
    """What an effort means to a model. Without one, nothing is sent: the model's own default holds."""
    effort = request.effort
    if effort is None:
        return NO_REASONING
    if effort is Effort.NONE:
        return _encode_none(request, capabilities, ignored)
    match capabilities.thinking:
        case Thinking.NONE:
            ignored.add(request.name_of("effort"))
            return NO_REASONING
        case Thinking.BUDGET:
            budget = fit_budget(_BUDGETS[effort], max_tokens)
            if budget is None:
                ignored.add(request.name_of("effort"))
                return NO_REASONING
            return Reasoning({"type": "enabled", "budget_tokens": budget})
        case _:
            thinking: JsonObject = {"type": "adaptive"}
            if capabilities.hides_thinking:
                thinking["display"] = "summarized"
            return Reasoning(thinking, _nearest_level(request, effort, capabilities, ignored))


def fit_budget(budget: int, max_tokens: int) -> int | None:
    """A budget that leaves room for an answer, or None where there is none for both."""
    if max_tokens <= MIN_BUDGET:
        return None
    return max(MIN_BUDGET, min(budget, int(max_tokens * 0.8)))


def fit_explicit(thinking: JsonObject, max_tokens: int, ignored: Ignored) -> Reasoning:
    """The client's own `thinking`, its budget below a limit that may be lower than the client thought."""
    if thinking["type"] != "enabled" or thinking["budget_tokens"] < max_tokens:
        return Reasoning(thinking)
    ignored.add("thinking")
    budget = fit_budget(thinking["budget_tokens"], max_tokens)
    return NO_REASONING if budget is None else Reasoning({**thinking, "budget_tokens": budget})


def _encode_none(request: ChatRequest, capabilities: Capabilities, ignored: Ignored) -> Reasoning:
    match capabilities.thinking:
        case Thinking.DEFAULT_ON:
            return Reasoning({"type": "disabled"})
        case Thinking.BETWEEN_TOOLS:
            ignored.add(request.name_of("effort"))
            return Reasoning({"type": "between_tools"})
        case Thinking.ALWAYS:
            ignored.add(request.name_of("effort"))
            return Reasoning(effort=capabilities.efforts[0] if capabilities.efforts else None)
        case _:
            return NO_REASONING


def _nearest_level(
    request: ChatRequest, effort: Effort, capabilities: Capabilities, ignored: Ignored
) -> str | None:
    """The level itself, else the next higher one that the model has, else the next lower."""
    wanted = "low" if effort is Effort.MINIMAL else effort.value
    if wanted in capabilities.efforts:
        return wanted
    ignored.add(request.name_of("effort"))
    place = EFFORTS.index(wanted)
    for level in (*EFFORTS[place:], *reversed(EFFORTS[:place])):
        if level in capabilities.efforts:
            return level
    return None


def encode_sampling(
    request: ChatRequest, top_k: Any, capabilities: Capabilities, reasoning: Reasoning, ignored: Ignored
) -> JsonObject:
    """The sampling parameters that the model takes. 1 is the default: leaving it out loses nothing."""
    temperature, top_p = request.temperature, request.top_p
    if temperature is not None and temperature > 1:
        temperature = 1
        ignored.add(request.name_of("temperature"))
    if capabilities.sampling is Sampling.REFUSED or (reasoning.thinking is not None and reasoning.is_on):
        if top_k is not None:
            top_k = None
            ignored.add("top_k")
        if temperature is not None and temperature != 1:
            ignored.add(request.name_of("temperature"))
            temperature = None
        is_near_one = top_p is not None and top_p >= 0.95 and capabilities.sampling is not Sampling.REFUSED
        if top_p is not None and top_p != 1 and not is_near_one:
            ignored.add(request.name_of("top_p"))
            top_p = None
    if capabilities.sampling is Sampling.REFUSED:
        temperature = top_p = None
    if capabilities.sampling is Sampling.ONE_OF and temperature is not None and top_p is not None:
        if top_p == 1 or temperature != 1:
            if top_p != 1:
                ignored.add(request.name_of("top_p"))
            top_p = None
        else:
            temperature = None
    sampling: JsonObject = {}
    if temperature is not None:
        sampling["temperature"] = temperature
    if top_p is not None:
        sampling["top_p"] = top_p
    if top_k is not None:
        sampling["top_k"] = top_k
    return sampling
