"""Django settings. Every value that an operator may change comes from the environment through `env`.

`docs/configuration.md` describes each one; a test holds the two against each other.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key
from django.urls import reverse_lazy

from proxy_site import env
from proxy_site.admin_theme import UNFOLD as UNFOLD
from proxy_site.security.policy import CONTENT_SECURITY_POLICY as CONTENT_SECURITY_POLICY
from proxy_site.security.proxies import parse_networks
from proxy_site.security.single_sign_on.claims import parse_group_map
from routing.domain.access import is_loopback_host

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
if IS_PRODUCTION and not ALLOWED_HOSTS and not _is_keyless:
    raise ImproperlyConfigured(
        "ALLOWED_HOSTS is not set. In production it lists the names that people reach the admin by, "
        "such as ALLOWED_HOSTS=proxy.example.com."
    )
CSRF_TRUSTED_ORIGINS = env.listing("CSRF_TRUSTED_ORIGINS")
# Whose X-Forwarded-* headers the admin believes; proxy_site/security/proxies.py takes away all others.
TRUSTED_PROXIES = parse_networks(env.listing("TRUSTED_PROXIES"))
USE_X_FORWARDED_HOST = bool(TRUSTED_PROXIES)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None

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
    "axes",
    "csp",
    # Installed in any case, so that their tables are there when somebody wants a second factor.
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "routing.apps.RoutingConfig",
    "api.apps.ApiConfig",
    "proxy_site.security.apps.SecurityConfig",  # Last: it takes away admin pages of those above.
]

# The admin's. API paths take a lane of their own without any of these: proxy_site/handler.py.
MIDDLEWARE = [
    "proxy_site.security.proxies.TrustedProxies",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "proxy_site.static_files.StaticFilesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "proxy_site.security.second_factor.gate.SecondFactorGate",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "routing.middleware.ApplyConfigurationChanges",
    "axes.middleware.AxesMiddleware",
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
    config = env.database("DATABASE_URL")
    if config is not None:
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
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",  # First: it refuses before a password is looked at.
    "django.contrib.auth.backends.ModelBackend",
]

# Failed logins: django-axes, counting in the database for all workers together.
LOGIN_ATTEMPTS = env.whole("LOGIN_ATTEMPTS", 5, minimum=1)
LOGIN_LOCKOUT = env.whole("LOGIN_LOCKOUT", 900, minimum=1)  # Seconds.
AXES_FAILURE_LIMIT = LOGIN_ATTEMPTS
AXES_COOLOFF_TIME = timedelta(seconds=LOGIN_LOCKOUT)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_CALLABLE = "proxy_site.security.throttling.refuse_login"
AXES_WHITELIST_CALLABLE = "proxy_site.security.throttling.is_never_locked"
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
# REMOTE_ADDR is the client's here: proxy_site/security/proxies.py.
AXES_CLIENT_IP_CALLABLE = "proxy_site.security.throttling.read_address"
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address", "csrfmiddlewaretoken", "code", "next"]
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False

# Single sign-on, where an issuer is named. Nothing of it is loaded otherwise.
OIDC_ISSUER = env.text("OIDC_ISSUER")
OIDC_CLIENT_ID = env.text("OIDC_CLIENT_ID")
OIDC_CLIENT_SECRET = env.text("OIDC_CLIENT_SECRET")
OIDC_SCOPES = env.text("OIDC_SCOPES", "openid email profile")
OIDC_GROUPS_CLAIM = env.text("OIDC_GROUPS_CLAIM", "groups")
OIDC_GROUP_MAP = env.listing("OIDC_GROUP_MAP")
OIDC_ALLOWED_DOMAINS = env.listing("OIDC_ALLOWED_DOMAINS")
OIDC_LABEL = env.text("OIDC_LABEL", "Sign in with single sign-on")
OIDC_AUTHORIZATION_ENDPOINT = env.text("OIDC_AUTHORIZATION_ENDPOINT")
OIDC_TOKEN_ENDPOINT = env.text("OIDC_TOKEN_ENDPOINT")
OIDC_USERINFO_ENDPOINT = env.text("OIDC_USERINFO_ENDPOINT")
OIDC_JWKS_ENDPOINT = env.text("OIDC_JWKS_ENDPOINT")
if OIDC_ISSUER:
    if not (OIDC_CLIENT_ID and OIDC_CLIENT_SECRET):
        raise ImproperlyConfigured("OIDC_ISSUER is set: OIDC_CLIENT_ID and OIDC_CLIENT_SECRET must be too.")
    if len({bool(OIDC_AUTHORIZATION_ENDPOINT), bool(OIDC_TOKEN_ENDPOINT), bool(OIDC_JWKS_ENDPOINT)}) > 1:
        raise ImproperlyConfigured(
            "Set OIDC_AUTHORIZATION_ENDPOINT, OIDC_TOKEN_ENDPOINT and OIDC_JWKS_ENDPOINT together, "
            "or none of them: then they are read from OIDC_ISSUER."
        )
    parse_group_map(OIDC_GROUP_MAP)
    AUTHENTICATION_BACKENDS.append("proxy_site.security.single_sign_on.backend.SingleSignOnBackend")
    # What mozilla-django-oidc reads.
    OIDC_RP_SCOPES = OIDC_SCOPES
    OIDC_USE_PKCE = True
    OIDC_AUTHENTICATION_CALLBACK_URL = "single_sign_on_finish"

REQUIRE_SECOND_FACTOR = env.flag("REQUIRE_SECOND_FACTOR", False)
OTP_TOTP_ISSUER = "Patchbay"

LANGUAGE_CODE = "en"
TIME_ZONE = env.time_zone("TIME_ZONE", "UTC")
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
SESSION_COOKIE_AGE = env.whole("SESSION_AGE", 12 * 3600, minimum=60)
# Without a proxy that is believed no request looks like HTTPS: each would be sent round in a circle.
SECURE_SSL_REDIRECT = env.flag("SSL_REDIRECT", IS_PRODUCTION and bool(TRUSTED_PROXIES))
# Only sent over HTTPS.
SECURE_HSTS_SECONDS = env.whole("HSTS_SECONDS", 365 * 86400 if IS_PRODUCTION else 0)
# W005 and W021 want HSTS for subdomains and browsers' built-in lists: that is about other
# hosts than ours, and for whoever owns the domain to say, at the reverse proxy.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "UNAUTHENTICATED_USER": None,
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "EXCEPTION_HANDLER": "api.errors.handle_exception",
}

# Serving: `manage.py serve`.
HOST = env.text("HOST", "127.0.0.1")
PORT = env.whole("PORT", 8000, minimum=1, maximum=65535)
WEB_CONCURRENCY = env.whole("WEB_CONCURRENCY", 1, minimum=1)
# Seconds. The delay is for load balancers, and nobody balances loads to this machine's own address.
DRAIN_DELAY = env.number("DRAIN_DELAY", 5 if IS_PRODUCTION and not is_loopback_host(HOST) else 0)
SHUTDOWN_GRACE = env.whole("SHUTDOWN_GRACE", 30, minimum=0)
# Of one worker; 0 is no bound.
MAX_CONNECTIONS = env.whole("MAX_CONNECTIONS", 10_000)
MAX_UPSTREAM_CALLS = env.whole("MAX_UPSTREAM_CALLS", 2000, minimum=1)
MAX_QUEUED = env.whole("MAX_QUEUED", 200)
QUEUE_TIMEOUT = env.number("QUEUE_TIMEOUT", 5, minimum=0.01)
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
REQUEST_DEADLINE = env.number("REQUEST_DEADLINE", 600, minimum=0.1)
# Tried again: docs/fallbacks.md. Waits in seconds.
RETRIES = env.whole("RETRIES", 2, minimum=0, maximum=20)
RETRY_BACKOFF = env.number("RETRY_BACKOFF", 0.25, minimum=0)
RETRY_BACKOFF_MAX = env.number("RETRY_BACKOFF_MAX", 4, minimum=0)
RETRY_AFTER_MAX = env.number("RETRY_AFTER_MAX", 10, minimum=0)
KEEPALIVE_INTERVAL = env.number("KEEPALIVE_INTERVAL", 15, minimum=0.05)

# How long a deployment rests after trouble: docs/cooldowns.md.
COOLDOWN_AFTER = env.whole("COOLDOWN_AFTER", 5, minimum=0)
COOLDOWN_SECONDS = env.number("COOLDOWN_SECONDS", 10, minimum=0.05)
COOLDOWN_MAX = env.number("COOLDOWN_MAX", 300, minimum=0.05)
HEALTH_CHECK_INTERVAL = env.number("HEALTH_CHECK_INTERVAL", 0)  # Off.

REQUEST_HEADERS_TIMEOUT = env.number("REQUEST_HEADERS_TIMEOUT", 30, minimum=0.05)
REQUEST_BODY_TIMEOUT = env.number("REQUEST_BODY_TIMEOUT", 60, minimum=0.05)
RESPONSE_READ_TIMEOUT = env.number("RESPONSE_READ_TIMEOUT", 120, minimum=0.05)
CONFIG_POLL_INTERVAL = env.number("CONFIG_POLL_INTERVAL", 0.25, minimum=0.01)

# Where all processes count limits together. Without it each counts by itself.
VALKEY_URL = env.text("VALKEY_URL")
if VALKEY_URL and not VALKEY_URL.startswith(("valkey://", "valkeys://", "redis://", "rediss://", "unix://")):
    raise ImproperlyConfigured("VALKEY_URL must look like valkey://host:6379/0, valkeys://… or unix:///path.")
VALKEY_TIMEOUT = env.number("VALKEY_TIMEOUT", 0.5, minimum=0.01)
LIMITS_WITHOUT_VALKEY = env.choice("LIMITS_WITHOUT_VALKEY", "open", ("open", "closed"))

MAX_REQUEST_BYTES = env.whole("MAX_REQUEST_BYTES", 32 * 1024 * 1024, minimum=1024)
MAX_MESSAGES = env.whole("MAX_MESSAGES", 10_000, minimum=1)
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

DEFAULT_EXCEPTION_REPORTER_FILTER = "proxy_site.error_pages.ErrorPageFilter"

# Whether anything is counted, who may read it beside this machine itself, and how many names have figures
# of their own.
METRICS = env.flag("METRICS", True)
METRICS_TOKEN = env.text("METRICS_TOKEN")
METRICS_MODELS = env.whole("METRICS_MODELS", 200, minimum=1)

# Traces. The SDK reads the other standard OTEL_* variables by itself.
OTEL_EXPORTER_OTLP_ENDPOINT = env.text("OTEL_EXPORTER_OTLP_ENDPOINT")
if OTEL_EXPORTER_OTLP_ENDPOINT and not OTEL_EXPORTER_OTLP_ENDPOINT.startswith(("http://", "https://")):
    raise ImproperlyConfigured(
        "OTEL_EXPORTER_OTLP_ENDPOINT must be the address of a collector that takes OTLP over HTTP, "
        "such as http://127.0.0.1:4318."
    )
OTEL_EXPORTER_OTLP_HEADERS = env.text("OTEL_EXPORTER_OTLP_HEADERS")
OTEL_SERVICE_NAME = env.text("OTEL_SERVICE_NAME")
OTEL_SDK_DISABLED = env.flag("OTEL_SDK_DISABLED", False)

LOG_LEVEL = env.choice("LOG_LEVEL", "info", ("debug", "info", "warning", "error"))
LOG_FORMAT = env.choice("LOG_FORMAT", "json" if IS_PRODUCTION else "text", ("json", "text"))
# Seconds. What lines of requests that went well may wait for others, to be written together.
LOG_DELAY = env.number("LOG_DELAY", 0.02)
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "text": {"()": "proxy_site.logs.TextFormatter"},
        "json": {"()": "proxy_site.logs.JsonFormatter"},
    },
    "handlers": {"console": {"class": "proxy_site.logs.StderrHandler", "formatter": LOG_FORMAT}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "patchbay": {"level": LOG_LEVEL.upper()},
        "uvicorn": {"level": "WARNING"},
        "django.request": {"level": "ERROR"},
        "axes": {"level": "ERROR"},  # proxy_site/security/throttling.py says it, with the user name.
    },
}
