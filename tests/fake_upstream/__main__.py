"""Run the fake upstream by hand: `python -m tests.fake_upstream --port 9100`."""

from __future__ import annotations

import argparse
import sys
import threading

from tests.fake_upstream.server import FakeUpstream


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fake_upstream", description=__doc__)
    parser.add_argument("--port", type=int, default=9100)
    parser.add_argument("--any-key", action="store_true", help="accept every key, not only test-…")
    options = parser.parse_args()
    with FakeUpstream(port=options.port) as upstream:
        if options.any_key:
            upstream.accept_key = lambda key: True
        print(f"OPENAI_BASE_URL={upstream.openai_url}")
        print(f"ANTHROPIC_BASE_URL={upstream.anthropic_url}")
        print("Keys start with test-, for example OPENAI_API_KEY=test-key. Stop with Ctrl-C.")
        sys.stdout.flush()
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
