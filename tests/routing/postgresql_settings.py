"""The settings with another database: for the run of test_on_postgresql.py."""

from __future__ import annotations

import os

import environ

from proxy_site.settings import *  # noqa: F403

DATABASES = {"default": dict(environ.Env.db_url_config(os.environ["POSTGRESQL_UNDER_TEST"]))}
