"""Where a path goes. Paths of the API are listed in api/urls.py."""

from __future__ import annotations

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("", include("api.urls")),
    path("admin/", include("proxy_site.security.urls")),
    path("admin/", admin.site.urls),
    path("", RedirectView.as_view(pattern_name="admin:index")),
    # Browsers ask for this one whatever a page says.
    path("favicon.ico", RedirectView.as_view(url=static("routing/favicon.svg"))),
]
