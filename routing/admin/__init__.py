"""The operators' pages. One file per subject; the look is proxy_site/admin_theme.py."""

from __future__ import annotations

from django.contrib import admin

from routing.admin import accounts as accounts
from routing.admin import aliases as aliases
from routing.admin import catalog as catalog
from routing.admin import history as history
from routing.admin import keys as keys
from routing.admin import providers as providers
from routing.admin import teams as teams

admin.site.index_title = "Overview"
# Not admin/index.html: apps that come earlier in INSTALLED_APPS would win over ours.
admin.site.index_template = "routing/admin/start_page.html"
