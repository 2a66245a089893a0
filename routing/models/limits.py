"""The limits that a key, a team and a model can have: the same three columns everywhere."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from routing.domain.limits import Limit

_COUNT = [MinValueValidator(1), MaxValueValidator(2_000_000_000)]


class Limited(models.Model):
    """Something whose use can be limited. Empty stands for no limit."""

    requests_per_minute = models.PositiveIntegerField(
        null=True, blank=True, validators=_COUNT, help_text="In any 60 seconds. Empty: no limit."
    )
    tokens_per_minute = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=_COUNT,
        help_text="Input and output together, in any 60 seconds. Empty: no limit.",
    )
    max_concurrent = models.PositiveIntegerField(
        "concurrent requests",
        null=True,
        blank=True,
        validators=_COUNT,
        help_text="Requests under way at the same time. Empty: no limit.",
    )

    class Meta:
        abstract = True

    @property
    def limit(self) -> Limit:
        return Limit(self.requests_per_minute, self.tokens_per_minute, self.max_concurrent)
