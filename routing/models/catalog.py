"""The models that clients see, and where each is served."""

from __future__ import annotations

from typing import ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone

from routing.domain.capabilities import problem_with_overrides
from routing.domain.names import MAX_NAME_LENGTH, problem_with_name, problem_with_upstream_id
from routing.domain.table import Balancing
from routing.models.limits import Limited
from routing.models.providers import Provider
from routing.models.timeouts import Timed


class BalancingChoice(models.TextChoices):
    WEIGHT = Balancing.WEIGHT.value, "by weight"
    LATENCY = Balancing.LATENCY.value, "by weight and latency: the faster, the more"


class ServedModel(Limited):
    """What we serve under a public id."""

    public_id = models.CharField(
        "model id", max_length=MAX_NAME_LENGTH, help_text="The name that clients send as “model”."
    )
    description = models.CharField(max_length=500, blank=True)
    owned_by = models.CharField(
        max_length=100, blank=True, help_text="Shown in the model list: the organisation behind the model."
    )
    is_enabled = models.BooleanField(
        "enabled", default=True, help_text="Off: to clients, the model and its aliases do not exist."
    )
    is_listed = models.BooleanField(
        "listed", default=True, help_text="Off: not in GET /models, but requests that name it work."
    )
    allows_streaming = models.BooleanField(
        "streaming", default=True, help_text="Off: requests with “stream”: true get an error that says so."
    )
    default_max_output_tokens = models.PositiveIntegerField(
        "default output tokens",
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(10_000_000)],
        help_text="For requests without a limit of their own, at providers that demand one. "
        "Empty: the most that the model can write.",
    )
    balancing = models.CharField(
        "sharing",
        max_length=16,
        choices=BalancingChoice.choices,
        default=BalancingChoice.WEIGHT,
        db_default=BalancingChoice.WEIGHT.value,
        help_text="How deployments of the same priority share the requests.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name = "model"
        ordering = ("id",)
        constraints: ClassVar = [
            models.UniqueConstraint(
                Lower("public_id"),
                name="routing_servedmodel_public_id_unique",
                violation_error_message="There is a model with this id already, perhaps in other case.",
            ),
            models.CheckConstraint(
                condition=~models.Q(public_id="") & ~models.Q(public_id__contains=" "),
                name="routing_servedmodel_public_id_plain",
                violation_error_message="A model id has no spaces and is not empty.",
            ),
        ]

    def __str__(self) -> str:
        return self.public_id

    def clean(self) -> None:
        super().clean()
        self.public_id = self.public_id.strip()
        if problem := problem_with_name(self.public_id):
            raise ValidationError({"public_id": problem})
        from routing.models.aliases import Alias

        alias = Alias.objects.filter(name__iexact=self.public_id).select_related("model").first()
        if alias is not None:
            raise ValidationError(
                {
                    "public_id": f"“{alias.name}” is an alias of {alias.model.public_id}. "
                    "Delete or rename the alias first: a name means one thing."
                }
            )


class Deployment(Timed):
    """A model at one provider, under the id that it has there."""

    model = models.ForeignKey(ServedModel, on_delete=models.CASCADE, related_name="deployments")
    provider = models.ForeignKey(Provider, on_delete=models.PROTECT, related_name="deployments")
    upstream_id = models.CharField(
        "upstream id", max_length=300, help_text="The model's id at the provider, as it is sent there."
    )
    priority = models.PositiveSmallIntegerField(
        default=0, help_text="Lower goes first. The next number is tried when all of this one failed."
    )
    weight = models.PositiveSmallIntegerField(
        default=1,
        validators=[MaxValueValidator(1000)],
        help_text="Share of the requests within a priority. 0: only when the others failed.",
    )
    is_enabled = models.BooleanField("enabled", default=True)
    is_strict = models.BooleanField(
        "strict",
        default=False,
        help_text="Refuse requests with parameters that this model cannot honour, instead of ignoring those.",
    )
    capabilities = models.JSONField(
        default=dict,
        blank=True,
        help_text='Corrections to what is known of the upstream id, such as {"max_output_tokens": 8192}.',
    )
    # Counted up to end cooldowns: every worker sees the change and starts afresh.
    cooldown_resets = models.PositiveIntegerField(default=0, db_default=0, editable=False)

    class Meta:
        ordering = ("priority", "id")
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["model", "provider", "upstream_id"],
                name="routing_deployment_unique",
                violation_error_message="This model has this upstream id at this provider already.",
            ),
            models.CheckConstraint(
                condition=~models.Q(upstream_id=""),
                name="routing_deployment_upstream_id_given",
                violation_error_message="Enter the model's id at the provider.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider.name}/{self.upstream_id}"

    def clean(self) -> None:
        super().clean()
        self.upstream_id = self.upstream_id.strip()
        if self.capabilities is None:
            self.capabilities = {}
        problems: dict[str, str] = {}
        if problem := problem_with_upstream_id(self.upstream_id):
            problems["upstream_id"] = problem
        if problem := problem_with_overrides(self.capabilities):
            problems["capabilities"] = problem
        if problems:
            raise ValidationError(problems)
