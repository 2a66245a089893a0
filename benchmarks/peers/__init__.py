"""Other gateways, measured beside ours: what peers.toml says of each.

Nothing of theirs is kept here but what their manuals have one type.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
_INSTALLED = HERE.parent.parent / ".bench" / "peers"


@dataclass(frozen=True, slots=True)
class Peer:
    name: str
    version: str
    install: str
    serve: str
    rows: Mapping[str, Mapping[str, Any]]
    """By name: what of a candidate is not as usual."""
    environment: Mapping[str, str]
    like: str = ""
    below: Path = _INSTALLED

    @property
    def folder(self) -> Path:
        return self.below / f"{self.like or self.name}-{self.version}"

    def install_settings(self) -> dict[str, str]:
        return {
            "FOLDER": str(self.folder),
            "VERSION": self.version,
            "PYTHON": sys.executable,
            "PEERS": str(HERE),
        }

    def serve_settings(self, upstream: str, port: int) -> dict[str, str]:
        # Our modules must not be in a gateway's path: they have common names.
        ours = {"UPSTREAM": upstream, "PORT": str(port), "PYTHONPATH": ""}
        return {**self.install_settings(), **ours, **self.environment}

    def install_once(self) -> None:
        """Where that has not been done: as the user who runs this, from the registries that they use."""
        done = self.folder / ".installed"
        if done.exists():
            return
        print(f"Installing {self.name} {self.version} …", file=sys.stderr, flush=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        found = subprocess.run(
            ["sh", "-ec", self.install],
            cwd=self.folder,
            env={**os.environ, **self.install_settings()},
            capture_output=True,
            text=True,
            check=False,
        )
        if found.returncode:
            raise SystemExit(f"{self.name} {self.version} was not installed:\n{found.stderr[-2000:]}")
        done.touch()

    def command(self) -> list[str]:
        return ["sh", "-ec", f'cd "$FOLDER"\n{self.serve}']

    def candidates(self, upstream: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Of each row its name, and what a `Candidate` takes."""
        for name, row in self.rows.items():
            headers = {
                key: text.replace("@UPSTREAM@", upstream) for key, text in row.get("headers", {}).items()
            }
            yield name, {**row, "headers": headers, "only": tuple(row.get("only", ()))}


def known() -> dict[str, Peer]:
    told = tomllib.loads((HERE / "peers.toml").read_text())
    peers = {}
    for name, found in told.items():
        base = told.get(found.get("like", ""), {})
        peers[name] = Peer(name, **{**base, **found})
    return peers


def find(name: str) -> Peer:
    peers = known()
    if name not in peers:
        raise SystemExit(
            f"--peer {name}: benchmarks/peers knows {', '.join(peers)}. "
            f"One that you have started yourself is {name}=PORT."
        )
    return peers[name]


def read_settings(text: str) -> dict[str, Any]:
    """What a `Candidate` takes, from `model=…,header=NAME:VALUE,connections=16,only=busy+many-streams`."""
    found: dict[str, Any] = {"headers": {}, "only": ()}
    for setting in filter(None, text.split(",")):
        name, _, value = setting.partition("=")
        match name:
            case "model" | "key" | "path" | "version":
                found[name] = value
            case "header":
                header, _, found["headers"][header] = value.partition(":")
            case "connections":
                found[name] = int(value)
            case "only":
                found[name] = tuple(scenario.replace("-", " ") for scenario in value.split("+"))
            case _:
                raise SystemExit(f"{name} is no setting of a peer.")
    return found
