"""Counting across worker processes: prometheus-client's files, one set for each worker's number.

The launcher makes the folder, and gives each worker a number that no other living one has.
A worker that takes a dead one's place gets its number and counts on in its files, so that
no counter ever goes down, and the files are never more than there were workers at once.
The dead one's states go: the launcher removes their files.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, get_args

from prometheus_client import multiprocess, values

from api.services.metrics.families import Merging

logger = logging.getLogger("patchbay.metrics")

# How the launcher tells its workers where the folder is, and who they are. No settings.
DIRECTORY_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"  # prometheus-client reads it too.
WORKER_VARIABLE: Final = "PATCHBAY_WORKER"

_PREFIX: Final = "patchbay-metrics-"
_LEAST_ROOM: Final = 64 * 1024
_ROOM_FOR_A_NAME: Final = {"histogram": 20 * 1024, "counter": 6 * 1024, "gauge_livemax": 512}
"""Bytes that a model and its deployment take in the library's files when all their figures are in use."""


@contextlib.contextmanager
def shared_directory() -> Iterator[None]:
    """For the launcher: a folder for its workers, gone when the block ends.

    Folders of launchers that were killed are removed on the way. Without a place to write,
    every worker counts by itself, and the log says so.
    """
    before = os.environ.pop(DIRECTORY_VARIABLE, None)
    try:
        _remove_leftovers()
        path = Path(tempfile.mkdtemp(prefix=_PREFIX))
        # Held for as long as this launcher lives; systemd's cleaning of old files keeps to it, too.
        owner = _open_locked(path, fcntl.LOCK_EX)
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
        if before is not None:
            os.environ[DIRECTORY_VARIABLE] = before
        shutil.rmtree(path, ignore_errors=True)
        os.close(owner)


def forget_states(worker: int) -> None:
    """For the launcher, when a worker has ended: its states are over, what it counted is not."""
    if directory := os.environ.get(DIRECTORY_VARIABLE):
        with contextlib.suppress(OSError):
            multiprocess.mark_process_dead(worker, directory)  # type: ignore[no-untyped-call]


def join(names_at_most: int) -> str | None:
    """For a process that counts, before its first metric: the folder that it shares, if there is one."""
    values.ValueClass = values.MutexValue
    directory, number = os.environ.get(DIRECTORY_VARIABLE), os.environ.get(WORKER_VARIABLE)
    if not directory or not number:
        return None
    try:
        _take_room(Path(directory), number, names_at_most)
    except OSError as error:
        logger.warning(
            "Metrics cannot be shared between workers in %s: %s. This one counts by itself.",
            directory,
            error.strerror,
        )
        return None
    values.ValueClass = values.MultiProcessValue(lambda: number)  # type: ignore[no-untyped-call]
    return directory


def _take_room(folder: Path, number: str, names: int) -> None:
    """The files, with their blocks: a write to mapped memory ends the process where the disk is full."""
    for kind in ("counter", "histogram", *(f"gauge_{mode}" for mode in get_args(Merging))):
        room = _LEAST_ROOM + names * _ROOM_FOR_A_NAME.get(kind, 0)
        path = folder / f"{kind}_{number}.db"
        # Not under its name before it has a size: who reads an empty one fails.
        made = path if path.exists() else path.with_suffix(".new")
        descriptor = os.open(made, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, room)
        finally:
            os.close(descriptor)
        os.replace(made, path)


def _remove_leftovers() -> None:
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if path.stat().st_uid != os.getuid():
                continue
            os.close(_open_locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB))
            shutil.rmtree(path, ignore_errors=True)


def _open_locked(path: Path, operation: int) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, operation)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
