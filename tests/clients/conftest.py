from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients.client_process import ClientProcess
from tests.clients.environments import (
    LOCKS,
    EnvironmentNotMade,
    NoNode,
    node_environment,
    python_environment,
)
from tests.clients.stack import Stack, running_stack, stack

__all__ = ["running_stack", "stack"]


def _or_skip(make: Callable[[], Path]) -> Path:
    """What a developer's machine lacks is skipped and said; CI has to have everything."""
    try:
        return make()
    except (NoNode, EnvironmentNotMade) as reason:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(reason).partition("\n")[0])


def _python_client(name: str, stack: Stack) -> ClientProcess:
    interpreter = _or_skip(lambda: python_environment(name))
    return ClientProcess([str(interpreter), str(LOCKS / name / "scenarios.py")], stack.base_url)


def _node_client(script: str, stack: Stack) -> ClientProcess:
    place = _or_skip(node_environment)
    # Node looks for packages beside the script.
    for file in (LOCKS / "node").glob("*.mjs"):
        shutil.copy(file, place)
    return ClientProcess(["node", str(place / script)], stack.base_url)


@pytest.fixture(scope="module")
def openai1(running_stack: Stack) -> Iterator[ClientProcess]:
    with _python_client("openai1", running_stack) as client:
        yield client


@pytest.fixture(scope="module")
def langchain(running_stack: Stack) -> Iterator[ClientProcess]:
    with _python_client("langchain", running_stack) as client:
        yield client


@pytest.fixture(scope="module")
def pydantic_ai(running_stack: Stack) -> Iterator[ClientProcess]:
    with _python_client("pydantic_ai", running_stack) as client:
        yield client


@pytest.fixture(scope="module")
def instructor(running_stack: Stack) -> Iterator[ClientProcess]:
    with _python_client("instructor", running_stack) as client:
        yield client


@pytest.fixture(scope="module")
def openai_node(running_stack: Stack) -> Iterator[ClientProcess]:
    with _node_client("openai_node.mjs", running_stack) as client:
        yield client


@pytest.fixture(scope="module")
def ai_sdk(running_stack: Stack) -> Iterator[ClientProcess]:
    with _node_client("ai_sdk.mjs", running_stack) as client:
        yield client
