"""A relayed completion bears the client's name for its model, and nothing else of it changes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.services.translation.dialects.openai_chat.replies import relay_reply


@pytest.mark.parametrize(
    "upstream",
    [
        {"model": "gpt-1", "choices": [], "n": 12345678901234567890123},
        {"choices": [{"model": "gpt-1"}], "model": "gpt-1"},
        {"choices": [], "metadata": {"role": "model"}, "model": "gpt-1"},
        {"choices": [{"message": {"content": 'say "model":"gpt-1"'}}], "model": "gpt-1"},
        {"model": None, "choices": []},
    ],
)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_a_completion_is_renamed_at_its_top_and_nowhere_else(
    upstream: dict[str, Any], separators: tuple[str, str]
) -> None:
    body = json.dumps(upstream, separators=separators).encode()
    relayed = relay_reply(body, model="fast", upstream_id="gpt")
    assert json.loads(relayed.body) == {**upstream, "model": "fast"}
    assert list(json.loads(relayed.body)) == list(upstream)
