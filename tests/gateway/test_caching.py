"""Exactly the same call gets exactly the same answer, without a provider; whatever is not the same does not.

The clients are those of every dialect, over real sockets; the providers are simulated, the stores are real.
"""

import contextlib
import sqlite3

import anthropic
import httpx2
import msgspec
import openai
import pytest

from tests.gateway.redis_server import RedisServer
from tests.gateway.sockets import ANSWER, Provider, answer
from tests.gateway.test_dialects import BASES, NAMES, TALKS, WEATHER
from tests.running import TWO, Running
from understudy import dialects
from understudy.access import Limit
from understudy.access.store import Store
from understudy.cache import Entry
from understudy.canon import Message, Request, Sampling, Text
from understudy.gateway import caching, surface

PATIENT = '[cache]\npatience = 5\nwhere = "{where}"\n'
"""A busy machine makes no miss here; where that is meant, a test says so."""

OWN = "".join(
    f'[providers.sim-{name}]\ndialect = "{name}"\nbase_url = "{{root}}{BASES.get(name, "")}"\napi_key = "x"\n'
    f'cooldown = false\n[routes.own-{name}]\ntargets = ["sim-{name}/ok"]\n'
    f'[routes.other-{name}]\ntargets = ["{"second" if name != "openai-chat" else "sim-anthropic-messages"}/ok"]\n'
    for name in NAMES
)
ROUTES = """
[routes.off]
targets = ["first/ok"]
cache = "off"
[routes.shared]
targets = ["first/ok"]
cache_shared = true
[routes.zero]
targets = ["first/ok"]
cache = "deterministic"
[routes.untold]
targets = ["first/ok"]
store = "none"
[routes.moves]
targets = ["first/internal", "second/ok"]
[routes.weighted]
targets = ["first/ok", "second/ok"]
order = "weighted"
weights = [0, 1]
[routes.breaks]
targets = ["first/cut:after=3", "second/ok"]
[routes.declines]
targets = ["sim-anthropic-messages/refusal"]
[routes.brief]
targets = ["first/ok"]
cache_ttl = 0.3
"""
ROUTES += "".join(f'[routes.{name}]\ntargets = ["first/{name}"]\n' for name in (
    "filtered", "length", "empty", "internal", "one-malformed"
))  # fmt: skip


def config(where, more=""):
    every = TWO.replace("[defaults]", '[defaults]\ncache = "always"')
    return PATIENT.replace("{where}", str(where)) + more + every + OWN + ROUTES


