"""A second factor for people who set one up: a code from an authenticator app, or a backup code.

django-otp verifies codes, refuses used ones and slows guessing down. Whoever signs in
through an identity provider gave a second factor there, or did not have to.
"""

from __future__ import annotations
