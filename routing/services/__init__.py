"""Writes to the routing data, for the admin and the commands alike. Import from here.

Each is one transaction, checks what it is given, and names the fields that it changes.
"""

from __future__ import annotations

from routing.services.configuration import (
    delete_model,
    delete_provider,
    rotate_credential,
    set_credential,
)
from routing.services.cooldowns import end_cooldowns
from routing.services.encryption import Reencryption, reencrypt_secrets
from routing.services.key_use import record_use
from routing.services.keys import (
    PepperError,
    issue_key,
    issue_secret,
    replace_pepper,
    revoke_key,
    rotate_key,
)

__all__ = [
    "PepperError",
    "Reencryption",
    "delete_model",
    "delete_provider",
    "end_cooldowns",
    "issue_key",
    "issue_secret",
    "record_use",
    "reencrypt_secrets",
    "replace_pepper",
    "revoke_key",
    "rotate_credential",
    "rotate_key",
    "set_credential",
]
