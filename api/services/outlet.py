"""What all requests to one deployment with one key have in common, worked out once. PURE.

An outlet belongs to the row it was made of: rows never change, and a new configuration
brings new ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from api.services.providers.catalog import KINDS
from api.services.providers.headers import BETA_HEADER, client_header_names, join_url, request_headers
from api.services.providers.kinds import AuthStyle, ProviderKind
from api.services.translation.capabilities import Capabilities, find_capabilities, override
from api.services.translation.failures import Failure, FailureKind
from api.services.translation.quirks import Quirks, override_quirks
from api.services.wire import SharedHeaders
from routing.domain.table import DeploymentRow, ProviderRow, Secret

_SHORTEST_SECRET: Final = 6
"""Shorter values are taken for words, which a text may hold by chance."""

_MOST: Final = 4096

_outlets: dict[tuple[int, str | None], Outlet] = {}


@dataclass(slots=True)
class Outlet:
    """`secrets`: what no text of this upstream may quote to a client."""

    deployment: DeploymentRow
    kind: ProviderKind
    url: str
    quirks: Quirks
    capabilities: Capabilities
    key: str | None = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    _read_of_client: frozenset[str]
    _headers: SharedHeaders = field(repr=False)
    _stream_headers: SharedHeaders = field(repr=False)

    def headers(
        self, client: Mapping[str, str], *, betas: tuple[str, ...], is_stream: bool
    ) -> Mapping[str, str]:
        """The headers of a request, not to be changed: most requests share theirs."""
        if not betas and self._read_of_client.isdisjoint(client):
            return self._stream_headers if is_stream else self._headers
        return _request_headers(
            self.kind, self.key, self.deployment.provider, client=client, betas=betas, is_stream=is_stream
        )


def find_outlet(deployment: DeploymentRow, key: str | None) -> Outlet:
    """
    Raises:
        Failure: the provider has no address.
    """
    outlet = _outlets.get((deployment.id, key))
    if outlet is None or outlet.deployment is not deployment:
        if len(_outlets) >= _MOST:
            _outlets.clear()
        outlet = _outlets[deployment.id, key] = _make_outlet(deployment, key)
    return outlet


def _make_outlet(deployment: DeploymentRow, key: str | None) -> Outlet:
    provider = deployment.provider
    kind = KINDS[provider.kind]
    base_url = provider.base_url or kind.default_base_url
    if not base_url:
        raise Failure(
            FailureKind.PROVIDER_NOT_CONFIGURED,
            f"The provider `{provider.name}` has no base URL. The operator sets it in the admin "
            "(/admin/routing/provider/).",
        )
    names = client_header_names(kind)
    return Outlet(
        deployment=deployment,
        kind=kind,
        url=join_url(kind, base_url),
        quirks=override_quirks(kind.quirks, provider.quirks),
        capabilities=override(find_capabilities(deployment.upstream_id), deployment.capabilities),
        key=key,
        secrets=_secrets(provider, key),
        _read_of_client=names | {BETA_HEADER} if kind.auth is AuthStyle.X_API_KEY else names,
        _headers=SharedHeaders(_request_headers(kind, key, provider, is_stream=False)),
        _stream_headers=SharedHeaders(_request_headers(kind, key, provider, is_stream=True)),
    )


def _request_headers(
    kind: ProviderKind,
    key: str | None,
    provider: ProviderRow,
    *,
    client: Mapping[str, str] | None = None,
    betas: Iterable[str] = (),
    is_stream: bool,
) -> Mapping[str, str]:
    return request_headers(
        kind, key, client=client, betas=betas, extra=provider.header_values(), is_stream=is_stream
    )


def _secrets(provider: ProviderRow, key: str | None) -> tuple[str, ...]:
    """Longer ones first, so that no rest remains."""
    if not provider.headers:
        return (key,) if key else ()
    found = {key} if key else set()
    for _, value in provider.headers:
        if isinstance(value, Secret):
            text = value.reveal()
            # `Bearer …` may be quoted without its first word.
            found |= {text, text.rpartition(" ")[2]}
    return tuple(sorted((text for text in found if len(text) >= _SHORTEST_SECRET), key=len, reverse=True))
