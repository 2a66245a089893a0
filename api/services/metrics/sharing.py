"""Counting across worker processes: each counts in files of its own that all can read.

In a folder that the launcher makes, a worker has two files: its numbers, mapped into its
memory, and the names of the series that they belong to. It holds a lock on the numbers
for as long as it lives, so that nobody has to guess from process ids who is alive. What
dead workers counted stays: a counter that went down would look like a restart, and be
added all over again. A worker that starts adds the files of the dead together.

Nothing here waits for another worker's requests; the folder's lock is held for as long
as it takes to read or add some files.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import mmap
import os
import secrets
import shutil
import tempfile
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from api.services.metrics.families import BY_NAME, Kind
from api.services.metrics.series import Cells, Key, LocalStore

logger = logging.getLogger("patchbay.metrics")

DIRECTORY_VARIABLE: Final = "PATCHBAY_METRICS_DIRECTORY"
"""How the launcher tells its workers where the folder is. Not a setting."""

_PREFIX: Final = "patchbay-metrics-"
_CHUNK: Final = 64 * 1024  # Bytes; a multiple of every page size.
_CELL: Final = 8
_LOCK: Final = "lock"
_RETIRED: Final = "retired.json"
_NUMBERS: Final = ".cells"
_NAMES: Final = ".names"


@contextlib.contextmanager
def shared_directory() -> Iterator[None]:
    """For the launcher: a folder for its workers, gone when the block ends.

    Folders of launchers that were killed are removed on the way. Without a place to write,
    every worker counts by itself, and the log says so.
    """
    try:
        _remove_leftovers()
        path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        # Held for as long as this launcher lives; systemd's cleaning of old files keeps to it, too.
        owner = _open_locked(path, fcntl.LOCK_EX, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        logger.warning(
            "No folder for metrics can be made in %s: %s. /metrics tells of one worker at a time.",
            tempfile.gettempdir(),
            error.strerror,
        )
        yield
        return
    os.environ[DIRECTORY_VARIABLE] = str(path)
    try:
        yield
    finally:
        del os.environ[DIRECTORY_VARIABLE]
        shutil.rmtree(path, ignore_errors=True)
        os.close(owner)


def _remove_leftovers() -> None:
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if path.stat().st_uid != os.getuid():
                continue
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
            os.close(_open_locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB, flags))
            shutil.rmtree(path, ignore_errors=True)


def _open_locked(path: Path, operation: int, flags: int = os.O_RDWR | os.O_CREAT) -> int:
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, operation)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


@contextlib.contextmanager
def _folder_lock(folder: Path, operation: int) -> Iterator[None]:
    """Raises BlockingIOError if `operation` has LOCK_NB and somebody else holds the lock."""
    lock = _open_locked(folder / _LOCK, operation)
    try:
        yield
    finally:
        os.close(lock)


class SharedStore:
    """Cells in memory that the other workers read."""

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder
        self.name: Final = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._names = -1
        self._chunk: memoryview[float] = memoryview(b"").cast("d")
        self._chunks = 0
        self._used = 0
        self._local: LocalStore | None = None
        with _folder_lock(folder, fcntl.LOCK_EX):
            _retire_the_dead(folder)
            # Held open, and locked with it, until this process ends.
            self._numbers = _open_locked(folder / f"{self.name}{_NUMBERS}", fcntl.LOCK_EX)
            self._names = os.open(
                folder / f"{self.name}{_NAMES}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600
            )

    def allocate(self, key: Key, count: int) -> tuple[Cells, int]:
        if self._local is None:
            try:
                return self._allocate(key, count)
            except OSError as error:
                logger.warning("No more metrics can be shared between workers: %s.", error.strerror)
                self._local = LocalStore()
        return self._local.allocate(key, count)

    def close(self) -> None:
        """Count as dead from now on."""
        os.close(self._numbers)
        os.close(self._names)

    def _allocate(self, key: Key, count: int) -> tuple[Cells, int]:
        if self._used + count > len(self._chunk):
            self._grow()
        first, self._used = self._used, self._used + count
        place = (self._chunks - 1) * (_CHUNK // _CELL) + first
        # The name comes last: who reads it finds its cells.
        os.write(self._names, json.dumps([key[0], *key[1], place]).encode() + b"\n")
        return self._chunk, first

    def _grow(self) -> None:
        start = self._chunks * _CHUNK
        # Room is taken now: a full disk met later, by a write to this memory, would end the process.
        os.posix_fallocate(self._numbers, start, _CHUNK)
        self._chunk = memoryview(mmap.mmap(self._numbers, _CHUNK, offset=start)).cast("d")
        self._chunks += 1
        self._used = 0


@dataclass(slots=True)
class Source:
    """What one process counted: where its series stand in its numbers."""

    is_alive: bool
    places: Mapping[Key, int]
    numbers: array[float]

    def read(self, key: Key, count: int) -> array[float] | None:
        place = self.places.get(key)
        if place is None or place + count > len(self.numbers):
            return None
        return self.numbers[place : place + count]


@dataclass(slots=True)
class _Names:
    read: int = 0
    places: dict[Key, int] = field(default_factory=dict)


class Readers:
    """Reads what the other processes counted. Remembers names, which only ever get more."""

    def __init__(self, folder: Path, own: str) -> None:
        self._folder = folder
        self._own = own
        self._names: dict[str, _Names] = {}
        self._stamp = 0, 0
        self._retired: tuple[_Retired, Source] | None = None

    def read(self) -> list[Source]:
        """All sources but this process.

        Raises:
            BlockingIOError: a worker that starts is adding files together; try again in a moment.
        """
        with _folder_lock(self._folder, fcntl.LOCK_SH | fcntl.LOCK_NB):
            retired, source = self._read_retired()
            found = [source]
            names = _workers(self._folder) - {self._own} - retired.names
            self._names = {name: known for name, known in self._names.items() if name in names}
            for name in names:
                known = self._names.setdefault(name, _Names())
                found.append(_read_worker(self._folder, name, known))
        return found

    def _read_retired(self) -> tuple[_Retired, Source]:
        """Anew only after a worker replaced the file."""
        try:
            found = (self._folder / _RETIRED).stat()
            stamp = found.st_ino, found.st_mtime_ns
        except FileNotFoundError:
            stamp = 0, 0
        if self._retired is None or stamp != self._stamp:
            retired = _read_retired(self._folder)
            self._retired, self._stamp = (retired, retired.as_source()), stamp
        return self._retired


def _workers(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob(f"*{_NUMBERS}")}


def _read_worker(folder: Path, name: str, known: _Names) -> Source:
    with contextlib.suppress(FileNotFoundError), (folder / f"{name}{_NAMES}").open("rb") as file:
        file.seek(known.read)
        text = file.read()
        text = text[: text.rfind(b"\n") + 1]
        known.read += len(text)
        for line in text.splitlines():
            family, *labels, place = json.loads(line)
            known.places[family, tuple(labels)] = place
    numbers = array("d")
    numbers.frombytes((folder / f"{name}{_NUMBERS}").read_bytes())
    return Source(_is_alive(folder, name), known.places, numbers)


def _is_alive(folder: Path, name: str) -> bool:
    try:
        os.close(_open_locked(folder / f"{name}{_NUMBERS}", fcntl.LOCK_SH | fcntl.LOCK_NB, os.O_RDWR))
    except BlockingIOError:
        return True
    return False


@dataclass(slots=True)
class _Retired:
    """What the dead counted. `names` are those whose files are in it, should they still be there."""

    names: set[str] = field(default_factory=set)
    series: dict[Key, list[float]] = field(default_factory=dict)

    def add(self, source: Source) -> None:
        for key in source.places:
            family = BY_NAME[key[0]]
            numbers = source.read(key, family.cells)
            if numbers is not None and family.kind is not Kind.GAUGE:
                before = self.series.get(key, [0.0] * family.cells)
                self.series[key] = [a + b for a, b in zip(before, numbers, strict=True)]

    def as_source(self) -> Source:
        numbers = array("d")
        places: dict[Key, int] = {}
        for key, cells in self.series.items():
            places[key] = len(numbers)
            numbers.extend(cells)
        return Source(is_alive=False, places=places, numbers=numbers)


def _read_retired(folder: Path) -> _Retired:
    try:
        kept: dict[str, Any] = json.loads((folder / _RETIRED).read_bytes())
    except FileNotFoundError:
        return _Retired()
    return _Retired(
        set(kept["names"]), {(name, tuple(labels)): cells for name, labels, cells in kept["series"]}
    )


def _retire_the_dead(folder: Path) -> None:
    """Add the files of dead workers to the retired ones. The folder's lock must be held."""
    retired = _read_retired(folder)
    dead = {name for name in _workers(folder) if not _is_alive(folder, name)}
    fresh = dead - retired.names
    if fresh:
        for name in fresh:
            retired.add(_read_worker(folder, name, _Names()))
        kept = {"names": sorted(dead), "series": [[*key, cells] for key, cells in retired.series.items()]}
        # In one step: whoever dies in between leaves the old file, or the new one.
        (folder / f"{_RETIRED}.new").write_bytes(json.dumps(kept).encode())
        os.replace(folder / f"{_RETIRED}.new", folder / _RETIRED)
    for name in dead:
        (folder / f"{name}{_NUMBERS}").unlink(missing_ok=True)
        (folder / f"{name}{_NAMES}").unlink(missing_ok=True)
