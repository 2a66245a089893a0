"""What a name means, what the model list says, and what is suggested."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from routing.domain.table import AliasRow, ListedModel, ModelRow, RoutingTable

TABLE = RoutingTable(
    version=7,
    models=[
        ModelRow(1, "gpt-4o", owned_by="openai", created=10),
        ModelRow(2, "gpt-4o-mini", owned_by="openai", created=20),
        ModelRow(3, "internal", is_listed=False),
        ModelRow(4, "gone", is_enabled=False),
    ],
    aliases=[
        AliasRow("gpt-5", "gpt-4o"),
        AliasRow("fast", "gpt-4o-mini", is_listed=True),
        AliasRow("old", "gone", is_listed=True),
        AliasRow("gpt-4o-mini", "gpt-4o"),
        AliasRow("nowhere", "never-existed", is_listed=True),
    ],
)


def meaning(name: str) -> str | None:
    found = TABLE.resolve(name)
    return found.model.public_id if found else None


def test_names_resolve_exactly_then_loosely() -> None:
    assert meaning("gpt-4o") == "gpt-4o"
    assert meaning("gpt-5") == "gpt-4o"
    assert meaning(" GPT-5\n") == "gpt-4o"
    assert meaning("internal") == "internal"
    assert meaning("gpt-6") is None


def test_the_alias_that_was_used_is_told() -> None:
    found = TABLE.resolve("GPT-5")
    assert found is not None
    assert found.alias is not None
    assert found.alias.name == "gpt-5"
    direct = TABLE.resolve("gpt-4o")
    assert direct is not None
    assert direct.alias is None


def test_a_model_goes_before_an_alias_of_the_same_name() -> None:
    assert meaning("gpt-4o-mini") == "gpt-4o-mini"


def test_what_is_disabled_does_not_exist_nor_do_its_aliases() -> None:
    for name in ("gone", "GONE", "old", "nowhere"):
        assert meaning(name) is None
        assert TABLE.find_listed(name) is None


def test_the_list_has_listed_models_then_ticked_aliases() -> None:
    assert [entry.id for entry in TABLE.listed()] == ["gpt-4o", "gpt-4o-mini", "fast"]
    assert TABLE.listed()[2] == ListedModel("fast", created=20, owned_by="openai")


def test_one_entry_is_found_for_every_name_that_answers() -> None:
    found = [TABLE.find_listed(name) for name in ("gpt-4o", "Fast", "gpt-5", "internal")]
    assert [entry.id if entry else None for entry in found] == ["gpt-4o", "fast", "gpt-5", "internal"]


def test_suggestions_are_visible_names_alone() -> None:
    assert TABLE.close_matches("gpt4o")[0] == "gpt-4o"
    assert "internal" not in TABLE.close_matches("internal1")
    assert TABLE.close_matches("zzzzzz") == ()
    assert TABLE.close_matches("") == ()
    assert len(TABLE.close_matches("gpt-4o-min", n=1)) == 1


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_clients_may_send_any_text(name: str) -> None:
    TABLE.resolve(name)
    TABLE.find_listed(name)
    TABLE.close_matches(name)


def test_a_large_catalog_and_a_huge_name_cost_little() -> None:
    table = RoutingTable(
        version=1, models=[ModelRow(n, f"vendor-{n % 50}/model-{n}-instruct") for n in range(10_000)]
    )
    started = time.perf_counter()
    assert table.close_matches("vendor-7/model-1007-instruc")[0] == "vendor-7/model-1007-instruct"
    table.close_matches("model-" * 500_000)
    assert table.resolve("x" * 5_000_000) is None
    assert time.perf_counter() - started < 2.0