@pytest.fixture(scope="module", params=["file", "memory", "redis"])
def gateway(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    more, where = "", request.param
    with contextlib.ExitStack() as held:
        if where == "redis":
            server = RedisServer(folder)
            held.callback(server.kill)
            more = f'[server]\nredis = "{server.start().url}"\n'
        elif where == "file":
            where = folder / "cache.sqlite"
        yield held.enter_context(Running(config(where, more)))


@pytest.fixture(scope="module")
def plain():
    with Running(config("memory")) as running:
        yield running


def path_of(dialect, model, *, stream):
    base = "" if dialect == "gemini" else BASES.get(dialect, "")
    return surface.provider_path(dialect, base, model, stream=stream)


def ask(gateway, dialect, model, text, *, stream=False, **more):
    request = Request("test", model, (Message("user", (Text(text),)),), stream=stream, store=False, **more)
    if dialect in ("cohere-chat", "bedrock-converse", "gemini", "ollama", "anthropic-messages", "openai-completions"):
        request = msgspec.structs.replace(request, store=None)
    body, _ = dialects.get(dialect).encode_request(request)
    path = path_of(dialect, model, stream=stream)
    return gateway.http.post(path, content=body, headers={"content-type": "application/json"})


def settled(gateway):
    """Wait until what was put has been kept."""
    assert gateway.until(lambda: not gateway.gateway.cache._waiting)


def state(response):
    return response.headers["x-understudy-cache"]


def twice(gateway, *arguments, **more):
    first = ask(gateway, *arguments, **more)
    assert first.status_code == 200, first.text
    settled(gateway)
    return first, ask(gateway, *arguments, **more)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("provider", ["own", "other"])
@pytest.mark.parametrize("client", NAMES)
def test_every_client_gets_the_very_bytes_again(gateway, client, provider, stream):
    first, second = twice(gateway, client, f"{provider}-{client}", "Hello there", stream=stream)
    assert (state(first), state(second)) == ("miss", "hit")
    assert second.content == first.content
    assert second.headers["content-type"] == first.headers["content-type"]
    assert second.headers["x-understudy-target"] == first.headers["x-understudy-target"]
    assert second.headers["x-understudy-attempts"] == "0"
    assert second.headers["age"].isdigit()
    record = gateway.exchange(second)
    assert (record.outcome, record.status, record.attempts) == ("answered", 200, [])
    assert record.hit.exchange == first.headers["x-understudy-exchange"]
    if dialects.get(client).NAME not in ("openai-chat", "openai-completions") or not stream:
        assert record.hit.usage.output


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("client", TALKS)
def test_tool_calls_are_given_again(gateway, client, stream):
    first, second = twice(gateway, client, f"own-{client}", "Use the tool", stream=stream, tools=(WEATHER,))
    assert (state(first), state(second)) == ("miss", "hit")
    assert second.content == first.content


@pytest.mark.parametrize("client", NAMES)
def test_a_stream_is_not_given_for_a_whole_answer_nor_the_other_way_round(gateway, client):
    text = "Whole or in pieces"
    states = []
    for stream in (True, False, True, False):
        response = ask(gateway, client, f"own-{client}", text, stream=stream)
        kind = response.headers["content-type"].encode()
        assert kind.startswith(surface.STREAM_TYPES[client]) is stream
        states.append(state(response))
        settled(gateway)
    assert states == ["miss", "miss", "hit", "hit"]


def test_geminis_array_is_an_answer_of_its_own(gateway):
    body = {"contents": [{"role": "user", "parts": [{"text": "An array"}]}]}
    found = []
    for query in ("?alt=sse", "", "?alt=sse", ""):
        found.append(gateway.http.post(f"/v1beta/models/own-gemini:streamGenerateContent{query}", json=body))
        settled(gateway)
    assert [state(one) for one in found] == ["miss", "miss", "hit", "hit"]
    assert found[3].content == found[1].content != found[2].content
    assert found[3].json()


def test_ollamas_prompt_is_not_its_chat(gateway):
    found, body = [], {"model": "other-ollama", "prompt": "Hi", "stream": False}
    for _ in range(2):
        found.append(gateway.http.post("/api/generate", json=body))
        settled(gateway)
    assert [state(one) for one in found] == ["miss", "hit"]
    assert found[1].json()["response"]


def chat(gateway, model="own-openai-chat", text="Hello", headers=None, **more):
    body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
    response = gateway.http.post("/v1/chat/completions", json=body, headers=headers)
    settled(gateway)
    return response


def states(gateway, *calls):
    return [state(chat(gateway, **call)) for call in calls]


def test_white_space_and_order_do_not_count(plain):
    bodies = [
        b'{"model":"shared","messages":[{"role":"user","content":"Sp\\u0061ced"}]}',
        b' {"messages" : [ {"content":"Spaced","role":"user"} ], "model":"shared" }\n',
    ]
    found = []
    for body in bodies:
        response = plain.http.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
        found.append(state(response))
        settled(plain)
    assert found == ["miss", "hit"]


def test_any_difference_is_a_miss(plain):
    base = {"text": "Differs"}
    changes = [
        {}, {"temperature": 0}, {"temperature": 0.0}, {"temperature": 1}, {"user": "u1"}, {"user": "u2"},
        {"metadata": {"a": "1"}}, {"seed": 1}, {"max_tokens": 50}, {"stop": ["x"]}, {"x_unknown": 1}, {"stream": True},
        {"stream": True, "stream_options": {"include_usage": True}}, {"text": "Differs "}, {"model": "shared"},
    ]  # fmt: skip
    calls = [{**base, **change} for change in changes]
    assert states(plain, *calls) == ["miss"] * len(calls)
    assert states(plain, *calls) == ["hit"] * len(calls)


@pytest.mark.parametrize("header", ["openai-beta", "accept-language"])
def test_a_header_that_a_provider_heeds_makes_another_call(plain, header):
    calls = [{"text": header, "headers": {header: value}} for value in ("a", "b")]
    assert states(plain, {"text": header}, *calls, {"text": header}, *calls) == ["miss"] * 3 + ["hit"] * 3


def test_a_header_that_only_tells_calls_apart_does_not(plain):
    headers = [{"traceparent": f"00-{n:032x}-{n:016x}-01", "idempotency-key": str(n)} for n in (1, 2)]
    assert states(plain, *({"text": "Traced", "headers": one} for one in headers)) == ["miss", "hit"]


def test_answers_are_never_given_to_another_key(plain):
    def by(key, model):
        return {"text": "Whose?", "model": model, "headers": {"authorization": f"Bearer {key}"}}

    own = [by("one", "own-openai-chat"), by("two", "own-openai-chat")]
    assert states(plain, *own, *own) == ["miss", "miss", "hit", "hit"]
    assert states(plain, by("one", "shared"), by("two", "shared"), {"text": "Whose?", "model": "shared"}) == [
        "miss", "hit", "hit",
    ]  # fmt: skip


def test_virtual_keys_have_answers_of_their_own_whatever_opens_them(tmp_path):
    store = Store(tmp_path / "keys.sqlite")
    secrets = {name: store.create(name)[1].reveal() for name in ("a", "b")}
    identifier = next(record.key.id for record in store.records() if record.key.name == "a")
    more = f'[server]\nkey_store = "{tmp_path}/keys.sqlite"\nkeys = ["fixed"]\n'
    with Running(config(tmp_path / "cache.sqlite", more)) as gateway:
        calls = [{"text": "Whose?", "headers": {"x-api-key": key}} for key in (*secrets.values(), "fixed")]
        assert states(gateway, *calls, *calls) == ["miss"] * 3 + ["hit"] * 3
        rotated = store.rotate("a", 60)[1].reveal()
        headers = {"x-api-key": rotated}
        assert gateway.until(lambda: _opens(gateway, rotated))
        assert states(gateway, {"text": "Whose?", "headers": headers}) == ["hit"]
    with contextlib.closing(sqlite3.connect(tmp_path / "cache.sqlite")) as db:
        owners = {row[0] for row in db.execute("SELECT key FROM answers")}
    store.close()
    assert identifier in owners
    assert not any(secret in str(owners) for secret in (*secrets.values(), "fixed"))


@pytest.mark.parametrize(("keep", "kept"), [("none", False), ("metadata", False), ("bodies", True), (None, True)])
def test_what_may_not_be_kept_of_a_key_is_not_in_the_cache(tmp_path, keep, kept):
    store = Store(tmp_path / "keys.sqlite")
    secret = store.create("team", store=keep)[1].reveal()
    store.close()
    with Running(config("memory", f'[server]\nkey_store = "{tmp_path}/keys.sqlite"\n')) as gateway:
        headers = {"authorization": f"Bearer {secret}"}
        assert states(gateway, *[{"headers": headers}] * 2) == (["miss", "hit"] if kept else ["bypass"] * 2)


def _opens(gateway, secret):
    try:
        return gateway.gateway.authorization.admission.key(secret.encode()) is not None
    except Exception:  # noqa: BLE001  # not yet
        return False


def test_a_route_without_a_cache_says_nothing_of_one(plain):
    for _ in range(2):
        assert "x-understudy-cache" not in chat(plain, "off").headers
    assert plain.exchanges[-1].cache is None


BYPASSED = {
    "stored": {"store": True},
    "no-store": {"headers": {"cache-control": "no-store"}},
    "nothing to be kept of the call": {"headers": {"x-understudy-store": "none"}},
    "no words to be kept of the call": {"headers": {"x-understudy-store": "metadata"}},
    "not to be read": {"headers": {"x-understudy-store": "nonsense"}},
    "large": {"text": "x" * 1_100_000},
}


@pytest.mark.parametrize("name", BYPASSED)
def test_what_is_not_to_be_kept_is_not(plain, name):
    call = {"text": name, **BYPASSED[name]}
    assert states(plain, call, call) == ["bypass"] * 2
    assert plain.exchanges[-1].cache == "bypass"


def test_nothing_is_kept_where_the_route_forbids_it(plain):
    for _ in range(2):
        assert "x-understudy-cache" not in chat(plain, "untold").headers


@pytest.mark.parametrize("more", [
    {}, {"store": True}, {"store": False, "previous_response_id": "resp_of_the_provider"},
    {"store": False, "conversation": "conv_1"},
])  # fmt: skip
def test_responses_that_are_state_are_not_kept(plain, more):
    found = []
    for _ in range(2):
        body = {"model": "own-openai-responses", "input": "State", **more}
        found.append(state(plain.http.post("/v1/responses", json=body)))
        settled(plain)
    assert found == ["bypass"] * 2


def test_a_name_that_stands_twice_is_never_taken_for_one_of_the_two(plain):
    head = b'{"model":"shared","messages":[{"role":"user","content":"One"}]'
    bodies = [head + b"}", head + b',"messages":[{"role":"user","content":"One"}]}']
    found = []
    for body in (*bodies, bodies[1]):
        response = plain.http.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})
        found.append(state(response))
        settled(plain)
    assert found == ["miss", "bypass", "bypass"]


