"""Every golden case of the request side, as pure functions."""

from __future__ import annotations

import pytest

from api.services.translation.dialects.anthropic_messages.requests import encode_request
from api.services.translation.dialects.openai_chat.requests import check_relay, decode_request, relay_request
from api.services.translation.failures import Failure
from api.services.translation.json_text import dump_json, load_json
from api.services.translation.quirks import NO_QUIRKS
from tests.anthropic_body import assert_valid_anthropic_body
from tests.golden_cases import GoldenCase, load_cases
from tests.golden_products import encoded_request, target_of


@pytest.mark.parametrize("case", load_cases("chat_req"), ids=str)
def test_a_chat_request_becomes_a_messages_body(case: GoldenCase) -> None:
    expected = case.read_json("upstream_request.json")
    encoded = encoded_request(case)
    assert encoded.body == expected
    if case.ignored is not None:
        assert sorted(encoded.ignored) == sorted(case.ignored)
    assert_valid_anthropic_body(encoded.body)


@pytest.mark.parametrize("case", load_cases("chat_req"), ids=str)
def test_a_body_survives_json(case: GoldenCase) -> None:
    request = decode_request(load_json(case.read_bytes("request.json")))
    body = encode_request(request, target_of(case)).body
    assert load_json(dump_json(body)) == body


@pytest.mark.parametrize("case", load_cases("chat_req"), ids=str)
def test_reading_leaves_the_client_s_body_as_it_is(case: GoldenCase) -> None:
    body = case.read_json("request.json")
    encode_request(decode_request(body), target_of(case))
    assert body == case.read_json("request.json")


@pytest.mark.parametrize(
    "case", [case for case in load_cases("chat_req") if case.ignored is not None], ids=str
)
def test_strict_mode_refuses_what_would_be_ignored(case: GoldenCase) -> None:
    target = target_of(case, is_strict=True)
    request = decode_request(case.read_json("request.json"))
    if not case.ignored:
        assert encode_request(request, target).ignored == ()
        return
    with pytest.raises(Failure) as caught:
        encode_request(request, target)
    assert caught.value.param in case.ignored
    assert (caught.value.status, caught.value.code) == (400, "unsupported_parameter")


@pytest.mark.parametrize("case", load_cases("chat_req_error"), ids=str)
def test_a_wrong_chat_request_is_refused(case: GoldenCase) -> None:
    expected = case.read_json("reply.json")
    with pytest.raises(Failure) as caught:
        encoded_request(case)
    failure = caught.value
    assert failure.status == expected["status"]
    seen = {"type": failure.type, "param": failure.param, "code": failure.code}
    assert seen == {key: expected["error"][key] for key in seen}
    assert failure.message


@pytest.mark.parametrize("case", load_cases("oai_req"), ids=str)
def test_a_relayed_request_changes_as_little_as_it_can(case: GoldenCase) -> None:
    body = case.read_json("request.json")
    expected = case.read_json("upstream_request.json")
    check_relay(body)
    relayed = relay_request(body, upstream_id=expected["model"], quirks=NO_QUIRKS, wants_usage=True)
    assert relayed.body == expected
    assert list(relayed.body)[: len(body)] == list(body)
    assert body == case.read_json("request.json")
    assert relayed.ignored == ()
