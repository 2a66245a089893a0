"""System checks of the routing data. They query only where databases may be checked."""

from __future__ import annotations
