"""What is found without being told, and what is left out, with a word."""

import asyncio
import logging

import pytest

from tests.gateway.sockets import Provider, answer
from tests.running import TWO, Running
from understudy.gateway import assemble as assembling
from understudy.gateway import discovery
from understudy.gateway.assemble import assemble, configuration
from understudy.gateway.config import ConfigError, parse
from understudy.gateway.probe import probe
from understudy.local import models
from understudy.providers import catalogue

ROWS = catalogue.load()


@pytest.fixture
def bare(monkeypatch):
    """A machine with nothing on it."""
    monkeypatch.setattr(models, "available", dict)
    monkeypatch.setattr(catalogue, "local_base_urls", lambda _row: ())


def found(text="", environ=None):
    async def scenario():
        gateway = await assemble(parse(text, "here.toml", environ or {}), environ or {})
        await gateway.close()
        return gateway.routing

    return asyncio.run(scenario())


def test_nothing_is_found_where_nothing_is(bare):
    assert found().providers == {}


def test_providers_that_sign_are_found_by_their_credentials(bare):
    environ = {
        "AWS_ACCESS_KEY_ID": "AKIDMADEUP", "AWS_SECRET_ACCESS_KEY": "made-up", "AWS_REGION": "eu-west-1",
        "GOOGLE_APPLICATION_CREDENTIALS": "made-up.json", "GOOGLE_CLOUD_PROJECT": "p",
        "GOOGLE_CLOUD_LOCATION": "europe-west1",
    }  # fmt: skip
    providers = found(environ=environ).providers
    assert set(providers) == {"bedrock", "vertex"}
    assert all(provider.signer is not None for provider in providers.values())
    link = providers["vertex"].link
    head, path = link.start("gemini-x", stream=True), link.where("gemini-x", stream=True).encode()
    where = (
        b"/v1beta1/projects/p/locations/europe-west1/publishers/google/models/gemini-x:streamGenerateContent?alt=sse"
    )
    assert path == where
    assert head.startswith(b"POST " + where + b" HTTP/1.1\r\nhost: europe-west1-aiplatform.googleapis.com\r\n")
    assert b"made-up" not in head


def test_every_provider_with_a_key_in_its_variable_is_found(bare):
    environ = {row.env[0]: "sk-made-up" for row in ROWS.values() if row.env and not catalogue.is_local(row)}
    environ["AZURE_OPENAI_ENDPOINT"] = "https://res.openai.azure.com/"
    environ["AWS_REGION"] = "eu-west-1"
    providers = found(environ=environ).providers
    assert set(providers) == {name for name, row in ROWS.items() if row.env and not catalogue.is_local(row)}
    assert b"x-api-key: sk-made-up\r\n" in providers["anthropic"].link.head
    assert b"anthropic-version: 2023-06-01\r\n" in providers["anthropic"].link.head
    assert providers["bedrock"].signer is None, "a bearer token needs no signature"
    openai = providers["openai"]
    assert openai.found == "OPENAI_API_KEY in the environment"
    assert openai.key_label == "env:OPENAI_API_KEY"
    assert b"authorization: Bearer sk-made-up\r\n" in openai.link.head
    assert openai.link.head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\nhost: api.openai.com\r\n")
    assert b"api-key: sk-made-up\r\n" in providers["azure"].link.head
    assert providers["azure"].link.base_url == "https://res.openai.azure.com/openai/v1"


def test_a_second_api_with_the_same_key_makes_no_name_ambiguous_and_no_list_longer(bare):
    routing = found(environ={"DEEPSEEK_API_KEY": "k", "OPENAI_API_KEY": "k"})
    assert set(routing.providers) == {"deepseek", "deepseek-anthropic", "openai", "openai-responses"}
    for name, owner in (("deepseek-chat", "deepseek"), ("gpt-5", "openai")):
        assert [target.name for target in routing.find(name).targets] == [f"{owner}/{name}"]
    routing.providers["openai"].listed = ("gpt-5",)
    assert routing.names() == ["openai/gpt-5"]
    target = routing.find("deepseek-anthropic/deepseek-chat").targets[0]
    assert target.link.start("deepseek-chat", stream=False).startswith(
        b"POST /anthropic/v1/messages HTTP/1.1\r\nhost: api.deepseek.com\r\n"
    )
    assert routing.find("openai-responses/gpt-5").targets[0].link.where("gpt-5", stream=True) == "/v1/responses"


def test_bedrock_is_found_by_a_default_region_too(bare):
    environ = {"AWS_ACCESS_KEY_ID": "AKIDMADEUP", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "eu-west-1"}
    assert found(environ=environ).providers["bedrock"].link.site == "https://bedrock-runtime.eu-west-1.amazonaws.com"


def test_what_a_row_needs_is_named_with_all_its_names(bare):
    with pytest.raises(ConfigError, match="AWS_REGION or AWS_DEFAULT_REGION"):
        found("[providers.bedrock]\n", {"AWS_ACCESS_KEY_ID": "AKIDMADEUP", "AWS_SECRET_ACCESS_KEY": "x"})


def test_a_key_alone_is_not_enough_for_who_needs_an_address(bare):
    assert found(environ={"AZURE_OPENAI_API_KEY": "k"}).providers == {}


def test_a_key_that_cannot_be_sent_costs_its_provider_and_is_told(bare, caplog):
    environ = {"OPENAI_API_KEY": "sk-made\nup", "XAI_API_KEY": "fine"}
    with caplog.at_level(logging.WARNING):
        assert set(found(environ=environ).providers) == {"xai"}
    assert "openai (OPENAI_API_KEY in the environment) is left out" in caplog.text
    assert "sk-made" not in caplog.text


