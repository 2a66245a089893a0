"""What an identity provider says, and who may come in by it."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st

from proxy_site.security.single_sign_on.claims import (
    NoGroup,
    Person,
    Refused,
    Rules,
    parse_domains,
    parse_group_map,
    read_groups,
)

RULES = Rules(
    groups_claim="groups",
    group_map=parse_group_map(["admins=Owner", "staff=Viewer", "staff=Operator"]),
    allowed_domains=parse_domains(["Example.com"]),
)
ALICE: dict[str, Any] = {
    "sub": "a-1",
    "email": "Alice@Example.COM",
    "email_verified": True,
    "given_name": "Alice",
    "family_name": "Ahlers",
    "groups": ["staff", "lunch"],
}


def test_a_person_has_exactly_the_groups_that_theirs_mean() -> None:
    assert RULES.admit(ALICE) == Person(
        subject="a-1",
        email="alice@example.com",
        first_name="Alice",
        last_name="Ahlers",
        groups=frozenset({"Viewer", "Operator"}),
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"email_verified": False}, "not verified"),
        ({"email_verified": None}, "not verified"),
        ({"email_verified": "false"}, "not verified"),
        ({"email_verified": 1.5}, "not verified"),
        ({"email": "alice@evil.example"}, "domain"),
        ({"email": "alice@example.com.evil.example"}, "domain"),
        ({"email": "alice@sub.example.com"}, "domain"),
        ({"email": "evil.example"}, "e-mail address"),
        ({"email": None}, "e-mail address"),
        ({"email": "a" * 150 + "@example.com"}, "too long"),
        ({"sub": ""}, "who you are"),
        ({"sub": 7}, "who you are"),
        ({"groups": []}, "none of the groups"),
        ({"groups": ["lunch"]}, "none of the groups"),
        ({"groups": ["Admins"]}, "none of the groups"),
        ({"groups": {"admins": True}}, "none of the groups"),
        ({"groups": None}, "none of the groups"),
    ],
)
def test_a_refusal_says_why(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(Refused, match=told):
        RULES.admit(ALICE | changes)


def test_no_group_names_the_person_so_that_open_sessions_can_end() -> None:
    with pytest.raises(NoGroup) as refusal:
        RULES.admit(ALICE | {"groups": ["lunch"]})
    assert refusal.value.subject == "a-1"


@pytest.mark.parametrize(
    ("claims", "path", "groups"),
    [
        ({"groups": ["a", "b"]}, "groups", ["a", "b"]),
        ({"groups": "a"}, "groups", ["a"]),
        ({"realm_access": {"roles": ["a"]}}, "realm_access.roles", ["a"]),
        ({"https://example.com/groups": ["a"]}, "https://example.com/groups", ["a"]),
        ({"realm_access": ["roles"]}, "realm_access.roles", []),
        ({}, "realm_access.roles", []),
        ({"groups": ["a", 7, None, ["b"]]}, "groups", ["a"]),
    ],
)
def test_where_groups_are_found(claims: dict[str, Any], path: str, groups: list[str]) -> None:
    assert read_groups(claims, path) == groups


def test_a_group_at_the_provider_may_have_an_equals_sign() -> None:
    assert parse_group_map(["cn=admins=Owner"]) == {"cn=admins": frozenset({"Owner"})}


@pytest.mark.parametrize("entry", ["admins", "=Owner", "admins=", "="])
def test_a_map_that_is_none_is_refused_by_name(entry: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="OIDC_GROUP_MAP"):
        parse_group_map([entry])


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(ALICE, JSON)))
def test_any_claims_admit_or_refuse(claims: dict[str, Any]) -> None:
    try:
        person = RULES.admit(claims)
    except Refused:
        return
    assert person.groups
