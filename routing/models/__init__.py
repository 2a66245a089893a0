"""What operators configure, as rows. Each file holds one subject; import from here."""

from __future__ import annotations

from routing.models.aliases import Alias
from routing.models.catalog import Deployment, ServedModel
from routing.models.changes import ConfigChange
from routing.models.config import ConfigVersion, Worker
from routing.models.fallbacks import FallbackModel
from routing.models.keys import ApiKey, ApiKeyUse, KeyPepper, Team
from routing.models.providers import Credential, Provider, ProviderHeader, ProviderKind

__all__ = [
    "Alias",
    "ApiKey",
    "ApiKeyUse",
    "ConfigChange",
    "ConfigVersion",
    "Credential",
    "Deployment",
    "FallbackModel",
    "KeyPepper",
    "Provider",
    "ProviderHeader",
    "ProviderKind",
    "ServedModel",
    "Team",
    "Worker",
]
