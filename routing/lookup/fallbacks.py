"""Builds the fallbacks of each model from their rows, and says what is wrong with them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from routing.domain.circles import find_circle
from routing.domain.table import FallbackReason, FallbackRow
from routing.models import FallbackModel


def build_fallbacks(
    stored: Iterable[FallbackModel], public_ids: Mapping[int, str]
) -> defaultdict[int, tuple[FallbackRow, ...]]:
    """The fallbacks of each model by its row id, in the operator's order.

    `public_ids` are those of all models. A row that names its own model, or one that is
    not there (both take SQL to write), is left out.
    """
    found: defaultdict[int, tuple[FallbackRow, ...]] = defaultdict(tuple)
    for row in sorted(stored, key=lambda row: (row.position, row.pk)):
        if row.fallback_id in public_ids and row.fallback_id != row.model_id:
            found[row.model_id] += (
                FallbackRow(
                    model_id=public_ids[row.fallback_id],
                    on_failure=row.on_failure,
                    on_context_overflow=row.on_context_overflow,
                    on_refusal=row.on_refusal,
                ),
            )
    return found


def problems_with_fallbacks(
    fallbacks: Mapping[int, tuple[FallbackRow, ...]], public_ids: Mapping[int, str]
) -> Iterator[str]:
    """A circle can only be written past the admin. It does no harm to requests, and is not meant."""
    row_ids = {public_id: row_id for row_id, public_id in public_ids.items()}
    told: set[tuple[int, ...]] = set()
    for reason in FallbackReason:
        circle = find_circle(
            {
                row_id: [row_ids[row.model_id] for row in rows if row.covers(reason)]
                for row_id, rows in fallbacks.items()
            }
        )
        if circle is not None and circle not in told:
            told.add(circle)
            chain = " → ".join(public_ids[row_id] for row_id in circle)
            yield f"Model {public_ids[circle[0]]}: its fallbacks lead back to itself: {chain}."
