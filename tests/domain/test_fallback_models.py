"""Which models stand in for one, whatever the rows say."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from routing.domain.circles import circle_through, find_circle
from routing.domain.plan import MOST_FALLBACKS, fallback_models
from routing.domain.table import FallbackReason, FallbackRow, ModelRow, RoutingTable

FAILURE, OVERFLOW, REFUSAL = FallbackReason


def table_of(*models: ModelRow) -> RoutingTable:
    return RoutingTable(version=1, models=models)


def model(number: int, *fallbacks: FallbackRow | int, is_enabled: bool = True) -> ModelRow:
    rows = tuple(FallbackRow(f"m{row}") if isinstance(row, int) else row for row in fallbacks)
    return ModelRow(number, f"m{number}", fallbacks=rows, is_enabled=is_enabled)


def names(table: RoutingTable, start: int, reason: FallbackReason = FAILURE) -> list[str]:
    row = next(row for row in table.models if row.id == start)
    return [found.public_id for found in fallback_models(table, row, reason)]


def test_the_own_list_comes_before_the_lists_of_those_on_it() -> None:
    table = table_of(model(1, 2, 3), model(2, 4, 3), model(3, 5), model(4), model(5))
    assert names(table, 1) == ["m2", "m3", "m4", "m5"]
    assert names(table, 4) == []


def test_a_chain_is_followed_for_its_own_reason_only() -> None:
    long = FallbackRow("m2", on_failure=False, on_context_overflow=True)
    lax = FallbackRow("m3", on_failure=False, on_context_overflow=False, on_refusal=True)
    table = table_of(
        model(1, long, lax, 4), model(2, FallbackRow("m5", on_context_overflow=False)), *map(model, (3, 4, 5))
    )
    assert names(table, 1, FAILURE) == ["m4"]
    assert names(table, 1, OVERFLOW) == ["m2", "m4"]
    assert names(table, 1, REFUSAL) == ["m3"]
    assert names(table, 2, FAILURE) == ["m5"]


def test_a_model_that_is_off_stands_in_for_nobody_and_leads_nowhere() -> None:
    table = table_of(model(1, 2, 3), model(2, 4, is_enabled=False), model(3), model(4))
    assert names(table, 1) == ["m3"]


def test_refusals_go_nowhere_unless_somebody_said_so() -> None:
    assert names(table_of(model(1, 2), model(2)), 1, REFUSAL) == []


NUMBERS = st.integers(0, 14)
edges = st.dictionaries(NUMBERS, st.lists(NUMBERS | st.just(99), max_size=6), max_size=15)
switches = st.builds(
    FallbackRow,
    NUMBERS.map("m{}".format),
    on_failure=st.booleans(),
    on_context_overflow=st.booleans(),
    on_refusal=st.booleans(),
)


@given(
    st.lists(st.tuples(st.lists(switches, max_size=6), st.booleans()), min_size=15, max_size=15),
    NUMBERS,
    st.sampled_from(FallbackReason),
)
def test_any_rows_give_a_bounded_plan(
    rows: list[tuple[list[FallbackRow], bool]], start: int, reason: FallbackReason
) -> None:
    """Circles, rows that name their own model, rows written twice: each model at most once, never the first."""
    table = table_of(
        *(model(number, *fallbacks, is_enabled=is_on) for number, (fallbacks, is_on) in enumerate(rows))
    )
    found = fallback_models(table, table.models[start], reason)
    assert len({row.public_id for row in found}) == len(found) <= MOST_FALLBACKS
    assert table.models[start] not in found
    assert all(row.is_enabled for row in found)
    met = [table.models[start]]
    for row in found:
        assert any(
            fallback.model_id == row.public_id and fallback.covers(reason)
            for earlier in met
            for fallback in earlier.fallbacks
        )
        met.append(row)
    own = [
        fallback.model_id
        for fallback in table.models[start].fallbacks
        if fallback.covers(reason)
        and fallback.model_id != f"m{start}"
        and table.find_model(fallback.model_id)
    ]
    own = list(dict.fromkeys(own))
    assert [row.public_id for row in found[: len(own)]] == own


def reaches(graph: dict[int, list[int]], start: int) -> bool:
    seen: set[int] = set()
    waiting = list(graph.get(start, ()))
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += graph.get(node, ())
    return start in seen


@given(edges)
def test_a_circle_is_found_exactly_where_there_is_one(graph: dict[int, list[int]]) -> None:
    for start in graph:
        way = circle_through(graph, start)
        assert (way is not None) == reaches(graph, start)
        if way is not None:
            assert_is_circle(graph, way)
            assert way[0] == start
    some = find_circle(graph)
    assert (some is not None) == any(reaches(graph, start) for start in graph)
    if some is not None:
        assert_is_circle(graph, some)


def assert_is_circle(graph: dict[int, list[int]], way: tuple[int, ...]) -> None:
    assert way[0] == way[-1]
    assert len(way) >= 2
    assert len(set(way[1:])) == len(way) - 1
    for here, following in pairwise(way):
        assert following in graph[here]


def test_a_chain_of_ten_thousand_models_is_planned_and_searched() -> None:
    chain = {number: [number + 1] for number in range(10_000)}
    assert find_circle(chain) is None
    assert find_circle(chain | {10_000: [0]}) is not None
    table = table_of(*(model(number, number + 1) for number in range(1000)))
    assert len(fallback_models(table, table.models[0], FAILURE)) == MOST_FALLBACKS
