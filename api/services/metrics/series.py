"""The numbers of this process: series, and the cells that they count in.

Counting happens on the event loop only. A cell is a plain item of a list, or of memory
that the other workers can read (sharing.py): neither needs a lock, and counting costs
the same either way.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Final, Protocol

from api.services.metrics.families import Family

Key = tuple[str, tuple[str, ...]]
"""A family's name, and the values of its labels."""


class Cells(Protocol):
    def __getitem__(self, index: int, /) -> float: ...

    def __setitem__(self, index: int, value: float, /) -> None: ...


class Store(Protocol):
    """Where cells come from. All are 0 at first."""

    def allocate(self, key: Key, count: int) -> tuple[Cells, int]:
        """`count` cells in a row: what they are items of, and the index of the first."""


class LocalStore:
    """Cells that only this process sees."""

    def __init__(self) -> None:
        self._cells: list[float] = []

    def allocate(self, key: Key, count: int) -> tuple[Cells, int]:
        first = len(self._cells)
        self._cells += [0.0] * count
        return self._cells, first


class Series:
    """One metric with one set of label values."""

    __slots__ = ("_bounds", "_cells", "_first", "_sum", "count")

    def __init__(self, cells: Cells, first: int, family: Family) -> None:
        self._cells: Final = cells
        self._first: Final = first
        self._bounds: Final = family.bounds
        self._sum: Final = first + len(family.bounds) + 1
        self.count: Final = family.cells

    def add(self, amount: float = 1.0) -> None:
        self._cells[self._first] += amount

    def set(self, value: float) -> None:
        self._cells[self._first] = float(value)

    def observe(self, value: float) -> None:
        """For histograms. A bucket's cell holds what fell into it and not into a smaller one."""
        self._cells[self._first + bisect_left(self._bounds, value)] += 1.0
        self._cells[self._sum] += value

    def read(self) -> list[float]:
        return [self._cells[index] for index in range(self._first, self._first + self.count)]


class Registry:
    """All series of this process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._series: dict[Key, Series] = {}

    def series(self, family: Family, *labels: str) -> Series:
        """The series with these values of the family's labels, made on first use."""
        key = (family.name, labels)
        series = self._series.get(key)
        if series is None:
            cells, first = self._store.allocate(key, family.cells)
            series = self._series[key] = Series(cells, first, family)
        return series

    @property
    def all(self) -> Mapping[Key, Series]:
        return self._series
