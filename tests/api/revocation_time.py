"""How long a revoked key still works, with three workers.

`python -m tests.api.revocation_time [TRIES [MODELS KEYS]]`.
MODELS and KEYS lie beside it in the database, and a model changes meanwhile where there are any.
Each try issues a key, waits until all workers know it, revokes it and asks on
connections that are spread over the workers until every answer is a refusal.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.live_server import LiveServer

WORKERS = 3
QUIET_ANSWERS = 12
"""So many refusals in a row, each on a connection of its own, count as every worker's."""


def main(tries: int, models: int = 0, keys: int = 0) -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = {"ACCESS_MODE": "issued_keys", "DEMO": "on", "WEB_CONCURRENCY": str(WORKERS)}
        with LiveServer(settings, data_dir=Path(folder)) as server:
            os.environ.update(server.environment)
            import django

            django.setup()
            if models or keys:
                from benchmarks.filling import fill

                fill(models, keys)
            times = [_try(server, is_catalog_changing=bool(models)) for _ in range(tries)]
    print(
        f"revoke to refusal by {WORKERS} workers, {tries} tries, {models} models and {keys} keys beside it: "
        f"median {statistics.median(times) * 1000:.0f} ms, max {max(times) * 1000:.0f} ms"
    )


def _try(server: LiveServer, *, is_catalog_changing: bool) -> float:
    from routing.models import ServedModel
    from routing.services import issue_key, revoke_key

    key, secret = issue_key()
    _ask_until(server, secret, refused=False)
    if is_catalog_changing:
        # The worst moment: every worker has begun to read the catalog.
        ServedModel.objects.filter(public_id="gpt-4.1").update(description="changed")
        time.sleep(0.3)
    revoke_key(key=key)
    revoked = time.perf_counter()
    return _ask_until(server, secret, refused=True) - revoked


def _ask_until(server: LiveServer, secret: str, *, refused: bool) -> float:
    """When the last answer of the other kind was given."""
    from tests.api.http import request

    last_other = time.perf_counter()
    in_a_row = 0
    while in_a_row < QUIET_ANSWERS:
        answer = request(server.url, "/v1/models", headers={"authorization": f"Bearer {secret}"})
        if (answer.status == 401) is refused:
            in_a_row += 1
        else:
            in_a_row = 0
            last_other = time.perf_counter()
    return last_other


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proxy_site.settings")
    main(*(int(argument) for argument in sys.argv[1:] or ["100"]))
