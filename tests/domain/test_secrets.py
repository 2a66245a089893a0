"""A Secret gives out what it holds in one way only."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest

from routing.domain.secrets import Secret
from routing.domain.table import CredentialRow, ProviderRow

KEY = "sk-live-0123456789"


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        format,
        "{}".format,
        "{!r:>40}".format,
        "{:>40}".format,
        lambda secret: f"{secret}",
        "%s".__mod__,
    ],
)
def test_no_text_made_of_it_contains_it(show: object) -> None:
    assert KEY not in show(Secret(KEY))  # type: ignore[operator]


def test_rows_that_hold_it_do_not_show_it() -> None:
    row = ProviderRow(
        id=1,
        name="openai",
        kind="openai",
        headers=(("x-team", Secret(KEY)),),
        credentials=(CredentialRow("key:1", "main", Secret(KEY)),),
    )
    assert KEY not in repr(row)
    assert KEY not in repr(dataclasses.asdict(row.credentials[0]))
    assert row.header_values() == {"x-team": KEY}


def test_it_is_not_pickled() -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError):
            pickle.dumps(Secret(KEY), protocol)


def test_copies_are_the_same_object() -> None:
    secret = Secret(KEY)
    assert copy.copy(secret) is secret
    assert copy.deepcopy({"a": [secret]})["a"][0] is secret


def test_it_does_not_change() -> None:
    secret = Secret(KEY)
    with pytest.raises(AttributeError):
        secret._value = "other"
    with pytest.raises(AttributeError):
        del secret._value
    assert secret.reveal() == KEY


def test_equality_is_that_of_the_text() -> None:
    assert Secret("a\ud800") == Secret("a\ud800")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert not Secret("")
