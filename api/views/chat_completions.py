"""`POST /chat/completions`."""

from __future__ import annotations

from api.auth import KeyAuthentication
from api.errors import render_failure
from api.request import ApiRequest, check_message_count
from api.response import ApiResponse
from api.services import gateway
from api.services.translation.failures import Failure
from api.services.translation.json_text import load_json
from api.streaming import EventStream
from api.views.base import ApiView


class ChatCompletionsView(ApiView):
    authentication_classes = [KeyAuthentication]

    async def post(self, request: ApiRequest) -> ApiResponse:
        text = request.take_body()
        body = load_json(text if text is not None else await request.read_body())
        check_message_count(body)
        call = gateway.Call(
            request_id=request.request_id,
            body=body,
            headers=request.client_headers,
            started=request.started,
            key=self.caller.key if self.caller is not None else None,
        )
        try:
            answer = await gateway.serve(call)
        except Failure as failure:
            response = render_failure(failure)
            for name, value in call.record.headers().items():
                response.headers.setdefault(name, value)
            return response
        if answer.frames is not None:
            return EventStream(answer.frames, answer.headers)
        return ApiResponse(answer.body, headers=answer.headers)
