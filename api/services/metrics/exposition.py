"""Prometheus' text format: all series of all workers, as one page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from api.services.metrics.families import FAMILIES, Family, Kind, Merging
from api.services.metrics.series import Key, Series
from api.services.metrics.sharing import Source

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_SERIES_A_PIECE: Final = 50


def render(own: Mapping[Key, Series], others: Sequence[Source]) -> Iterator[str]:
    """The page in pieces of some dozens of series: about a millisecond's work each."""
    keys: dict[str, dict[tuple[str, ...], None]] = {}
    for name, labels in own:
        keys.setdefault(name, {})[labels] = None
    for source in others:
        for name, labels in source.places:
            keys.setdefault(name, {})[labels] = None
    for family in FAMILIES:
        found = list(keys.get(family.name, ()))
        text = f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.kind}\n"
        for start in range(0, len(found), _SERIES_A_PIECE):
            for labels in found[start : start + _SERIES_A_PIECE]:
                cells = _merge(family, (family.name, labels), own, others)
                if cells is not None:
                    text += _write(family, labels, cells)
            yield text
            text = ""
        if text:
            yield text


def _merge(
    family: Family, key: Key, own: Mapping[Key, Series], others: Sequence[Source]
) -> Sequence[float] | None:
    series = own.get(key)
    found: list[Sequence[float]] = [] if series is None else [series.read()]
    for source in others:
        if source.is_alive or family.kind is not Kind.GAUGE:
            cells = source.read(key, family.cells)
            if cells is not None:
                found.append(cells)
    if not found:
        return None
    if len(found) == 1:
        return found[0]
    if family.merging is Merging.SUM:
        return [sum(cell) for cell in zip(*found, strict=True)]
    # What is 0 was not found out yet.
    known = [cells[0] for cells in found if cells[0]] or [0.0]
    return [min(known) if family.merging is Merging.LOWEST else max(known)]


def _write(family: Family, labels: tuple[str, ...], cells: Sequence[float]) -> str:
    pairs = ",".join(f'{name}="{_escape(value)}"' for name, value in zip(family.labels, labels, strict=True))
    braced = f"{{{pairs}}}" if pairs else ""
    if family.kind is not Kind.HISTOGRAM:
        return f"{family.name}{braced} {_number(cells[0])}\n"
    start = f"{family.name}_bucket{{{pairs}," if pairs else f"{family.name}_bucket{{"
    text, count = "", 0.0
    for bound, cell in zip(family.bounds, cells, strict=False):
        count += cell
        text += f'{start}le="{bound}"}} {_number(count)}\n'
    count += cells[-2]
    return (
        f'{text}{start}le="+Inf"}} {_number(count)}\n'
        f"{family.name}_sum{braced} {_number(cells[-1])}\n{family.name}_count{braced} {_number(count)}\n"
    )


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
