"""Other names of models."""

from __future__ import annotations

from typing import ClassVar

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone

from routing.domain.names import MAX_NAME_LENGTH, problem_with_name
from routing.models.catalog import ServedModel


class Alias(models.Model):
    """A name that means a model. It never shadows a model's own id."""

    name = models.CharField(
        "alias", max_length=MAX_NAME_LENGTH, help_text="What clients may send instead of the model id."
    )
    # A model that is still meant by a name goes only when somebody said what becomes of the name.
    model = models.ForeignKey(ServedModel, on_delete=models.PROTECT, related_name="aliases")
    is_listed = models.BooleanField("listed", default=False, help_text="Show this name in GET /models too.")
    note = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name_plural = "aliases"
        ordering = ("id",)
        constraints: ClassVar = [
            models.UniqueConstraint(
                Lower("name"),
                name="routing_alias_name_unique",
                violation_error_message="There is an alias with this name already, perhaps in other case.",
            ),
            models.CheckConstraint(
                condition=~models.Q(name="") & ~models.Q(name__contains=" "),
                name="routing_alias_name_plain",
                violation_error_message="An alias has no spaces and is not empty.",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        super().clean()
        self.name = self.name.strip()
        if problem := problem_with_name(self.name):
            raise ValidationError({"name": problem})
        model = ServedModel.objects.filter(public_id__iexact=self.name).first()
        if model is not None:
            raise ValidationError(
                {"name": f"“{model.public_id}” is the id of a model. An alias cannot take its place."}
            )
