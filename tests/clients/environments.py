"""The environments that the client suites run in, made on demand under `.clients/`.

Each folder beside this file with a lock in it is one environment. Its place is named after
the lock's hash, so that a changed lock is a new environment and an unchanged one is never
made twice. What an interrupted run left behind is made anew; refuses any other source of
packages than the locks.

    python -m tests.clients.environments        makes all of them
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LOCKS = Path(__file__).resolve().parent
ROOT = LOCKS.parent.parent / ".clients"
NODE_AT_LEAST = 20
INSTALL_SECONDS = 600.0

_FINISHED = "finished"


class NoNode(Exception):
    """There is no usable node or npm on this machine; the text says what is missing."""


class EnvironmentNotMade(Exception):
    """The packages of a lock could not be installed; the text begins with a line that says why."""


def python_environment(name: str) -> Path:
    """The interpreter of an environment that holds exactly what `<name>/requirements.txt` locks."""
    lock = LOCKS / name / "requirements.txt"
    flavour = f"py{sys.version_info.major}.{sys.version_info.minor}"

    def make(place: Path) -> None:
        _run([sys.executable, "-m", "venv", str(place)])
        quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
        pip = [str(_python_in(place)), "-m", "pip", "install", *quiet]
        _run([*pip, "--require-hashes", "-r", str(lock)])

    return _python_in(ensure(name, flavour, lock.read_bytes(), make))


def node_environment(name: str = "node", locks: Path = LOCKS) -> Path:
    """The folder whose `node_modules` holds exactly what `<name>/package-lock.json` in `locks` locks."""
    version = find_node()
    files = [locks / name / file for file in (".npmrc", "package.json", "package-lock.json")]

    def make(place: Path) -> None:
        place.mkdir(parents=True)
        for file in files:
            shutil.copy(file, place / file.name)
        # No package here needs to run anything at its installation.
        _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=place)

    return ensure(name, f"node{version}", b"".join(file.read_bytes() for file in files), make)


def find_node() -> int:
    """The major version of node; raises `NoNode` where the node clients cannot run."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            raise NoNode(f"no {tool}")
    shown = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True, timeout=30)
    major = int(shown.stdout.strip().removeprefix("v").partition(".")[0])
    if major < NODE_AT_LEAST:
        raise NoNode(f"node {major} is too old: these clients need {NODE_AT_LEAST} or newer")
    return major


def python_names() -> list[str]:
    return sorted(lock.parent.name for lock in LOCKS.glob("*/requirements.txt"))


def node_names() -> list[str]:
    return sorted(lock.parent.name for lock in LOCKS.glob("*/package-lock.json"))


def ensure(
    name: str,
    flavour: str,
    lock: bytes,
    make: Callable[[Path], None],
    *,
    root: Path = ROOT,
    say: Callable[[str], None] | None = None,
) -> Path:
    """The place of an environment; `make` fills it, unless that was done to the end before.

    Older environments of the same name and flavour are removed, and so is a half-made one.
    Of several processes that ask at once, one makes it and the others wait.
    """
    machine = f"{platform.system()}-{platform.machine()}".lower()
    key = hashlib.sha256(lock + machine.encode()).hexdigest()[:16]
    # One name may begin with another, so the parts are kept apart by a sign that none of them has.
    place = root / f"{name}@{flavour}@{key}"
    marker = place / _FINISHED
    with _alone(root, f"{name}@{flavour}"):
        if marker.is_file():
            return place
        (say or _say)(f"Making the environment of the {name} clients in {place} …")
        for older in root.glob(f"{name}@{flavour}@*"):
            shutil.rmtree(older)
        make(place)
        marker.touch()
        return place


@contextmanager
def _alone(root: Path, name: str) -> Iterator[None]:
    """One process at a time; the lock goes with the process, however it ends."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _run(command: list[str], cwd: Path | None = None) -> None:
    done = subprocess.run(
        command, cwd=cwd, env=_clean_environment(), capture_output=True, text=True, timeout=INSTALL_SECONDS
    )
    if done.returncode:
        said = f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}".strip()
        raise EnvironmentNotMade(f"{' '.join(command[:4])} … failed\n{said}")


def _clean_environment() -> dict[str, str]:
    """Without what would tie a new interpreter to the one that runs the tests."""
    tied = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PIP_TARGET", "PIP_REQUIRE_VIRTUALENV")
    return {name: value for name, value in os.environ.items() if name not in tied}


def _python_in(place: Path) -> Path:
    return place / "bin" / "python"


def _say(line: str) -> None:
    # Past pytest's capture: this can take a minute, and silence looks like a hang.
    print(line, file=sys.__stderr__, flush=True)


def main() -> None:
    for name in python_names():
        python_environment(name)
    for name in node_names():
        try:
            node_environment(name)
        except NoNode as reason:
            _say(f"Left out the {name} clients: {reason}.")


if __name__ == "__main__":
    main()
