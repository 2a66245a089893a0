"""What Django's debug pages and error reports must not show, beside what Django knows by itself."""

from __future__ import annotations

import re

from django.views.debug import SafeExceptionReporterFilter


class ErrorPageFilter(SafeExceptionReporterFilter):
    """Django goes by the names of settings and headers. An address may hold a password, too."""

    hidden_settings = re.compile(
        SafeExceptionReporterFilter.hidden_settings.pattern + "|URL|PEPPER|COOKIE|CREDENTIAL|DSN|OTLP",
        flags=re.IGNORECASE,
    )
