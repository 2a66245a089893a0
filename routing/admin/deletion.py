"""Deleting what others depend on: says what breaks, and asks what becomes of it."""

from __future__ import annotations

from typing import Any

from django import forms

from routing.admin.base import RadioWidget, SelectWidget
from routing.models import Alias, Provider, ServedModel

MOVE, DELETE = "move", "delete"


class ModelDeletionForm(forms.Form):
    """What becomes of the aliases of a model that goes."""

    aliases = forms.ChoiceField(widget=RadioWidget(), label="The aliases")
    target = forms.ModelChoiceField(
        queryset=ServedModel.objects.none(), required=False, widget=SelectWidget(), label="Move them to"
    )

    def __init__(self, *args: Any, model: ServedModel, alias_count: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        others = ServedModel.objects.exclude(pk=model.pk)
        word = "alias" if alias_count == 1 else f"{alias_count} aliases"
        choices = [(DELETE, f"Delete the {word} too: requests that use such a name get 404")]
        if others.exists():
            choices.insert(0, (MOVE, f"Move the {word} to another model"))
        self.fields["aliases"].choices = choices  # type: ignore[attr-defined]
        self.fields["aliases"].initial = choices[0][0]
        self.fields["target"].queryset = others  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if cleaned.get("aliases") == MOVE and not cleaned.get("target") and "target" not in self.errors:
            self.add_error("target", "Choose the model that the aliases shall mean from now on.")
        return cleaned

    @property
    def chosen_target(self) -> ServedModel | None:
        return self.cleaned_data["target"] if self.cleaned_data["aliases"] == MOVE else None


class ProviderDeletionForm(forms.Form):
    """Confirms that deployments go with their provider."""

    is_confirmed = forms.BooleanField(label="Delete the deployments too")


def aliases_of(model: ServedModel) -> list[Alias]:
    return list(Alias.objects.filter(model=model))


def models_served_by(provider: Provider) -> tuple[list[ServedModel], list[ServedModel]]:
    """The models that `provider` serves: those with another deployment elsewhere, and those without."""
    served = ServedModel.objects.filter(deployments__provider=provider).distinct()
    elsewhere: list[ServedModel] = []
    nowhere: list[ServedModel] = []
    for model in served:
        has_other = model.deployments.exclude(provider=provider).exists()
        (elsewhere if has_other else nowhere).append(model)
    return elsewhere, nowhere
