"""`make audit` never takes silence for good news; the provider under node comes from its lock alone."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

LOCKS = ("requirements-prod.txt", "requirements.txt", "requirements-audit.txt")


@pytest.fixture
def copy(tmp_path: Path, project_root: Path) -> Path:
    """The script and the locks, with an environment that counts as made."""
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".audit/bin").mkdir(parents=True)
    shutil.copy(project_root / ".ci/audit", tmp_path / ".ci/audit")
    for lock in LOCKS:
        shutil.copy(project_root / lock, tmp_path / lock)
    shutil.copy(project_root / LOCKS[2], tmp_path / ".audit/lock")
    return tmp_path


@pytest.mark.parametrize(
    ("said", "code", "status", "told"),
    [
        ("No known vulnerabilities found", 0, 0, ""),
        ("Found 2 known vulnerabilities in 1 package", 1, 1, "Found 2"),
        ("ERROR:pip_audit._cli:Could not connect to PyPI's vulnerability feed", 1, 2, "NOT CHECKED"),
        ("aiohttp: Dependency not found on PyPI and could not be audited", 1, 2, "NOT CHECKED"),
    ],
)
def test_a_finding_and_an_unreachable_service_are_told_apart(
    copy: Path, said: str, code: int, status: int, told: str
) -> None:
    tool = copy / ".audit/bin/pip-audit"
    tool.write_text(f'#!/bin/sh\ncat <<"END"\n{said}\nEND\necho "$@" >> "{copy}/arguments"\nexit {code}\n')
    tool.chmod(0o755)
    ended = subprocess.run([str(copy / ".ci/audit")], capture_output=True, text=True, timeout=60)
    assert ended.returncode == status
    assert told in ended.stdout + ended.stderr
    # Without it the tool passes what its service has never heard of.
    assert "--strict" in (copy / "arguments").read_text()


def test_every_package_of_the_identity_provider_is_hashed_and_names_no_registry(project_root: Path) -> None:
    folder = project_root / "tests/people/identity_provider"
    packages = json.loads((folder / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    wanted = json.loads((folder / "package.json").read_text(encoding="utf-8"))["dependencies"]
    assert packages[""]["dependencies"] == wanted
    for name, entry in packages.items():
        if name:
            assert entry["integrity"].startswith("sha512-"), name
            assert "resolved" not in entry, name