def test_a_deterministic_route_keeps_what_was_asked_to_be_repeatable(plain):
    def call(**more):
        return {"model": "zero", "text": "Again", **more}

    hosted = [{"type": "web_search"}]
    calls = [call(), call(temperature=0.5), call(temperature=0), call(seed=1, temperature=1)]
    assert states(plain, *calls, *calls) == ["bypass", "bypass", "miss", "miss", "bypass", "bypass", "hit", "hit"]
    for more in ({"tools": hosted}, {}):
        body = {"model": "zero", "input": "Again", "store": False, "temperature": 0, **more}
        assert state(plain.http.post("/v1/responses", json=body)) == ("bypass" if more else "miss")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", ["filtered", "declines", "empty", "internal", "moves"])
def test_an_answer_that_is_not_sound_or_not_the_routes_own_is_not_kept(plain, model, stream):
    assert states(plain, *[{"model": model, "stream": stream}] * 2) == ["miss", "miss"]


@pytest.mark.parametrize("model", ["breaks", "one-malformed"])
def test_a_stream_that_broke_off_or_left_something_out_is_not_kept(plain, model):
    assert states(plain, *[{"model": model, "stream": True}] * 2) == ["miss", "miss"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", ["length", "weighted"])
def test_an_answer_cut_at_the_length_asked_for_and_one_of_any_weighted_target_are_kept(plain, model, stream):
    assert states(plain, *[{"model": model, "stream": stream}] * 2) == ["miss", "hit"]


def test_an_answer_larger_than_what_is_kept_is_not_kept():
    provider = Provider(answer(body=ANSWER.replace(b"Fine.", b"Fine." * 500)))
    text = '[cache]\nwhere = "memory"\npatience = 5\nlargest_body = 2000\n[providers.p]\ndialect = "openai-chat"\n'
    text += f'base_url = "{provider.url}"\n[routes.p]\ntargets = ["p/m"]\ncache = "always"\n'
    with provider, Running(text) as gateway:
        assert states(gateway, {"model": "p"}, {"model": "p"}) == ["miss", "miss"]


DONE = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
WORD = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
HEAD = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[]}\n\n'


