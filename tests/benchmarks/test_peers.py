"""Other gateways: what is told of each, how one is started, and a table that leaves ours as they were."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import chart, processes
from benchmarks.candidates import Candidate, Field, request_bytes
from benchmarks.goals import judge
from benchmarks.peers import HERE, Peer, find, known, read_settings
from benchmarks.scenarios import BUSY, SCENARIOS, STREAMS, connections, is_for
from benchmarks.tables import every_table, without_peers
from tests.benchmarks.reports import make_report

SERVER = 'exec "$PYTHON" -m http.server --bind 127.0.0.1 "$PORT"'


@pytest.fixture
def field(tmp_path: Path) -> Iterator[Field]:
    found = Field(tmp_path, 0)
    yield found
    found.stop()


def make_peer(below: Path, **changed: Any) -> Peer:
    usual = {
        "install": 'echo "$VERSION" >> installed',
        "serve": SERVER,
        "rows": {"one": {}},
        "environment": {},
    }
    return Peer("one", "1.0", **{**usual, **changed}, below=below)


def test_every_known_gateway_can_be_asked_for_both_models() -> None:
    names = [row for peer in known().values() for row in peer.rows]
    assert len(set(names)) == len(names)
    scenarios = {scenario.name for scenario in SCENARIOS}
    for peer in known().values():
        rows = [Candidate(name, 1, 1, **row) for name, row in peer.candidates("http://127.0.0.1:9100")]
        assert ["claude" in row.model for row in rows] == [row.name.endswith("-anthropic") for row in rows]
        assert len(rows) == 2
        assert all(scenarios.issuperset(row.only) for row in rows)
        assert "@UPSTREAM@" not in str(rows)
        for word in peer.serve.replace('"', " ").split():
            if word.startswith("$PEERS/"):
                assert (HERE / word.removeprefix("$PEERS/")).exists()


def test_one_that_is_like_another_differs_in_what_it_says() -> None:
    one, other = find("tensorzero-tuned"), find("tensorzero")
    assert (one.folder, one.version, one.environment) == (other.folder, other.version, other.environment)
    assert "TOKIO_WORKER_THREADS=1" in one.serve
    assert "TOKIO_WORKER_THREADS" not in other.serve
    assert not one.rows.keys() & other.rows.keys()


def test_a_gateway_that_nobody_knows_is_named_with_those_that_are() -> None:
    with pytest.raises(SystemExit, match=r"mine: .* knows tensorzero.*mine=PORT"):
        find("mine")


def test_settings_of_one_that_the_reader_started() -> None:
    found = read_settings(
        "model=m,key=k,path=/p,header=x-host:http://h:1/v1,header=b:c,connections=16,only=busy+many-streams"
    )
    candidate = Candidate("mine", 1, 1, **found)
    assert candidate.headers == {"x-host": "http://h:1/v1", "b": "c"}
    assert (candidate.model, candidate.path, candidate.connections) == ("m", "/p", 16)
    assert candidate.only == ("busy", "many streams")
    headers, body = request_bytes(candidate, prompt="Hello.", is_stream=False)
    assert headers["x-host"] == "http://h:1/v1"
    assert b'"model":"m"' in body
    assert read_settings("") == {"headers": {}, "only": ()}
    with pytest.raises(SystemExit, match="modle"):
        read_settings("modle=m")


def test_a_candidate_runs_through_its_scenarios_with_its_connections() -> None:
    usual = Candidate("one", 1, 1)
    slow = replace(usual, connections=20, only=("streams",))
    assert (connections(STREAMS, usual), connections(STREAMS, slow)) == (200, 20)
    assert connections(BUSY, replace(usual, connections=100)) == 32
    assert [is_for(scenario, usual) for scenario in (BUSY, STREAMS)] == [True, True]
    assert [is_for(scenario, slow) for scenario in (BUSY, STREAMS)] == [False, True]
    assert [is_for(scenario, replace(usual, is_variant=True)) for scenario in (BUSY, STREAMS)] == [
        True,
        False,
    ]


def test_the_port_is_that_which_its_process_listens_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert port in processes.listening([os.getpid()])
        assert processes.listener(port) == os.getpid()
    assert port not in processes.listening([os.getpid()])
    with pytest.raises(SystemExit, match=str(port)):
        processes.listener(port)


def test_it_is_installed_once_started_in_its_folder_and_found(field: Field) -> None:
    peer = make_peer(
        field.folder, serve=f'cp installed "$UPSTREAM_FILE"\n{SERVER}', environment={"UPSTREAM_FILE": "seen"}
    )
    (first,) = field.peer(peer)
    field.stop()
    (second,) = field.peer(peer)
    assert (peer.folder / "seen").read_text() == "1.0\n", "installed once"
    assert (second.name, second.version, second.is_peer) == ("one", "1.0", True)
    assert processes.listener(second.port) == second.pid
    assert first.pid != second.pid


def test_one_that_cannot_be_installed_is_tried_again(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(SystemExit, match="no such package"):
            make_peer(tmp_path, install="echo no such package >&2; false").install_once()


def test_one_that_ends_shows_what_it_said(field: Field) -> None:
    with pytest.raises(SystemExit, match="port is taken"):
        field.peer(make_peer(field.folder, serve="echo port is taken; exit 1"))


def with_peers() -> dict[str, Any]:
    report = make_report()
    figures = report["summary"]["aiohttp"]
    report["summary"]["patchbay"]["request of 20 MB"]["peak_pss_mib"] = 900.0
    report["summary"]["rust"] = {
        **figures,
        "busy": {"cpu_ms_per_request": 0.48, "rps": 1000.0, "errors": 2, "threads": 4},
    }
    report["summary"]["rust-anthropic"] = {"busy": {"cpu_ms_per_request": 0.135}}
    report["rounds"] += [{"scenario": "busy", "candidate": "rust", "cpu_ms_per_request": 0.48}]
    return {
        **report,
        "peers": {
            "rust": {"version": "2.0", "connections": 0, "only": []},
            "rust-anthropic": {"version": "2.0", "connections": 20, "only": ["busy"]},
        },
    }


def test_other_gateways_are_held_against_the_one_of_ours_that_does_the_same() -> None:
    lines = every_table(with_peers())["peers"].splitlines()
    rows = {line.split(" | ")[0].removeprefix("| "): line for line in lines}
    assert "| 2.0 | 0.480 | 2.00× | 1,000 |" in rows["rust"]
    assert rows["rust"].endswith("| 2, 0 |")
    assert "| 0.135 | 0.50× |" in rows["rust-anthropic"]
    assert "| 0.240 | 1.00× |" in rows["patchbay"]
    assert "| 40,000 | 100 |" in rows["patchbay"], "memory while large bodies passed is not in it"
    assert "Connections at once, at most: rust-anthropic 20." in lines


def test_they_change_no_other_table_no_goal_and_not_the_chart() -> None:
    plain, crowded = make_report(), with_peers()
    one, other = every_table(plain), every_table(crowded)
    assert one.pop("peers") != other.pop("peers")
    assert one == other
    goals = [judge(report["summary"], report["facts"], report["changes"]) for report in (plain, crowded)]
    assert goals[0] == goals[1]
    assert chart.draw(without_peers(crowded)) == chart.draw(plain["summary"])


def test_a_run_without_them_says_how_to_have_them() -> None:
    assert "benchmarks/peers/README.md" in every_table(make_report())["peers"]
