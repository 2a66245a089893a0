"""Providers and what is presented to them: keys and extra headers."""

from __future__ import annotations

import ipaddress
from typing import Any, ClassVar
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone

from routing import crypto
from routing.domain.headers import (
    KEY_HEADERS,
    problem_with_header_name,
    problem_with_header_value,
    problem_with_key,
)
from routing.domain.kinds import DEMO_KIND, KINDS, KindRow
from routing.domain.names import problem_with_name
from routing.domain.references import InvalidReference, looks_like_reference, parse_reference
from routing.models.timeouts import Timed


class ProviderKind(models.TextChoices):
    OPENAI = "openai", "OpenAI"
    ANTHROPIC = "anthropic", "Anthropic"
    OPENAI_COMPATIBLE = "openai_compatible", "OpenAI-compatible"


class TokenParam(models.TextChoices):
    AS_IS = "as_is", "Leave as the client sent it"
    MAX_TOKENS = "max_tokens", "Always max_tokens"
    MAX_COMPLETION_TOKENS = "max_completion_tokens", "Always max_completion_tokens"


class DeveloperRole(models.TextChoices):
    AS_IS = "as_is", "Leave as the client sent it"
    SYSTEM = "system", "Send as system"


class Provider(Timed):
    """An account at a vendor, or a server of one's own."""

    Kind = ProviderKind

    name = models.CharField(
        max_length=100, help_text="Appears in logs and in the response header x-patchbay-upstream."
    )
    kind = models.CharField(
        max_length=32, choices=ProviderKind.choices, default=ProviderKind.OPENAI_COMPATIBLE
    )
    base_url = models.CharField(
        "base URL",
        max_length=500,
        blank=True,
        help_text="With or without /v1 at its end. Empty: the kind's own address, "
        "or OPENAI_BASE_URL / ANTHROPIC_BASE_URL if the environment is used.",
    )
    is_enabled = models.BooleanField("enabled", default=True)
    uses_environment = models.BooleanField(
        "use the environment",
        default=False,
        help_text="Take OPENAI_API_KEY and OPENAI_BASE_URL (ANTHROPIC_… for Anthropic) from the environment: "
        "the key counts as one more key, the address only where none is set here.",
    )
    requires_key = models.BooleanField(
        "needs a key", default=True, help_text="Untick for a server that asks for none, such as a local one."
    )
    allows_private_network = models.BooleanField(
        "private network",
        default=False,
        help_text="Allow addresses that only this machine or its network can reach (127.0.0.1, 192.168.…). "
        "Leave off for a vendor on the internet: its name cannot then be pointed at your own servers.",
    )

    token_param = models.CharField(
        "token limit", max_length=32, choices=TokenParam.choices, blank=True, default="",
        help_text="Which of max_tokens and max_completion_tokens this server understands.",
    )  # fmt: skip
    developer_role = models.CharField(
        max_length=32, choices=DeveloperRole.choices, blank=True, default="",
        help_text="For servers that do not know the role “developer”.",
    )  # fmt: skip
    sends_stream_options = models.BooleanField(
        "stream_options", null=True, blank=True, help_text="Off for servers that reject stream_options."
    )
    strips_extensions = models.BooleanField(
        "strip extensions", null=True, blank=True,
        help_text="Remove fields that OpenAI does not have (thinking_blocks, cache_control…).",
    )  # fmt: skip

    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("id",)
        constraints: ClassVar = [
            models.UniqueConstraint(
                Lower("name"),
                name="routing_provider_name_unique",
                violation_error_message="There is a provider with this name already.",
            ),
            models.CheckConstraint(
                condition=~models.Q(name="") & ~models.Q(name__contains=" "),
                name="routing_provider_name_plain",
                violation_error_message="A name has no spaces and is not empty.",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def kind_row(self) -> KindRow:
        return KINDS[self.kind]

    @property
    def quirks(self) -> dict[str, Any]:
        """What the operator set, under the names that the translation knows."""
        chosen = {
            "token_param": self.token_param or None,
            "developer_role": self.developer_role or None,
            "sends_stream_options": self.sends_stream_options,
            "strips_extensions": self.strips_extensions,
        }
        return {name: value for name, value in chosen.items() if value is not None}

    def clean(self) -> None:
        super().clean()
        self.name = self.name.strip()
        self.base_url = self.base_url.strip().rstrip("/")
        problems: dict[str, str] = {}
        if "/" in self.name:
            problems["name"] = (
                "A provider's name has no slash: x-patchbay-upstream reads provider/upstream id."
            )
        elif problem := problem_with_name(self.name):
            problems["name"] = problem
        elif self.name.lower() == DEMO_KIND:
            problems["name"] = "“demo” is the name of the built-in provider."
        kind = KINDS.get(self.kind)
        if self.base_url:
            if problem := self._problem_with_base_url():
                problems["base_url"] = problem
        elif kind is not None and kind.requires_base_url:
            problems["base_url"] = f"{kind.label} needs a base URL, such as https://llm.example.com/v1."
        if self.uses_environment and kind is not None and kind.key_variable is None:
            problems["uses_environment"] = (
                f"The environment has no variables for the kind {kind.label}. "
                "Add a key with the reference env:NAME instead."
            )
        if problems:
            raise ValidationError(problems)

    def _problem_with_base_url(self) -> str | None:
        try:
            parts = urlsplit(self.base_url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            return "This is not a URL."
        if parts.scheme not in {"http", "https"} or not host or not self.base_url.isascii():
            return "A base URL starts with https:// (or http://) and names a host."
        if any(character.isspace() for character in self.base_url):
            return "A URL has no spaces."
        if parts.username or parts.password:
            return "Do not put a user or password into the URL. Add a key below."
        if parts.query or parts.fragment:
            return "A base URL has no ? and no #."
        if not self.allows_private_network and _is_private(host):
            return f"{host} is on a private network. Tick “private network” to allow it."
        if parts.scheme == "http" and not self.allows_private_network:
            return (
                "http:// sends keys unencrypted. Use https://, "
                "or tick “private network” for a server of your own."
            )
        return None


def _is_private(host: str) -> bool:
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return False


class Credential(models.Model):
    """A key that we present to a provider: stored encrypted, or a reference to where it lies."""

    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="credentials")
    label = models.CharField(max_length=100, help_text="To tell keys apart: the team, the project, the date.")
    reference = models.CharField(
        max_length=500,
        blank=True,
        help_text="env:NAME (a variable of the proxy's environment) or file:/path, instead of a stored key.",
    )
    encrypted_secret = models.TextField(blank=True, editable=False)
    secret_set_at = models.DateTimeField(null=True, blank=True, editable=False)
    is_enabled = models.BooleanField("enabled", default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name = "provider key"
        ordering = ("id",)
        constraints: ClassVar = [
            models.UniqueConstraint(
                "provider",
                Lower("label"),
                name="routing_credential_label_unique",
                violation_error_message="This provider has a key with this label already.",
            ),
            models.CheckConstraint(
                condition=models.Q(reference="") ^ models.Q(encrypted_secret=""),
                name="routing_credential_one_source",
                violation_error_message="Enter either a key or a reference to one.",
            ),
        ]

    def __str__(self) -> str:
        return self.label

    def clean(self) -> None:
        super().clean()
        self.label = self.label.strip()
        self.reference = self.reference.strip()
        if self.reference:
            try:
                self.reference = str(parse_reference(self.reference))
            except InvalidReference as problem:
                raise ValidationError({"reference": str(problem)}) from None

    def store(self, secret: str) -> None:
        """Encrypt `secret` into this row, in place of whatever it held. Does not save."""
        secret = secret.strip()
        if problem := problem_with_key(secret):
            raise ValidationError({"encrypted_secret": problem})
        self.encrypted_secret = crypto.encrypt(secret)
        self.reference = ""
        self.secret_set_at = timezone.now()

    def refer(self, reference: str) -> None:
        """Take the key from `reference` from now on, and forget a stored one. Does not save."""
        self.reference = reference
        self.encrypted_secret = ""
        self.secret_set_at = None


class ProviderHeader(models.Model):
    """A header that every request to the provider carries."""

    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="headers")
    name = models.CharField(max_length=100)
    value = models.CharField(
        max_length=2000, blank=True, help_text="The text itself, or env:NAME or file:/path."
    )
    encrypted_value = models.TextField(blank=True, editable=False)

    class Meta:
        verbose_name = "extra header"
        ordering = ("id",)
        constraints: ClassVar = [
            models.UniqueConstraint(
                "provider",
                Lower("name"),
                name="routing_providerheader_name_unique",
                violation_error_message="This provider has a header with this name already.",
            ),
            models.CheckConstraint(
                condition=models.Q(value="") ^ models.Q(encrypted_value=""),
                name="routing_providerheader_one_source",
                violation_error_message="Enter a value.",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_secret(self) -> bool:
        return bool(self.encrypted_value)

    def clean(self) -> None:
        super().clean()
        self.name = self.name.strip()
        self.value = self.value.strip()
        problems: dict[str, str] = {}
        if problem := problem_with_header_name(self.name):
            problems["name"] = problem
        elif self.name.lower() in KEY_HEADERS and self.provider.requires_key:
            problems["name"] = f"{self.name} carries the provider's key. Add it under “provider keys”."
        if looks_like_reference(self.value):
            try:
                self.value = str(parse_reference(self.value))
            except InvalidReference as error:
                problems["value"] = str(error)
        elif not self.encrypted_value and (problem := problem_with_header_value(self.value)):
            problems["value"] = problem
        if problems:
            raise ValidationError(problems)

    def store(self, value: str) -> None:
        """Encrypt `value` into this row: it is never shown again. Does not save."""
        value = value.strip()
        if problem := problem_with_header_value(value):
            raise ValidationError({"value": problem})
        self.encrypted_value = crypto.encrypt(value)
        self.value = ""
