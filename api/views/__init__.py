"""One file per endpoint: read the request, call the gateway, render the answer."""
