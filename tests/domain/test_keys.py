"""Client keys as values: validity, scope, and what the table shows to whom."""

from __future__ import annotations

import copy
import pickle

import pytest

from routing.domain.keys import KeyProblem, KeyRing, KeyRow, TeamRow, is_allowed, limit_scopes, prefix_of
from routing.domain.limits import Limit
from routing.domain.table import AliasRow, ModelRow, RoutingTable

PEPPER = bytes(range(32))
NOW = 1_000_000.0
SECRET = "sk-pb-abcdef0123456789"

GPT, MINI, HIDDEN = (
    ModelRow(id=1, public_id="gpt-4o"),
    ModelRow(id=2, public_id="gpt-4o-mini"),
    ModelRow(id=3, public_id="secret-model", is_listed=False),
)
FULL = KeyRow(id=1, prefix="sk-pb-abcdef")
ONLY_MINI = KeyRow(id=2, prefix="sk-pb-bbbbbb", allowed=frozenset({"gpt-4o-mini", "secret-model"}))
NOTHING = KeyRow(id=3, prefix="sk-pb-cccccc", allowed=frozenset())


def make_table(ring: KeyRing | None = None) -> RoutingTable:
    return RoutingTable(
        version=1,
        models=(GPT, MINI, HIDDEN),
        aliases=(AliasRow("fast", "gpt-4o-mini", is_listed=True), AliasRow("big", "gpt-4o", is_listed=True)),
        keys=ring,
    )


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (FULL, None),
        (KeyRow(1, "p", is_revoked=True, is_enabled=False), KeyProblem.REVOKED),
        (KeyRow(1, "p", is_enabled=False), KeyProblem.DISABLED),
        (KeyRow(1, "p", team=TeamRow(1, "t", is_enabled=False)), KeyProblem.TEAM_DISABLED),
        (KeyRow(1, "p", team=TeamRow(1, "t")), None),
        (KeyRow(1, "p", expires_at=NOW + 0.001), None),
        (KeyRow(1, "p", expires_at=NOW), KeyProblem.EXPIRED),
        (KeyRow(1, "p", expires_at=NOW, is_replaced=True), KeyProblem.REPLACED),
        (KeyRow(1, "p", expires_at=NOW + 1, is_replaced=True), None),
    ],
)
def test_a_key_is_valid_until_something_ends_it(row: KeyRow, problem: KeyProblem | None) -> None:
    assert row.problem(NOW) is problem


def test_a_scope_allows_its_models_and_nothing_else() -> None:
    assert [is_allowed(key, GPT) for key in (None, FULL, ONLY_MINI, NOTHING)] == [True, True, False, False]
    assert is_allowed(ONLY_MINI, MINI)


def test_lists_names_and_guesses_stay_inside_the_scope() -> None:
    table = make_table()
    ids = [[entry.id for entry in table.listed(key)] for key in (None, FULL, ONLY_MINI, NOTHING)]
    everything = ["gpt-4o", "gpt-4o-mini", "fast", "big"]
    assert ids == [everything, everything, ["gpt-4o-mini", "fast"], []]
    assert table.listed() is table.listed(FULL)
    assert table.find_listed("big", ONLY_MINI) is None
    assert table.find_listed("big") is not None
    hidden = table.find_listed("SECRET-model", ONLY_MINI)
    assert hidden is not None
    assert hidden.id == "secret-model"
    assert table.close_matches("gpt-4", key=ONLY_MINI) == ("gpt-4o-mini",)
    assert table.close_matches("gpt-4o", key=NOTHING) == ()
    assert "gpt-4o" in table.close_matches("gpt-4")


def test_equal_scopes_share_one_list() -> None:
    table = make_table()
    other = KeyRow(id=9, prefix="sk-pb-dddddd", allowed=frozenset({"secret-model", "gpt-4o-mini"}))
    assert table.listed(ONLY_MINI) is table.listed(other)


def test_more_scopes_than_are_kept_still_see_what_is_theirs() -> None:
    table = make_table()
    for number in range(1500):
        key = KeyRow(id=number, prefix="p", allowed=frozenset({"gpt-4o-mini", f"model-{number}"}))
        assert [entry.id for entry in table.listed(key)] == ["gpt-4o-mini", "fast"]
    assert len(table._offers) <= 1000


def test_a_secret_is_found_by_its_keyed_digest_alone() -> None:
    ring = KeyRing(pepper=PEPPER)
    ring = KeyRing(pepper=PEPPER, rows={ring.digest(SECRET): FULL})
    table = make_table(ring)
    assert table.find_key(table.digest_key(SECRET)) is FULL
    assert table.find_key(table.digest_key(SECRET + "x")) is None
    assert table.find_key(table.digest_key("")) is None
    assert KeyRing(pepper=b"another pepper, just as long....").digest(SECRET) != ring.digest(SECRET)
    assert len(ring.digest(SECRET)) == 32


@pytest.mark.parametrize("secret", ["\ud800", "é" * 50, "x" * 10_000_000, "\x00"])
def test_any_text_has_a_digest_and_none_is_found(secret: str) -> None:
    table = make_table(KeyRing(pepper=PEPPER, rows={}))
    assert table.find_key(table.digest_key(secret)) is None


def test_without_a_pepper_nothing_is_known() -> None:
    table = make_table(KeyRing(rows={b"x" * 32: FULL}))
    assert table.digest_key(SECRET) == b""
    assert table.find_key(table.digest_key(SECRET)) is None
    assert make_table().find_key(make_table().digest_key(SECRET)) is None


def test_the_pepper_shows_nowhere() -> None:
    ring = KeyRing(pepper=PEPPER)
    for text in (repr(ring), str(ring), f"{ring}", repr(make_table(ring))):
        assert repr(PEPPER)[2:-1] not in text
    with pytest.raises(TypeError):
        pickle.dumps(ring)
    with pytest.raises(TypeError):
        copy.copy(ring)


def test_requests_count_towards_what_is_limited() -> None:
    team = TeamRow(4, "red", limit=Limit(requests_per_minute=10))
    scopes = limit_scopes(key_id=7, prefix="sk-pb-abcdef", key_limit=Limit(max_concurrent=1), team=team)
    assert [(scope.name, scope.limit) for scope in scopes] == [
        ("key:7", Limit(max_concurrent=1)),
        ("team:4", team.limit),
    ]
    assert limit_scopes(key_id=7, prefix="p", key_limit=Limit(), team=TeamRow(5, "blue")) == ()
    assert GPT.scopes == ()
    (scope,) = ModelRow(id=1, public_id="m", limit=Limit(tokens_per_minute=5)).scopes
    assert scope.name == "model:m"


def test_a_prefix_gives_six_characters_away() -> None:
    assert prefix_of("sk-pb-AbC123secretsecret") == "sk-pb-AbC123"
