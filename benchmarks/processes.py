"""What the kernel says of a process and all its children: CPU time, memory, threads."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Peak:
    pss_mib: float
    threads: int


def family(pid: int) -> list[int]:
    """The process and its descendants that still run."""
    found = [pid]
    for each in found:
        try:
            for task in (_PROC / str(each) / "task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def cpu_seconds(pid: int) -> tuple[float, float]:
    """CPU time of the whole family, to the nanosecond, and its user time, in steps of 10 ms as a rule.

    The first is what its threads that still run have spent: one that ended takes its share along.
    """
    nanoseconds = ticks = 0
    for each in family(pid):
        with contextlib.suppress(OSError):  # It has ended meanwhile.
            ticks += int((_PROC / str(each) / "stat").read_text().rpartition(")")[2].split()[11])
            for task in (_PROC / str(each) / "task").iterdir():
                nanoseconds += int((task / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9, ticks / _TICKS


def look(pid: int) -> Peak:
    pss = threads = 0
    for each in family(pid):
        try:
            for line in (_PROC / str(each) / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    pss += int(line.split()[1])
            threads += len(list((_PROC / str(each) / "task").iterdir()))
        except OSError:
            continue
    return Peak(pss / 1024, threads)


def listener(port: int) -> int:
    """The oldest process that listens on the port; for programs that somebody else started."""
    for pid in sorted(int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal()):
        if port in listening([pid]):
            return pid
    raise SystemExit(f"Nobody listens on port {port} whose files this user may see.")


def listening(pids: Iterable[int]) -> set[int]:
    """The TCP ports that these processes listen on, as far as this user may see their files."""
    ports = {}
    for table in ("tcp", "tcp6"):
        for line in (_PROC / "net" / table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                ports[f"socket:[{fields[9]}]"] = int(fields[1].rpartition(":")[2], 16)
    return {ports[file] for pid in pids for file in _open_files(pid) if file in ports}


def _open_files(pid: int) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for link in (_PROC / str(pid) / "fd").iterdir():
            # Closed meanwhile, perhaps.
            with contextlib.suppress(OSError):
                yield os.readlink(link)


class Watch:
    """Highest memory and thread count while the block runs, looked at `every` so many seconds."""

    def __init__(self, pid: int, every: float = 0.25) -> None:
        self._pid = pid
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.peak = Peak(0, 0)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            seen = look(self._pid)
            self.peak = Peak(max(self.peak.pss_mib, seen.pss_mib), max(self.peak.threads, seen.threads))


def machine() -> dict[str, object]:
    model = "unknown"
    for line in (_PROC / "cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = int((_PROC / "meminfo").read_text().split()[1]) // 1024
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_mib": memory,
        "kernel": os.uname().release,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