def test_what_is_configured_is_not_overruled(bare):
    text = '[providers.openai]\nbase_url = "http://127.0.0.1:9/v1"\napi_key = "mine"\n'
    openai = found(text, {"OPENAI_API_KEY": "from-outside"}).providers["openai"]
    assert openai.link.base_url == "http://127.0.0.1:9/v1"
    assert b"Bearer mine" in openai.link.head
    assert openai.found == "providers.openai in here.toml"
    assert openai.serving("gpt-5")


def test_a_server_on_its_usual_port_is_found_with_its_models(bare, monkeypatch):
    with Provider(answer(body=b'{"data":[{"id":"llama3"}]}')) as server:
        monkeypatch.setattr(catalogue, "local_base_urls", lambda row: (server.url,) if row.name == "ollama" else ())
        routing = found()
        assert list(routing.providers) == ["ollama"]
        assert routing.find("llama3").targets[0].name == "ollama/llama3"
        assert "a server on port" in routing.providers["ollama"].found


def test_a_further_api_of_a_server_is_there_by_its_name_and_lists_nothing(bare, monkeypatch):
    with Provider(answer(body=b'{"data":[{"id":"llama3"}]}')) as server:
        site = server.url.removesuffix("/v1")
        urls = {"llama-cpp": ("http://127.0.0.1:9/v1", server.url), "llama-cpp-anthropic": ("http://127.0.0.1:9", site)}
        monkeypatch.setattr(catalogue, "local_base_urls", lambda row: urls.get(row.name, ()))
        for text in ("", '[routes.r]\ntargets = ["llama-cpp-anthropic/llama3"]'):
            routing = found(text)
            assert list(routing.providers) == ["llama-cpp", "llama-cpp-anthropic"]
            assert routing.names() == [*routing.routes, "llama-cpp/llama3"]
            assert routing.find("llama3").targets[0].name == "llama-cpp/llama3"
            assert routing.find("llama-cpp-anthropic/llama3").targets[0].link.base_url == site
        assert len(server.requests) == 2, "asked once each time"


def test_of_two_usual_ports_the_one_that_answers_counts(bare, monkeypatch):
    with Provider(answer(body=b"[]")) as server:
        urls = ("http://127.0.0.1:9/v1", server.url)
        monkeypatch.setattr(catalogue, "local_base_urls", lambda row: urls if row.name == "llama-cpp" else ())
        assert found().providers["llama-cpp"].link.base_url == server.url


def test_a_server_that_a_route_counts_on_is_kept_though_it_is_not_there_yet(bare, monkeypatch):
    nowhere = ("http://127.0.0.1:9/v1",)
    monkeypatch.setattr(catalogue, "local_base_urls", lambda row: nowhere if row.name in ("ollama", "vllm") else ())
    assert list(found('[routes.r]\ntargets = ["ollama/llama3"]').providers) == ["ollama"]
    assert list(found('[defaults]\nsubstitutes = ["vllm/x"]').providers) == ["vllm"]


def test_the_embedded_engine_is_found_with_every_model_on_this_machine(monkeypatch):
    monkeypatch.setattr(catalogue, "local_base_urls", lambda _row: ())
    model = models.LocalModel("tiny", "/nowhere/tiny.gguf", "Tiny", None, 1, "by hand")
    monkeypatch.setattr(models, "available", lambda: {"tiny": model})
    local = found('[routes.r]\ntargets = ["local/tiny"]').providers["local"]
    assert local.listed == ("tiny",)
    assert local.link is None
    monkeypatch.setattr(models, "available", dict)
    assert discovery.embedded() is None


# -- which file --------------------------------------------------------------------------------------------------------


def test_the_file_is_the_one_named_else_the_variables_else_the_folders_else_none(tmp_path):
    for name in ("a", "b", assembling.DEFAULT_FILE):
        (tmp_path / name).write_text("")
    environ = {"UNDERSTUDY_CONFIG": str(tmp_path / "b")}
    assert configuration(tmp_path / "a", environ, tmp_path).source == str(tmp_path / "a")
    assert configuration(None, environ, tmp_path).source == str(tmp_path / "b")
    assert configuration(None, {}, tmp_path).source == str(tmp_path / "understudy.toml")
    assert configuration(None, {}, tmp_path / "elsewhere").source == "(no file)"
    with pytest.raises(ConfigError, match="cannot be read"):
        configuration(None, {"UNDERSTUDY_CONFIG": str(tmp_path / "missing")}, tmp_path)


# -- probes ------------------------------------------------------------------------------------------------------------


def test_a_probe_tells_the_time_to_the_first_token_or_the_fault():
    config = TWO + '[routes.r]\ntargets = ["first/drip:between=0.05", "first/overloaded", "second/silent"]\n'
    with Running(config) as gateway:
        route = gateway.call(lambda: gateway.gateway.routing.find("r"))

        async def all_of_them():
            return [await probe(gateway.gateway, route, target) for target in route.targets]

        good, overloaded, silent = asyncio.run_coroutine_threadsafe(all_of_them(), gateway.loop).result(10)
        assert gateway.until(lambda: gateway.gateway.transport.open_connections <= 1)
    assert good.target == "first/drip:between=0.05"
    assert good.fault is None
    assert 0 < good.seconds < 5
    assert (overloaded.seconds, overloaded.fault.kind) == (None, "overloaded")
    assert silent.fault.kind == "first_token_timeout"
