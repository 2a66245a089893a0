"""The machine's clock is set, forwards or back: what is measured goes on, what is dated is dated anew."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.api.conftest import upstream_settings
from tests.api.http import Stream, chat, request, say
from tests.fake_upstream import Answer, FakeUpstream, Paced
from tests.live_server import LiveServer

DAY: Final = 86_400

_JUMPING: Final = """
import pathlib, time
real, offset = time.time, pathlib.Path({path!r})
time.time = lambda: real() + float(offset.read_text())
"""


@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_a_clock_that_jumps_disturbs_nobody(upstream: FakeUpstream, tmp_path: Path, jump: int) -> None:
    offset = tmp_path / "offset"
    offset.write_text("0")
    (tmp_path / "sitecustomize.py").write_text(_JUMPING.format(path=str(offset)))
    settings = {
        **upstream_settings(upstream),
        "PYTHONPATH": str(tmp_path),
        "UPSTREAM_IDLE_TIMEOUT": "20",
        "UPSTREAM_TOTAL_TIMEOUT": "20",
        "MAX_UPSTREAM_CALLS": "2",
    }
    with LiveServer(settings) as server:
        upstream.script(Answer() + Paced())
        upstream.pace.release(3)
        with Stream(server.url, say("gpt-4o-mini", stream=True)) as stream:
            before = chat(server.url, say("gpt-4o-mini"))
            offset.write_text(str(jump))
            after = chat(server.url, say("gpt-4o-mini"))
            assert (before.status, after.status) == (200, 200)
            assert float(after.headers["x-patchbay-overhead-ms"]) < 10_000
            assert request(server.url, "/readyz").json()["database"] == "ok"
            upstream.pace.release_all()
            assert stream.chunks()[-1] == "[DONE]"
        offset.write_text("0")
        assert chat(server.url, say("gpt-4o-mini")).status == 200
