"""Client keys as values: who calls, what they may use, how much; and how a secret is recognised.

Knows no database and no clock: whether a key is still valid is asked with the time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias, final

from routing.domain.limits import Limit, Scope

if TYPE_CHECKING:
    from routing.domain.table import ModelRow

SECRET_START: Final = "sk-pb-"
PREFIX_LENGTH: Final = len(SECRET_START) + 6
# Nobody pays for hashing a header of a megabyte.
_LONGEST_SECRET: Final = 256
PEPPER_BYTES: Final = 32

_UNLIMITED: Final = Limit()


def prefix_of(secret: str) -> str:
    """What may be shown and logged of a secret."""
    return secret[:PREFIX_LENGTH]


def is_ours(token: str) -> bool:
    """Whether a token claims to be one of our keys, known or not."""
    return token.startswith(SECRET_START)


class KeyProblem(StrEnum):
    """Why a key that exists does not work now."""

    REVOKED = "revoked"
    DISABLED = "disabled"
    TEAM_DISABLED = "team_disabled"
    EXPIRED = "expired"
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True)
class TeamRow:
    id: int
    name: str
    is_enabled: bool = True
    limit: Limit = _UNLIMITED


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key as requests see it. `allowed` are public ids of models; None is every model.

    A secret that was replaced has a row of its own while it still works: the same id,
    `is_replaced`, and the end of its grace as `expires_at`. `scopes` are what requests
    with this key count towards: its own limits and its team's.
    """

    id: int
    prefix: str
    team: TeamRow | None = None
    owner: str = ""
    owner_id: int | None = None
    allowed: frozenset[str] | None = None
    expires_at: float | None = None
    limit: Limit = _UNLIMITED
    is_enabled: bool = True
    is_revoked: bool = False
    is_replaced: bool = False
    scopes: tuple[Scope, ...] = ()

    def problem(self, now: float) -> KeyProblem | None:
        """Why this key is refused at `now` (Unix seconds), or None."""
        if self.is_revoked:
            return KeyProblem.REVOKED
        if not self.is_enabled:
            return KeyProblem.DISABLED
        if self.team is not None and not self.team.is_enabled:
            return KeyProblem.TEAM_DISABLED
        if self.expires_at is not None and now >= self.expires_at:
            return KeyProblem.REPLACED if self.is_replaced else KeyProblem.EXPIRED
        return None


def is_allowed(key: KeyRow | None, model: ModelRow) -> bool:
    """Whether requests with `key` may use `model`. Without a key of ours: yes."""
    return key is None or key.allowed is None or model.public_id in key.allowed


def limit_scopes(*, key_id: int, prefix: str, key_limit: Limit, team: TeamRow | None) -> tuple[Scope, ...]:
    """The scopes of a key and its team, without those that limit nothing."""
    scopes: list[Scope] = []
    if not key_limit.is_unlimited:
        scopes.append(Scope(f"key:{key_id}", key_limit, f"API key {prefix}…"))
    if team is not None and not team.limit.is_unlimited:
        scopes.append(Scope(f"team:{team.id}", team.limit, f"team {team.name}"))
    return tuple(scopes)


# A key as it lies in a ring until somebody uses it: id, prefix, team's id, owner, owner's id, allowed,
# expires_at, the three numbers of its limit, is_enabled, is_revoked, is_replaced. A plain tuple of
# plain values: fifty thousand of them are made quickly, and the garbage collector forgets them.
StoredKey: TypeAlias = tuple[
    int,
    str,
    int | None,
    str,
    int | None,
    frozenset[str] | None,
    float | None,
    int | None,
    int | None,
    int | None,
    bool,
    bool,
    bool,
]


