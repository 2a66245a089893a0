"""Where a reference to a secret may point."""

from __future__ import annotations

import pytest

from routing.domain.headers import problem_with_header_name, problem_with_header_value, problem_with_key
from routing.domain.references import InvalidReference, Place, Reference, parse_reference


def test_references_are_variables_or_files() -> None:
    assert parse_reference(" env:MY_KEY ") == Reference(Place.ENVIRONMENT, "MY_KEY")
    assert parse_reference("file:/run/secrets/key") == Reference(Place.FILE, "/run/secrets/key")
    assert str(parse_reference("env: MY_KEY")) == "env:MY_KEY"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "MY_KEY",
        "env:",
        "env:MY KEY",
        "env:1KEY",
        "file:relative",
        "file:/run/../etc/shadow",
        "http://example.com",
        "file:/proc/self/environ",
        "file:/dev/stdin",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidReference):
        parse_reference(text)


@pytest.mark.parametrize("name", ["SECRET_KEY", "ENCRYPTION_KEYS", "encryption_keys_file", "DATABASE_URL"])
def test_the_installation_s_own_secrets_stay_home(name: str) -> None:
    with pytest.raises(InvalidReference, match="never sent"):
        parse_reference(f"env:{name}")


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "x team", "x:team", "", "é"])
def test_headers_that_cannot_be_set(name: str) -> None:
    assert problem_with_header_name(name)


def test_values_cannot_forge_a_second_header() -> None:
    assert problem_with_header_value("a\r\nx-evil: 1")
    assert problem_with_header_value("")
    assert problem_with_header_value("é")
    assert problem_with_header_value("team a") is None


def test_a_refused_key_is_not_repeated() -> None:
    for key in ("", "sk-a b", "sk-é", "sk-\n", "x" * 5000):
        problem = problem_with_key(key)
        assert problem
        assert not key or key not in problem
    assert problem_with_key("sk-ant-api03-abc_DEF-1") is None
