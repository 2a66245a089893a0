"""Every public path. Each endpoint stands under /api/v1 and under /v1, with and without a last slash."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path, re_path

from api.views.chat_completions import ChatCompletionsView
from api.views.health import HealthView, ReadinessView
from api.views.metrics import MetricsView
from api.views.missing import MissingView, VersionMissingView
from api.views.model_list import ModelListView, ModelView

_v1: list[URLPattern | URLResolver] = [
    re_path(r"^chat/completions/?$", ChatCompletionsView.as_view(), name="chat-completions"),
    re_path(r"^models/?$", ModelListView.as_view(), name="models"),
    re_path(r"^models/(?P<model_id>.+?)/?$", ModelView.as_view(), name="model"),
]

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/v1/", include(_v1)),
    path("v1/", include(_v1)),
    path("healthz", HealthView.as_view(), name="healthz"),
    path("readyz", ReadinessView.as_view(), name="readyz"),
    path("metrics", MetricsView.as_view(), name="metrics"),
    # Any other path below these is missing in OpenAI's words, not in Django's.
    re_path(r"^(?:api|v1)(?:/.*)?$", MissingView.as_view()),
    # What clients ask for whose base URL lacks the version.
    re_path(r"^(?:chat/completions|models)(?:/.*)?$", VersionMissingView.as_view()),
]
