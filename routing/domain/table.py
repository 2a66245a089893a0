"""The routing table: everything that requests are routed by, as frozen values.

Built once from rows that somebody else read, then only looked at. Nothing here reads a
database, a clock or the environment.
"""

from __future__ import annotations

import difflib
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from routing.domain.keys import KeyRing, KeyRow, is_allowed
from routing.domain.limits import Limit, Scope
from routing.domain.names import MAX_NAME_LENGTH, normalise
from routing.domain.secrets import Secret as Secret

_UNLIMITED: Final = Limit()


def _go_on() -> None:
    """The pause of who need not make any."""


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class CredentialRow:
    """One usable key of a provider. `id` is stable: `key:7` for a row, `env:NAME` for a variable."""

    id: str
    label: str
    secret: Secret


@dataclass(frozen=True, slots=True)
class ProviderRow:
    """An account at a vendor, with everything resolved that its row left open.

    `base_url` None stands for the kind's own; a timeout None for the setting. `headers`
    go out with each request. `quirks` holds only what the operator set.
    """

    id: int
    name: str
    kind: str
    base_url: str | None = None
    is_enabled: bool = True
    requires_key: bool = True
    allows_private_network: bool = False
    connect_timeout: float | None = None
    headers_timeout: float | None = None
    first_token_timeout: float | None = None
    idle_timeout: float | None = None
    total_timeout: float | None = None
    headers: tuple[tuple[str, Secret | str], ...] = ()
    quirks: Mapping[str, Any] = field(default_factory=_nothing, hash=False)
    credentials: tuple[CredentialRow, ...] = ()

    @property
    def is_configured(self) -> bool:
        """Whether a request can be sent at all: there is a key, or none is needed."""
        return bool(self.credentials) or not self.requires_key

    def header_values(self) -> dict[str, str]:
        """The extra headers as they go out, secrets and all."""
        return {name: value.reveal() if isinstance(value, Secret) else value for name, value in self.headers}


class Balancing(StrEnum):
    """How the deployments of one priority share a model's requests."""

    WEIGHT = "weight"
    LATENCY = "latency"


class FallbackReason(StrEnum):
    """Why a model's answer is sought at another model.

    FAILURE: no deployment gave an answer. CONTEXT_OVERFLOW: the conversation is longer
    than the model takes. REFUSAL: the provider's content rules stand against it.
    """

    FAILURE = "failure"
    CONTEXT_OVERFLOW = "context_overflow"
    REFUSAL = "refusal"


@dataclass(frozen=True, slots=True)
class DeploymentRow:
    """A model at one provider. `capabilities` overrides what is known of `upstream_id`.

    A timeout None leaves it to the provider's. `cooldown_resets` only ever grows: whoever
    sees it change forgets every cooldown of this deployment.
    """

    id: int
    provider: ProviderRow
    upstream_id: str
    priority: int = 0
    weight: int = 1
    is_enabled: bool = True
    is_strict: bool = False
    connect_timeout: float | None = None
    headers_timeout: float | None = None
    first_token_timeout: float | None = None
    idle_timeout: float | None = None
    total_timeout: float | None = None
    cooldown_resets: int = 0
    capabilities: Mapping[str, Any] = field(default_factory=_nothing, hash=False)


@dataclass(frozen=True, slots=True)
class FallbackRow:
    """Another model that answers in a model's place, by its public id, and what for."""

    model_id: str
    on_failure: bool = True
    on_context_overflow: bool = True
    on_refusal: bool = False

    def covers(self, reason: FallbackReason) -> bool:
        if reason is FallbackReason.FAILURE:
            return self.on_failure
        if reason is FallbackReason.CONTEXT_OVERFLOW:
            return self.on_context_overflow
        return self.on_refusal


