"""Fills a migrated database with many models and keys: `python -m benchmarks.filling MODELS KEYS`.

Every hundredth key has a scope of three models, every tenth a team. The models are served
by the provider that is there already.
"""

from __future__ import annotations

import os
import sys
from itertools import islice

TEAMS = 50
_ROWS_AT_ONCE = 1000


def fill(models: int, keys: int) -> None:
    from django.db import transaction

    from routing.models import ApiKey, Deployment, Provider, ServedModel, Team

    provider = Provider.objects.get(name="openai")
    with transaction.atomic():
        made = ServedModel.objects.bulk_create(
            (ServedModel(public_id=f"vendor-{n % 97}/model-{n}", owned_by="bench") for n in range(models)),
            batch_size=_ROWS_AT_ONCE,
        )
        Deployment.objects.bulk_create(
            (Deployment(model=model, provider=provider, upstream_id="gpt-4o-mini") for model in made),
            batch_size=_ROWS_AT_ONCE,
        )
        teams = Team.objects.bulk_create(Team(name=f"team {n}") for n in range(TEAMS))
        issued = ApiKey.objects.bulk_create(
            (
                ApiKey(
                    prefix=f"sk-pb-{n:06}",
                    digest=f"{n + (1 << 128):064x}",
                    note=f"key {n}",
                    team=teams[n % TEAMS] if n % 10 == 0 else None,
                    requests_per_minute=600 if n % 2 == 0 else None,
                    is_restricted=n % 100 == 0,
                )
                for n in range(keys)
            ),
            batch_size=_ROWS_AT_ONCE,
        )
        through = ApiKey.allowed_models.through
        rows = (
            through(apikey_id=key.pk, servedmodel_id=made[(key.pk * 7 + n) % len(made)].pk)
            for key in issued
            if key.is_restricted and made
            for n in range(min(3, len(made)))
        )
        while some := list(islice(rows, _ROWS_AT_ONCE)):
            through._default_manager.bulk_create(some)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proxy_site.settings")
    import django

    django.setup()
    fill(int(sys.argv[1]), int(sys.argv[2]))
