"""The public benchmark: see README.md. It needs Debian packages and the proxy's own environment only."""
