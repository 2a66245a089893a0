"""Runs scenarios inside a client's own environment and reports what the client saw.

Knows standard library only, since it runs in every environment. A scenario is a function
of a model name that returns JSON; what it raises is reported, not hidden.

    BASE_URL=http://127.0.0.1:8000/api/v1 MODEL=gpt-4o-mini python scenarios.py chat
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

Scenario = Callable[[str], Any]

BASE_URL = os.environ["BASE_URL"]
API_KEY = os.environ.get("API_KEY", "any-token")


def serve(package: str, *scenarios: Scenario) -> None:
    """Run the scenarios named as arguments, else those that standard input asks for, line by line."""
    named = {scenario.__name__: scenario for scenario in scenarios}
    # What a library prints must not come between the reports.
    reports, sys.stdout = sys.stdout, sys.stderr
    # One loop for all: libraries keep connections, which belong to the loop that opened them.
    with asyncio.Runner() as runner:
        if len(sys.argv) > 1:
            for name in sys.argv[1:]:
                print(json.dumps(_run(runner, named[name], os.environ["MODEL"]), indent=2), file=reports)
            return
        print(json.dumps({"ready": f"{package} {version(package)}"}), file=reports, flush=True)
        for line in sys.stdin:
            asked = json.loads(line)
            report = _run(runner, named[asked["scenario"]], asked["model"])
            print(json.dumps(report), file=reports, flush=True)


def _run(runner: asyncio.Runner, scenario: Scenario, model: str) -> dict[str, Any]:
    try:
        seen = scenario(model)
        if inspect.iscoroutine(seen):
            seen = runner.run(seen)
        # Anything that is not JSON is a mistake of the scenario, and is to show here.
        return {"seen": json.loads(json.dumps(seen))}
    except Exception as error:
        return {"raised": describe(error), "traceback": traceback.format_exc()}


def describe(error: BaseException) -> dict[str, Any]:
    """The class of an exception and what OpenAI's clients hang on it."""
    seen: dict[str, Any] = {"class": type(error).__name__, "text": str(error)}
    for name in ("status_code", "code", "param", "type", "request_id"):
        if hasattr(error, name):
            seen[name] = getattr(error, name)
    response = getattr(error, "response", None)
    if response is not None:
        seen["headers"] = dict(response.headers)
    return seen
