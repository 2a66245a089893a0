"""The names of the parameters that a translation dropped, clamped, downgraded or repaired.

Owns the list that a reply reports and the refusal that strict mode makes of it. The
names are the client's own words: whoever writes them to a header cleans them first.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Final

from api.services.translation.conversation import JsonObject
from api.services.translation.failures import Failure, FailureKind

MAX_INVENTED: Final = 64
"""Of the fields that we do not know, no more are listed: their names are for people to read."""


class Ignored:
    """An ordered set of names. In strict mode the first one raises."""

    __slots__ = ("_is_strict", "_names")

    def __init__(self, names: Iterable[str] = (), *, is_strict: bool = False) -> None:
        self._names: dict[str, None] = {}
        self._is_strict = is_strict
        for name in names:
            self.add(name)

    def add(self, name: str) -> None:
        if self._is_strict:
            raise refusal(name)
        self._names[name] = None

    def add_unknown(self, source: JsonObject, known: Set[str], prefix: str = "") -> None:
        """Note each field of a client's object that we do not know and that says something."""
        if source.keys() <= known:
            return
        for name, value in source.items():
            if name not in known and value is not None:
                self.add(prefix + name)
                if len(self._names) >= MAX_INVENTED:
                    return

    def names(self) -> tuple[str, ...]:
        return tuple(self._names)


def refusal(name: str) -> Failure:
    """What strict mode answers instead of going on without the parameter, or with another value of it."""
    return Failure(
        FailureKind.UNSUPPORTED_PARAMETER,
        f"Unsupported parameter: '{name}' is not supported with this model as it was sent, "
        "and strict mode leaves out and changes nothing.",
        param=name,
    )
