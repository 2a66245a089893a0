"""Ends cooldowns by an operator's word. Cooldowns themselves live in the workers' memory."""

from __future__ import annotations

from django.db.models import F

from routing.models import Deployment


def end_cooldowns(*, deployment: Deployment) -> None:
    """Have every worker forget what it holds against `deployment`, whichever key it was with.

    The count is part of the configuration, so that it reaches each worker like any other
    change of it. What fails again rests again.
    """
    Deployment.objects.using(deployment._state.db).filter(pk=deployment.pk).update(
        cooldown_resets=F("cooldown_resets") + 1
    )
