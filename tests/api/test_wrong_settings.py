"""A setting that is wrong ends the start with one sentence that names it, not with a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live_server import ROOT, free_port


def start(data_dir: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "serve"],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "HOST": "127.0.0.1",
            "PORT": str(free_port()),
            "DATA_DIR": str(data_dir),
            **settings,
        },
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "abc"),
        ("PORT", "65536"),
        ("DEMO", "maybe"),
        ("TIME_ZONE", "Mars"),
        ("TIME_ZONE", "../etc"),
        ("DATABASE_URL", "nonsense"),
        ("DATABASE_URL", "mysql://someone:very-secret@127.0.0.1/x"),
        ("DATABASE_URL", "postgres://someone:very-secret@127.0.0.1:port/x"),
        ("ENCRYPTION_KEYS", "very-secret"),
        ("VALKEY_URL", "http://127.0.0.1"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(tmp_path: Path, name: str, value: str) -> None:
    ended = start(tmp_path, **{name: value})
    assert ended.returncode == 1
    assert name in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert "very-secret" not in ended.stderr


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = start(tmp_path / "file" / "data")
    assert ended.returncode == 1
    assert "DATA_DIR" in ended.stderr
    assert "Traceback" not in ended.stderr
