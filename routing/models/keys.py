"""API keys of clients: who may call, what they may use, and how much of it.

A key's secret is never here, only a digest of it that needs the pepper to be made.
"""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone

from routing.models.catalog import ServedModel
from routing.models.limits import Limited


class Team(Limited):
    """People or programs that share a limit."""

    name = models.CharField(max_length=100)
    note = models.CharField(max_length=200, blank=True)
    is_enabled = models.BooleanField(
        "enabled", default=True, help_text="Off: every key of this team is refused, from this second on."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("name",)
        constraints: ClassVar = [
            models.UniqueConstraint(
                Lower("name"),
                name="routing_team_name_unique",
                violation_error_message="There is a team with this name already.",
            ),
            models.CheckConstraint(
                condition=~models.Q(name=""),
                name="routing_team_name_given",
                violation_error_message="Enter a name.",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        super().clean()
        self.name = " ".join(self.name.split())


class ApiKey(Limited):
    """What a client proves itself by. Rotating it changes the secret and keeps the row."""

    prefix = models.CharField(
        "key", max_length=16, editable=False, db_index=True, help_text="How the secret starts."
    )
    digest = models.CharField(max_length=64, unique=True, editable=False)
    previous_digest = models.CharField(max_length=64, blank=True, default="", editable=False)
    previous_valid_until = models.DateTimeField(null=True, blank=True, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="api_keys",
        help_text="Who answers for it. Deactivating a user does not revoke the keys.",
    )
    # A key whose team went away would be free of the team's limits.
    team = models.ForeignKey(Team, on_delete=models.PROTECT, null=True, blank=True, related_name="keys")
    note = models.CharField(max_length=200, blank=True, help_text="What it is for.")
    # Without this, a key would be allowed everything when the last model it is meant for is deleted.
    is_restricted = models.BooleanField(
        "only chosen models", default=False, help_text="Off: every model, also those that are added later."
    )
    allowed_models = models.ManyToManyField(ServedModel, blank=True, related_name="api_keys")
    expires_at = models.DateTimeField("expires", null=True, blank=True, help_text="Empty: never.")
    is_enabled = models.BooleanField("enabled", default=True, help_text="Off: refused until it is on again.")
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    secret_set_at = models.DateTimeField(default=timezone.now, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name = "API key"
        ordering = ("-id",)
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(previous_digest="", previous_valid_until=None)
                | (~models.Q(previous_digest="") & models.Q(previous_valid_until__isnull=False)),
                name="routing_apikey_previous_ends",
                violation_error_message="A replaced secret works until a certain time.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.prefix}…"


class ApiKeyUse(models.Model):
    """When a key was last used. A table of its own: writing here is no change of the configuration."""

    key = models.OneToOneField(ApiKey, on_delete=models.CASCADE, primary_key=True, related_name="use")
    last_used_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"key {self.key_id}"


class KeyPepper(models.Model):
    """One row: the random value that all digests are keyed with, encrypted under ENCRYPTION_KEYS."""

    encrypted_pepper = models.TextField(editable=False)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=models.Q(id=1), name="routing_keypepper_single_row")
        ]

    def __str__(self) -> str:
        return "pepper"
