"""The admin's door: who may come in, from where, and what a browser may do with our pages.

Owns throttling of logins, single sign-on, the second factor, trusted proxies and the
content security policy. Refuses anything about API keys: the API lane runs none of it.
"""

from __future__ import annotations
