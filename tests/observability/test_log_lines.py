"""The line of a request, as people and as programs read it, and what cannot be done to it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.services import gauges, metrics
from api.services.recording import CLIENT_CLOSED_REQUEST, Attempt, Record, telling
from api.services.recording.lines import RequestLine
from api.services.translation.failures import Failure, FailureKind
from api.services.translation.usage import Usage
from proxy_site.logs import JsonFormatter, StderrHandler, TextFormatter, write_after
from tests.api.http import chat, say
from tests.live_server import LiveServer
from tests.observability.test_metrics import read, value

FORMATTERS = {"text": TextFormatter, "json": JsonFormatter}

Line = Callable[..., str]


class Kept(logging.Handler):
    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def finish(monkeypatch: pytest.MonkeyPatch) -> Line:
    """Finishes a request and returns its one line."""
    logger = logging.getLogger("patchbay.request")
    monkeypatch.setattr(logger, "propagate", False)
    monkeypatch.setattr(logger, "level", logging.INFO)
    logger.manager._clear_cache()  # type: ignore[attr-defined]

    def run(form: str, record: Record, status: int = 200, failure: Failure | None = None) -> str:
        kept = Kept(FORMATTERS[form]())
        monkeypatch.setattr(logger, "handlers", [kept])
        record.finish_request(status=status, failure=failure)
        (line,) = kept.lines
        return line

    return run


def a_record(**more: Any) -> Record:
    return Record(
        "req_1",
        time.perf_counter(),
        key_prefix="sk-pb-abcd",
        requested_model="fast",
        config_version=7,
        **more,
    )


def test_everything_about_a_request_is_in_its_json_line(finish: Line) -> None:
    record = a_record(alias="fast", model="gpt-4o", is_stream=True, usage=Usage(120, 34, reasoning_tokens=5))
    first = record.begin_attempt("openai/gpt-4o")
    first.upstream_status, first.upstream_request_id = 429, "up_1"
    first.end("upstream_rate_limited")
    record.fallback = "claude"
    second = record.begin_attempt("anthropic/claude-1")
    second.upstream_status = 200
    second.end("ok")
    record.first_output, record.finish = record.started + 0.25, "stop"
    line = finish("json", record)
    told = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", told.pop("time"))
    for attempt in told["attempts"]:
        assert attempt.pop("ms") >= 0
    assert min(told.pop("ms"), told.pop("overhead_ms")) >= 0
    assert told == {
        "level": "info",
        "logger": "patchbay.request",
        "message": "chat",
        "request_id": "req_1",
        "status": 200,
        "key": "sk-pb-abcd",
        "model": "fast",
        "alias": "fast",
        "served_model": "gpt-4o",
        "fallback": "claude",
        "attempts": [
            {
                "deployment": "openai/gpt-4o",
                "outcome": "upstream_rate_limited",
                "upstream_status": 429,
                "upstream_request_id": "up_1",
            },
            {
                "deployment": "anthropic/claude-1",
                "outcome": "ok",
                "model": "claude",
                "upstream_status": 200,
            },
        ],
        "stream": True,
        "ttft_ms": 250.0,
        "finish": "stop",
        "config": 7,
        "input_tokens": 120,
        "output_tokens": 34,
        "reasoning_tokens": 5,
    }


def test_a_person_reads_an_attempt_in_a_few_words(finish: Line) -> None:
    record = a_record(model="gpt-4o")
    attempt = record.begin_attempt("openai/gpt-4o")
    attempt.upstream_request_id = "up_1"
    attempt.end("ok")
    line = finish("text", record)
    assert re.match(
        r"\d\d:\d\d:\d\d INFO    chat request_id=req_1 status=200 key=sk-pb-abcd model=fast ", line
    )
    assert " upstream=openai/gpt-4o " in line
    assert line.endswith(" upstream_request_id=up_1")
    assert "attempts" not in line

    record = a_record(model="gpt-4o")
    for outcome in ("upstream_connect_timeout", "ok"):
        record.begin_attempt("openai/gpt-4o").end(outcome)
    line = finish("text", record)
    assert re.search(
        r' attempts="openai/gpt-4o upstream_connect_timeout [\d.]+ms; openai/gpt-4o ok [\d.]+ms"', line
    )


def test_a_failure_says_what_and_why_at_its_level(finish: Line) -> None:
    failure = Failure(
        FailureKind.UPSTREAM_AUTHENTICATION,
        "The upstream refused the proxy's key.",
        upstream_message="invalid x-api-key",
        param="model",
    )
    told = json.loads(finish("json", a_record(), 502, failure))
    assert told["level"] == "error"
    assert told["failure"] == "upstream_authentication"
    assert told["reason"] == "The upstream refused the proxy's key."
    assert told["upstream_reason"] == "invalid x-api-key"
    assert told["param"] == "model"


def test_one_line_however_often_a_request_is_finished(finish: Line) -> None:
    record = a_record()
    assert json.loads(finish("json", record, CLIENT_CLOSED_REQUEST))["status"] == 499
    with pytest.raises(ValueError, match="not enough values"):
        finish("json", record)


NASTY = (
    "a\nb",
    "a\x00\x1b[31m\x7f",
    "a\u2028\u0085\u202e\ufeffb",
    'a" status=200 model="b',
    "\ud800",
    "名" * 600,
    "x" * 100_000,
)


@pytest.mark.parametrize("form", FORMATTERS)
@pytest.mark.parametrize("name", NASTY, ids=range(len(NASTY)))
def test_a_client_s_words_stay_one_value_of_one_short_line(finish: Line, form: str, name: str) -> None:
    record = Record("req_1", 0.0, requested_model=name, ignored=(name, "user"))
    line = finish(form, record, 404, Failure(FailureKind.MODEL_NOT_FOUND, f"No `{name}`."))
    assert len(line) < 12_000
    assert line.splitlines() == [line]
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]", line)
    if form == "json":
        told = json.loads(line)
        assert told["status"] == 404
        assert told["model"][:2] == name[:2]
    else:
        assert line.count(" status=") - line.count(' \\"status=') >= 1
        assert re.search(r" status=404 model=(\"(\\.|[^\"\\])*\"|\S+) stream=False ", line)


def test_a_value_that_json_has_no_word_for_is_told_as_text() -> None:
    record = logging.makeLogRecord(
        {
            "name": "patchbay.x",
            "msg": "said %s",
            "args": ("so",),
            "fields": {"path": Path("/a"), "big": 2**70},
        }
    )
    told = json.loads(JsonFormatter().format(record))
    assert told["message"] == "said so"
    assert (told["path"], told["big"]) == ("/a", 2**70)
    assert "path=/a" in TextFormatter().format(record)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("", ""),
        (":a,", ":a,"),
        ("null", "null"),
        ("\\", "\\"),
        ("[a]", "[a]"),
        ('a"b', r'"a\"b"'),
        ("a b", '"a b"'),
        ("a=b", '"a=b"'),
        ("a\x7fb", r"a\x7fb"),
        (True, "True"),
        (2**70, str(2**70)),
        (1e6, "1000000.0"),
        ([], "[]"),
        (["a"], '["a"]'),
        ({"a": 1}, '{"a": 1}'),
    ],
)
def test_what_needs_quotes_gets_them(value: Any, shown: str) -> None:
    line = TextFormatter().format(logging.makeLogRecord({"msg": "x", "fields": {"key": value, "ms": 0.5}}))
    assert line.endswith(f" x key={shown} ms=0.5")


def test_a_value_that_is_not_there_is_not_told() -> None:
    record = logging.makeLogRecord({"msg": "x", "fields": {"key": None, "ms": 0.5}})
    assert TextFormatter().format(record).endswith(" x ms=0.5")


def a_usual_line(trace_id: str | None = None, **more: Any) -> RequestLine:
    """Of a request that went as nearly all do, but for `more`; what begins with `attempt_` is its attempt's."""
    record = a_record(model="fast", usage=Usage(120, 34), finish="stop", upstream_seconds=0.3)
    attempt = record.begin_attempt("openai/gpt-4o")
    attempt.end("ok")
    attempt.upstream_request_id = "up_1"
    seconds = more.pop("seconds", 0.5)
    for name, different in more.items():
        of_attempt = name.removeprefix("attempt_")
        setattr(record if of_attempt == name else attempt, of_attempt, different)
    return RequestLine(record, logging.INFO, 1_700_000_000.25, seconds, trace_id)


