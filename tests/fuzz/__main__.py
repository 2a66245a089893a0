"""`make fuzz`: odd requests through a real server for FUZZ_SECONDS, each mistake once and made small.

FUZZ_SEED repeats a run. Ends with status 1 where it found anything.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fake_upstream import FakeUpstream
from tests.fuzz.bodies import bodies
from tests.fuzz.serving import MODELS, serve
from tests.fuzz.verdict import Tally, WrongAnswer, send

ROUND = 250
"""Inputs to a seed: small enough to keep to the time, large enough for hypothesis to vary them."""


def main() -> int:
    seconds = float(os.environ.get("FUZZ_SECONDS", "300"))
    first_seed = int(os.environ.get("FUZZ_SEED") or random.SystemRandom().randrange(10**6))
    print(f"FUZZ_SEED={first_seed} FUZZ_SECONDS={seconds:g}", flush=True)
    found: dict[str, tuple[bytes, str]] = {}
    again: dict[str, int] = {}
    tally = Tally()
    with (
        tempfile.TemporaryDirectory(prefix="patchbay-fuzz-") as folder,
        FakeUpstream() as upstream,
        serve(upstream, Path(folder)) as server,
    ):
        until = time.monotonic() + seconds
        number = first_seed
        while time.monotonic() < until:
            mistake = _run(server.url, upstream, tally, number, until, found, again)
            if mistake is not None:
                error, body = mistake
                found[error.signature] = (body, error.detail)
                print(f"\nFOUND (seed {number}): {error.signature}", flush=True)
                print(f"  body: {_shown(body)}\n  {error.detail[:1500]}", flush=True)
            number += 1
        faults = len(upstream.errors)
        tracebacks = server.log().count("Traceback (most recent call last)")
        print(f"\nseeds {first_seed} to {number - 1}")
        print("\n".join(tally.lines()))
        print(f"tracebacks in the server's log: {tracebacks}")
        print(f"mistakes of the fake upstream itself: {faults}")
        print(f"mistakes: {len(found)}")
        for signature in found:
            print(f"  {signature} (and {again.get(signature, 0)} more times)")
    return 1 if found or tracebacks else 0


def _run(
    url: str,
    upstream: FakeUpstream,
    tally: Tally,
    number: int,
    until: float,
    known: dict[str, tuple[bytes, str]],
    again: dict[str, int],
) -> tuple[WrongAnswer, bytes] | None:
    """One round; a mistake that is not known yet, with the smallest input that shows it."""
    smallest: dict[str, bytes] = {}

    @seed(number)
    @settings(
        max_examples=ROUND,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
    )
    @given(bodies(MODELS))
    def attempt(body: bytes) -> None:
        if time.monotonic() > until and not smallest:
            return
        try:
            send(url, upstream, body, tally)
        except WrongAnswer as wrong:
            if wrong.signature in known:
                again[wrong.signature] = again.get(wrong.signature, 0) + 1
                return
            if smallest and wrong.signature not in smallest:
                return  # One at a time: the others come up again in a later round.
            smallest[wrong.signature] = body
            raise

    try:
        attempt()
    except WrongAnswer as wrong:
        return wrong, smallest[wrong.signature]
    return None


def _shown(body: bytes) -> str:
    text = body.decode("utf-8", "backslashreplace")
    return text if len(text) <= 2000 else f"{text[:1000]} … {text[-500:]} ({len(body)} bytes)"


if __name__ == "__main__":
    sys.exit(main())
