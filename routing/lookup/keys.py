"""Reads client keys and builds the ring that requests find them in.

Made for many: columns instead of model instances, equal scopes shared, a fixed number of
queries; and a few keys can be read again without the others.
"""

from __future__ import annotations

import base64
import binascii
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from routing import crypto
from routing.domain.keys import PEPPER_BYTES, KeyRing, StoredKey, TeamRow
from routing.lookup.moment import read_rows
from routing.lookup.pace import Pause, paced
from routing.models import ApiKey, KeyPepper, Team

_COLUMNS: Final = (
    "id",
    "prefix",
    "digest",
    "previous_digest",
    "previous_valid_until",
    "owner_id",
    "owner__username",
    "team_id",
    "is_restricted",
    "expires_at",
    "requests_per_minute",
    "tokens_per_minute",
    "max_concurrent",
    "is_enabled",
    "revoked_at",
)
# SQLite takes 999 parameters in one statement, PostgreSQL more.
_IDS_AT_ONCE: Final = 500


class UnusablePepper(Exception):
    """The stored pepper cannot be used. The message says why, for the operator."""


@dataclass(frozen=True, slots=True)
class StoredKeys:
    """Keys as the database holds them: all, or some."""

    keys: list[tuple[Any, ...]]
    allowed: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Keys:
    """The ring in force, and what is wrong with it."""

    ring: KeyRing
    problems: tuple[str, ...] = ()


def read_all_keys(using: str, pause: Pause) -> StoredKeys:
    through = ApiKey.allowed_models.through._default_manager.using(using)
    return StoredKeys(
        keys=read_rows(ApiKey.objects.using(using).order_by("id").values_list(*_COLUMNS), pause),
        allowed=read_rows(through.order_by().values_list("apikey_id", "servedmodel_id"), pause),
    )


def read_some_keys(using: str, ids: Collection[int], pause: Pause) -> StoredKeys:
    """Those of `ids` that there still are."""
    through = ApiKey.allowed_models.through._default_manager.using(using)
    found = StoredKeys([], [])
    for some in _portions(ids):
        keys = ApiKey.objects.using(using).filter(pk__in=some).order_by("id").values_list(*_COLUMNS)
        found.keys.extend(read_rows(keys, pause))
        allowed = through.filter(apikey_id__in=some).order_by().values_list("apikey_id", "servedmodel_id")
        found.allowed.extend(read_rows(allowed, pause))
    return found


def read_teams(using: str) -> dict[int, TeamRow]:
    return {
        team.pk: TeamRow(id=team.pk, name=team.name, is_enabled=team.is_enabled, limit=team.limit)
        for team in Team.objects.using(using).order_by("id")
    }


def read_pepper(using: str) -> str | None:
    """The pepper as it is stored: encrypted. None before the first key was issued."""
    return KeyPepper.objects.using(using).values_list("encrypted_pepper", flat=True).first()


def find_keys_of_teams(using: str, teams: Collection[int], at_most: int) -> set[int]:
    found: set[int] = set()
    for some in _portions(teams):
        keys = ApiKey.objects.using(using).filter(team_id__in=some).order_by().values_list("id", flat=True)
        found.update(keys[:at_most])
    return found


def find_keys_of_models(using: str, models: Collection[int], at_most: int) -> set[int]:
    """The keys whose scope names one of these models."""
    through = ApiKey.allowed_models.through._default_manager.using(using)
    found: set[int] = set()
    for some in _portions(models):
        keys = through.filter(servedmodel_id__in=some).order_by().values_list("apikey_id", flat=True)
        found.update(keys[:at_most])
    return found


def count_keys(using: str) -> int:
    return ApiKey.objects.using(using).count()