def check_usual_text(line: RequestLine) -> None:
    """A usual line is, to the letter, what its fields make of it."""
    facts = {name: getattr(line, name) for name in ("created", "levelname", "msg", "readable_fields")}
    assert TextFormatter().format(line) == TextFormatter().format(logging.makeLogRecord(facts))


WORDS = ("request_id", "key_prefix", "requested_model", "finish", "attempt_deployment")


@pytest.mark.parametrize("value", ["", "a b", "a=b", 'a"b', "\\", "a\x7f", "a\tb", "é", "y" * 900, *NASTY])
@pytest.mark.parametrize("name", [*WORDS, "attempt_upstream_request_id"])
def test_no_word_of_a_usual_line_escapes_its_value(name: str, value: str) -> None:
    line = a_usual_line(**{name: value} | ({"model": value} if name == "requested_model" else {}))
    assert value == "" or line.usual_text is not None
    check_usual_text(line)


@pytest.mark.parametrize(
    "more",
    [
        {"alias": "fast"},
        {"model": "gpt-4o"},
        {"model": None},
        {"requested_model": "", "model": ""},
        {"requested_model": "", "model": None},
        {"fallback": "claude"},
        {"key_prefix": None},
        {"config_version": None},
        {"finish": None},
        {"usage": None},
        {"usage": Usage(120, 34, cache_read_tokens=1)},
        {"usage": Usage(120, 34, cache_write_tokens=1)},
        {"usage": Usage(120, 34, reasoning_tokens=1)},
        {"ignored": ("user",)},
        {"attempts": []},
        {"attempts": [Attempt("a", 0.0, outcome="x"), Attempt("b", 0.0, outcome="ok")]},
        {"attempt_outcome": "upstream_error"},
        {"failure": Failure(FailureKind.UPSTREAM_ERROR, "Something went wrong.")},
        {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"},
    ],
)
def test_what_a_usual_line_does_not_tell_is_not_usual(more: dict[str, Any]) -> None:
    line = a_usual_line(**more)
    assert line.usual_text is None
    check_usual_text(line)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"is_stream": True, "first_output": 12.5, "started": 12.25},
        {"attempt_upstream_request_id": None},
        {"status": 499},
        {"upstream_seconds": 0.75},
    ],
)
def test_a_usual_line_is_told_in_its_own_way(more: dict[str, Any]) -> None:
    line = a_usual_line(**more)
    assert line.usual_text is not None
    check_usual_text(line)


