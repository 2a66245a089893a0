"""Which deployments of a model are tried, in which order, and which models stand in for it.

Owns the choice before an attempt. Whether a failure is worth another attempt is not
decided here.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from random import Random
from typing import Final

from routing.domain.table import Balancing, DeploymentRow, FallbackReason, ModelRow, RoutingTable

# Twice as slow is chosen for an eighth as often: most requests go to the fastest, and no
# measurement, however often it is refreshed, sends all of them to one place at once.
_LATENCY_POWER: Final = 3
# Whatever was measured once is measured again: things get better unseen.
_LEAST_SHARE: Final = 0.01
_SHORTEST: Final = 0.001

MOST_FALLBACKS: Final = 10
"""Models that stand in for one, its fallbacks' own included. A bound on work, not advice."""


def is_usable(deployment: DeploymentRow) -> bool:
    """Whether the operator left deployment and provider switched on."""
    return deployment.is_enabled and deployment.provider.is_enabled


def order_candidates(
    model: ModelRow, rng: Random, latencies: Mapping[int, float] | None = None
) -> tuple[DeploymentRow, ...]:
    """The usable deployments of `model`, best first.

    A lower priority number goes first. Within a priority the order is drawn: each place
    goes to a remaining deployment with a probability proportional to its weight. Weight 0
    is the last resort of its priority.

    `latencies` are seconds by deployment id, of those that were measured. A model that
    balances by latency has its weights multiplied by how fast each deployment is beside
    the fastest of its priority; one that was not measured counts as the fastest, so that
    it will be.

    A provider without a key stays a candidate: whoever sends notices, and can say so.
    """
    if len(model.deployments) == 1:
        return model.deployments if is_usable(model.deployments[0]) else ()
    usable = list(filter(is_usable, model.deployments))
    speeds = _speeds(usable, latencies) if latencies and model.balancing is Balancing.LATENCY else {}
    # An exponential clock per deployment, running at the speed of its weight: the order in
    # which they ring is a weighted draw without replacement.
    rings: list[tuple[int, bool, float, int]] = []
    for index, deployment in enumerate(usable):
        wait = -math.log(1.0 - rng.random())
        if speeds:
            wait /= speeds.get(deployment.id, 1.0)
        is_last_resort = deployment.weight <= 0
        rings.append(
            (deployment.priority, is_last_resort, wait if is_last_resort else wait / deployment.weight, index)
        )
    rings.sort()
    return tuple([usable[ring[3]] for ring in rings])


def fallback_models(table: RoutingTable, model: ModelRow, reason: FallbackReason) -> tuple[ModelRow, ...]:
    """The enabled models that stand in for `model` when it cannot answer for `reason`, in order.

    First the model's own list, then the lists of those, level by level: a fallback that
    fails for the same reason has fallbacks too. No model comes twice, and `model` itself
    never, whatever circle the rows describe; at most `MOST_FALLBACKS` come at all.

    Whom the caller's key may use does not matter here: the operator chose the stand-in.
    """
    found: dict[str, ModelRow] = {}
    waiting = deque((model,))
    while waiting:
        for fallback in waiting.popleft().fallbacks:
            if not fallback.covers(reason) or fallback.model_id in found:
                continue
            following = table.find_model(fallback.model_id)
            if following is None or following.public_id == model.public_id:
                continue
            found[fallback.model_id] = following
            if len(found) == MOST_FALLBACKS:
                return tuple(found.values())
            waiting.append(following)
    return tuple(found.values())


def _speeds(usable: Iterable[DeploymentRow], latencies: Mapping[int, float]) -> dict[int, float]:
    """What the weight of each measured deployment is multiplied by: 1 for the fastest of its priority."""
    measured = [
        (row.id, row.priority, max(latencies[row.id], _SHORTEST)) for row in usable if row.id in latencies
    ]
    fastest: dict[int, float] = {}
    for _, priority, seconds in measured:
        fastest[priority] = min(seconds, fastest.get(priority, seconds))
    return {
        number: max((fastest[priority] / seconds) ** _LATENCY_POWER, _LEAST_SHARE)
        for number, priority, seconds in measured
    }
