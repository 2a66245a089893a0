"""Requests that nobody would send, through the real server: each is answered, or refused in words.

`bodies.py` makes them, `verdict.py` sends one and judges what comes back,
`python -m tests.fuzz` (`make fuzz`) does it for FUZZ_SECONDS; `tests/api/test_fuzz.py` is
the short form of it.
"""
