"""`GET /models` and `GET /models/{id}`."""

from __future__ import annotations

from api.auth import OpenOrKeyAuthentication
from api.request import ApiRequest
from api.response import ApiResponse
from api.services import gateway
from api.services.translation.dialects.openai_chat.models import encode_model, encode_model_list
from api.services.translation.json_text import dump_json
from api.views.base import ApiView


class ModelListView(ApiView):
    """All listed models that the caller may use, in the operator's order.

    Open to everyone while any bearer token is.
    """

    authentication_classes = [OpenOrKeyAuthentication]

    async def get(self, request: ApiRequest) -> ApiResponse:
        key = self.caller.key if self.caller is not None else None
        models = [
            encode_model(listed.id, created=listed.created, owned_by=listed.owned_by)
            for listed in gateway.list_models(key)
        ]
        return ApiResponse(dump_json(encode_model_list(models)))


class ModelView(ApiView):
    """One model. Its id may hold `/` and `:`."""

    authentication_classes = [OpenOrKeyAuthentication]

    async def get(self, request: ApiRequest, model_id: str) -> ApiResponse:
        listed = gateway.find_model(model_id, self.caller.key if self.caller is not None else None)
        model = encode_model(listed.id, created=listed.created, owned_by=listed.owned_by)
        return ApiResponse(dump_json(model))
