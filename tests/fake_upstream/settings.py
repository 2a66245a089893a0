"""What a test may change about the pretended APIs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


def is_test_key(key: str) -> bool:
    return key.startswith("test-")


@dataclass(slots=True)
class Settings:
    accept_key: Callable[[str], bool] = is_test_key
    retired_models: set[str] = field(default_factory=set)
    """These ids answer 404; every other id is served, known or not."""
    reject_unknown_arguments: bool = False
    """OpenAI's side: refuse top-level fields that its API does not know."""
    verify_signatures: bool = True
    """Anthropic's side: off, thinking blocks that this server never issued pass (recorded ones, say)."""
    created: int = 1_767_225_600
    """The `created` of all completions: fixed, so that equal requests get equal replies."""
