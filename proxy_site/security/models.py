"""Who a person is at the identity provider.

An e-mail address may pass to somebody else; a subject never does.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models


class Identity(models.Model):
    """The tie between an account here and a subject at an issuer. Made at the first sign-in."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="identity", verbose_name="account"
    )
    issuer = models.CharField("issuer", max_length=500)
    subject = models.CharField("subject", max_length=255)
    created_at = models.DateTimeField("first sign-in", auto_now_add=True)

    class Meta:
        verbose_name = "identity"
        verbose_name_plural = "identities"
        constraints = [
            models.UniqueConstraint(fields=["issuer", "subject"], name="security_identity_once"),
        ]

    def __str__(self) -> str:
        return f"{self.subject} at {self.issuer}"
