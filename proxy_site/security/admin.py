"""What libraries would put into the admin is taken away: it shows secrets, or nothing an operator needs."""

from __future__ import annotations

from django.contrib import admin
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice

for model in (StaticDevice, TOTPDevice):
    if admin.site.is_registered(model):
        admin.site.unregister(model)

admin.site.login_template = "security/login.html"
