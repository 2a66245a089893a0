"""Reads client keys and builds the ring that requests find them in.

Made for many: columns instead of model instances, equal scopes shared, four queries in all.
"""

from __future__ import annotations

import base64
import binascii
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from routing import crypto
from routing.domain.keys import PEPPER_BYTES, KeyRing, KeyRow, TeamRow, limit_scopes
from routing.domain.limits import Limit
from routing.models import ApiKey, KeyPepper, Team

_COLUMNS = (
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


class UnusablePepper(Exception):
    """The stored pepper cannot be used. The message says why, for the operator."""


@dataclass(frozen=True, slots=True)
class StoredKeys:
    """What the database holds of keys, as it was read."""

    encrypted_pepper: str | None
    teams: list[Team]
    keys: list[tuple[Any, ...]]
    allowed: list[tuple[int, int]]


def read_keys(using: str) -> StoredKeys:
    through = ApiKey.allowed_models.through._default_manager.using(using)
    return StoredKeys(
        encrypted_pepper=KeyPepper.objects.using(using).values_list("encrypted_pepper", flat=True).first(),
        teams=list(Team.objects.using(using).order_by("id")),
        keys=list(ApiKey.objects.using(using).order_by("id").values_list(*_COLUMNS)),
        allowed=list(through.values_list("apikey_id", "servedmodel_id")),
    )


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


def build_keyring(
    stored: StoredKeys, public_ids: Mapping[int, str], report: Callable[[str], object]
) -> KeyRing:
    """The ring of `stored`. Without a usable pepper it knows no secret, and `report` is told."""
    pepper = b""
    if stored.encrypted_pepper is not None:
        try:
            pepper = decrypt_pepper(stored.encrypted_pepper)
        except UnusablePepper as problem:
            report(f"All issued API keys are refused: the value that their digests depend on {problem}.")
    teams = {
        team.pk: TeamRow(id=team.pk, name=team.name, is_enabled=team.is_enabled, limit=team.limit)
        for team in stored.teams
    }
    scopes = _Scopes(stored.allowed, public_ids)
    unlimited = Limit()
    rows: dict[bytes, KeyRow] = {}
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
        requests_per_minute,
        tokens_per_minute,
        max_concurrent,
        is_enabled,
        revoked_at,
    ) in stored.keys:
        team = teams[team_id] if team_id is not None else None
        limit = unlimited
        if requests_per_minute is not None or tokens_per_minute is not None or max_concurrent is not None:
            limit = Limit(requests_per_minute, tokens_per_minute, max_concurrent)
        ends = _seconds(expires_at)
        fields: dict[str, Any] = {
            "id": key_id,
            "prefix": prefix,
            "team": team,
            "owner": owner or "",
            "owner_id": owner_id,
            "allowed": scopes.of(key_id, is_restricted),
            "limit": limit,
            "is_enabled": is_enabled,
            "is_revoked": revoked_at is not None,
            "scopes": limit_scopes(key_id=key_id, prefix=prefix, key_limit=limit, team=team),
        }
        rows[bytes.fromhex(digest)] = KeyRow(expires_at=ends, **fields)
        if previous_digest:
            grace_ends = previous_valid_until.timestamp()
            if ends is None or grace_ends < ends:
                row = KeyRow(expires_at=grace_ends, is_replaced=True, **fields)
            else:
                row = KeyRow(expires_at=ends, **fields)
            rows[bytes.fromhex(previous_digest)] = row
    return KeyRing(pepper=pepper, rows=rows)


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


def _seconds(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment is not None else None
