"""The forms of a provider's keys and headers. What is secret goes in and never comes out again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.formats import date_format

from routing import crypto
from routing.models import Credential, ProviderHeader

if TYPE_CHECKING:
    from django.forms import PasswordInput as SecretWidget
else:
    from unfold.widgets import UnfoldAdminPasswordWidget as SecretWidget

_BLANK_ATTRIBUTES = {"autocomplete": "new-password", "spellcheck": "false"}


class CredentialForm(forms.ModelForm):  # type: ignore[type-arg]
    """A typed key takes the place of the stored one; an empty field leaves it."""

    secret_fields = ("key",)

    key = forms.CharField(
        required=False, strip=True, max_length=4096, widget=SecretWidget(attrs=dict(_BLANK_ATTRIBUTES))
    )

    class Meta:
        model = Credential
        fields = ("label", "reference", "is_enabled")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.encrypted_secret:
            self.fields["key"].widget.attrs["placeholder"] = f"stored {_when(self.instance)}; type to replace"
        else:
            self.fields["key"].widget.attrs["placeholder"] = "paste the key"

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        key, reference = cleaned.get("key", ""), cleaned.get("reference", "").strip()
        had_reference = self.instance.reference
        if key and reference and reference != had_reference:
            self.add_error("reference", "Enter either a key or a reference to one, not both.")
        elif key:
            cleaned["reference"] = ""
            self._store(key)
        elif reference:
            self.instance.refer(reference)
        elif not self.instance.encrypted_secret and "reference" not in self.errors:
            self.add_error("key", "Enter the key, or where it lies: a reference.")
        return cleaned

    def _store(self, key: str) -> None:
        try:
            self.instance.store(key)
        except ValidationError as error:
            self.add_error("key", ValidationError(error.messages))
        except crypto.EncryptionKeyError as error:
            self.add_error("key", str(error))


class HeaderForm(forms.ModelForm):  # type: ignore[type-arg]
    """A value in the open, or a secret one."""

    secret_fields = ("secret_value",)

    secret_value = forms.CharField(
        required=False, strip=True, max_length=2000, widget=SecretWidget(attrs=dict(_BLANK_ATTRIBUTES))
    )

    class Meta:
        model = ProviderHeader
        fields = ("name", "value")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.encrypted_value:
            self.fields["secret_value"].widget.attrs["placeholder"] = "stored; type to replace"

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        value, secret = cleaned.get("value", "").strip(), cleaned.get("secret_value", "")
        if value and secret:
            self.add_error("value", "Enter either a value or a secret value, not both.")
        elif secret:
            try:
                self.instance.store(secret)
            except ValidationError as error:
                self.add_error("secret_value", ValidationError(error.messages))
            except crypto.EncryptionKeyError as error:
                self.add_error("secret_value", str(error))
        elif value:
            self.instance.encrypted_value = ""
        return cleaned


def _when(credential: Credential) -> str:
    moment = credential.secret_set_at
    return date_format(timezone.localtime(moment), "j M Y") if moment is not None else ""
