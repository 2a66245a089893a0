"""Fixtures that every test may use."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Before Django reads its settings: tests never touch the operator's data or environment.
_data = tempfile.mkdtemp(prefix="patchbay-tests-")
os.environ["DATA_DIR"] = _data
for _name in (
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_BASE_URL",
    "DATABASE_URL",
    "VALKEY_URL",
    "ENVIRONMENT",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "http_proxy",
    "https_proxy",
):
    os.environ.pop(_name, None)
os.environ["DEMO"] = os.environ.get("DEMO", "auto")

import pytest
import responses
from hypothesis import HealthCheck, settings

# A loaded machine is slow, and no example wrong for it.
settings.register_profile(
    "unhurried",
    settings.get_profile("ci" if os.environ.get("CI") else "default"),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("unhurried")


@pytest.fixture(autouse=True)
def no_requests_library() -> Iterator[None]:
    """Any call through `requests` fails: nothing of ours speaks through it."""
    with responses.RequestsMock():
        yield


@pytest.fixture(scope="session")
def project_root() -> Path:
    return Path(__file__).resolve().parent.parent


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line that says what this run did not test, and why."""
    skipped = terminalreporter.stats.get("skipped", [])
    if not skipped:
        return
    reasons: dict[str, int] = {}
    for report in skipped:
        text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = text.removeprefix("Skipped: ")
        reasons[reason] = reasons.get(reason, 0) + 1
    told = "; ".join(f"{count} for {reason}" for reason, count in reasons.items())
    terminalreporter.write_line(f"Not tested here: {told}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """CI has everything that a test may want: there, a skip is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
