"""Puts a saved form into words for the history: each field with its value before and after.

The result has the shape of Django's own change messages, so that its history pages show
it. Values of secret fields are never part of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from django import forms
from django.db.models import Model

_LONGEST_VALUE: Final = 80


def describe_changes(form: Any, formsets: Iterable[Any] | None, *, add: bool) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    if add:
        messages.append({"added": {}})
    elif fields := _changes(form):
        messages.append({"changed": {"fields": fields}})
    for formset in formsets or ():
        for added in formset.new_objects:
            messages.append({"added": _named(added)})
        for changed, _ in formset.changed_objects:
            changed_form = next(one for one in formset.initial_forms if one.instance == changed)
            messages.append({"changed": _named(changed) | {"fields": _changes(changed_form)}})
        for deleted in formset.deleted_objects:
            messages.append({"deleted": _named(deleted)})
    return messages


def _named(row: Model) -> dict[str, str]:
    return {"name": str(row._meta.verbose_name), "object": str(row)}


def _changes(form: Any) -> list[str]:
    secret = getattr(form, "secret_fields", ())
    words: list[str] = []
    for name in form.changed_data:
        field = form.fields.get(name)
        if field is None:
            continue
        label = str(field.label or name)
        if name in secret or isinstance(field.widget, forms.PasswordInput):
            words.append(f"{label} (replaced)")
        else:
            before = _value(field, form.initial.get(name, field.initial))
            after = _value(field, form.cleaned_data.get(name))
            words.append(f"{label} ({before} → {after})")
    return words


def _value(field: forms.Field, value: Any) -> str:
    if isinstance(field, forms.ModelMultipleChoiceField):
        return _shortened(", ".join(str(row) for row in value or ()) or "none")
    if isinstance(field, forms.ModelChoiceField) and value not in (None, ""):
        row = value if isinstance(value, Model) else field.queryset.filter(pk=value).first()  # type: ignore[union-attr]
        return str(row) if row is not None else f"number {value}, since deleted"
    match value:
        case True:
            return "on"
        case False:
            return "off"
        case None | "":
            return "empty"
    if isinstance(field, forms.ChoiceField):
        value = dict(field.choices).get(value, value)  # type: ignore[arg-type]
    return _shortened(str(value))


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"