@final
class KeyRing:
    """Finds the row of a secret by its digest.

    The digest is keyed with the pepper, which never leaves this object: a stolen table of
    digests can neither be searched for guesses nor steered by timing. Without a pepper
    (none was made yet, or it cannot be decrypted) no secret is known.
    """

    __slots__ = ("_digests", "_hash", "_pepper", "_rows", "_teams")

    def __init__(
        self,
        *,
        pepper: bytes = b"",
        rows: Mapping[bytes, KeyRow] | None = None,
        teams: Mapping[int, TeamRow] | None = None,
    ) -> None:
        self._pepper = pepper
        # Keyed once: a copy of it costs less than taking the key in anew.
        self._hash = _keyed_hash(pepper)
        self._teams: Mapping[int, TeamRow] = teams if teams is not None else {}
        self._rows: dict[bytes, KeyRow | StoredKey] = dict(rows) if rows is not None else {}
        self._digests: dict[int, tuple[bytes, ...]] = {}
        for digest, row in self._rows.items():
            self._digests[_id(row)] = (*self._digests.get(_id(row), ()), digest)

    def __repr__(self) -> str:
        return f"<KeyRing: {len(self._rows)} secrets>"

    def __len__(self) -> int:
        return len(self._rows)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a KeyRing is not pickled")

    @property
    def key_count(self) -> int:
        """How many keys there are; a key that was replaced and still works has two secrets."""
        return len(self._digests)

    @property
    def teams(self) -> Mapping[int, TeamRow]:
        return self._teams

    def digest(self, secret: str) -> bytes:
        """What `secret` is stored as; empty where nothing could match."""
        if not self._pepper or len(secret) > _LONGEST_SECRET:
            return b""
        keyed = self._hash.copy()
        keyed.update(secret.encode("utf-8", "surrogatepass"))
        return keyed.digest()

    def find(self, digest: bytes) -> KeyRow | None:
        row = self._rows.get(digest)
        if isinstance(row, tuple):
            row = self._rows[digest] = _unpacked(row, self._teams)
        return row

    def amended(
        self,
        entries: Iterable[tuple[bytes, StoredKey]],
        *,
        gone: Iterable[int] = (),
        teams: Mapping[int, TeamRow] | None = None,
    ) -> KeyRing:
        """Another ring: without the secrets of the keys in `gone`, with those in `entries`.

        The keys of a team that changed must be among `entries`: rows name their team.
        """
        ring = KeyRing(pepper=self._pepper, teams=teams if teams is not None else self._teams)
        # copy() takes a table as it is, twenty times quicker than putting each entry into another.
        rows = ring._rows = self._rows.copy()
        digests = ring._digests = self._digests.copy()
        for key_id in gone:
            for digest in digests.pop(key_id, ()):
                rows.pop(digest, None)
        for digest, row in entries:
            holder = rows.get(digest)
            if holder is not None and _id(holder) != row[0]:
                # The database holds a secret once: whoever had this one is there no more.
                for other in digests.pop(_id(holder), ()):
                    rows.pop(other, None)
            rows[digest] = row
            digests[row[0]] = (*digests.get(row[0], ()), digest)
        return ring


def _id(row: KeyRow | StoredKey) -> int:
    return row[0] if isinstance(row, tuple) else row.id


def _unpacked(stored: StoredKey, teams: Mapping[int, TeamRow]) -> KeyRow:
    key_id, prefix, team_id, owner, owner_id, allowed, expires_at = stored[:7]
    requests, tokens, concurrent, enabled, revoked, replaced = stored[7:]
    limit = Limit(requests, tokens, concurrent)
    team = None
    if team_id is not None:
        # Without its team a key would be free of the team's limits.
        team = teams.get(team_id) or TeamRow(team_id, "", is_enabled=False)
    return KeyRow(
        id=key_id,
        prefix=prefix,
        team=team,
        owner=owner,
        owner_id=owner_id,
        allowed=allowed,
        expires_at=expires_at,
        limit=limit,
        is_enabled=enabled,
        is_revoked=revoked,
        is_replaced=replaced,
        scopes=limit_scopes(key_id=key_id, prefix=prefix, key_limit=limit, team=team),
    )


def digest_secret(secret: str, pepper: bytes) -> bytes:
    keyed = _keyed_hash(pepper)
    keyed.update(secret.encode("utf-8", "surrogatepass"))
    return keyed.digest()


def _keyed_hash(pepper: bytes) -> hashlib.blake2b:
    return hashlib.blake2b(key=pepper, digest_size=32)
