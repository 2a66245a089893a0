"""What can go wrong on the wire, as failures: the one table of every transport. PURE.

The messages are for the client: no address, no library's own text.
"""

from __future__ import annotations

from enum import Enum

from api.services.translation.failures import Failure, FailureKind


class Trouble(Enum):
    CONNECT_TIMEOUT = (FailureKind.UPSTREAM_CONNECT_TIMEOUT, "Could not connect to the upstream in time.")
    HEADERS_TIMEOUT = (
        FailureKind.UPSTREAM_HEADERS_TIMEOUT,
        "The upstream did not begin to answer in time.",
    )
    UNRESOLVED = (FailureKind.UPSTREAM_UNAVAILABLE, "The upstream's host name could not be resolved.")
    TLS = (
        FailureKind.UPSTREAM_UNAVAILABLE,
        "The TLS connection to the upstream failed: check its certificate.",
    )
    PROXY = (
        FailureKind.UPSTREAM_UNAVAILABLE,
        "The proxy on the way to the upstream could not be reached or refused.",
    )
    REFUSED = (FailureKind.UPSTREAM_UNAVAILABLE, "The upstream refused the connection.")
    UNREACHABLE = (FailureKind.UPSTREAM_UNAVAILABLE, "The upstream could not be reached.")
    NO_ANSWER = (
        FailureKind.UPSTREAM_UNAVAILABLE,
        "The upstream closed the connection without an answer.",
    )
    NOT_HTTP = (FailureKind.UPSTREAM_INVALID_RESPONSE, "The upstream's answer is not valid HTTP.")
    UNKNOWN_ENCODING = (
        FailureKind.UPSTREAM_INVALID_RESPONSE,
        "The upstream compressed its answer in a way that it was not asked for.",
    )
    BROKEN_OFF = (
        FailureKind.UPSTREAM_STREAM_INTERRUPTED,
        "The connection to the upstream broke off in the middle of its reply.",
    )
    INVALID_ADDRESS = (
        FailureKind.PROVIDER_NOT_CONFIGURED,
        "The provider's base URL is not a valid address. The operator corrects it in the admin.",
    )
    PRIVATE_ADDRESS = (
        FailureKind.PROVIDER_NOT_CONFIGURED,
        "The provider's base URL leads to this proxy's own machine or network, which this provider may not "
        "use. If that is meant, the operator ticks “private network” on it in the admin "
        "(/admin/routing/provider/).",
    )
    FORBIDDEN_ADDRESS = (
        FailureKind.PROVIDER_NOT_CONFIGURED,
        "The provider's base URL leads to an address that no provider may have (link-local, a metadata "
        "service, multicast). The operator corrects it in the admin (/admin/routing/provider/).",
    )
    INVALID_HEADER = (
        FailureKind.PROVIDER_NOT_CONFIGURED,
        "A header for the upstream has characters that no header may have. "
        "The operator corrects the provider's headers or key in the admin.",
    )
    INVALID_PROXY = (
        FailureKind.PROVIDER_NOT_CONFIGURED,
        "The proxy that the environment names is not an http:// or https:// address. "
        "The operator corrects HTTPS_PROXY, HTTP_PROXY or ALL_PROXY.",
    )

    def failure(self) -> Failure:
        kind, message = self.value
        return Failure(kind, message)


def too_long(limit: int) -> Failure:
    return Failure(
        FailureKind.UPSTREAM_INVALID_RESPONSE,
        f"The upstream's reply is larger than {limit} bytes. "
        "The operator sets this limit with MAX_REPLY_BYTES.",
    )