def decrypt_pepper(encrypted: str) -> bytes:
    """Raises `UnusablePepper`."""
    try:
        pepper = base64.b64decode(crypto.decrypt(encrypted), validate=True)
    except crypto.UndecryptableError:
        raise UnusablePepper(
            "cannot be decrypted: none of ENCRYPTION_KEYS fits. Put the earlier key back"
        ) from None
    except crypto.EncryptionKeyError as error:
        raise UnusablePepper(f"cannot be decrypted: {str(error).rstrip('.')}") from None
    except (binascii.Error, ValueError):
        raise UnusablePepper("is damaged") from None
    if len(pepper) != PEPPER_BYTES:
        raise UnusablePepper("is damaged")
    return pepper


def build_keys(
    stored: StoredKeys,
    *,
    encrypted_pepper: str | None,
    teams: Mapping[int, TeamRow],
    public_ids: Mapping[int, str],
    pause: Pause,
) -> Keys:
    """The ring of all keys. Without a usable pepper it knows no secret, and `problems` says so."""
    pepper = b""
    problems: tuple[str, ...] = ()
    if encrypted_pepper is not None:
        try:
            pepper = decrypt_pepper(encrypted_pepper)
        except UnusablePepper as problem:
            problems = (
                f"All issued API keys are refused: the value that their digests depend on {problem}.",
            )
    ring = KeyRing(pepper=pepper, teams=teams)
    return Keys(ring.amended(paced(_entries(stored, public_ids), pause)), problems)


def amend_keys(
    keys: Keys,
    stored: StoredKeys,
    *,
    ids: Collection[int],
    teams: Mapping[int, TeamRow],
    public_ids: Mapping[int, str],
    pause: Pause,
) -> Keys:
    """`keys` with `ids` as they are in `stored` now: changed, new or gone."""
    entries = paced(_entries(stored, public_ids), pause)
    return Keys(keys.ring.amended(entries, gone=ids, teams=teams), keys.problems)


def _entries(stored: StoredKeys, public_ids: Mapping[int, str]) -> Iterator[tuple[bytes, StoredKey]]:
    scopes = _Scopes(stored.allowed, public_ids)
    owners: dict[str, str] = {}
    for (
        key_id,
        prefix,
        digest,
        previous_digest,
        previous_valid_until,
        owner_id,
        owner,
        team_id,
        is_restricted,
        expires_at,
        requests,
        tokens,
        concurrent,
        is_enabled,
        revoked_at,
    ) in stored.keys:
        name = owners.setdefault(owner, owner) if owner else ""
        allowed = scopes.of(key_id, is_restricted)
        ends = _seconds(expires_at)
        start = (key_id, prefix, team_id, name, owner_id, allowed)
        state = (requests, tokens, concurrent, is_enabled, revoked_at is not None)
        yield _digest(digest), (*start, ends, *state, False)
        if previous_digest:
            grace_ends = previous_valid_until.timestamp()
            is_replaced = ends is None or grace_ends < ends
            row = (*start, grace_ends if is_replaced else ends, *state, is_replaced)
            yield _digest(previous_digest), row


def _digest(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return text.encode()  # Nobody's secret has this one; the key is there all the same.


class _Scopes:
    """What each key is allowed; keys with the same models share one set."""

    def __init__(self, allowed: list[tuple[int, int]], public_ids: Mapping[int, str]) -> None:
        self._names: defaultdict[int, set[str]] = defaultdict(set)
        for key_id, model_id in allowed:
            if model_id in public_ids:
                self._names[key_id].add(public_ids[model_id])
        self._sets: dict[frozenset[str], frozenset[str]] = {}

    def of(self, key_id: int, is_restricted: bool) -> frozenset[str] | None:
        names = self._names.get(key_id)
        if not names and not is_restricted:
            return None
        found = frozenset(names or ())
        return self._sets.setdefault(found, found)


def _portions(ids: Collection[int]) -> Iterator[list[int]]:
    ordered = sorted(ids)
    for start in range(0, len(ordered), _IDS_AT_ONCE):
        yield ordered[start : start + _IDS_AT_ONCE]


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment is not None else None
