"""Which deployments of a model are tried, and in which order.

Owns the choice before the first attempt. What happens after a failure is not decided
here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import groupby
from random import Random

from routing.domain.table import DeploymentRow, ModelRow


def is_usable(deployment: DeploymentRow) -> bool:
    """Whether the operator left deployment and provider switched on."""
    return deployment.is_enabled and deployment.provider.is_enabled


def order_candidates(model: ModelRow, rng: Random) -> tuple[DeploymentRow, ...]:
    """The usable deployments of `model`, best first.

    A lower priority number goes first. Within a priority the order is drawn: each place
    goes to a remaining deployment with a probability proportional to its weight. Weight 0
    is the last resort of its priority.

    A provider without a key stays a candidate: whoever sends notices, and can say so.
    """
    if len(model.deployments) == 1:
        return model.deployments if is_usable(model.deployments[0]) else ()
    usable = sorted(filter(is_usable, model.deployments), key=lambda deployment: deployment.priority)
    ordered: list[DeploymentRow] = []
    for _, group in groupby(usable, key=lambda deployment: deployment.priority):
        ordered.extend(_draw(group, rng))
    return tuple(ordered)


def _draw(group: Iterable[DeploymentRow], rng: Random) -> list[DeploymentRow]:
    # An exponential clock per deployment, running at the speed of its weight: the order in
    # which they ring is a weighted draw without replacement.
    rings: list[tuple[bool, float, int, DeploymentRow]] = []
    for index, deployment in enumerate(group):
        wait = -math.log(1.0 - rng.random())
        is_last_resort = deployment.weight <= 0
        rings.append(
            (is_last_resort, wait if is_last_resort else wait / deployment.weight, index, deployment)
        )
    rings.sort(key=lambda ring: ring[:3])
    return [ring[3] for ring in rings]