SECONDS = st.floats(0, 1e6)


@settings(max_examples=500)
@given(
    st.fixed_dictionaries(dict.fromkeys(WORDS, st.text() | st.text('a:,=" \\[{}]', max_size=5))),
    st.none() | st.text(),
    SECONDS,
    SECONDS,
    SECONDS,
    st.none() | SECONDS,
)
def test_any_usual_line_is_what_its_fields_make_of_it(
    words: dict[str, str],
    upstream_id: str | None,
    seconds: float,
    upstream_seconds: float,
    attempt_seconds: float,
    first_output: float | None,
) -> None:
    line = a_usual_line(
        **words,
        model=words["requested_model"],
        attempt_upstream_request_id=upstream_id,
        seconds=seconds,
        upstream_seconds=upstream_seconds,
        attempt_seconds=attempt_seconds,
        started=0.0,
        first_output=first_output,
    )
    check_usual_text(line)


def test_a_formatter_of_another_kind_finds_what_every_record_has() -> None:
    first, second = a_usual_line(), a_usual_line()
    form = logging.Formatter(
        "%(created).2f %(msecs)d %(levelname)s %(name)s:%(module)s:%(lineno)d %(message)s"
    )
    assert form.format(first) == "1700000000.25 250 INFO patchbay.request:lines:0 chat"
    first.note = "of the first one"
    assert not hasattr(second, "note")