@pytest.mark.parametrize(
    ("body", "stream", "good"),
    [
        (ANSWER, False, True),
        (ANSWER[:-1], False, False),
        (ANSWER.replace(b'"stop"', b"null"), False, False),
        (ANSWER.replace(b'"stop"', b'"content_filter"'), False, False),
        (HEAD + WORD + DONE, True, True),
        (HEAD + WORD, True, False),
        (HEAD + WORD + b"data: {torn\n\n" + DONE, True, False),
        (HEAD + WORD + DONE.replace(b'"stop"', b'"content_filter"'), True, False),
        (b"", True, False),
        (ANSWER, True, False),
    ],
)
def test_only_an_answer_that_reads_as_whole_and_sound_is_kept(body, stream, good):
    entry = Entry(b"", "ex_1", "p/m", 0.0, 1.0, [], body)
    assert (caching.examined(entry, "openai-chat", stream=stream) is not None) is good


def test_losses_are_told_again(plain):
    first, second = twice(plain, "openai-chat", "other-openai-chat", "Lossy", sampling=Sampling(seed=7))
    assert state(second) == "hit"
    assert "sampling.seed" in second.headers["x-understudy-losses"]
    assert second.headers["x-understudy-losses"] == first.headers["x-understudy-losses"]


def test_an_answer_that_its_provider_forbids_to_store_is_not_kept():
    for header, expected in ((b"cache-control: private, no-store\r\n", "miss"), (b"cache-control: private\r\n", "hit")):
        provider = Provider(answer(headers=header))
        text = '[cache]\nwhere = "memory"\npatience = 5\n[providers.p]\ndialect = "openai-chat"\n'
        text += f'base_url = "{provider.url}"\n[routes.p]\ntargets = ["p/m"]\ncache = "always"\n'
        with provider, Running(text) as gateway:
            assert states(gateway, {"model": "p"}, {"model": "p"}) == ["miss", expected]
            assert len(provider.calls) == (2 if expected == "miss" else 1)


