"""Rules for the names that clients send: which are allowed, and which count as the same.

What an operator may enter is strict (`problem_with_name`), what a client may send is
anything at all (`normalise`).
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

MAX_NAME_LENGTH: Final = 200

_ALLOWED: Final = re.compile(r"[A-Za-z0-9@][A-Za-z0-9@/:._+#~-]*")
_FORBIDDEN_CHARACTER: Final = re.compile(r"[^A-Za-z0-9@/:._+#~-]")

_UPSTREAM_ID_FORBIDDEN: Final = re.compile(r"[^\x21-\x7e]")


def normalise(name: str) -> str:
    """The form under which two spellings are the same name.

    Width and composition (NFKC), case, white space and invisible characters do not
    tell names apart. Takes any string, lone surrogates too; one that is far too long
    to be a name comes back empty, so that nobody pays for looking at it.
    """
    if len(name) > 4 * MAX_NAME_LENGTH:
        return ""
    if name.isascii():
        return "".join(name.lower().split()) if not name.isprintable() or " " in name else name.lower()
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    visible = "".join(
        character
        for character in folded
        if not character.isspace() and unicodedata.category(character) not in {"Cc", "Cf"}
    )
    # What stood apart may compose now.
    return unicodedata.normalize("NFKC", visible)


def problem_with_name(name: str) -> str | None:
    """Why `name` cannot be a public id or alias, as a sentence for the operator, or None."""
    if not name:
        return "Enter a name."
    if len(name) > MAX_NAME_LENGTH:
        return f"A name has at most {MAX_NAME_LENGTH} characters; this one has {len(name)}."
    if any(character.isspace() for character in name):
        return "A name has no spaces. Use a hyphen instead."
    if forbidden := _FORBIDDEN_CHARACTER.search(name):
        return (
            f"{_shown(forbidden.group())} is not allowed in a name. "
            "Use letters from A to Z, digits and / : . _ - @ + # ~"
        )
    if not _ALLOWED.fullmatch(name):
        return "A name starts with a letter, a digit or @."
    if name.endswith("/") or any(part in {"", ".", ".."} for part in name.split("/")):
        return "A name is also part of a URL: between slashes stands something other than . and .."
    return None


def problem_with_upstream_id(upstream_id: str) -> str | None:
    """Why `upstream_id` cannot be sent as a model id, or None. Providers' own ids are freer than ours."""
    if not upstream_id:
        return "Enter the model's id at the provider."
    if forbidden := _UPSTREAM_ID_FORBIDDEN.search(upstream_id):
        return f"{_shown(forbidden.group())} is not allowed in an upstream id."
    return None


def _shown(character: str) -> str:
    if character == " ":
        return "A space"
    name = unicodedata.name(character, "")
    if character.isprintable():
        return f"“{character}”" + (f" ({name.lower()})" if not character.isascii() and name else "")
    return f"The character U+{ord(character):04X}"
