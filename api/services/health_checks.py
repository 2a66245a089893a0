"""Asking upstreams now and then whether they are there: off by default, and costs no tokens.

A check is one GET of the provider's model list with one of its keys. It is made for keys
whose deployments rest, or had no request for a while. An answer lets a resting
deployment be tried before its time; it closes nothing, since to list models is not to
answer a chat. No answer counts like a request's failure. A refusal (401, 403, 429) is an
answer: keys that may chat need not be allowed to list.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from django.conf import settings

from api.services import cooldowns, transport
from api.services.attempts import Candidate
from api.services.providers.catalog import KINDS
from api.services.providers.headers import join_url, request_headers
from api.services.translation.failures import Failure, FailureKind
from api.services.wire import Timeouts, WireRequest
from routing import lookup
from routing.domain.plan import is_usable
from routing.domain.table import CredentialRow, ProviderRow, RoutingTable

logger = logging.getLogger("patchbay.health")

_PATH: Final = "models"
_LONGEST_SECONDS: Final = 10.0
"""What a list takes that long for is not there for a chat either."""
_AT_ONCE: Final = 4
"""Providers that are asked at the same time; each is asked for one of its keys at a time."""

_NOT_IMPLEMENTED: Final = 501


@dataclass(frozen=True, slots=True)
class Target:
    """What one check is about: a key of a provider, and all that is served with it."""

    provider: ProviderRow
    credential: CredentialRow | None
    candidates: tuple[Candidate, ...]

    @property
    def name(self) -> str:
        return f"{self.provider.id}|{self.credential.id if self.credential is not None else ''}"


class HealthChecks:
    """`start()`, then `stop()`. Checks every `interval` seconds what needs one."""

    def __init__(
        self,
        circuits: cooldowns.Cooldowns,
        interval: float,
        read_table: Callable[[], RoutingTable] = lookup.current,
    ) -> None:
        self._circuits = circuits
        self._interval = interval
        self._read_table = read_table
        self._table: RoutingTable | None = None
        self._targets: Sequence[Target] = ()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=1.0)

    async def _run(self) -> None:
        while True:
            # Workers that started together do not ask together.
            await asyncio.sleep(self._interval * random.uniform(0.9, 1.1))
            try:
                await self.check_all()
            except Exception:
                # Ours to repair, and no reason to leave the upstreams unwatched.
                logger.exception("The health checks failed.")

    async def check_all(self) -> None:
        """One round. Returns when every check that was needed has its answer."""
        places = asyncio.Semaphore(_AT_ONCE)

        async def check_provider(targets: Iterable[Target]) -> None:
            for target in targets:
                async with places:
                    if self._is_needed(target) and await cooldowns.claim(
                        f"check:{target.name}", self._interval * 0.8
                    ):
                        await self._check(target)

        targets = await self._list_targets()
        async with asyncio.TaskGroup() as group:
            for _, of_provider in groupby(targets, key=lambda target: target.provider.id):
                group.create_task(check_provider(list(of_provider)))

    async def _list_targets(self) -> Sequence[Target]:
        try:
            table = self._read_table()
        except lookup.NotLoaded:
            return ()
        if table is not self._table:
            # Off the event loop: a large catalog takes some milliseconds.
            self._targets = await asyncio.to_thread(list_targets, table)
            self._table = table
        return self._targets

    def _is_needed(self, target: Target) -> bool:
        return any(
            self._circuits.is_troubled(candidate) or self._circuits.idle_seconds(candidate) >= self._interval
            for candidate in target.candidates
        )

    async def _check(self, target: Target) -> None:
        began = time.perf_counter()
        failure: Failure | None = None
        status: int | None = None
        try:
            status = await _ask(target.provider, target.credential)
            failure = _failure_of(status)
        except Failure as error:
            failure = error
        logger.debug(
            "%s: %s.",
            target.provider.name,
            status if failure is None else failure.kind.value,
            extra={"fields": {"credential": target.credential.label} if target.credential else {}},
        )
        for candidate in target.candidates:
            if failure is None:
                # A key that was refused is only known to be good where the list was given.
                self._circuits.note_check(candidate, is_key_good=status is not None and status < 300)
            elif (
                self._circuits.is_troubled(candidate)
                or self._circuits.idle_seconds(candidate) >= self._interval
            ):
                self._circuits.fail(candidate, failure, began=began, is_check=True)


def start(circuits: cooldowns.Cooldowns) -> HealthChecks | None:
    """The checks that the settings ask for, running; None where they ask for none."""
    if not settings.HEALTH_CHECK_INTERVAL or not circuits.rules.after:
        return None
    checks = HealthChecks(circuits, settings.HEALTH_CHECK_INTERVAL)
    checks.start()
    return checks


def list_targets(table: RoutingTable) -> Sequence[Target]:
    """Everything that requests may be sent to, by provider and key."""
    found: dict[tuple[int, str | None], list[Candidate]] = {}
    for model in table.models:
        if not model.is_enabled:
            continue
        for deployment in filter(is_usable, model.deployments):
            provider = deployment.provider
            if KINDS[provider.kind].is_built_in or not provider.is_configured:
                continue
            for credential in provider.credentials or (None,):
                key = (provider.id, credential.id if credential is not None else None)
                found.setdefault(key, []).append(Candidate(deployment, credential))
    return [
        Target(candidates[0].deployment.provider, candidates[0].credential, tuple(candidates))
        for _, candidates in sorted(found.items(), key=lambda item: (item[0][0], item[0][1] or ""))
    ]


async def _ask(provider: ProviderRow, credential: CredentialRow | None) -> int:
    """The status of the provider's model list.

    Raises:
        Failure: there is no answer.
    """
    kind = KINDS[provider.kind]
    base_url = provider.base_url or kind.default_base_url
    if not base_url:
        raise Failure(FailureKind.PROVIDER_NOT_CONFIGURED, "The provider has no base URL.")
    headers = request_headers(
        kind,
        credential.secret.reveal() if credential is not None else None,
        extra=provider.header_values(),
    )
    del headers["content-type"]
    request = WireRequest(
        join_url(kind, base_url, _PATH),
        headers,
        b"",
        allows_private=provider.allows_private_network,
        method="GET",
    )
    response = await transport.current().send(request, _timeouts(provider))
    # A list may be long, and its status has said all.
    await response.close()
    return response.status


def _timeouts(provider: ProviderRow) -> Timeouts:
    connect = provider.connect_timeout or settings.UPSTREAM_CONNECT_TIMEOUT
    headers = provider.headers_timeout or settings.UPSTREAM_HEADERS_TIMEOUT
    longest = min(headers, _LONGEST_SECONDS)
    return Timeouts(
        connect=min(connect, _LONGEST_SECONDS),
        headers=longest,
        first_token=longest,
        idle=longest,
        total=longest,
    )


def _failure_of(status: int) -> Failure | None:
    if status < 500 or status == _NOT_IMPLEMENTED:
        return None
    return Failure(
        FailureKind.UPSTREAM_ERROR, f"The upstream answered with status {status}.", upstream_status=status
    )
