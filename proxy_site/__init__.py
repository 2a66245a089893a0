"""Wiring only: settings, URLs, the ASGI application and the commands that start it."""
