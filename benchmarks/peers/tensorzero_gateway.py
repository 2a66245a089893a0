"""Serves TensorZero's gateway, which its Python package has inside: the configuration is the argument.

The package has it for its own client, behind a function that is not public: OpenAI's endpoint only,
on a port that it chooses itself. It runs in threads of its own, without Python, which waits here.
"""

from __future__ import annotations

import signal
import sys

from tensorzero.tensorzero import _start_http_gateway


def main() -> None:
    gateway = _start_http_gateway(
        config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False
    )
    print(gateway.base_url, flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