def test_a_spoofed_header_of_a_provider_is_not_passed_on():
    provider = Provider(answer(headers=b"x-understudy-cache: hit\r\n"))
    text = f'[providers.p]\ndialect = "openai-chat"\nbase_url = "{provider.url}"\n'
    with provider, Running(text) as gateway:
        response = gateway.chat("p/m")
        assert response.status_code == 200
        assert "x-understudy-cache" not in response.headers


def test_a_client_says_how_old_an_answer_may_be(plain):
    def call(control):
        return {"text": "How old?", "headers": {"cache-control": control}}

    assert states(plain, call("max-age=60"), call("max-age=60"), call("min-fresh=60")) == ["miss", "hit", "hit"]
    assert states(plain, call("no-cache"), call("max-age=0, x"), call("min-fresh=99999"), call("max-age=60")) == [
        "miss", "miss", "miss", "hit",
    ]  # fmt: skip


def test_only_if_cached_calls_nobody(plain):
    headers = {"cache-control": "only-if-cached"}
    refused = chat(plain, text="Only", headers=headers)
    assert (refused.status_code, state(refused)) == (504, "miss")
    assert refused.json()["error"]["code"] == "not_cached"
    assert plain.exchange(refused).attempts == []
    chat(plain, text="Only")
    assert state(chat(plain, text="Only", headers=headers)) == "hit"
    assert chat(plain, text="Only", store=True, headers=headers).status_code == 504
    message = plain.http.post("/v1/messages", headers=headers, json={
        "model": "own-anthropic-messages", "max_tokens": 5, "messages": [{"role": "user", "content": "Only"}],
    })  # fmt: skip
    assert message.status_code == 504
    assert message.json()["type"] == "error"


def test_an_answer_expires(plain):
    calls = {"model": "brief", "text": "Soon over"}
    assert states(plain, calls) == ["miss"]
    assert plain.until(lambda: plain.exchanges)
    for _ in range(500):
        if state(chat(plain, **calls, headers={"cache-control": "max-age=100, only-if-cached"})) == "miss":
            break
    else:
        raise AssertionError("it never expired")
    assert states(plain, calls) == ["miss"]


def test_answers_outlive_the_gateway_in_a_file(tmp_path):
    text = '[cache]\npatience = 5\nwhere = "{where}"\n[providers.p]\ndialect = "openai-chat"\nbase_url = "{url}"\n'
    text += '{headers}\n[routes.p]\ntargets = ["p/m"]\ncache = "always"\n{more}\n'
    provider = Provider()

    def asked(headers="", more=""):
        filled = text.replace("{where}", str(tmp_path / "c.sqlite")).replace("{url}", provider.url)
        with Running(filled.replace("{headers}", headers).replace("{more}", more)) as gateway:
            return state(chat(gateway, "p"))

    with provider:
        assert [asked(), asked()] == ["miss", "hit"]
        assert asked(more="retries = 3\nanswer_timeout = 9\ncache_ttl = 60") == "hit"
        assert asked(headers='headers = { x-mode = "strict" }') == "miss"
        assert asked(more="strict = true") == "miss"
        assert asked(headers='api_key = "another"') == "hit"


