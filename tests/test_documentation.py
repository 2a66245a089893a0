"""What the documentation says is what the code has."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from api.services.metrics.families import FAMILIES
from api.services.translation.failures import FAILURES
from proxy_site import env


def test_every_setting_is_documented_and_no_other(project_root: Path) -> None:
    page = (project_root / "docs/configuration.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", page, re.MULTILINE))
    read = set(env.READ) | _names_read_in(project_root)
    assert documented == read


def _names_read_in(root: Path) -> set[str]:
    """Names that commands read only when they run."""
    found: set[str] = set()
    for path in (root / "proxy_site").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        found |= set(
            re.findall(
                r"\benv\.(?:text|flag|number|whole|choice|listing|folder|time_zone|database)\(\s*\"([A-Z_]+)\"",
                text,
            )
        )
    return found


def test_every_error_code_is_documented(project_root: Path) -> None:
    page = (project_root / "docs/errors.md").read_text(encoding="utf-8")
    for spec in FAILURES.values():
        if spec.code is not None:
            assert f"`{spec.code}`" in page


def test_every_metric_is_documented_and_no_other(project_root: Path) -> None:
    page = (project_root / "docs/metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(patchbay_\w+)` \| (\w+) \| ([^|]*)\|", page, re.MULTILINE)
    documented = {name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert documented == {family.name: (family.kind.value, family.labels) for family in FAMILIES}


def test_queries_ask_for_metrics_and_labels_that_there_are(project_root: Path) -> None:
    known = {family.name: set(family.labels) for family in FAMILIES}
    page = (project_root / "docs/metrics.md").read_text(encoding="utf-8")
    dashboard = json.loads((project_root / "docs/grafana-dashboard.json").read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries += re.findall(r"```promql\n(.*?)```", page, re.DOTALL)
    assert len(queries) > 20
    for query in queries:
        names = re.findall(r"\bpatchbay_\w+", query)
        assert names, query
        families = [name if name in known else re.sub("_(bucket|sum|count)$", "", name) for name in names]
        assert set(families) <= set(known), query
        labels = set().union(*(known[name] for name in families)) | {"le"}
        asked = set(re.findall(r"(\w+)(?:=~?|!=)\"", query))
        asked |= {name.strip() for group in re.findall(r"by \(([^)]*)\)", query) for name in group.split(",")}
        assert asked <= labels, query


def test_links_lead_somewhere(project_root: Path) -> None:
    pages = [*project_root.glob("*.md"), *(project_root / "docs").rglob("*.md")]
    assert len(pages) > 10
    for page in pages:
        for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_make_target_is_in_the_help(project_root: Path) -> None:
    makefile = (project_root / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony
    shown = subprocess.run(
        ["make", "help"], cwd=project_root, capture_output=True, text=True, check=True
    ).stdout
    for target in phony[1].split():
        assert re.search(rf"make {target}\b", shown), target
