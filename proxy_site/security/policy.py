"""The content security policy of the admin's pages.

Scripts come from our own static files only: none in the page, no handlers in attributes.
What it concedes, and why:

- `'unsafe-eval'`: the admin theme is built on Alpine.js, which turns the expressions in
  its attributes into functions. Alpine has a build without that, but the theme's
  expressions (object literals, arrow functions) are outside the language of that build.
- `'unsafe-inline'` for styles: the theme writes its colours into a <style> element, and
  its scripts set style attributes. A style cannot run code, and with images and fonts
  from here only it has nowhere to send what it sees.
"""

from __future__ import annotations

from typing import Any

from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE

CONTENT_SECURITY_POLICY: dict[str, Any] = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, UNSAFE_EVAL],
        "script-src-attr": [NONE],
        "style-src": [SELF, UNSAFE_INLINE],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "manifest-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}