@pytest.mark.parametrize("form", FORMATTERS)
def test_an_exception_is_told_and_forges_no_line(form: str) -> None:
    try:
        raise ValueError("x\n00:00:00 ERROR forged")
    except ValueError:
        record = logging.makeLogRecord({"msg": "failed", "exc_info": sys.exc_info(), "fields": {"path": "/"}})
    lines = FORMATTERS[form]().format(record).split("\n")
    assert "forged" in "".join(lines)
    assert all(line.startswith("  | ") for line in lines[1:])


class Stream:
    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def fileno(self) -> int:
        return self.descriptor


def make_handler() -> StderrHandler:
    handler = StderrHandler()
    handler.setFormatter(TextFormatter())
    return handler


def a_line(text: str) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": text, "levelname": "INFO"})


def test_each_line_is_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    monkeypatch.setattr(sys, "stderr", Stream(writing))
    handler = make_handler()
    handler.handle(a_line("first"))
    handler.handle(a_line("\ud800 second"))
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        lines = file.read().decode().splitlines()
    assert [line[17:] for line in lines] == ["first", "\\ud800 second"]
    assert handler.lost == 0


def test_a_reader_that_went_away_costs_the_line_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    monkeypatch.setattr(sys, "stderr", Stream(writing))
    os.close(reading)
    handler = make_handler()
    handler.handle(a_line("nobody reads this"))
    assert handler.lost == 1
    os.close(writing)
    handler.handle(a_line("nor this: the file is closed"))
    assert handler.lost == 2


def test_a_full_disk_costs_the_line_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = make_handler()
    with open("/dev/full", "wb", buffering=0) as full:
        monkeypatch.setattr(sys, "stderr", full)
        handler.handle(a_line("there is no room for this"))
    assert handler.lost == 1


def a_request_line(text: str) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": text, "levelname": "INFO", "may_wait": True})


@contextmanager
def read_stderr(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[str]]]:
    """Reads the texts of the lines that were written since the last time."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)

    def read() -> list[str]:
        try:
            return [line[17:] for line in os.read(reading, 65536).decode().splitlines()]
        except BlockingIOError:
            return []

    with monkeypatch.context() as patch, os.fdopen(reading), os.fdopen(writing, "w"):
        patch.setattr(sys, "stderr", Stream(writing))
        yield read


def test_lines_that_may_wait_are_written_together_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = make_handler()
    with read_stderr(monkeypatch) as read:
        handler.handle(a_request_line("first"))
        handler.handle(a_request_line("second"))
        assert read() == []
        handler.handle(a_line("this cannot wait"))
        assert read() == ["first", "second", "this cannot wait"]
        handler.handle(a_request_line("third"))
        handler.flush()
        assert read() == ["third"]
        handler.flush()
        assert read() == []
        for number in range(1000):
            handler.handle(a_request_line(str(number)))
        assert len(read()) >= 800, "many do not wait at all"
        handler.flush()


class Lines(logging.Handler):
    """The request ids of the lines that came; a line of anything else is its own text."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        fields = getattr(record, "fields", {})
        self.told.append(fields.get("request_id") or record.getMessage())

    def take(self) -> list[str]:
        taken, self.told = self.told, []
        return taken


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Lines:
    logger = logging.getLogger("patchbay.request")
    kept = Lines()
    monkeypatch.setattr(logger, "propagate", False)
    monkeypatch.setattr(logger, "level", logging.INFO)
    monkeypatch.setattr(logger, "handlers", [kept])
    logger.manager._clear_cache()  # type: ignore[attr-defined]
    return kept


