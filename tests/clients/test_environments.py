"""The client suites' locks and how environments come from them."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path

import pytest

from tests.clients.environments import LOCKS, ensure, node_names, python_names

PYTHON_LOCKS = [LOCKS / name / "requirements.txt" for name in python_names()]
NODE_LOCKS = [LOCKS / name / "package-lock.json" for name in node_names()]


said: list[str] = []


def fill(place: Path) -> None:
    place.mkdir()
    (place / "package").write_text("x")


def never(place: Path) -> None:
    raise AssertionError("made although it was there")


def test_all_clients_have_a_lock() -> None:
    assert python_names() == ["instructor", "langchain", "openai1", "pydantic_ai"]
    assert node_names() == ["node"]


@pytest.mark.parametrize("lock", PYTHON_LOCKS, ids=lambda lock: lock.parent.name)
def test_every_python_package_is_pinned_and_hashed(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    entries = re.split(r"\n(?=[a-z])", re.sub(r"(?m)^ *#.*\n", "", text).strip())
    assert len(entries) > 10
    for entry in entries:
        assert re.match(r"[a-z0-9._-]+(\[[a-z0-9,-]+\])?==[^ ]+", entry), entry
        assert "--hash=sha256:" in entry, entry
    assert not re.search(r"https?:|--index|--find-links|--extra|@ file", text)


@pytest.mark.parametrize("lock", NODE_LOCKS, ids=lambda lock: lock.parent.name)
def test_every_node_package_is_hashed_and_names_no_registry(lock: Path) -> None:
    packages = json.loads(lock.read_text(encoding="utf-8"))["packages"]
    wanted = json.loads((lock.parent / "package.json").read_text(encoding="utf-8"))["dependencies"]
    assert packages[""]["dependencies"] == wanted
    assert all(re.fullmatch(r"[0-9.]+", version) for version in wanted.values())
    for name, entry in packages.items():
        if name:
            assert entry["integrity"].startswith("sha512-"), name
            assert "resolved" not in entry, name


def test_an_environment_is_made_once(tmp_path: Path) -> None:
    place = ensure("some", "py3", b"lock", fill, root=tmp_path, say=said.append)
    assert (place / "package").read_text() == "x"
    before = len(said)
    assert ensure("some", "py3", b"lock", never, root=tmp_path, say=said.append) == place
    assert len(said) == before


def test_another_lock_is_another_environment_and_replaces_the_older(tmp_path: Path) -> None:
    first = ensure("some", "py3", b"lock", fill, root=tmp_path, say=said.append)
    other_name = ensure("some_other", "py3", b"lock", fill, root=tmp_path, say=said.append)
    other_flavour = ensure("some", "py4", b"lock", fill, root=tmp_path, say=said.append)
    second = ensure("some", "py3", b"changed", fill, root=tmp_path, say=said.append)
    assert len({first, other_name, other_flavour, second}) == 4
    assert not first.exists()
    assert ensure("some_other", "py3", b"lock", never, root=tmp_path, say=said.append) == other_name
    assert ensure("some", "py4", b"lock", never, root=tmp_path, say=said.append) == other_flavour


def test_a_half_made_environment_is_made_anew(tmp_path: Path) -> None:
    def interrupted(place: Path) -> None:
        place.mkdir()
        (place / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure("some", "py3", b"lock", interrupted, root=tmp_path, say=said.append)
    place = ensure("some", "py3", b"lock", fill, root=tmp_path, say=said.append)
    assert not (place / "half").exists()
    assert (place / "package").exists()


def test_two_at_once_make_it_once(tmp_path: Path) -> None:
    entered, leave = threading.Event(), threading.Event()
    made: list[Path] = []

    def slow(place: Path) -> None:
        entered.set()
        assert leave.wait(10)
        fill(place)
        made.append(place)

    def ask() -> None:
        ensure("some", "py3", b"lock", slow, root=tmp_path, say=said.append)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert entered.wait(10)
    leave.set()
    for thread in threads:
        thread.join(10)
    assert len(made) == 1