def test_a_shorter_ttl_holds_for_what_was_kept_before(tmp_path):
    provider = Provider()
    text = f'[cache]\npatience = 5\nwhere = "{tmp_path}/c.sqlite"\n[providers.p]\ndialect = "openai-chat"\n'
    text += f'base_url = "{provider.url}"\n[routes.p]\ntargets = ["p/m"]\ncache = "always"\ncache_ttl = '
    with provider:
        with Running(text + "3600") as gateway:
            assert states(gateway, {"model": "p"}, {"model": "p"}) == ["miss", "hit"]
        with Running(text + "0.001") as gateway:
            assert states(gateway, {"model": "p"}) == ["miss"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_broken_store_is_a_miss_and_no_more(tmp_path, stream):
    file = tmp_path / "cache.sqlite"
    file.write_bytes(b"This is no database. " * 1000)
    with Running(config(file)) as gateway:
        for _ in range(2):
            response = chat(gateway, stream=stream)
            assert (response.status_code, state(response)) == (200, "miss")
        assert gateway.until(lambda: gateway.gateway.cache.failed)
        assert gateway.until(lambda: gateway.gateway.cache.lost == 2)


def test_a_locked_store_delays_no_call_beyond_its_patience(tmp_path):
    file = tmp_path / "cache.sqlite"
    with Running(config(file)) as gateway:
        assert states(gateway, {}, {}) == ["miss", "hit"]
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("BEGIN EXCLUSIVE")
        with Running(config(file).replace("patience = 5", "patience = 0.02")) as gateway:
            response = chat(gateway)
            assert (response.status_code, state(response)) == (200, "miss")
            assert gateway.until(lambda: gateway.gateway.cache.failed == 1)
            assert gateway.until(lambda: gateway.gateway.cache.lost == 1)


def test_a_redis_that_is_gone_is_a_miss_and_comes_back(tmp_path):
    server = RedisServer(tmp_path)
    try:
        with Running(config("redis", f'[server]\nredis = "{server.url}"\n')) as gateway:
            assert [chat(gateway).status_code for _ in range(3)] == [200] * 3
            assert gateway.gateway.cache.failed >= 1
            server.start()
            assert _comes_back(gateway)
    finally:
        server.kill()


def _comes_back(gateway):
    return any(state(chat(gateway)) == "hit" for _ in range(2000))


def test_two_replicas_share_a_redis(tmp_path):
    server = RedisServer(tmp_path).start()
    provider = Provider()
    text = f'[server]\nredis = "{server.url}"\n[cache]\npatience = 5\nwhere = "redis"\n[providers.p]\n'
    text += f'dialect = "openai-chat"\nbase_url = "{provider.url}"\n[routes.p]\ntargets = ["p/m"]\ncache = "always"\n'
    try:
        with provider, Running(text) as one, Running(text) as other:
            first, second = chat(one, "p"), chat(other, "p")
            assert (state(first), state(second)) == ("miss", "hit")
            assert first.content == second.content
            assert len(provider.calls) == 1
    finally:
        server.kill()


def test_a_hit_uses_nothing_of_a_keys_limits(tmp_path):
    store = Store(tmp_path / "keys.sqlite")
    secret = store.create("a", limits=(Limit("requests", 2, "minute"),))[1].reveal()
    store.close()
    with Running(config("memory", f'[server]\nkey_store = "{tmp_path}/keys.sqlite"\n')) as gateway:
        calls = [chat(gateway, headers={"x-api-key": secret}) for _ in range(6)]
        assert [state(one) for one in calls] == ["miss"] + ["hit"] * 5
        statuses = [chat(gateway, text=text, headers={"x-api-key": secret}).status_code for text in ("x", "y")]
        assert statuses == [200, 429]


def test_official_sdks_read_what_they_are_given_again(gateway):
    chats = openai.OpenAI(base_url=gateway.url + "/v1", api_key="sdk", max_retries=0,
                          http_client=httpx2.Client(trust_env=False, timeout=60))  # fmt: skip
    claude = anthropic.Anthropic(base_url=gateway.url, api_key="sdk", max_retries=0)
    turns = [{"role": "user", "content": "From an SDK"}]
    texts = []
    for _ in range(2):
        with chats.chat.completions.create(model="own-openai-chat", messages=turns, stream=True) as stream:
            pieces = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
        whole = chats.chat.completions.with_raw_response.create(model="own-openai-chat", messages=turns)
        with claude.messages.stream(model="own-anthropic-messages", max_tokens=99, messages=turns) as stream:
            said = "".join(stream.text_stream)
            assert stream.get_final_message().stop_reason == "end_turn"
        with chats.responses.stream(model="own-openai-responses", input="From an SDK", store=False) as stream:
            stream.until_done()
            answered = stream.get_final_response().output_text
        texts.append(("".join(pieces), whole.parse().choices[0].message.content, said, answered))
        settled(gateway)
    assert whole.headers["x-understudy-cache"] == "hit"
    assert texts[0] == texts[1]
    assert all(texts[0])
    assert [one.cache for one in gateway.exchanges[-4:]] == ["hit"] * 4
    chats.close()
    claude.close()
