"""What an operator may enter, and what a refusal says."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db.models import ProtectedError

from routing import services
from routing.models import Alias, Credential, Deployment, Provider, ProviderHeader, ServedModel
from tests.factories import (
    make_alias,
    make_credential,
    make_deployment,
    make_model,
    make_provider,
)

pytestmark = pytest.mark.django_db


def errors_of(row: Any) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        row.full_clean()
    return {field: " ".join(messages) for field, messages in caught.value.message_dict.items()}


def test_a_model_cannot_take_the_name_of_an_alias() -> None:
    error = errors_of(ServedModel(public_id="GPT-5"))["public_id"]
    assert "“gpt-5” is an alias of gpt-4o" in error


def test_an_alias_cannot_take_the_name_of_a_model() -> None:
    model = ServedModel.objects.get(public_id="gpt-4.1")
    assert "is the id of a model" in errors_of(Alias(name="GPT-4o", model=model))["name"]


def test_names_that_differ_in_case_or_spaces_are_duplicates() -> None:
    model = ServedModel.objects.get(public_id="gpt-4.1")
    assert "already" in str(errors_of(Alias(name=" GPT-5 ", model=model)))
    assert "already" in str(errors_of(ServedModel(public_id=" Gpt-4O ")))
    assert "no spaces" in errors_of(Alias(name="gpt 5", model=model))["name"]


def test_an_alias_can_be_saved_again_under_its_own_name() -> None:
    alias = Alias.objects.get(name="gpt-5")
    alias.name = " GPT-5 "
    alias.full_clean()
    assert alias.name == "GPT-5"


def test_a_model_that_a_name_means_is_protected() -> None:
    with pytest.raises(ProtectedError):
        ServedModel.objects.get(public_id="gpt-4o").delete()
    with pytest.raises(ProtectedError):
        Provider.objects.get(name="openai").delete()


def test_deleting_a_model_and_moving_its_aliases() -> None:
    target = ServedModel.objects.get(public_id="gpt-4.1")
    services.delete_model(model=ServedModel.objects.get(public_id="gpt-4o"), aliases_to=target)
    assert Alias.objects.get(name="gpt-5").model == target
    assert not ServedModel.objects.filter(public_id="gpt-4o").exists()
    assert not Deployment.objects.filter(upstream_id="gpt-4o").exists()


def test_deleting_a_model_and_its_aliases() -> None:
    services.delete_model(model=ServedModel.objects.get(public_id="gpt-4o"), aliases_to=None)
    assert not Alias.objects.filter(name="gpt-5").exists()


def test_deleting_a_provider_keeps_the_models() -> None:
    services.delete_provider(provider=Provider.objects.get(name="openai"))
    assert ServedModel.objects.filter(public_id="gpt-4o").exists()
    assert not Deployment.objects.filter(upstream_id="gpt-4o").exists()


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"name": "a/b"}, "name", "slash"),
        ({"name": "Demo"}, "name", "built-in"),
        ({"name": "a b"}, "name", "no spaces"),
        ({"name": "OpenAI"}, "__all__", "already"),
        ({"base_url": ""}, "base_url", "needs a base URL"),
        ({"base_url": "llm.example.com"}, "base_url", "starts with"),
        ({"base_url": "ftp://llm.example.com"}, "base_url", "starts with"),
        ({"base_url": "https://user:pw@llm.example.com"}, "base_url", "user or password"),
        ({"base_url": "https://llm.example.com/v1?x=1"}, "base_url", "no ?"),
        ({"base_url": "https://llm.example.com:port"}, "base_url", "not a URL"),
        ({"base_url": "https://[::1"}, "base_url", "not a URL"),
        ({"base_url": "http://llm.example.com"}, "base_url", "unencrypted"),
        ({"base_url": "http://127.0.0.1:11434"}, "base_url", "private network"),
        ({"base_url": "https://10.0.0.3/v1"}, "base_url", "private network"),
        ({"base_url": "https://[::1]/v1"}, "base_url", "private network"),
        ({"base_url": "https://localhost"}, "base_url", "private network"),
        ({"base_url": "https://169.254.169.254"}, "base_url", "private network"),
        ({"uses_environment": True}, "uses_environment", "env:NAME"),
        ({"connect_timeout": 0}, "connect_timeout", "greater"),
        ({"kind": "gemini"}, "kind", "not a valid choice"),
    ],
)
def test_a_provider_that_cannot_work_is_refused(fields: dict[str, Any], field: str, said: str) -> None:
    provider = Provider(
        **({"name": "x", "kind": "openai_compatible", "base_url": "https://a.example"} | fields)
    )
    assert said in errors_of(provider)[field]


def test_a_local_server_needs_one_tick() -> None:
    provider = Provider(
        name="ollama",
        base_url=" http://127.0.0.1:11434/v1/ ",
        allows_private_network=True,
        requires_key=False,
    )
    provider.full_clean()
    assert provider.base_url == "http://127.0.0.1:11434/v1"


def test_quirks_are_what_was_set() -> None:
    assert make_provider().quirks == {}
    provider = make_provider(token_param="max_tokens", developer_role="system", strips_extensions=False)
    assert provider.quirks == {
        "token_param": "max_tokens",
        "developer_role": "system",
        "strips_extensions": False,
    }


def test_quirks_are_the_translation_s() -> None:
    from api.services.translation.quirks import NO_QUIRKS, DeveloperRole, TokenParam, check_quirks
    from routing.models.providers import DeveloperRole as OurDeveloperRole
    from routing.models.providers import TokenParam as OurTokenParam

    assert set(OurTokenParam.values) == set(TokenParam)
    assert set(OurDeveloperRole.values) == set(DeveloperRole)
    everything = make_provider(
        token_param="max_tokens", developer_role="system", sends_stream_options=False, strips_extensions=True
    ).quirks
    assert check_quirks(everything) == []
    assert set(everything) == set(NO_QUIRKS.__dataclass_fields__)


def test_kinds_are_the_catalog_s() -> None:
    from api.services.providers.catalog import KINDS as CATALOG
    from routing.domain.kinds import DEMO_KIND, KINDS

    assert set(KINDS) == set(Provider.Kind.values)
    assert {*KINDS, DEMO_KIND} == set(CATALOG)
    for name, kind in KINDS.items():
        assert kind.key_variable == CATALOG[name].key_variable


def test_a_credential_has_one_source() -> None:
    provider = make_provider()
    assert "reference" in errors_of(Credential(provider=provider, label="x", reference="MY_KEY"))
    make_credential(provider, label="main")
    assert "already" in str(errors_of(Credential(provider=provider, label="MAIN", reference="env:X")))
    both = Credential(provider=provider, label="y", reference="env:X")
    both.store("sk-1")
    assert both.reference == ""
    both.full_clean()
    neither = Credential(provider=provider, label="z")
    assert "Enter either" in str(errors_of(neither))


def test_headers_are_checked() -> None:
    provider = make_provider()
    assert "proxy itself" in errors_of(ProviderHeader(provider=provider, name="Host", value="x"))["name"]
    assert (
        "provider keys"
        in errors_of(ProviderHeader(provider=provider, name="Authorization", value="x"))["name"]
    )
    assert "one line" in errors_of(ProviderHeader(provider=provider, name="x-a", value="a\r\nb"))["value"]
    assert "variable" in errors_of(ProviderHeader(provider=provider, name="x-a", value="env:a b"))["value"]
    keyless = make_provider(requires_key=False)
    ProviderHeader(provider=keyless, name="Authorization", value="Basic abc").full_clean()


def test_deployments_are_checked() -> None:
    row = Deployment(model=make_model(), provider=make_provider(), upstream_id="gpt 4o")
    row.capabilities = {"max_output_tokens": "many"}
    errors = errors_of(row)
    assert "not allowed" in errors["upstream_id"]
    assert "whole number" in errors["capabilities"]
    same = make_deployment(upstream_id="m")
    twin = Deployment(model=same.model, provider=same.provider, upstream_id=" m ")
    assert "already" in str(errors_of(twin))


def test_rows_say_what_they_are() -> None:
    deployment = make_deployment(make_model("m"), make_provider("p"), "u")
    assert str(deployment) == "p/u"
    assert str(make_alias("a", deployment.model)) == "a"
    assert str(deployment.model) == "m"
