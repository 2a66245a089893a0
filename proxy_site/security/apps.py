from __future__ import annotations

from django.apps import AppConfig


class SecurityConfig(AppConfig):
    """Stands last in INSTALLED_APPS: its admin takes away pages that libraries before it register."""

    name = "proxy_site.security"
    label = "security"
    verbose_name = "Sign-in"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from proxy_site.security import checks as checks
        from proxy_site.security import throttling as throttling
