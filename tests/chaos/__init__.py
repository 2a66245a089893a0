"""Proof by faults: a real proxy, an upstream that misbehaves, and a count of what every client got.

`python -m tests.chaos` runs all of it and writes the table of docs/reliability.md; the
tests here run a short form.
"""
