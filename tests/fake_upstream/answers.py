"""From a recorded request to the reply that the real API would give.

Owns the paths and the choice of API; each API judges and answers in modules of its own.
"""

from __future__ import annotations

from tests.fake_upstream.anthropic_answers import AnthropicApi
from tests.fake_upstream.behaviours import Rendered
from tests.fake_upstream.openai_answers import OpenAIApi
from tests.fake_upstream.recorded import RecordedRequest
from tests.fake_upstream.rejection import Rejected
from tests.fake_upstream.settings import Settings

_OPENAI_ROOTS = ("/openai/v1", "/v1", "/openai", "")
_ANTHROPIC_ROOTS = ("/anthropic/v1", "/v1")


class Answers:
    """The two pretended APIs and what they remember between requests."""

    settings: Settings
    openai: OpenAIApi
    anthropic: AnthropicApi

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.settings = Settings()
        self.openai = OpenAIApi(self.settings)
        self.anthropic = AnthropicApi(self.settings)

    def answer(self, request: RecordedRequest) -> Rendered:
        """The real API's reply, be it an answer or a refusal."""
        api, operation = self._route(request)
        try:
            if operation is None:
                raise Rejected(
                    f"Invalid URL ({request.method} {request.path})", status=404, type=api.not_found
                )
            expected = "GET" if operation == "models" else "POST"
            if request.method != expected:
                raise Rejected(
                    f"Not allowed to {request.method} on {request.path} "
                    f"(HINT: Perhaps you meant to make a {expected} request to this resource?)",
                    status=405,
                )
            return api.serve(operation, request)
        except Rejected as rejected:
            return api.refuse(rejected)

    def _route(self, request: RecordedRequest) -> tuple[OpenAIApi | AnthropicApi, str | None]:
        path = request.path
        for root in _ANTHROPIC_ROOTS:
            if path in (f"{root}/messages", f"{root}/messages/count_tokens"):
                return self.anthropic, path.removeprefix(root + "/")
        is_anthropic = path.startswith("/anthropic/") or request.header("anthropic-version") is not None
        if path.endswith("/models") and path.removesuffix("/models") in (*_OPENAI_ROOTS, *_ANTHROPIC_ROOTS):
            return (self.anthropic if is_anthropic else self.openai), "models"
        for root in _OPENAI_ROOTS:
            if path == f"{root}/chat/completions":
                return self.openai, "chat/completions"
        return (self.anthropic if is_anthropic else self.openai), None
