"""The forms of client keys: what a key may do, and how its secret is replaced."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from django import forms
from django.utils import timezone

from routing.admin.base import RadioWidget
from routing.models import ApiKey

GRACES: Final = (
    ("0", "None: the old secret stops now"),
    ("3600", "1 hour"),
    ("86400", "1 day"),
    ("604800", "7 days"),
    ("2592000", "30 days"),
)


class ApiKeyForm(forms.ModelForm):  # type: ignore[type-arg]
    """Choosing models restricts the key to them; unticking the restriction drops them."""

    class Meta:
        model = ApiKey
        fields = (
            "owner",
            "team",
            "note",
            "is_restricted",
            "allowed_models",
            "expires_at",
            "is_enabled",
            "requests_per_minute",
            "tokens_per_minute",
            "max_concurrent",
        )

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        models = cleaned.get("allowed_models")
        if models is not None:
            was_lifted = self.instance.pk is not None and "is_restricted" in self.changed_data
            if cleaned.get("is_restricted") and not models:
                self.add_error("allowed_models", "Choose at least one, or untick “only chosen models”.")
            elif models and not cleaned.get("is_restricted"):
                if was_lifted:
                    cleaned["allowed_models"] = models.none()
                else:
                    cleaned["is_restricted"] = True
        expires_at = cleaned.get("expires_at")
        if expires_at is not None and "expires_at" in self.changed_data and expires_at <= timezone.now():
            self.add_error("expires_at", "This time is over. To end the key now, revoke it.")
        return cleaned


class RotationForm(forms.Form):
    """How long the secret before goes on working."""

    grace = forms.ChoiceField(
        choices=GRACES, initial="86400", widget=RadioWidget(), label="The old secret goes on working for"
    )

    @property
    def chosen_grace(self) -> timedelta:
        return timedelta(seconds=int(self.cleaned_data["grace"]))
