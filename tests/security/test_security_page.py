"""`docs/security.md` names tests: they exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path


def test_every_test_that_the_page_names_exists(project_root: Path) -> None:
    page = (project_root / "docs/security.md").read_text(encoding="utf-8")
    table = page.partition("## Attacks")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 30
    for row in rows:
        named = re.search(r"\| `(tests/[\w/]+\.py)(?:::(test_\w+))?` \|$", row)
        assert named, f"no test: {row}"
        path, name = project_root / named[1], named[2]
        assert path.is_file(), row
        names = {
            node.name
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert name is None or name in names, row


def test_every_security_test_stands_on_the_page_or_beside_one_that_does(project_root: Path) -> None:
    page = (project_root / "docs/security.md").read_text(encoding="utf-8")
    for path in (project_root / "tests/security").glob("test_*.py"):
        assert f"tests/security/{path.name}" in page or path.name == Path(__file__).name
