"""The structure holds: who imports whom, and what every row of a table owes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from django.conf import settings

from api.services.providers.catalog import KINDS
from api.services.translation.failures import FAILURES, FailureKind
from routing.models import Provider


def test_the_import_contracts_hold(project_root: Path) -> None:
    checked = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports"))],
        cwd=project_root,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout


def test_the_failure_table_is_total() -> None:
    assert set(FAILURES) == set(FailureKind)


def test_every_kind_an_operator_can_choose_is_in_the_catalog() -> None:
    assert set(Provider.Kind.values) <= set(KINDS)


def test_django_s_minor_version_is_the_one_the_lane_was_written_for() -> None:
    import django

    # proxy_site/handler.py overrides methods of ASGIHandler that are no documented API.
    assert django.VERSION[:2] == (5, 2)


def test_no_synchronous_piece_stands_in_the_lane() -> None:
    from proxy_site.handler import ApiLane

    lane = ApiLane()
    assert lane._view_middleware == []
    assert lane._template_response_middleware == []
    assert lane._exception_middleware == []
    assert settings.REST_FRAMEWORK["EXCEPTION_HANDLER"] == "api.errors.handle_exception"
