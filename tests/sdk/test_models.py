"""The model list through openai-python."""

from __future__ import annotations

import pytest
from openai import NotFoundError, OpenAI

from tests.clients.stack import ADAPTIVE_CLAUDE, BOTH, Stack, is_claude


def test_the_list(client: OpenAI, stack: Stack) -> None:
    rows = list(client.models.list())
    ids = [row.id for row in rows]
    assert set(BOTH) <= set(ids)
    assert ADAPTIVE_CLAUDE in ids
    assert len(ids) == len(set(ids)) == 13
    assert {row.object for row in rows} == {"model"}
    assert all(row.created > 1_700_000_000 for row in rows)
    assert {row.owned_by for row in rows} == {"openai", "anthropic"}


@pytest.mark.parametrize("model", [*BOTH, ADAPTIVE_CLAUDE])
def test_one_model(client: OpenAI, stack: Stack, model: str) -> None:
    row = client.models.retrieve(model)
    assert (row.id, row.object) == (model, "model")
    assert row.owned_by == ("anthropic" if is_claude(model) else "openai")


def test_an_alias(client: OpenAI, stack: Stack) -> None:
    assert client.models.retrieve("gpt-5").owned_by == "openai"


def test_a_model_that_is_not_there(client: OpenAI, stack: Stack) -> None:
    with pytest.raises(NotFoundError) as caught:
        client.models.retrieve("no/such-model")
    assert caught.value.code == "model_not_found"
    assert "no/such-model" in caught.value.message


def test_a_model_whose_id_has_a_slash_answers(client: OpenAI, stack: Stack) -> None:
    completion = client.chat.completions.create(
        model=ADAPTIVE_CLAUDE, messages=[{"role": "user", "content": "Hello!"}]
    )
    assert completion.model == ADAPTIVE_CLAUDE
    assert completion.choices[0].message.content == "You said: Hello!"
    stack.saw(ADAPTIVE_CLAUDE)
