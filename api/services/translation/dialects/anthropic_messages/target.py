"""What the encoder has to know about the model that a request goes to, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass

from api.services.translation.capabilities import Capabilities
from api.services.translation.conversation import JsonObject


# Not frozen, like all that is made for each request: freezing triples what that costs.
@dataclass(slots=True)
class Target:
    """One model at one provider, with the operator's choices.

    `default_max_tokens` is the limit for a request that names none (None: all the model
    can do). `is_strict`: what would be ignored is refused instead. `auto_cache`: mark
    the prompt for caching where the client does not. `repairs_turns`: a tool call
    without a result gets one instead of a 400. `inlines_system`: system messages stay
    where they stand, on models that take them there.
    """

    upstream_id: str
    capabilities: Capabilities
    default_max_tokens: int | None = None
    is_strict: bool = False
    auto_cache: bool = False
    repairs_turns: bool = False
    inlines_system: bool = False


@dataclass(slots=True)
class EncodedRequest:
    """A Messages body, the betas that it needs, and the client's parameters that are not in it as asked."""

    body: JsonObject
    betas: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
