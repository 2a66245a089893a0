"""Reads the catalog's rows and builds what requests see of them.

Owns what a row leaves open: the environment's key and address, the demo model, a key
that cannot be read. No row, however odd, keeps the catalog from being built: it is left
out, and the problems say so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from django.conf import settings
from django.db.models import Model

from routing.domain.capabilities import problem_with_overrides
from routing.domain.headers import problem_with_key
from routing.domain.kinds import DEMO_KIND, KINDS
from routing.domain.names import normalise
from routing.domain.table import (
    AliasRow,
    Balancing,
    CredentialRow,
    DeploymentRow,
    ModelRow,
    ProviderRow,
    Secret,
)
from routing.lookup.fallbacks import build_fallbacks, problems_with_fallbacks
from routing.lookup.moment import read_rows
from routing.lookup.pace import Pause, paced
from routing.lookup.sources import UnusableSecret, read_header, read_key
from routing.models import (
    Alias,
    Credential,
    Deployment,
    FallbackModel,
    Provider,
    ProviderHeader,
    ServedModel,
)

DEMO_MODEL = "demo"
DEMO_UPSTREAM_ID = "demo-1"


@dataclass(frozen=True, slots=True)
class CatalogRows:
    """The catalog as the database holds it."""

    providers: list[Provider]
    credentials: list[Credential]
    headers: list[ProviderHeader]
    models: list[ServedModel]
    deployments: list[Deployment]
    aliases: list[Alias]
    fallbacks: list[FallbackModel]

    @property
    def public_ids(self) -> dict[int, str]:
        return {model.pk: model.public_id for model in self.models}


@dataclass(frozen=True, slots=True)
class Catalog:
    """What can be asked for, and what is wrong with it."""

    models: tuple[ModelRow, ...]
    aliases: tuple[AliasRow, ...]
    providers: tuple[ProviderRow, ...]
    problems: tuple[str, ...]


def read_catalog(using: str, pause: Pause) -> CatalogRows:
    return CatalogRows(
        providers=_all(Provider, using, pause),
        credentials=_all(Credential, using, pause),
        headers=_all(ProviderHeader, using, pause),
        models=_all(ServedModel, using, pause),
        deployments=_all(Deployment, using, pause),
        aliases=_all(Alias, using, pause),
        fallbacks=_all(FallbackModel, using, pause),
    )


def build_catalog(rows: CatalogRows, pause: Pause) -> Catalog:
    return _Builder(rows, pause).build()


AnyModel = TypeVar("AnyModel", bound=Model)


def _all(model: type[AnyModel], using: str, pause: Pause) -> list[AnyModel]:
    return read_rows(model._default_manager.using(using).order_by("id"), pause)


class _Builder:
    def __init__(self, rows: CatalogRows, pause: Pause) -> None:
        self._rows = rows
        self._pause = pause
        self._problems: list[str] = []

    def build(self) -> Catalog:
        providers = self._providers()
        models = self._models({provider.id: provider for provider in providers})
        aliases = self._aliases({model.id: model for model in models})
        if _is_demo_on(providers):
            demo_provider = ProviderRow(id=0, name="demo", kind=DEMO_KIND, requires_key=False)
            providers.append(demo_provider)
            taken = {normalise(name) for name in (*(m.public_id for m in models), *(a.name for a in aliases))}
            if DEMO_MODEL not in taken:
                models.append(_demo_model(demo_provider))
        return Catalog(tuple(models), tuple(aliases), tuple(providers), tuple(self._problems))

    def _providers(self) -> list[ProviderRow]:
        credentials = _grouped(self._rows.credentials, "provider_id")
        headers = _grouped(self._rows.headers, "provider_id")
        rows: list[ProviderRow] = []
        for provider in self._rows.providers:
            if provider.kind not in KINDS:
                self._problems.append(f"Provider {provider.name}: the kind {provider.kind!r} is unknown.")
                continue
            base_url, is_from_environment = _base_url(provider)
            rows.append(
                ProviderRow(
                    id=provider.pk,
                    name=provider.name,
                    kind=provider.kind,
                    base_url=base_url,
                    is_enabled=provider.is_enabled,
                    requires_key=provider.requires_key,
                    # Whoever sets this machine's environment may name its own network there.
                    allows_private_network=provider.allows_private_network or is_from_environment,
                    connect_timeout=provider.connect_timeout,
                    headers_timeout=provider.headers_timeout,
                    first_token_timeout=provider.first_token_timeout,
                    idle_timeout=provider.idle_timeout,
                    total_timeout=provider.total_timeout,
                    headers=tuple(self._headers(provider, headers[provider.pk])),
                    quirks=MappingProxyType(provider.quirks),
                    credentials=tuple(self._credentials(provider, credentials[provider.pk])),
                )
            )
        return rows

    def _credentials(self, provider: Provider, stored: Iterable[Credential]) -> Iterator[CredentialRow]:
        for credential in stored:
            if not credential.is_enabled:
                continue
            try:
                secret = read_key(encrypted=credential.encrypted_secret, reference=credential.reference)
            except UnusableSecret as problem:
                self._problems.append(f"Provider {provider.name}: the key “{credential.label}” {problem}.")
            else:
                yield CredentialRow(id=f"key:{credential.pk}", label=credential.label, secret=secret)
        variable = KINDS[provider.kind].key_variable
        if not provider.uses_environment or variable is None:
            return
        if key := getattr(settings, variable, ""):
            if reason := problem_with_key(key):
                self._problems.append(f"Provider {provider.name}: {variable} is not usable: {reason}")
            else:
                yield CredentialRow(id=f"env:{variable}", label=variable, secret=Secret(key))

    def _headers(
        self, provider: Provider, stored: Iterable[ProviderHeader]
    ) -> Iterator[tuple[str, Secret | str]]:
        for header in stored:
            try:
                yield header.name, read_header(encrypted=header.encrypted_value, value=header.value)
            except UnusableSecret as problem:
                self._problems.append(f"Provider {provider.name}: the header {header.name} {problem}.")

    def _models(self, providers: dict[int, ProviderRow]) -> list[ModelRow]:
        deployments = _grouped(self._rows.deployments, "model_id")
        public_ids = self._rows.public_ids
        fallbacks = build_fallbacks(self._rows.fallbacks, public_ids)
        self._problems += problems_with_fallbacks(fallbacks, public_ids)
        return [
            ModelRow(
                id=model.pk,
                public_id=model.public_id,
                description=model.description,
                owned_by=model.owned_by,
                created=int(model.created_at.timestamp()),
                is_listed=model.is_listed,
                is_enabled=model.is_enabled,
                allows_streaming=model.allows_streaming,
                default_max_output_tokens=model.default_max_output_tokens,
                limit=model.limit,
                balancing=self._balancing(model),
                fallbacks=fallbacks[model.pk],
                deployments=tuple(
                    DeploymentRow(
                        id=deployment.pk,
                        provider=providers[deployment.provider_id],
                        upstream_id=deployment.upstream_id,
                        priority=deployment.priority,
                        weight=deployment.weight,
                        is_enabled=deployment.is_enabled,
                        is_strict=deployment.is_strict,
                        connect_timeout=deployment.connect_timeout,
                        headers_timeout=deployment.headers_timeout,
                        first_token_timeout=deployment.first_token_timeout,
                        idle_timeout=deployment.idle_timeout,
                        total_timeout=deployment.total_timeout,
                        cooldown_resets=deployment.cooldown_resets,
                        capabilities=self._overrides(model, deployment),
                    )
                    for deployment in sorted(deployments[model.pk], key=lambda row: (row.priority, row.pk))
                    if deployment.provider_id in providers
                ),
            )
            for model in paced(self._rows.models, self._pause)
        ]

    def _balancing(self, model: ServedModel) -> Balancing:
        try:
            return Balancing(model.balancing)
        except ValueError:
            self._problems.append(f"Model {model.public_id}: the sharing {model.balancing!r} is unknown.")
            return Balancing.WEIGHT

    def _overrides(self, model: ServedModel, deployment: Deployment) -> MappingProxyType[str, Any]:
        if not deployment.capabilities:
            return MappingProxyType({})
        if problem := problem_with_overrides(deployment.capabilities):
            self._problems.append(f"Model {model.public_id}, {deployment.upstream_id}: {problem}")
            return MappingProxyType({})
        return MappingProxyType(dict(deployment.capabilities))

    def _aliases(self, models: dict[int, ModelRow]) -> list[AliasRow]:
        return [
            AliasRow(
                name=alias.name,
                model_id=models[alias.model_id].public_id,
                is_listed=alias.is_listed,
                note=alias.note,
            )
            for alias in paced(self._rows.aliases, self._pause)
            if alias.model_id in models
        ]


def _grouped(rows: Iterable[Any], field: str) -> defaultdict[int, list[Any]]:
    groups: defaultdict[int, list[Any]] = defaultdict(list)
    for row in rows:
        groups[getattr(row, field)].append(row)
    return groups


def _base_url(provider: Provider) -> tuple[str | None, bool]:
    """The address, and whether it is the environment's."""
    if provider.base_url:
        return provider.base_url, False
    variable = KINDS[provider.kind].base_url_variable
    if provider.uses_environment and variable is not None and (url := getattr(settings, variable, "")):
        return url, True
    return None, False


def _is_demo_on(providers: Iterable[ProviderRow]) -> bool:
    if settings.DEMO == "auto":
        return not any(provider.is_enabled and provider.is_configured for provider in providers)
    return bool(settings.DEMO == "on")


def _demo_model(provider: ProviderRow) -> ModelRow:
    return ModelRow(
        id=0,
        public_id=DEMO_MODEL,
        description="Answers without any provider",
        owned_by="patchbay",
        created=1_735_689_600,
        deployments=(DeploymentRow(id=0, provider=provider, upstream_id=DEMO_UPSTREAM_ID),),
    )
