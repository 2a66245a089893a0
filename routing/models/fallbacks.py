"""Models that answer in another model's place."""

from __future__ import annotations

from typing import ClassVar

from django.core.exceptions import ValidationError
from django.db import models

from routing.domain.circles import circle_through
from routing.domain.table import FallbackReason
from routing.models.catalog import ServedModel

_COLUMNS = {
    FallbackReason.FAILURE: "on_failure",
    FallbackReason.CONTEXT_OVERFLOW: "on_context_overflow",
    FallbackReason.REFUSAL: "on_refusal",
}
_WORDS = {
    FallbackReason.FAILURE: "on failure",
    FallbackReason.CONTEXT_OVERFLOW: "for long prompts",
    FallbackReason.REFUSAL: "on refusal",
}


class FallbackModel(models.Model):
    """`fallback` answers where `model` cannot. Part of its model: who may change that may change this."""

    model = models.ForeignKey(ServedModel, on_delete=models.CASCADE, related_name="fallbacks")
    fallback = models.ForeignKey(
        ServedModel, on_delete=models.CASCADE, related_name="stands_in_for", verbose_name="fallback model"
    )
    position = models.PositiveSmallIntegerField(default=0, help_text="Lower goes first.")
    on_failure = models.BooleanField(
        default=True, help_text="When every deployment of the model failed, or none can be asked."
    )
    on_context_overflow = models.BooleanField(
        "for long prompts", default=True, help_text="When the conversation does not fit the model's context."
    )
    # Another vendor's rules about content are another decision, which nobody takes by default.
    on_refusal = models.BooleanField(
        default=False, help_text="When the provider's content rules refuse the request."
    )

    class Meta:
        verbose_name = "fallback"
        ordering = ("position", "id")
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["model", "fallback"],
                name="routing_fallbackmodel_unique",
                violation_error_message="This model is in the list already.",
            ),
            models.CheckConstraint(
                condition=~models.Q(model=models.F("fallback")),
                name="routing_fallbackmodel_other",
                violation_error_message="A model cannot stand in for itself.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} → {self.fallback}"

    def clean(self) -> None:
        super().clean()
        if self.model_id is None or self.fallback_id is None:
            return
        if problem := self._problem_with_chain():
            raise ValidationError({"fallback": problem})

    def _problem_with_chain(self) -> str | None:
        """A chain of fallbacks never comes back to where it began for the same reason.

        For another reason it may: a model with a long context stands in for long prompts,
        and the short one for the long one's failures. What else its own model names does
        not matter: a circle leaves each model once, and this row is how it leaves this one.
        """
        if self.model_id == self.fallback_id:
            return "A model cannot stand in for itself."
        for reason in FallbackReason:
            column = _COLUMNS[reason]
            if not getattr(self, column):
                continue
            edges: dict[int, list[int]] = {self.model_id: [self.fallback_id]}
            others = FallbackModel.objects.exclude(model_id=self.model_id).filter(**{column: True})
            for model_id, fallback_id in others.values_list("model_id", "fallback_id"):
                edges.setdefault(model_id, []).append(fallback_id)
            if circle := circle_through(edges, self.model_id):
                names = ServedModel.objects.in_bulk(circle)
                chain = " → ".join(str(names[model_id]) for model_id in circle)
                return f"{self.model} would stand in for itself {_WORDS[reason]}: {chain}."
        return None
