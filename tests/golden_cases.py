"""Reads the golden cases: requests, replies and streams as data, one folder per case.

A case lives in `golden/<inbound>__<upstream>/<case>/`. Its `case.toml` has `id`, `kind`
and `title`, and where needed `source`, `model` (the name that the client asked for),
`include_usage`, `request_has`, `ignored` (the parameters that must be reported), `covers`
(what the published matrix links to it for), `also` (further addresses of the bug that it
is about) and `switches` (the operator's choices that are on, named as in `Target`). What goes in and what must come out are the files beside it:
`request.json`, `upstream_request.json`, `upstream_reply.json` or `upstream_stream.sse`,
`reply.json` or `stream.sse`. Any other key of `case.toml` is a mistake and fails the load.

`python -m tests.golden_cases --rewrite` (`make golden`) writes what must come out anew.
"""

from __future__ import annotations

import json
import sys
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent / "golden"
_LISTS = ("ignored", "covers", "also", "switches")


@dataclass(frozen=True, slots=True)
class GoldenCase:
    """One case. `name` is its folder's name; `ignored` is None where the case does not say."""

    id: str
    kind: str
    title: str
    folder: Path
    source: str = ""
    model: str = ""
    include_usage: bool = False
    request_has: str = ""
    ignored: tuple[str, ...] | None = None
    covers: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def inbound(self) -> str:
        """The dialect that the client speaks."""
        return self.folder.parent.name.split("__")[0]

    @property
    def upstream(self) -> str:
        """The dialect that the upstream speaks."""
        return self.folder.parent.name.split("__")[1]

    def has(self, file_name: str) -> bool:
        return (self.folder / file_name).is_file()

    def read_json(self, file_name: str) -> Any:
        """A fresh value on each call, so that no test can spoil another's."""
        return json.loads(self.read_bytes(file_name))

    def read_bytes(self, file_name: str) -> bytes:
        return (self.folder / file_name).read_bytes()

    def __str__(self) -> str:
        return self.name


def load_cases(kind: str | None = None) -> list[GoldenCase]:
    """All cases of one kind (of every kind where none is given), ordered by folder."""
    return [case for case in _all_cases() if kind is None or case.kind == kind]


@cache
def _all_cases() -> tuple[GoldenCase, ...]:
    return tuple(_load(path) for path in sorted(GOLDEN.glob("*__*/*/case.toml")))


def _load(path: Path) -> GoldenCase:
    fields: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    fields |= {name: tuple(fields[name]) for name in _LISTS if name in fields}
    return GoldenCase(folder=path.parent, **fields)


if __name__ == "__main__":
    from tests.golden_rewriting import main

    if sys.argv[1:] != ["--rewrite"]:
        sys.exit("usage: python -m tests.golden_cases --rewrite")
    main()
