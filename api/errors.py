"""Exceptions to answers: one table from what a view raises to a `Failure`, in OpenAI's words.

Every error body has OpenAI's shape, on every path of the API.
"""

from __future__ import annotations

import logging
from typing import Any

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest
from rest_framework import exceptions

from api.response import ApiResponse
from api.services.translation.dialects.openai_chat.failures import encode_failure, encode_failure_headers
from api.services.translation.failures import Failure, FailureKind
from api.services.translation.json_text import dump_json

logger = logging.getLogger("patchbay.errors")

NO_KEY_MESSAGE = (
    "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer "
    "auth (i.e. Authorization: Bearer YOUR_KEY)."
)


def to_failure(error: Exception, request: HttpRequest) -> Failure:
    """What `error` means to the client. What nobody expected is logged here and told as an internal error."""
    match error:
        case Failure():
            return error
        case Http404():
            return Failure(FailureKind.URL_NOT_FOUND, f"Invalid URL ({request.method} {request.path})")
        case exceptions.MethodNotAllowed():
            return Failure(
                FailureKind.METHOD_NOT_ALLOWED,
                f"Not allowed to {request.method} on {request.path} (HINT: check your request's method.)",
            )
        case exceptions.NotAuthenticated():
            return Failure(FailureKind.AUTHENTICATION_MISSING, NO_KEY_MESSAGE)
        case exceptions.AuthenticationFailed():
            return Failure(FailureKind.INVALID_API_KEY, "Incorrect API key provided.")
        case RequestDataTooBig():
            return Failure(FailureKind.REQUEST_TOO_LARGE, "Request exceeds the maximum allowed size.")
        case SuspiciousOperation():
            return Failure(FailureKind.INVALID_REQUEST, "The request could not be understood.")
        case exceptions.APIException(status_code=status) if 400 <= status < 500:
            return Failure(FailureKind.INVALID_REQUEST, str(error.detail), status=status)
        case _:
            logger.exception("Unhandled exception", exc_info=error, extra={"fields": {"path": request.path}})
            return Failure(
                FailureKind.INTERNAL,
                "The server had an error while processing your request. Sorry about that! "
                "The operator finds the cause in the log under this response's x-request-id.",
            )


def render_failure(failure: Failure) -> ApiResponse:
    headers = encode_failure_headers(failure)
    if failure.status == 401:
        headers["www-authenticate"] = 'Bearer realm="api"'
    return ApiResponse(dump_json(encode_failure(failure)), status=failure.status, headers=headers)


def render_exception(error: Exception, request: HttpRequest) -> ApiResponse:
    return render_failure(to_failure(error, request))


def handle_exception(error: Exception, context: dict[str, Any]) -> ApiResponse:
    """DRF's EXCEPTION_HANDLER."""
    return render_exception(error, context["request"])
