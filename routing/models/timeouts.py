"""The time limits of an upstream call: the same five columns wherever they can be set."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

_SECONDS = [MinValueValidator(0.01), MaxValueValidator(86_400)]


def _timeout(label: str, text: str) -> models.FloatField[float | None, float | None]:
    return models.FloatField(label, null=True, blank=True, validators=_SECONDS, help_text=text)


class Timed(models.Model):
    """In seconds. Empty leaves a limit to whatever holds more widely: deployment, provider, setting."""

    connect_timeout = _timeout("connect", "Until the connection stands.")
    headers_timeout = _timeout("headers", "Until a reply begins.")
    first_token_timeout = _timeout("first token", "Until a stream carries its first output.")
    idle_timeout = _timeout("idle", "Longest silence within a stream.")
    total_timeout = _timeout("total", "Whole reply, without streaming.")

    class Meta:
        abstract = True
