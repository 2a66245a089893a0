"""One SVG: CPU per request and per chunk of every candidate, as bars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

_ROW, _LEFT, _BAR, _TOP = 26, 210, 420, 44
_OURS, _OTHERS = "#2563eb", "#94a3b8"


def draw(summary: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    panels = [
        (
            "CPU ms per request, 32 connections (less is better)",
            _values(summary, "busy", "cpu_ms_per_request"),
            3,
        ),
        (
            "CPU µs per streamed chunk, 200 streams (less is better)",
            _values(summary, "streams", "cpu_us_per_chunk"),
            1,
        ),
    ]
    height = sum(_TOP + _ROW * len(values) + 16 for _, values, _ in panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _BAR + 80} {height}" '
        'font-family="system-ui, sans-serif" font-size="13" role="img">',
        "<title>CPU per request and per streamed chunk</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    y = 0
    for title, values, digits in panels:
        parts.append(f'<text x="12" y="{y + 28}" font-weight="600" fill="#0f172a">{escape(title)}</text>')
        y += _TOP
        longest = max((value for _, value in values), default=1.0)
        for name, value in values:
            width = max(1.0, _BAR * value / longest)
            colour = _OURS if name.startswith("patchbay") else _OTHERS
            parts.append(
                f'<text x="{_LEFT - 10}" y="{y + 16}" text-anchor="end" fill="#0f172a">{escape(name)}</text>'
            )
            parts.append(
                f'<rect x="{_LEFT}" y="{y + 3}" width="{width:.1f}" height="18" rx="3" fill="{colour}"/>'
            )
            parts.append(
                f'<text x="{_LEFT + width + 6:.1f}" y="{y + 16}" fill="#334155">{value:.{digits}f}</text>'
            )
            y += _ROW
        y += 16
    return "\n".join([*parts, "</svg>"]) + "\n"


def _values(
    summary: Mapping[str, Mapping[str, Mapping[str, Any]]], scenario: str, figure: str
) -> list[tuple[str, float]]:
    return [
        (name, float(found[scenario][figure]))
        for name, found in summary.items()
        if name != "direct" and found.get(scenario, {}).get(figure) is not None
    ]