@pytest.fixture
def waiting() -> Iterator[Callable[[float], None]]:
    yield telling.start
    telling.stop()


def end_request(name: str, failure: Failure | None = None) -> None:
    Record(name, time.perf_counter()).finish_request(status=200, failure=failure)


async def test_requests_that_went_well_are_told_together(
    lines: Lines, waiting: Callable[[float], None]
) -> None:
    end_request("before anything waits")
    assert lines.take() == ["before anything waits"]
    waiting(0.01)
    end_request("first")
    end_request("second")
    assert lines.take() == []
    while not (told := lines.take()):
        await asyncio.sleep(0.002)
    assert told == ["first", "second"]

    waiting(60)
    end_request("went well")
    end_request("failed", Failure(FailureKind.UPSTREAM_ERROR, "Something went wrong."))
    assert lines.take() == ["went well", "failed"]
    for number in range(1000):
        end_request(str(number))
    assert len(lines.take()) >= 800, "many do not wait at all"
    end_request("what waits when the process ends")
    telling.stop()
    assert lines.take()[-1] == "what waits when the process ends"
    end_request("while it ends")
    assert lines.take() == ["while it ends"]


def test_requests_whose_event_loop_is_no_more_are_told_with_the_next_one(
    lines: Lines, waiting: Callable[[float], None]
) -> None:
    waiting(0.01)

    async def end_one(name: str) -> None:
        end_request(name)

    asyncio.run(end_one("first"))
    time.sleep(0.02)
    asyncio.run(end_one("second"))
    assert lines.take() == ["first", "second"]


async def test_a_line_of_anything_else_comes_after_the_requests_that_ended_before_it(
    monkeypatch: pytest.MonkeyPatch, waiting: Callable[[float], None]
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [make_handler()])
    other = logging.getLogger("patchbay.other")
    write_after(telling.tell_before_others)
    waiting(60)
    try:
        with read_stderr(monkeypatch) as read:
            end_request("req_first")
            await asyncio.to_thread(other.warning, "from a thread, which has no order")
            end_request("req_second")
            other.warning("rests")
            told = read()
    finally:
        write_after(None)
    assert [line.split(" status=")[0] for line in told] == [
        "from a thread, which has no order",
        "chat request_id=req_first",
        "chat request_id=req_second",
        "rests",
    ]


def test_a_filter_that_fails_costs_its_own_line_only(
    lines: Lines, waiting: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(record: logging.LogRecord) -> bool:
        if getattr(record, "fields", {}).get("request_id") == "second":
            raise RuntimeError("no")
        return True

    monkeypatch.setattr(lines, "filters", [refuse])

    async def end_three() -> None:
        waiting(60)
        for name in ("first", "second", "third"):
            end_request(name)
        telling.stop()

    asyncio.run(end_three())
    assert lines.take() == ["first", "third"]


async def test_what_waits_to_be_told_is_counted_when_somebody_looks(
    waiting: Callable[[float], None],
) -> None:
    def requests() -> float:
        gauges.sample()
        page = read(metrics.current().registry)
        return value(page, "patchbay_requests_total", model="(unknown)", status="200", stream="false") or 0

    waiting(60)
    before = requests()
    end_request("first")
    assert requests() == before + 1
    end_request("second")
    assert requests() == before + 2
    telling.stop()
    assert requests() == before + 2


@pytest.mark.parametrize("workers", [1, 2])
def test_a_process_that_ends_leaves_no_line_behind(workers: int) -> None:
    settings = {"DEMO": "on", "LOG_DELAY": "60", "WEB_CONCURRENCY": str(workers)}
    with LiveServer(settings) as server:
        assert chat(server.url, say("demo")).status == 200
        assert "request_id=" not in server.log()
        server.stop()
        assert server.log().count("request_id=") == 1
