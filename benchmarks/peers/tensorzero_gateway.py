"""Serves TensorZero's gateway, which its Python package has inside: the configuration is the argument.

It is the gateway of the container image, without a program of its own: the package offers it to
its client only, by a function that is not public. It chooses its port, and its threads are Rust's:
Python waits.
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
