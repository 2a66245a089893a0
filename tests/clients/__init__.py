"""Real clients against the real server, each in an environment that its own lock describes."""
