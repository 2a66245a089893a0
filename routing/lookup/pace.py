"""Long work in a thread beside requests, so that they do not feel it.

A thread that computes keeps the interpreter to itself for up to the switch interval, each
time the event loop wants to go on. And what it allocates sets the garbage collector off,
which looks at everything while nothing else runs. Owns both; knows nothing of what is built.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

# Seconds. Whatever arrives during a slice of work waits that long at most.
_SLICE: Final = 0.0005
_REST: Final = 0.0005

# So many new objects would hold all threads up for some 20 ms when they are first looked at.
_MANY_OBJECTS: Final = 20_000

# Rows made between two looks at the clock.
_STRIDE: Final = 20

Pause = Callable[[], object]
"""Called every now and then by whoever works long; it may sleep."""


def hurry() -> None:
    """No rest: nobody is served by this process, or not yet."""


class Pace:
    """Rests for as long as it worked, in small pieces."""

    __slots__ = ("_since",)

    def __init__(self) -> None:
        self._since = time.perf_counter()

    def __call__(self) -> None:
        if time.perf_counter() - self._since >= _SLICE:
            time.sleep(_REST)
            self._since = time.perf_counter()


Item = TypeVar("Item")


def paced(items: Iterable[Item], pause: Pause) -> Iterator[Item]:
    """The items, with a pause every few of them."""
    left = _STRIDE
    for item in items:
        yield item
        left -= 1
        if not left:
            left = _STRIDE
            pause()


@contextmanager
def beside_requests() -> Iterator[Pace]:
    """The block lets go of the interpreter soon, and nothing is collected meanwhile. One block at a time.

    Much that is new is put out of the collector's sight for good: it is freed when nobody
    refers to it any more, as ever. What lies in a circle at that moment stays, which is
    little, and only after a change of a large catalog.
    """
    interval, is_collecting = sys.getswitchinterval(), gc.isenabled()
    sys.setswitchinterval(_SLICE)
    gc.disable()
    try:
        yield Pace()
    finally:
        sys.setswitchinterval(interval)
        if gc.get_count()[0] > _MANY_OBJECTS:
            gc.freeze()
        if is_collecting:
            gc.enable()
