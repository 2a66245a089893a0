"""Django settings. Every value that an operator may change comes from the environment through `env`.

`docs/configuration.md` describes each one; a test holds the two against each other.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key
from django.urls import reverse_lazy

from proxy_site import env
from proxy_site.admin_theme import UNFOLD as UNFOLD

BASE_DIR = env.BASE_DIR
env.load_dotenv(BASE_DIR / ".env")

ENVIRONMENT = env.choice("ENVIRONMENT", "development", ("development", "production"))
IS_PRODUCTION = ENVIRONMENT == "production"
DEBUG = env.flag("DEBUG", False)
if DEBUG and IS_PRODUCTION:
    raise ImproperlyConfigured("DEBUG=on shows internals to everyone. Unset it, or ENVIRONMENT=production.")

DATA_DIR: Path = env.folder("DATA_DIR", BASE_DIR / "data")

# Collecting static files or checking the settings needs no key, so that an image can be built without one.
_is_keyless = len(sys.argv) > 1 and sys.argv[1] in {
    "collectstatic",
    "makemigrations",
    "check",
    "generate_keys",
}


def _key(name: str, file: str, make: Callable[[], str]) -> str:
    """The key from the environment; in development, else, one of our own that DATA_DIR keeps."""
    if value := env.text(name):
        return value
    if not IS_PRODUCTION:
        return env.key_from_file(DATA_DIR / file, make)
    if _is_keyless:
        return make()
    raise ImproperlyConfigured(
        f"{name} is not set. In production it comes from the environment, as {name} or {name}_FILE. "
        f"`python manage.py generate_keys` prints new ones."
    )


SECRET_KEY = _key("SECRET_KEY", "secret_key", get_random_secret_key)
# The first one encrypts, every one decrypts.
ENCRYPTION_KEYS = [
    key.strip()
    for key in _key("ENCRYPTION_KEYS", "encryption_keys", lambda: Fernet.generate_key().decode()).split(",")
    if key.strip()
]

ALLOWED_HOSTS = env.listing("ALLOWED_HOSTS", ("*",) if not IS_PRODUCTION else ())
CSRF_TRUSTED_ORIGINS = env.listing("CSRF_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    "proxy_site.apps.ProxySiteConfig",  # Before staticfiles: our `runserver` replaces Django's.
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "corsheaders",
    "rest_framework",
    "routing.apps.RoutingConfig",
    "api.apps.ApiConfig",
]

# The admin's. API paths take a lane of their own without any of these: proxy_site/handler.py.
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "proxy_site.static_files.StaticFilesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "routing.middleware.ApplyConfigurationChanges",
]

ROOT_URLCONF = "proxy_site.urls"
ASGI_APPLICATION = "proxy_site.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]


def _database() -> dict[str, Any]:
    url = env.text("DATABASE_URL")
    if url:
        import environ

        config: dict[str, Any] = dict(environ.Env.db_url_config(url))
        if "postgresql" in config["ENGINE"]:
            # Admin pages only: the request path makes no query.
            config.setdefault("CONN_MAX_AGE", 60)
            config.setdefault("CONN_HEALTH_CHECKS", True)
            config.setdefault("OPTIONS", {}).setdefault("connect_timeout", 5)
        return config | ({"OPTIONS": _SQLITE_OPTIONS} if "sqlite" in config["ENGINE"] else {})
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(DATA_DIR / "patchbay.sqlite3"),
        "OPTIONS": _SQLITE_OPTIONS,
    }


# WAL lets the snapshot be read while an operator saves; IMMEDIATE takes the write lock at
# the start, so that two savers wait for each other instead of failing half-way.
_SQLITE_OPTIONS = {
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    "transaction_mode": "IMMEDIATE",
    "timeout": 10,
}
DATABASES = {"default": _database()}
# Nothing of ours caches through Django; the admin theme would keep search results for minutes.
CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = reverse_lazy("admin:login")
LOGIN_REDIRECT_URL = reverse_lazy("admin:index")

LANGUAGE_CODE = "en"
TIME_ZONE = env.text("TIME_ZONE", "UTC")
USE_I18N = True
USE_TZ = True

STATIC_URL = "/static/"
# Served from the apps' own folders, so that nothing has to be collected before a first start.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = IS_PRODUCTION
CSRF_COOKIE_SECURE = IS_PRODUCTION

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "UNAUTHENTICATED_USER": None,
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "EXCEPTION_HANDLER": "api.errors.handle_exception",
}

# Serving: `manage.py serve`.
HOST = env.text("HOST", "127.0.0.1")
PORT = env.whole("PORT", 8000, minimum=1)
WEB_CONCURRENCY = env.whole("WEB_CONCURRENCY", 1, minimum=1)
SHUTDOWN_GRACE = env.whole("SHUTDOWN_GRACE", 30, minimum=0)  # Seconds.
ADMIN_USERNAME = env.text("ADMIN_USERNAME", "admin")

# Who may use the API: docs/keys.md. Unset, it depends on where we listen.
ACCESS_MODE = env.choice("ACCESS_MODE", "", ("", "any_bearer", "issued_keys"))

# Providers, when the database names nothing else.
OPENAI_API_KEY = env.text("OPENAI_API_KEY")
OPENAI_BASE_URL = env.text("OPENAI_BASE_URL")
ANTHROPIC_API_KEY = env.text("ANTHROPIC_API_KEY")
ANTHROPIC_BASE_URL = env.text("ANTHROPIC_BASE_URL")
DEMO = env.choice("DEMO", "auto", ("auto", "on", "off"))

# Translation to Claude.
ANTHROPIC_AUTO_CACHE = env.flag("ANTHROPIC_AUTO_CACHE", False)
ANTHROPIC_INLINE_SYSTEM = env.flag("ANTHROPIC_INLINE_SYSTEM", False)
REPAIR_TOOL_TURNS = env.flag("REPAIR_TOOL_TURNS", False)

UPSTREAM_CLIENT = env.choice("UPSTREAM_CLIENT", "pool", ("pool", "aiohttp"))
# Seconds.
UPSTREAM_CONNECT_TIMEOUT = env.number("UPSTREAM_CONNECT_TIMEOUT", 10, minimum=0.01)
UPSTREAM_HEADERS_TIMEOUT = env.number("UPSTREAM_HEADERS_TIMEOUT", 120, minimum=0.01)
UPSTREAM_FIRST_TOKEN_TIMEOUT = env.number("UPSTREAM_FIRST_TOKEN_TIMEOUT", 120, minimum=0.01)
UPSTREAM_IDLE_TIMEOUT = env.number("UPSTREAM_IDLE_TIMEOUT", 120, minimum=0.01)
UPSTREAM_TOTAL_TIMEOUT = env.number("UPSTREAM_TOTAL_TIMEOUT", 600, minimum=0.01)
KEEPALIVE_INTERVAL = env.number("KEEPALIVE_INTERVAL", 15, minimum=0.05)
REQUEST_BODY_TIMEOUT = env.number("REQUEST_BODY_TIMEOUT", 60, minimum=0.05)
CONFIG_POLL_INTERVAL = env.number("CONFIG_POLL_INTERVAL", 0.25, minimum=0.01)

# Where all processes count limits together. Without it each counts by itself.
VALKEY_URL = env.text("VALKEY_URL")
if VALKEY_URL and not VALKEY_URL.startswith(("valkey://", "valkeys://", "redis://", "rediss://", "unix://")):
    raise ImproperlyConfigured("VALKEY_URL must look like valkey://host:6379/0, valkeys://… or unix:///path.")
VALKEY_TIMEOUT = env.number("VALKEY_TIMEOUT", 0.5, minimum=0.01)
LIMITS_WITHOUT_VALKEY = env.choice("LIMITS_WITHOUT_VALKEY", "open", ("open", "closed"))

MAX_REQUEST_BYTES = env.whole("MAX_REQUEST_BYTES", 32 * 1024 * 1024, minimum=1024)
MAX_REPLY_BYTES = env.whole("MAX_REPLY_BYTES", 64 * 1024 * 1024, minimum=1024)
# Django's own limit is for the admin's forms; the API lane has MAX_REQUEST_BYTES.
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024

# Browser clients, off by default. proxy_site/handler.py puts the middleware on API paths only.
CORS_ALLOWED_ORIGINS = env.listing("CORS_ALLOWED_ORIGINS")
CORS_ALLOW_ALL_ORIGINS = CORS_ALLOWED_ORIGINS == ["*"]
CORS_ALLOW_METHODS = ["GET", "POST", "OPTIONS"]
CORS_ALLOW_HEADERS = [
    "accept",
    "authorization",
    "content-type",
    "api-key",
    "x-api-key",
    "x-request-id",
    "openai-organization",
    "openai-project",
    "openai-beta",
    "idempotency-key",
    "user-agent",
    "x-patchbay-strict",
    *(
        f"x-stainless-{name}"
        for name in (
            "arch",
            "async",
            "custom-poll-interval",
            "helper-method",
            "lang",
            "os",
            "package-version",
            "poll-helper",
            "raw-response",
            "read-timeout",
            "retry-count",
            "runtime",
            "runtime-version",
            "timeout",
        )
    ),
]
CORS_EXPOSE_HEADERS = [
    "x-request-id",
    "retry-after",
    "retry-after-ms",
    *(
        f"x-ratelimit-{fact}-{measure}"
        for measure in ("requests", "tokens")
        for fact in ("limit", "remaining", "reset")
    ),
    "x-should-retry",
    "x-patchbay-ignored",
    "x-patchbay-model",
]
if CORS_ALLOW_ALL_ORIGINS:
    CORS_ALLOWED_ORIGINS = []

LOG_LEVEL = env.choice("LOG_LEVEL", "info", ("debug", "info", "warning", "error"))
LOG_FORMAT = env.choice("LOG_FORMAT", "json" if IS_PRODUCTION else "text", ("json", "text"))
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {"()": "proxy_site.logs.TextFormatter"},
        "json": {"()": "proxy_site.logs.JsonFormatter"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "patchbay": {"level": LOG_LEVEL.upper()},
        "uvicorn": {"level": "WARNING"},
        "django.request": {"level": "ERROR"},
    },
}
