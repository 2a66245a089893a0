"""What an operator may name as a fallback, and what becomes of rows that somebody wrote past that."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connections, transaction

from routing import lookup, services
from routing.domain.plan import fallback_models
from routing.domain.table import Balancing, FallbackReason, FallbackRow, RoutingTable
from routing.models import Deployment, FallbackModel, ServedModel
from tests.factories import make_deployment, make_fallback, make_model


def chain(*models: ServedModel, **fields: Any) -> None:
    for model, fallback in pairwise(models):
        make_fallback(model, fallback, **fields)


def error_of(row: FallbackModel) -> str:
    with pytest.raises(ValidationError) as caught:
        row.full_clean()
    return " ".join(caught.value.messages)


def stand_ins(table: RoutingTable, name: str, reason: FallbackReason = FallbackReason.FAILURE) -> list[str]:
    model = table.find_model(name)
    assert model is not None
    return [found.public_id for found in fallback_models(table, model, reason)]


@pytest.mark.django_db
def test_a_model_does_not_stand_in_for_itself() -> None:
    model = make_model()
    assert "cannot stand in for itself" in error_of(FallbackModel(model=model, fallback=model))
    with pytest.raises(IntegrityError), transaction.atomic():
        make_fallback(model, model)


@pytest.mark.django_db
def test_a_model_is_in_a_list_once() -> None:
    a, b = make_model("a"), make_model("b")
    make_fallback(a, b)
    assert "in the list already" in error_of(FallbackModel(model=a, fallback=b))
    with pytest.raises(IntegrityError), transaction.atomic():
        make_fallback(a, b)


@pytest.mark.django_db
@pytest.mark.parametrize("length", [2, 3, 5])
def test_a_chain_does_not_come_back(length: int) -> None:
    models = [make_model(f"m{number}") for number in range(length)]
    chain(*models)
    error = error_of(FallbackModel(model=models[-1], fallback=models[0]))
    way = " → ".join(f"m{number}" for number in (length - 1, *range(length)))
    assert error == f"m{length - 1} would stand in for itself on failure: {way}."


@pytest.mark.django_db
def test_a_chain_may_come_back_for_another_reason() -> None:
    short, long = make_model("short"), make_model("long")
    make_fallback(short, long, on_failure=False, on_context_overflow=True)
    FallbackModel(model=long, fallback=short, on_failure=True, on_context_overflow=False).full_clean()
    error = error_of(FallbackModel(model=long, fallback=short, on_context_overflow=True))
    assert "would stand in for itself for long prompts: long → short → long" in error


@pytest.mark.django_db
def test_a_row_can_be_saved_again_and_turned_round() -> None:
    a, b, c = (make_model(name) for name in "abc")
    chain(a, b, c)
    row = FallbackModel.objects.get(model=a)
    row.full_clean()
    row.delete()
    FallbackModel(model=c, fallback=a).full_clean()


@pytest.mark.django_db
@pytest.mark.parametrize("seconds", [0, -1, 100_000])
def test_time_limits_of_a_deployment_have_the_bounds_of_a_provider_s(seconds: float) -> None:
    deployment = make_deployment()
    deployment.idle_timeout = seconds
    with pytest.raises(ValidationError, match="idle_timeout"):
        deployment.full_clean()


@pytest.mark.django_db
def test_fallbacks_go_with_either_of_their_models() -> None:
    a, b, c = (make_model(name) for name in "abc")
    chain(a, b, c)
    services.delete_model(model=b, aliases_to=None)
    assert not FallbackModel.objects.exists()


def test_the_table_has_them_in_the_operators_order(database: str) -> None:
    models = ServedModel.objects.using(database)
    own = models.get(public_id="gpt-4o")
    make_fallback(own, models.get(public_id="claude-opus-4"), position=2, on_refusal=True)
    make_fallback(own, models.get(public_id="gpt-4.1"), position=1, on_context_overflow=False)
    models.filter(pk=own.pk).update(balancing="latency")
    Deployment.objects.using(database).filter(model=own).update(
        connect_timeout=1, headers_timeout=2, first_token_timeout=3, idle_timeout=4, total_timeout=5
    )
    table = lookup.refresh(using=database)
    row = table.find_model("gpt-4o")
    assert row is not None
    assert row.balancing is Balancing.LATENCY
    assert row.fallbacks == (
        FallbackRow("gpt-4.1", on_context_overflow=False),
        FallbackRow("claude-opus-4", on_refusal=True),
    )
    (deployment,) = row.deployments
    assert (deployment.connect_timeout, deployment.headers_timeout, deployment.first_token_timeout) == (
        1,
        2,
        3,
    )
    assert (deployment.idle_timeout, deployment.total_timeout, deployment.cooldown_resets) == (4, 5, 0)
    assert stand_ins(table, "gpt-4o", FallbackReason.CONTEXT_OVERFLOW) == ["claude-opus-4"]
    assert table.problems == ()


def test_a_fallback_that_is_switched_off_is_passed_over(database: str) -> None:
    models = ServedModel.objects.using(database)
    chain(*(models.get(public_id=name) for name in ("gpt-4o", "gpt-4.1", "claude-opus-4")))
    assert stand_ins(lookup.refresh(using=database), "gpt-4o") == ["gpt-4.1", "claude-opus-4"]
    models.filter(public_id="gpt-4.1").update(is_enabled=False)
    table = lookup.refresh(using=database)
    assert stand_ins(table, "gpt-4o") == []
    assert table.find_model("gpt-4.1") is None


def test_a_circle_written_by_hand_is_told_and_does_no_harm(database: str) -> None:
    models = ServedModel.objects.using(database)
    names = ("gpt-4o", "gpt-4.1", "claude-opus-4", "gpt-4o")
    chain(*(models.get(public_id=name) for name in names))
    table = lookup.refresh(using=database)
    (problem,) = table.problems
    assert "its fallbacks lead back to itself" in problem
    assert problem.count("→") == 3
    assert stand_ins(table, "gpt-4o") == ["gpt-4.1", "claude-opus-4"]
    assert stand_ins(table, "claude-opus-4") == ["gpt-4o", "gpt-4.1"]


def test_a_sharing_that_nobody_knows_is_told(database: str) -> None:
    with connections[database].cursor() as cursor:
        cursor.execute("UPDATE routing_servedmodel SET balancing = 'moon' WHERE public_id = 'gpt-4o'")
    table = lookup.refresh(using=database)
    assert table.problems == ("Model gpt-4o: the sharing 'moon' is unknown.",)
    row = table.find_model("gpt-4o")
    assert row is not None
    assert row.balancing is Balancing.WEIGHT


def test_ending_cooldowns_reaches_the_table(database: str) -> None:
    lookup.refresh(using=database)
    deployment = Deployment.objects.using(database).get(model__public_id="gpt-4o")
    services.end_cooldowns(deployment=deployment)
    services.end_cooldowns(deployment=deployment)
    row = lookup.refresh(using=database).find_model("gpt-4o")
    assert row is not None
    assert [found.cooldown_resets for found in row.deployments] == [2]
