#!/usr/bin/env python
"""Django's command line for Patchbay."""

from __future__ import annotations

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proxy_site.settings")
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
    except ImportError:
        sys.exit("Django is not installed in this Python. Use `make run`, or .venv/bin/python manage.py …")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        # A setting is wrong, and the message says which: a traceback would only bury it.
        if "--traceback" in sys.argv:
            raise
        sys.exit(f"Patchbay is not configured right: {error}")
    except KeyboardInterrupt:
        sys.exit(130)  # What shells say of a program that Ctrl-C ended.


if __name__ == "__main__":
    main()
