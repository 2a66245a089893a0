"""Client keys as values: who calls, what they may use, how much; and how a secret is recognised.

Knows no database and no clock: whether a key is still valid is asked with the time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NoReturn, final

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


@final
class KeyRing:
    """Finds the row of a secret by its digest.

    The digest is keyed with the pepper, which never leaves this object: a stolen table of
    digests can neither be searched for guesses nor steered by timing. Without a pepper
    (none was made yet, or it cannot be decrypted) no secret is known.
    """

    __slots__ = ("_pepper", "_rows")

    def __init__(self, *, pepper: bytes = b"", rows: Mapping[bytes, KeyRow] | None = None) -> None:
        self._pepper = pepper
        self._rows: Mapping[bytes, KeyRow] = rows if rows is not None else {}

    def __repr__(self) -> str:
        return f"<KeyRing: {len(self._rows)} secrets>"

    def __len__(self) -> int:
        return len(self._rows)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a KeyRing is not pickled")

    def digest(self, secret: str) -> bytes:
        """What `secret` is stored as; empty where nothing could match."""
        if not self._pepper or len(secret) > _LONGEST_SECRET:
            return b""
        return digest_secret(secret, self._pepper)

    def find(self, digest: bytes) -> KeyRow | None:
        return self._rows.get(digest)


def digest_secret(secret: str, pepper: bytes) -> bytes:
    return hashlib.blake2b(secret.encode("utf-8", "surrogatepass"), key=pepper, digest_size=32).digest()
