from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_migrate


class RoutingConfig(AppConfig):
    name = "routing"
    verbose_name = "Routing"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connects receivers only: no query before somebody asks for one."""
        from routing import checks as checks
        from routing.models import triggers

        pre_migrate.connect(triggers.before_migrate, sender=self, dispatch_uid="routing.triggers.before")
        post_migrate.connect(triggers.after_migrate, sender=self, dispatch_uid="routing.triggers.after")
