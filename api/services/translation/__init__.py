"""Pure translation between wire formats: bytes and dicts in, bytes and dicts out.

Owns the neutral values (conversation, events, usage, failures) and the dialects that
read and write them. Refuses I/O, clocks, randomness and every framework.
"""