@dataclass(frozen=True, slots=True)
class ModelRow:
    """What is served under one public id. `created` is in Unix seconds.

    `fallbacks` come in the operator's order, and may name a model that is switched off.
    `scopes` are what requests for this model count towards, whoever sends them.
    """

    id: int
    public_id: str
    description: str = ""
    owned_by: str = ""
    created: int = 0
    is_listed: bool = True
    is_enabled: bool = True
    allows_streaming: bool = True
    default_max_output_tokens: int | None = None
    deployments: tuple[DeploymentRow, ...] = ()
    limit: Limit = _UNLIMITED
    balancing: Balancing = Balancing.WEIGHT
    fallbacks: tuple[FallbackRow, ...] = ()
    scopes: tuple[Scope, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        scopes: tuple[Scope, ...] = ()
        if not self.limit.is_unlimited:
            scopes = (Scope(f"model:{self.public_id}", self.limit, self.public_id),)
        object.__setattr__(self, "scopes", scopes)


@dataclass(frozen=True, slots=True)
class AliasRow:
    """Another name of the model with the public id `model_id`."""

    name: str
    model_id: str
    is_listed: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a name means. `alias` is None when the client used the public id itself."""

    model: ModelRow
    alias: AliasRow | None = None


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One entry of the model list."""

    id: str
    created: int
    owned_by: str
    description: str = ""


class RoutingTable:
    """The whole configuration at one version. Never changes after it was built.

    A model that is switched off is as unknown here as one that does not exist, and its
    aliases with it; `models` still has its row.
    """

    __slots__ = (
        "_everything",
        "_exact",
        "_loose",
        "_offers",
        "_offers_lock",
        "aliases",
        "built_at",
        "keys",
        "models",
        "problems",
        "providers",
        "version",
    )

    def __init__(
        self,
        *,
        version: int,
        models: Sequence[ModelRow] = (),
        aliases: Sequence[AliasRow] = (),
        providers: Sequence[ProviderRow] = (),
        built_at: float = 0.0,
        problems: Sequence[str] = (),
        keys: KeyRing | None = None,
        pause: Callable[[], object] = _go_on,
    ) -> None:
        """`pause` is called for each model now and then: ten thousand take a while."""
        self.version: Final = version
        self.models: Final = tuple(models)
        self.aliases: Final = tuple(aliases)
        self.providers: Final = tuple(providers)
        self.built_at: Final = built_at
        self.problems: Final = tuple(problems)
        self.keys: Final = keys if keys is not None else KeyRing()

        enabled = {model.public_id: model for model in self.models if model.is_enabled}
        self._exact: Final[dict[str, Resolution]] = {}
        for public_id, model in enabled.items():
            self._exact[public_id] = Resolution(model)
            pause()
        for alias in self.aliases:
            if alias.model_id in enabled:
                self._exact.setdefault(alias.name, Resolution(enabled[alias.model_id], alias))
        # First come, first served: the database refuses two names that differ only in case.
        self._loose: Final[dict[str, Resolution]] = {}
        for name, resolution in self._exact.items():
            self._loose.setdefault(normalise(name), resolution)
            pause()

        self._everything: Final = _Offer(
            (
                _entry(name, resolution)
                for name, resolution in self._exact.items()
                if (resolution.alias.is_listed if resolution.alias else resolution.model.is_listed)
            ),
            pause,
        )
        # What keys of one scope see is worked out once; scopes are few, but not surely.
        self._offers: Final[OrderedDict[frozenset[str], _Offer]] = OrderedDict()
        self._offers_lock: Final = threading.Lock()

    def __repr__(self) -> str:
        return (
            f"<RoutingTable version {self.version}: {len(self.models)} models, {len(self.aliases)} aliases>"
        )

    def with_keys(
        self, keys: KeyRing, *, version: int, built_at: float, problems: Sequence[str]
    ) -> RoutingTable:
        """The same catalog, the very same objects, with other keys."""
        changed = {"keys": keys, "version": version, "built_at": built_at, "problems": tuple(problems)}
        table = object.__new__(RoutingTable)
        for name in RoutingTable.__slots__:
            setattr(table, name, changed[name] if name in changed else getattr(self, name))
        return table

    def resolve(self, name: str) -> Resolution | None:
        """What `name` means: as it stands, else without regard to case and spaces."""
        found = self._exact.get(name)
        return found if found is not None else self._loose.get(normalise(name))

    def find_model(self, public_id: str) -> ModelRow | None:
        """The enabled model with exactly this public id."""
        found = self._exact.get(public_id)
        return found.model if found is not None and found.alias is None else None

    def listed(self, key: KeyRow | None = None) -> tuple[ListedModel, ...]:
        """The model list: listed models first, then the aliases that an operator ticked.

        With a key, only what it may use.
        """
        return self._offer(key).entries

    def find_listed(self, name: str, key: KeyRow | None = None) -> ListedModel | None:
        """The entry of any name that requests (with `key`) may use, listed or not."""
        resolution = self.resolve(name)
        if resolution is None or not is_allowed(key, resolution.model):
            return None
        return _entry(resolution.alias.name if resolution.alias else resolution.model.public_id, resolution)

    def close_matches(self, name: str, n: int = 3, key: KeyRow | None = None) -> tuple[str, ...]:
        """At most `n` listed names that look like `name`, best first. With a key, of what it may use."""
        return self._offer(key).suggestions.closest(name, n)

    def digest_key(self, secret: str) -> bytes:
        """What `find_key` of this same table finds the secret by."""
        return self.keys.digest(secret)

    def find_key(self, digest: bytes) -> KeyRow | None:
        """The key with this digest, valid or not: ask its `problem(now)`."""
        return self.keys.find(digest)

    def _offer(self, key: KeyRow | None) -> _Offer:
        if key is None or key.allowed is None:
            return self._everything
        with self._offers_lock:
            offer = self._offers.get(key.allowed)
            if offer is not None:
                self._offers.move_to_end(key.allowed)
                return offer
        allowed = key.allowed
        offer = _Offer(
            entry for entry in self._everything.entries if self._exact[entry.id].model.public_id in allowed
        )
        with self._offers_lock:
            self._offers[allowed] = offer
            if len(self._offers) > _OFFERS_AT_MOST:
                self._offers.popitem(last=False)
        return offer


_OFFERS_AT_MOST: Final = 1000


def _entry(name: str, resolution: Resolution) -> ListedModel:
    model = resolution.model
    return ListedModel(id=name, created=model.created, owned_by=model.owned_by, description=model.description)


class _Offer:
    """What one scope sees of the model list."""

    __slots__ = ("entries", "suggestions")

    def __init__(self, entries: Iterable[ListedModel], pause: Callable[[], object] = _go_on) -> None:
        self.entries: Final = tuple(entries)
        self.suggestions: Final = _Suggestions((entry.id for entry in self.entries), pause)


class _Suggestions:
    """Listed names by likeness, with bounded work whatever the client sent."""

    __slots__ = ("_names", "_words")

    # Comparing letter by letter costs some microseconds a name.
    COMPARED_AT_MOST: Final = 200

    def __init__(self, names: Iterable[str], pause: Callable[[], object]) -> None:
        self._names = {normalise(name): name for name in names}
        self._words: list[tuple[str, frozenset[str]]] = []
        for folded in self._names:
            self._words.append((folded, _words(folded)))
            pause()

    def closest(self, name: str, n: int) -> tuple[str, ...]:
        asked = normalise(name[:MAX_NAME_LENGTH])
        if not asked:
            return ()
        pool = [folded for folded, _ in self._words]
        if len(pool) > self.COMPARED_AT_MOST:
            words = _words(asked)
            ranked = sorted(self._words, key=lambda entry: -len(entry[1] & words))
            pool = [folded for folded, _ in ranked[: self.COMPARED_AT_MOST]]
        found = difflib.get_close_matches(asked, pool, n=n, cutoff=0.6)
        return tuple(self._names[folded] for folded in found)


_WORD: Final = re.compile(r"[a-z]+|[0-9]+")


def _words(folded: str) -> frozenset[str]:
    return frozenset(_WORD.findall(folded))
