"""The groups that a new installation starts with. Later edits are the operator's and stay."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth import get_permission_codename
from django.db import migrations

ALL = ("view", "add", "change", "delete")
VIEW = ("view",)

CATALOG = ("servedmodel", "deployment", "alias")
KEYS = ("apikey", "team")
SECRETS = ("credential", "providerheader")

# Group, then rows of (app, models, what may be done).
GROUPS: dict[str, tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]] = {
    "Viewer": (
        ("routing", (*CATALOG, "provider", *KEYS), VIEW),
        ("auth", ("user", "group"), VIEW),
        ("admin", ("logentry",), VIEW),
    ),
    "Operator": (
        ("routing", CATALOG, ALL),
        ("routing", ("provider",), VIEW),
    ),
    "Key manager": (
        ("routing", KEYS, ALL),
        ("routing", ("servedmodel",), VIEW),
        ("auth", ("user",), VIEW),
    ),
    "Owner": (
        ("routing", (*CATALOG, *KEYS, "provider", *SECRETS), ALL),
        ("auth", ("user", "group"), ALL),
        ("admin", ("logentry",), VIEW),
    ),
}


def seed(apps: Any, schema_editor: Any) -> None:
    using = schema_editor.connection.alias
    groups = apps.get_model("auth", "Group").objects.using(using)
    for name, rows in GROUPS.items():
        group, is_new = groups.get_or_create(name=name)
        if is_new:
            group.permissions.set(
                _permission(apps, using, app, model, action)
                for app, models, actions in rows
                for model in models
                for action in actions
            )


def _permission(apps: Any, using: str, app: str, model: str, action: str) -> Any:
    """Django makes these after all migrations, and leaves those that are there already."""
    content_type, _ = (
        apps.get_model("contenttypes", "ContentType")
        .objects.using(using)
        .get_or_create(app_label=app, model=model)
    )
    options = apps.get_model(app, model)._meta
    permission, _ = (
        apps.get_model("auth", "Permission")
        .objects.using(using)
        .get_or_create(
            content_type=content_type,
            codename=get_permission_codename(action, options),
            defaults={"name": f"Can {action} {options.verbose_name_raw}"},
        )
    )
    return permission


def unseed(apps: Any, schema_editor: Any) -> None:
    """Nothing: people may be in the groups."""


class Migration(migrations.Migration):
    dependencies = [
        ("routing", "0003_api_keys"),
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [migrations.RunPython(seed, unseed)]
