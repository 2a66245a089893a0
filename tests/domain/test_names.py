"""Which names are allowed, and which are the same."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from routing.domain.names import MAX_NAME_LENGTH, normalise, problem_with_name, problem_with_upstream_id


@pytest.mark.parametrize(
    "name",
    [
        "gpt-4o",
        "claude-4.6-sonnet",
        "anthropic/claude-sonnet-4",
        "meta-llama/Llama-3.1-8B:free",
        "@cf/meta/llama",
        "ft:gpt-4o:org::abc",
        "o1",
        "a_b+c#d~e",
    ],
)
def test_names_in_use_are_allowed(name: str) -> None:
    assert problem_with_name(name) is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "Enter a name"),
        ("gpt 4o", "no spaces"),
        ("gpt\t4o", "no spaces"),
        ("gpt–4o", "en dash"),
        ("gpt?", "“?”"),
        ("a\x00b", "U+0000"),
        ("-gpt", "starts with"),
        ("/gpt", "starts with"),
        ("gpt/", "URL"),
        ("a//b", "URL"),
        ("a/../b", "URL"),
        ("a/.", "URL"),
        ("x" * (MAX_NAME_LENGTH + 1), "at most 200"),
        ("gpt\u200b4o", "U+200B"),
    ],
)
def test_a_refusal_says_what_is_wrong(name: str, said: str) -> None:
    assert said in (problem_with_name(name) or "")


@pytest.mark.parametrize(
    "spelling",
    ["GPT-4o", " gpt-4o ", "gpt-4o\n", "ＧＰＴ-4ｏ", "g p t-4o", "gpt\u200b-4o", "\u00a0gpt-4o"],
)
def test_spellings_of_one_name(spelling: str) -> None:
    assert normalise(spelling) == normalise("gpt-4o") == "gpt-4o"


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_any_text_can_be_normalised_and_stays(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once


def test_what_is_too_long_is_not_looked_at() -> None:
    assert normalise("a" * 1_000_000) == ""


@given(st.from_regex(r"[A-Za-z0-9@][A-Za-z0-9@:._+#~-]{0,30}", fullmatch=True))
def test_an_allowed_name_differs_from_its_normal_form_by_case_alone(name: str) -> None:
    assume(problem_with_name(name) is None)
    assert normalise(name) == name.lower()


def test_upstream_ids_are_freer() -> None:
    arn = "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-opus-4-5-20251101-v1:0"
    assert problem_with_upstream_id(arn) is None
    assert problem_with_upstream_id("") is not None
    assert "space" in (problem_with_upstream_id("gpt 4o") or "")
    assert "U+000A" in (problem_with_upstream_id("gpt\n4o") or "")
