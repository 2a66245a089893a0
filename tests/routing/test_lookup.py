"""The table in force is what is committed, with everything resolved that rows leave open."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext

from routing import lookup
from routing.domain.table import RoutingTable
from routing.models import Alias, Provider, ProviderHeader, ServedModel, triggers
from tests.factories import make_alias, make_credential, make_deployment, make_model, make_provider


def provider_row(table: RoutingTable, name: str) -> Any:
    return next(row for row in table.providers if row.name == name)


def test_nothing_is_in_force_before_it_was_read() -> None:
    with pytest.raises(lookup.NotLoaded, match="no configuration"):
        lookup.current()
    assert lookup.status() == lookup.Status(version=None, is_database_ok=False, last_checked=None)


def test_the_seeded_table_lists_the_documented_models_and_demo(database: str) -> None:
    table = lookup.refresh(using=database)
    assert lookup.current() is table
    assert [entry.id for entry in table.listed()][-2:] == ["claude-3-opus", "demo"]
    assert len(table.listed()) == 13
    resolution = table.resolve("gpt-5")
    assert resolution is not None
    assert resolution.model.public_id == "gpt-4o"
    (deployment,) = resolution.model.deployments
    assert (deployment.provider.name, deployment.upstream_id) == ("openai", "gpt-4o")
    assert deployment.provider.base_url is None
    assert lookup.status().version == table.version


def test_an_unchanged_version_is_one_query_and_the_same_object(database: str) -> None:
    table = lookup.refresh(using=database)
    with CaptureQueriesContext(connections[database]) as queries:
        assert lookup.refresh(using=database) is table
    assert len(queries) == 1


def test_building_takes_the_same_few_queries_however_many_rows(database: str) -> None:
    provider = make_provider(using=database)
    for _ in range(30):
        make_alias(model=make_deployment(make_model(using=database), provider).model)
    with CaptureQueriesContext(connections[database]) as queries:
        lookup.refresh(force=True, using=database)
    # PostgreSQL hands many rows out by a cursor: DECLARE … SELECT.
    selects = [query for query in queries if "SELECT" in query["sql"]]
    assert len(selects) == 12


def test_a_change_is_in_force_after_the_next_refresh(database: str) -> None:
    lookup.refresh(using=database)
    Alias.objects.using(database).filter(name="gpt-5").update(
        model=ServedModel.objects.using(database).get(public_id="gpt-4.1")
    )
    resolution = lookup.refresh(using=database).resolve("gpt-5")
    assert resolution is not None
    assert resolution.model.public_id == "gpt-4.1"


def test_the_table_is_read_at_one_moment(database: str) -> None:
    """A change that is committed between two queries of one build is not half in it."""
    if connections[database].in_atomic_block:
        pytest.fail("the test needs committed rows")
    make_alias("a1", ServedModel.objects.using(database).get(public_id="gpt-4o"))
    done = threading.Event()

    def change_everything() -> None:
        with transaction.atomic(using=database):
            Alias.objects.using(database).all().delete()
            ServedModel.objects.using(database).all().delete()
            Provider.objects.using(database).all().delete()
        connections[database].close()
        done.set()

    started: list[threading.Thread] = []

    def interrupt(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        result = execute(sql, params, many, context)
        if '"routing_provider"' in sql and not started:
            started.append(threading.Thread(target=change_everything))
            started[0].start()
            assert done.wait(10), "the reader holds the writer up"
        return result

    with connections[database].execute_wrapper(interrupt):
        table = lookup.refresh(using=database)
    started[0].join()
    assert len(table.models) == 13
    assert all(model.deployments for model in table.models)
    assert lookup.refresh(using=database).models[0].public_id == "demo"


def test_subscribers_get_each_table_before_it_is_in_force(database: str, caplog: Any) -> None:
    seen: list[tuple[int, int | None]] = []

    def remember(table: RoutingTable) -> None:
        seen.append((table.version, lookup.status().version))

    def fail(table: RoutingTable) -> None:
        raise ValueError("not my day")

    ends = [lookup.subscribe(fail), lookup.subscribe(remember)]
    try:
        first = lookup.refresh(using=database).version
        triggers.bump(database)
        second = lookup.refresh(using=database).version
        lookup.refresh(using=database)
        assert seen == [(first, None), (second, first)]
        assert "subscriber failed" in caplog.text
        late: list[int] = []
        ends.append(lookup.subscribe(lambda table: late.append(table.version)))
        assert late == [second]
    finally:
        for end in ends:
            end()
    triggers.bump(database)
    lookup.refresh(using=database)
    assert len(seen) == 2


def test_the_environment_s_key_is_one_more_of_the_seeded_provider(database: str, settings: Any) -> None:
    settings.OPENAI_API_KEY = "sk-from-environment"
    openai = Provider.objects.using(database).get(name="openai")
    make_credential(openai, "sk-stored", "main")
    make_provider("second", using=database, kind="openai", base_url="")
    table = lookup.refresh(using=database)
    row = provider_row(table, "openai")
    assert [(key.id.split(":")[0], key.label, key.secret.reveal()) for key in row.credentials] == [
        ("key", "main", "sk-stored"),
        ("env", "OPENAI_API_KEY", "sk-from-environment"),
    ]
    assert provider_row(table, "second").credentials == ()
    assert table.resolve("demo") is None


def test_the_base_url_is_the_row_s_then_the_environment_s_then_the_kind_s(
    database: str, settings: Any
) -> None:
    assert provider_row(lookup.refresh(using=database), "openai").base_url is None
    settings.OPENAI_BASE_URL = "http://127.0.0.1:9/v1"
    row = provider_row(lookup.refresh(force=True, using=database), "openai")
    assert row.base_url == "http://127.0.0.1:9/v1"
    assert row.allows_private_network, "whoever sets the environment may name the machine's own network"
    Provider.objects.using(database).filter(name="openai").update(base_url="https://eu.example.com")
    row = provider_row(lookup.refresh(using=database), "openai")
    assert row.base_url == "https://eu.example.com"
    assert not row.allows_private_network


@pytest.mark.parametrize(
    ("demo", "key", "is_there"),
    [("auto", "", True), ("auto", "sk-1", False), ("on", "sk-1", True), ("off", "", False)],
)
def test_the_demo_model_is_there_while_nothing_else_answers(
    database: str, settings: Any, demo: str, key: str, is_there: bool
) -> None:
    settings.DEMO = demo
    settings.ANTHROPIC_API_KEY = key
    table = lookup.refresh(using=database)
    resolution = table.resolve("demo")
    assert (resolution is not None) == is_there
    assert ("demo" in [entry.id for entry in table.listed()]) == is_there
    if resolution is not None:
        (deployment,) = resolution.model.deployments
        assert (deployment.provider.kind, deployment.upstream_id) == ("demo", "demo-1")
        assert resolution.model.owned_by == "patchbay"


def test_a_server_that_needs_no_key_counts_as_configured(database: str) -> None:
    local = make_provider("local", using=database, requires_key=False)
    assert lookup.refresh(using=database).resolve("demo") is None
    Provider.objects.using(database).filter(pk=local.pk).update(is_enabled=False)
    assert lookup.refresh(using=database).resolve("demo") is not None


@pytest.mark.parametrize("name", ["demo", "DEMO"])
def test_an_operator_s_own_demo_wins(database: str, name: str) -> None:
    make_alias(name, ServedModel.objects.using(database).get(public_id="gpt-4o"))
    resolution = lookup.refresh(using=database).resolve("demo")
    assert resolution is not None
    assert resolution.model.public_id == "gpt-4o"


def test_a_key_that_cannot_be_decrypted_is_left_out_and_told(
    database: str, settings: Any, caplog: Any
) -> None:
    openai = Provider.objects.using(database).get(name="openai")
    make_credential(openai, "sk-lost", "old")
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    make_credential(openai, "sk-good", "new")
    table = lookup.refresh(using=database)
    assert [key.label for key in provider_row(table, "openai").credentials] == ["new"]
    (problem,) = table.problems
    assert "openai" in problem
    assert "“old” cannot be decrypted" in problem
    assert caplog.text.count("cannot be decrypted") == 1
    triggers.bump(database)
    lookup.refresh(using=database)
    assert caplog.text.count("cannot be decrypted") == 1, "said once, not at every reload"
    assert "sk-" not in caplog.text


def test_keys_by_reference(database: str, monkeypatch: Any, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("sk-from-file\n")
    openai = Provider.objects.using(database).get(name="openai")
    make_credential(openai, label="variable", reference="env:TEAM_KEY")
    make_credential(openai, label="file", reference=f"file:{file}")
    make_credential(openai, label="nowhere", reference="env:NEVER_SET_ANYWHERE")
    make_credential(openai, label="no file", reference=f"file:{tmp_path}/absent")
    make_credential(openai, label="off", reference="env:TEAM_KEY", is_enabled=False)
    monkeypatch.setitem(os.environ, "TEAM_KEY", "sk-from-variable")
    table = lookup.refresh(using=database)
    assert {key.label: key.secret.reveal() for key in provider_row(table, "openai").credentials} == {
        "variable": "sk-from-variable",
        "file": "sk-from-file",
    }
    assert sorted(problem.split("“")[1].split("”")[0] for problem in table.problems) == ["no file", "nowhere"]


def test_files_that_are_no_keys_are_not_sent(database: str, settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path / "data"
    settings.DATA_DIR.mkdir()
    (settings.DATA_DIR / "secret_key").write_text("sk-own")
    (tmp_path / "link").symlink_to(settings.DATA_DIR / "secret_key")
    (tmp_path / "lines").write_text("two\nlines")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "huge").write_text("x" * 100_000)
    (tmp_path / "to-proc").symlink_to("/proc/self/environ")
    openai = Provider.objects.using(database).get(name="openai")
    for name in ("data/secret_key", "link", "lines", "binary", "huge", "to-proc", "."):
        make_credential(openai, label=name, reference=f"file:{tmp_path}/{name}")
    table = lookup.refresh(using=database)
    assert provider_row(table, "openai").credentials == ()
    assert len(table.problems) == 7
    assert "sk-own" not in str(table.problems)


def test_rows_that_nobody_validated_do_not_keep_the_table_back(database: str) -> None:
    Provider.objects.using(database).filter(name="anthropic").update(kind="from_the_future")
    model = ServedModel.objects.using(database).get(public_id="gpt-4o")
    model.deployments.update(capabilities={"nonsense": 1})
    table = lookup.refresh(using=database)
    assert len(table.problems) == 2
    claude = table.resolve("claude-sonnet-4")
    assert claude is not None
    assert claude.model.deployments == ()
    gpt = table.resolve("gpt-4o")
    assert gpt is not None
    assert dict(gpt.model.deployments[0].capabilities) == {}


def test_everything_an_operator_sets_arrives(database: str) -> None:
    provider = make_provider(
        "vllm",
        using=database,
        allows_private_network=True,
        connect_timeout=1.5,
        total_timeout=9.0,
        token_param="max_tokens",
        sends_stream_options=False,
    )
    header = ProviderHeader(provider=provider, name="x-secret")
    header.store("classified")
    header.save(using=database)
    ProviderHeader.objects.using(database).create(provider=provider, name="x-team", value="a")
    model = make_model("llama", using=database, default_max_output_tokens=500, allows_streaming=False)
    make_deployment(model, provider, "late", priority=2)
    make_deployment(
        model, provider, "first", weight=3, is_strict=True, capabilities={"max_output_tokens": 100}
    )
    table = lookup.refresh(using=database)
    found = table.resolve("LLAMA")
    assert found is not None
    assert (found.model.default_max_output_tokens, found.model.allows_streaming) == (500, False)
    first, late = found.model.deployments
    assert (first.upstream_id, first.weight, first.is_strict) == ("first", 3, True)
    assert dict(first.capabilities) == {"max_output_tokens": 100}
    assert late.priority == 2
    row = first.provider
    assert row is late.provider
    assert (row.connect_timeout, row.idle_timeout, row.total_timeout) == (1.5, None, 9.0)
    assert dict(row.quirks) == {"token_param": "max_tokens", "sends_stream_options": False}
    assert row.header_values() == {"x-secret": "classified", "x-team": "a"}
    assert "classified" not in repr(table.providers)
    assert row.allows_private_network
