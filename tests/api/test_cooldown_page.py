"""An operator sees what rests, and ends it: from a refused key to the next answer, through the real admin."""

from __future__ import annotations

import re
import time

import pytest

from tests.api.admin_client import AdminClient
from tests.api.conftest import upstream_settings
from tests.api.http import chat, say
from tests.api.prepared import prepared_server
from tests.fake_upstream import FakeUpstream, Json

PAGE = "/admin/routing/servedmodel/cooldowns/"
PATIENCE = 15.0

_PREPARE = """
from routing.models import Deployment, Provider, ServedModel
model = ServedModel.objects.get(public_id="gpt-4o")
claude = Provider.objects.get(name="anthropic")
Deployment.objects.create(model=model, provider=claude, upstream_id="claude-sonnet-4-5", priority=1)
"""


def wait_for_text(admin: AdminClient, text: str) -> str:
    deadline = time.monotonic() + PATIENCE
    while text not in (page := admin.get(PAGE)):
        assert time.monotonic() < deadline, f"{text!r} never came"
        time.sleep(0.1)
    return page


def test_a_cooldown_is_shown_and_ended_in_the_admin(
    upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = upstream_settings(upstream) | {
        "WEB_CONCURRENCY": "2",
        "COOLDOWN_AFTER": "3",
        "COOLDOWN_SECONDS": "300",
    }
    folder = tmp_path_factory.mktemp("cooldown-page")
    with prepared_server(settings, folder, _PREPARE) as server, AdminClient(server) as admin:
        assert "Nothing rests" in admin.get(PAGE)
        upstream.script(Json(401, {"error": {"message": "no"}}), path="/openai")
        assert chat(server.url, say("gpt-4o")).headers["x-patchbay-upstream"].startswith("anthropic/")
        page = wait_for_text(admin, "The provider refuses the key")
        assert "OPENAI_API_KEY" in page
        assert "test-openai-key-do-not-leak" not in page
        button = re.search(r'action="([^"]+/end/)"', page)
        assert button
        assert "is asked again" in admin.press(PAGE, button[1])
        wait_for_text(admin, "Nothing rests")
        for _ in range(8):
            answer = chat(server.url, say("gpt-4o"))
            assert answer.headers["x-patchbay-upstream"].startswith("openai/")
