"""Several processes that count: together, through the death of any of them, and with a disk that is full."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from api.services.metrics import sharing
from api.services.metrics.registry import Registry
from api.services.metrics.sharing import (
    DIRECTORY_VARIABLE,
    WORKER_VARIABLE,
    forget_states,
    join,
    shared_directory,
)
from tests.observability.test_metrics import read, value

WORKER = """
import sys
from api.services.metrics import families
from api.services.metrics.registry import Registry
from api.services.metrics.sharing import join

registry = Registry(join(names_at_most=3))
registry.gauge(families.WORKERS).set(1)
registry.gauge(families.COOLDOWNS_OPEN, "openai", "gpt-4o").set(int(sys.argv[1]))
if int(sys.argv[1]) > 1:
    registry.gauge(families.CONFIG_VERSION).set(int(sys.argv[1]))
for number in range(3):
    registry.counter(families.INPUT_TOKENS, f"model-{number}").inc(10)
    registry.histogram(families.REQUEST_SECONDS, f"model-{number}", "true").observe(0.3)
registry.follow(families.CPU_SECONDS, 2.0)
print("counted", flush=True)
sys.stdin.read()
"""


@contextmanager
def worker(folder: Path, number: int) -> Iterator[subprocess.Popen[str]]:
    """A process that has counted and waits for its end."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(number)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {DIRECTORY_VARIABLE: str(folder), WORKER_VARIABLE: str(number)},
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


def test_what_all_workers_counted_is_one_sum(tmp_path: Path) -> None:
    with worker(tmp_path, 1), worker(tmp_path, 2), worker(tmp_path, 3):
        page = read(Registry(str(tmp_path)))
    assert value(page, "patchbay_input_tokens_total", model="model-0") == 30
    bucket = "patchbay_request_duration_seconds_bucket"
    assert value(page, bucket, model="model-2", stream="true", le="0.25") == 0
    assert value(page, bucket, model="model-2", stream="true", le="0.5") == 3
    assert value(page, "patchbay_request_duration_seconds_count", model="model-2", stream="true") == 3
    assert value(page, "patchbay_process_cpu_seconds_total") == 6
    assert value(page, "patchbay_workers") == 3
    assert value(page, "patchbay_cooldowns_open", provider="openai", upstream="gpt-4o") == 3
    # The first does not know of any yet.
    assert value(page, "patchbay_config_version") == 2


def test_what_a_killed_worker_counted_stays_and_its_states_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path))
    with worker(tmp_path, 1), worker(tmp_path, 2) as killed:
        assert value(read(Registry(str(tmp_path))), "patchbay_workers") == 2
        killed.send_signal(signal.SIGKILL)
        killed.wait(timeout=10)
        forget_states(2)
        page = read(Registry(str(tmp_path)))
        assert value(page, "patchbay_workers") == 1
        assert value(page, "patchbay_cooldowns_open", provider="openai", upstream="gpt-4o") == 1
        assert value(page, "patchbay_input_tokens_total", model="model-0") == 20


def test_a_successor_counts_on_in_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path))
    files = set()
    for life in range(1, 4):
        with worker(tmp_path, 1):
            page = read(Registry(str(tmp_path)))
        assert value(page, "patchbay_input_tokens_total", model="model-0") == 10 * life
        assert value(page, "patchbay_process_cpu_seconds_total") == 2 * life
        assert value(page, "patchbay_workers") == 1
        files.add(frozenset(path.name for path in tmp_path.iterdir()))
        forget_states(1)
    assert len(files) == 1


def test_the_disk_s_blocks_are_taken_before_anything_is_counted(tmp_path: Path) -> None:
    """A write to mapped memory that finds no block ends the process."""
    with worker(tmp_path, 1):
        for path in tmp_path.iterdir():
            found = path.stat()
            assert found.st_blocks * 512 >= found.st_size > 0, path.name


def test_without_room_on_disk_counting_goes_on_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path))
    monkeypatch.setenv(WORKER_VARIABLE, "1")
    monkeypatch.setattr(os, "posix_fallocate", refuse)
    assert join(names_at_most=3) is None
    assert "No space left on device" in caplog.text
    # And those who can count together are not disturbed by it.
    with worker(tmp_path, 2):
        assert value(read(Registry(str(tmp_path))), "patchbay_workers") == 1


def test_a_process_that_no_launcher_gave_a_number_counts_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path))
    monkeypatch.delenv(WORKER_VARIABLE, raising=False)
    assert join(names_at_most=3) is None
    assert list(tmp_path.iterdir()) == []


def test_the_launcher_s_folder_ends_with_it_and_so_do_those_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv(DIRECTORY_VARIABLE, raising=False)
    left = tmp_path / f"{sharing._PREFIX}left"
    left.mkdir()
    (left / "counter_1.db").touch()
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
        # The launcher itself counts nothing.
        assert list(first.iterdir()) == []
    assert not first.exists()
    assert foreign.exists()
    assert DIRECTORY_VARIABLE not in os.environ


def test_without_a_place_to_write_the_launcher_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    monkeypatch.setenv(DIRECTORY_VARIABLE, "/of/somebody/else")
    with shared_directory():
        assert DIRECTORY_VARIABLE not in os.environ
    assert "one worker at a time" in caplog.text
