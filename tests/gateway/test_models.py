"""Which models there are: lists of providers that answer, fail, hang or talk nonsense; and names that lead to them."""

import asyncio
import functools

import pytest

from tests.gateway.sockets import Provider, answer
from tests.running import TWO, Running
from understudy import clock
from understudy.gateway import listing
from understudy.gateway.config import parse
from understudy.gateway.listing import ListingError, list_models
from understudy.gateway.routing import AmbiguousError, NoRouteError, Routing, configured
from understudy.gateway.routing import Provider as Known
from understudy.gateway.settings import Config
from understudy.upstream import Client, Clocks

QUICK = Clocks(connect=0.3, first_token=0.2, liveness=0.2, progress=0.2)


def box(provider, name):
    return f'[providers.{name}]\ndialect = "openai-chat"\nbase_url = "{provider.url}"\nmodels = ["{name}-known"]\n'


LISTS = {
    "lists": answer(body=b'{"object":"list","data":[{"id":"a/b/c","object":"model"},{"id":"d"},{"id":"d"}]}'),
    "lists bare": answer(body=b'[{"id":"bare"}]'),
    "fails": answer(b"500 Internal Server Error", body=b'{"error":{"message":"no"}}'),
    "has none": answer(b"404 Not Found", body=b"404 page not found"),
    "talks nonsense": answer(body=b'{"data":[{"name":"x"}]}'),
    "sends a page": answer(body=b"<html>", kind=b"text/html"),
    "goes round and round": answer(body=b"[" * 5000),
    "hangs": lambda connection: connection.recv(1),
    "is cut": lambda connection: connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{"),
}


def test_the_models_of_those_who_list_them_are_there_whatever_the_others_do(monkeypatch):
    monkeypatch.setattr(listing, "list_models", functools.partial(list_models, clocks=QUICK))
    names = [name.replace(" ", "-") for name in LISTS]
    providers = [Provider(reply) for reply in LISTS.values()]
    for provider in providers:
        provider.__enter__()
    try:
        config = "".join(box(provider, name) for provider, name in zip(providers, names, strict=True))
        with Running(config + '[routes."my/route"]\ntargets = ["fails/x"]\n') as gateway:
            response = gateway.http.get("/v1/models")
            again = gateway.http.get("/v1/models")
            one = gateway.http.get("/v1/models/lists/a/b/c")
            encoded = gateway.http.get("/v1/models/my%2Froute")
            bare = gateway.http.get("/v1/models/bare")
            missing = gateway.http.get("/v1/models/lists-known-not")
    finally:
        for provider in providers:
            provider.__exit__()
    assert response.status_code == 200
    body = response.json()
    assert body["object"] == "list"
    ids = [model["id"] for model in body["data"]]
    assert ids[0] == "my/route"
    assert len(ids) == len(set(ids))
    assert {f"{name}/{name}-known" for name in names} <= set(ids)
    assert {"lists/a/b/c", "lists/d", "lists-bare/bare"} <= set(ids)
    assert len(ids) == 1 + len(names) + 3
    assert all(set(model) == {"id", "object", "created", "owned_by"} for model in body["data"])
    assert again.json() == body
    assert [len(provider.requests) for provider in providers] == [1] * len(providers), "asked once, then remembered"
    assert all(request[0].startswith(b"GET /v1/models HTTP/1.1") for request in providers[0].requests)
    assert one.json() == {"id": "lists/a/b/c", "object": "model", "created": 0, "owned_by": "lists"}
    assert encoded.json()["id"] == "my/route"
    assert bare.status_code == 200
    assert missing.status_code == 404
    assert missing.json()["error"]["param"] == "model"
    assert "lists/lists-known" in missing.json()["error"]["message"]


def test_callers_that_come_together_share_one_asking_and_later_ones_ask_anew():
    async def scenario():
        client = Client(environ={})
        with clock.frozen() as time:
            provider = configured("first", parse(TWO.replace("{a}", url).replace("{b}", url), "f", {}).config.providers[
                "first"], {}, client, "")  # fmt: skip
            keeper = listing.Listing(Routing(Config(), [provider]))
            await asyncio.gather(*(keeper.refresh() for _ in range(5)))
            await keeper.refresh()
            assert len(server.requests) == 1
            time.advance(listing.FRESH + 1)
            asking = asyncio.ensure_future(keeper.refresh())
            await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait({asking})
            await keeper.close()
            await keeper.close()
        assert provider.listed == ("x",)
        await client.close()

    with Provider(answer(body=b'[{"id":"x"}]')) as server:
        url = server.url
        asyncio.run(scenario())


def test_who_has_no_list_says_so():
    with pytest.raises(ListingError, match="no list"):
        asyncio.run(list_models(Known("x", "openai-chat", "")))


# -- health ------------------------------------------------------------------------------------------------------------


def test_a_gateway_without_any_provider_lives_but_is_not_ready():
    with Running() as gateway:
        gateway.call(gateway.gateway.routing.providers.clear)
        assert gateway.http.get("/healthz").status_code == 200
        response = gateway.http.get("/readyz")
        assert response.status_code == 503
        assert "understudy check" in response.json()["error"]["message"]


# -- names -------------------------------------------------------------------------------------------------------------


def known(name, *models, serves=(), engines=(), link=True):
    provider = Known(name, "openai-chat", "")
    provider.listed, provider.serves = models, serves
    provider.engines = dict.fromkeys(engines)
    if link:
        provider.link = type("Link", (), {"base_url": "http://x"})()
    return provider


def test_a_bare_name_leads_to_the_one_provider_that_serves_it():
    routing = Routing(Config(), [known("a", "m1", "m2"), known("b", "m2", serves=("gpt-*",))])
    assert routing.find("m1").targets[0].name == "a/m1"
    assert routing.find("gpt-9").targets[0].name == "b/gpt-9"
    assert routing.find("b/whatever/x").targets[0].model == "whatever/x"
    assert routing.names() == ["a/m1", "a/m2", "b/m2"]
    with pytest.raises(AmbiguousError, match="'a/m2' or 'b/m2'"):
        routing.find("m2")
    with pytest.raises(NoRouteError, match=r"Did you mean 'a/m1'"):
        routing.find("m11")
    with pytest.raises(NoRouteError, match="lists what there is"):
        routing.find("zzzzzzzz")


def test_three_that_could_be_meant_are_all_named():
    routing = Routing(Config(), [known("a", "model-1", "model-2", "model-3", "model-4")])
    with pytest.raises(NoRouteError, match=r"'a/model-.', 'a/model-.' or 'a/model-.'"):
        routing.find("model-")


def test_the_embedded_engine_serves_what_it_has_and_nothing_else():
    routing = Routing(Config(), [known("local", "tiny", engines=("tiny",), link=False)])
    assert routing.find("local/tiny").targets[0].model == "tiny"
    assert routing.find("tiny").targets[0].name == "local/tiny"
    with pytest.raises(NoRouteError, match="Did you mean 'local/tiny'"):
        routing.find("local/tinny")


def test_names_that_clients_make_up_do_not_fill_the_memory():
    routing = Routing(Config(), [known("a")])
    for number in range(20_000):
        routing.find(f"a/{number}")
    assert len(routing._on_demand) <= 4096
    assert len(routing._targets) <= 2 * 4096 + 1
    first = routing.find("a/1")
    assert routing.find("a/1") is first
    routing.forget()
    assert routing.find("a/1") is not first


def test_targets_that_several_routes_reach_are_tried_once():
    config = parse(
        '[defaults]\nsubstitutes = ["a/s", "c"]\n[routes]\nc.targets = ["b", "a/x"]\nb.targets = ["a/x", "a/y"]\n'
        '"a/y".targets = ["a/y", "a/z"]\n'
        '[providers.a]\ndialect = "openai-chat"\nbase_url = "http://x"\n',
        "f", {},
    ).config  # fmt: skip
    routing = Routing(config, [known("a")])
    assert [target.name for target in routing.find("c").targets] == ["a/x", "a/y", "a/z"]
    assert [target.name for target in routing.find("a/q").targets] == ["a/q", "a/s", "a/x", "a/y", "a/z"]


def test_clocks_come_from_the_route_then_the_defaults_then_what_is_built_in():
    config = parse(
        "[defaults]\nconnect_timeout = 2\ndeadline = 7\n"
        "[routes.r]\ntargets = ['a/x']\nconnect_timeout = 1\nretries = 0\n"
        '[providers.a]\ndialect = "openai-chat"\nbase_url = "http://x"\n',
        "f", {},
    ).config  # fmt: skip
    routing = Routing(config, [known("a")])
    route = routing.find("r")
    assert (route.clocks.connect, route.clocks.first_token, route.deadline, route.retries) == (1, 60, 7, 0)
    assert routing.find("a/x").clocks.connect == 2
    assert routing.find("a/x").retries == 1
