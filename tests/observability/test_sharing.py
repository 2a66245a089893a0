"""Several processes that count: together, through the death of any of them, and with a disk that is full."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from api.services.metrics import families, sharing
from api.services.metrics.series import Registry
from api.services.metrics.sharing import DIRECTORY_VARIABLE, Readers, SharedStore, shared_directory
from tests.observability.test_metrics import read, value

WORKER = """
import sys
from pathlib import Path
from api.services.metrics import families
from api.services.metrics.series import Registry
from api.services.metrics.sharing import SharedStore

registry = Registry(SharedStore(Path(sys.argv[1])))
registry.series(families.WORKERS).set(1)
for number in range(int(sys.argv[2])):
    registry.series(families.INPUT_TOKENS, f"model-{number}").add(10)
    registry.series(families.REQUEST_SECONDS, f"model-{number}", "true").observe(0.3)
print("counted", flush=True)
sys.stdin.read()
"""


@contextmanager
def worker(folder: Path, names: int = 3) -> Iterator[subprocess.Popen[str]]:
    """A process that has counted and waits for its end."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(folder), str(names)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "counted\n"
        yield process
    finally:
        process.stdin.close()
        process.wait(timeout=10)
        process.stdout.close()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Registry]:
    store = SharedStore(tmp_path)
    yield Registry(store)
    store.close()


def readers(folder: Path, registry: Registry) -> Readers:
    store = registry._store
    assert isinstance(store, SharedStore)
    return Readers(folder, store.name)


def test_what_all_workers_counted_is_one_sum(tmp_path: Path, own: Registry) -> None:
    own.series(families.INPUT_TOKENS, "model-1").add(1)
    own.series(families.WORKERS).set(1)
    with worker(tmp_path), worker(tmp_path):
        page = read(own, readers(tmp_path, own).read())
    assert value(page, "patchbay_input_tokens_total", model="model-0") == 20
    assert value(page, "patchbay_input_tokens_total", model="model-1") == 21
    bucket = "patchbay_request_duration_seconds_bucket"
    assert value(page, bucket, model="model-2", stream="true", le="0.5") == 2
    assert value(page, "patchbay_workers") == 3


def test_what_a_killed_worker_counted_stays_and_its_state_goes(tmp_path: Path, own: Registry) -> None:
    own.series(families.WORKERS).set(1)
    others = readers(tmp_path, own)
    with worker(tmp_path) as process:
        assert value(read(own, others.read()), "patchbay_workers") == 2
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=10)
        page = read(own, others.read())
        assert value(page, "patchbay_workers") == 1
        assert value(page, "patchbay_input_tokens_total", model="model-0") == 10


def test_files_of_the_dead_are_added_up_and_removed(tmp_path: Path, own: Registry) -> None:
    others = readers(tmp_path, own)
    for _ in range(4):
        with worker(tmp_path):
            pass
    assert value(read(own, others.read()), "patchbay_input_tokens_total", model="model-0") == 40
    # The newest dead one is added by the next that starts.
    assert len(list(tmp_path.glob("*.cells"))) == 2
    with worker(tmp_path):
        page = read(own, others.read())
        assert len(list(tmp_path.glob("*.cells"))) == 2
    assert value(page, "patchbay_input_tokens_total", model="model-0") == 50


def test_a_worker_that_died_while_adding_up_counts_nothing_twice(tmp_path: Path, own: Registry) -> None:
    others = readers(tmp_path, own)
    with worker(tmp_path):
        pass
    kept = {path: path.read_bytes() for path in tmp_path.glob("*") if path.suffix in {".cells", ".names"}}
    with worker(tmp_path):
        for path, data in kept.items():
            if not path.exists():
                path.write_bytes(data)  # As if it had been killed before it removed them.
        page = read(own, others.read())
        assert value(page, "patchbay_input_tokens_total", model="model-0") == 20
    with worker(tmp_path):
        page = read(own, others.read())
    assert value(page, "patchbay_input_tokens_total", model="model-0") == 30


def test_names_that_come_later_are_found(tmp_path: Path, own: Registry) -> None:
    other = Registry(SharedStore(tmp_path))
    others = readers(tmp_path, own)
    for number in range(400):  # More than one chunk of cells.
        other.series(families.REQUEST_SECONDS, f"model-{number}", "true").observe(number)
        if number % 100 == 0:
            others.read()
    page = read(own, others.read())
    total = "patchbay_request_duration_seconds_sum"
    assert all(value(page, total, model=f"model-{n}", stream="true") == n for n in range(400))
    other._store.close()  # type: ignore[attr-defined]


def test_without_room_on_disk_counting_goes_on_alone(
    tmp_path: Path, own: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    own.series(families.INPUT_TOKENS, "before").add(1)
    monkeypatch.setattr(os, "posix_fallocate", refuse)
    for number in range(1_000):
        own.series(families.REQUEST_SECONDS, f"model-{number}", "true").observe(1)
    page = read(own)
    assert value(page, "patchbay_input_tokens_total", model="before") == 1
    assert value(page, "patchbay_request_duration_seconds_count", model="model-999", stream="true") == 1
    assert caplog.text.count("No more metrics can be shared") == 1


def test_who_adds_up_keeps_nobody_waiting(tmp_path: Path, own: Registry) -> None:
    others = readers(tmp_path, own)
    lock = os.open(tmp_path / "lock", os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            others.read()
    finally:
        os.close(lock)
    assert len(others.read()) == 1


def test_the_launcher_s_folder_ends_with_it_and_so_do_those_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = tmp_path / f"{sharing._PREFIX}left"
    left.mkdir()
    (left / "1-abc.cells").touch()
    foreign = tmp_path / "something-else"
    foreign.mkdir()
    with shared_directory():
        assert not left.exists()
        first = Path(os.environ[DIRECTORY_VARIABLE])
        assert first.stat().st_mode & 0o077 == 0
        # Another launcher on the same machine leaves it alone.
        program = "from api.services.metrics.sharing import _remove_leftovers; _remove_leftovers()"
        subprocess.run(
            [sys.executable, "-c", program], check=True, env=os.environ | {"TMPDIR": str(tmp_path)}
        )
        assert first.exists()
    assert not first.exists()
    assert foreign.exists()
    assert DIRECTORY_VARIABLE not in os.environ


def test_without_a_place_to_write_the_launcher_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with shared_directory():
        assert DIRECTORY_VARIABLE not in os.environ
    assert "one worker at a time" in caplog.text
