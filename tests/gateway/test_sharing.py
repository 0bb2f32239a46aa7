"""Replicas share what they find through a real Redis server, and nobody notices when it is gone."""

import asyncio
import math
import statistics
import time

import msgspec
import pytest
import redis.asyncio.connection

from tests.gateway.redis_server import RedisServer
from tests.gateway.test_fail_over import BOTH, route
from tests.running import Running
from understudy.gateway import sharing, words
from understudy.gateway.config import ConfigError, parse
from understudy.gateway.words import RefusedError, Words, entry_of, read, word_of
from understudy.resilience import Change, Health, Left, Place, Quotas

ROUTES = route("first/m", "second/ok")
PLACE = Place("openai", "gpt", "https://api.openai.com/v1", "env:KEY")


@pytest.fixture
def server(tmp_path):
    server = RedisServer(tmp_path).start()
    yield server
    server.kill()


def replica(server, like=None):
    """A gateway that shares through `server`; `like` another, it has that one's providers."""
    text = f'[server]\nredis = "{server.url}"\n' + BOTH + ROUTES
    if like is not None:
        text = text.replace("{a}", like.a.url).replace("{b}", like.b.url)
    return Running(text)


@pytest.fixture
def two(server):
    with replica(server) as one, replica(server, one) as other:
        assert connected(one)
        assert connected(other)
        yield one, other


def connected(running, *, so=True):
    return running.until(lambda: running.gateway.sharing.connected is so)


def state(running, name="first/m"):
    targets = running.http.get("/admin/targets").json()["targets"]
    return next(target["state"] for target in targets if target["target"] == name)


def command(running, name, **more):
    answer = running.http.post("/admin/targets", json={"target": "first/m", "command": name, **more})
    assert answer.status_code == 200


def becomes(running, wanted, seconds=10.0):
    """Whether the target comes to be in the `wanted` state within `seconds`; how long that took."""
    began = time.monotonic()
    while (found := state(running)) != wanted:
        assert time.monotonic() - began < seconds, f"still {found}, not {wanted}, after {seconds} s"
        time.sleep(0.005)
    return time.monotonic() - began


# -- what is shared --------------------------------------------------------------------------------------------------


def test_a_cooldown_found_by_one_keeps_the_other_away_at_once(two):
    one, other = two
    one.a.switch("m", "rate-limit:retry=30")
    assert one.chat("r").headers["x-understudy-target"] == "second/ok"
    assert becomes(other, "cooling down") < 1
    response = other.chat("r")
    assert response.headers["x-understudy-target"] == "second/ok"
    assert response.headers["x-understudy-attempts"] == "1", "it did not even try"
    left = other.call(lambda: other.gateway.health.cooldowns.of(places(other)["first/m"], time.monotonic()))
    assert 25 < left.until - time.monotonic() <= 30


def places(running):
    return {target.name: target.place for target in running.gateway.routing.known()}


def test_a_drain_and_a_reopening_at_one_hold_at_the_other(two):
    one, other = two
    command(one, "drain")
    assert becomes(other, "drained") < 1
    command(other, "reopen")
    assert becomes(one, "ready") < 1


def test_a_cooldown_without_an_end_has_none_at_the_other_either(two):
    one, other = two
    command(one, "cool")
    becomes(other, "cooling down")
    left = other.call(lambda: other.gateway.health.cooldowns.of(places(other)["first/m"], time.monotonic()))
    assert math.isinf(left.until)
    command(one, "reopen")
    assert becomes(other, "ready") < 1


def test_a_breaker_that_opens_or_closes_does_so_at_the_other(two):
    one, other = two
    one.a.switch("m", "internal")
    for _ in range(8):
        one.chat("r")
    assert state(one) == "open"
    becomes(other, "open")
    place, now = places(other)["first/m"], time.monotonic()
    first = one.call(lambda: one.gateway.health.breakers.state(place, now).until)
    second = other.call(lambda: other.gateway.health.breakers.state(place, now).until)
    assert sharing.GRACE * 0.9 < second - first < 3 * sharing.GRACE + 0.5, "who opened it may try first"
    command(one, "reopen")
    becomes(other, "ready")


def test_what_one_has_used_of_a_limit_is_used_at_the_other(two):
    one, other = two
    headers = [(b"x-ratelimit-limit-requests", b"100"), (b"x-ratelimit-remaining-requests", b"3"),
               (b"x-ratelimit-reset-requests", b"58s")]  # fmt: skip
    one.a.switch("m", "ok")
    one.chat("r")
    place = places(one)["first/m"]
    one.call(lambda: one.gateway.health.quotas.heard(place, headers, time.monotonic(), refused=True))

    def left():
        return [w.left for w in other.gateway.health.quotas.left(place, time.monotonic()) if w.limit == 100]

    assert other.until(lambda: left() and left()[0] < 10)


def test_a_replica_that_starts_later_learns_what_is_so(server):
    with replica(server) as one:
        connected(one)
        one.a.switch("m", "rate-limit:retry=30")
        one.chat("r")
        command(one, "drain")
        assert one.until(lambda: not one.gateway.sharing._waiting)
        with replica(server, one) as late:
            becomes(late, "drained")
            command(late, "reopen")
            becomes(one, "ready")
        with replica(server, one) as later:
            connected(later)
            assert state(later) == "ready", "what has ended does not come back"


def test_operators_see_whether_sharing_is_connected(server):
    with replica(server) as one, replica(server, one) as other:
        assert other.until(lambda: other.gateway.sharing.report()["others"] == 1)
        shared = other.http.get("/admin/targets").json()["sharing"]
        assert shared["connected"] is True
        assert shared["replica"] != one.gateway.sharing.replica
        server.kill()
        assert connected(other, so=False)
        assert other.http.get("/admin/targets").json()["sharing"]["connected"] is False
        assert other.http.get("/readyz").status_code == 200


def test_without_the_setting_nothing_is_shared():
    with Running(BOTH + ROUTES) as alone:
        assert alone.http.get("/admin/targets").json()["sharing"] is None


def test_keys_expire_by_themselves_and_no_credential_is_in_them(server):
    secret = "sk-not-to-be-seen-anywhere"
    keyed = BOTH.replace("[providers.second]", f'api_key = "{secret}"\n[providers.second]')
    with Running(f'[server]\nredis = "{server.url}"\n' + keyed + ROUTES) as one:
        connected(one)
        one.a.switch("m", "rate-limit:retry=30")
        one.chat("r")
        with server.client() as client:
            assert one.until(lambda: not one.gateway.sharing._waiting and client.dbsize())
            kept = [key for key in client.keys("*") if b":state:" in key]
            assert kept
            assert all(client.ttl(key) > 0 for key in client.keys("*"))
            assert not [key for key in kept if secret.encode() in key + client.get(key)]


# -- Redis away ------------------------------------------------------------------------------------------------------


def medians(running, calls=200):
    """The median and the longest of so many calls, in seconds."""
    took = []
    for _ in range(calls):
        began = time.perf_counter()
        assert running.chat("r").status_code == 200
        took.append(time.perf_counter() - began)
    return statistics.median(took), max(took)


@pytest.fixture
def askers(monkeypatch):
    """The names of the tasks that have sent anything to Redis."""
    names = set()
    real = redis.asyncio.connection.AbstractConnection.send_packed_command

    async def spy(self, *args, **more):
        names.add(asyncio.current_task().get_name())
        return await real(self, *args, **more)

    monkeypatch.setattr(redis.asyncio.connection.AbstractConnection, "send_packed_command", spy)
    return names


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_calls_go_on_at_the_same_speed_without_redis_and_none_asks_it(server, how, askers, caplog):
    with replica(server) as one:
        assert connected(one)
        one.a.switch("m", "ok")
        medians(one, 50)
        before, _ = medians(one)
        getattr(server, how)()
        try:
            after, longest = medians(one)
            assert after < 2 * before + 0.005
            assert longest < sharing.PATIENCE / 2, "a call seems to have waited for Redis"
            one.a.switch("m", "rate-limit:retry=30")
            assert one.chat("r").headers["x-understudy-target"] == "second/ok"
            assert state(one) == "cooling down", "it decides alone"
            assert connected(one, so=False)
            medians(one, 50)
        finally:
            if how == "pause":
                server.go_on()
            else:
                server.start()
        assert connected(one)
        assert askers == {sharing.TASK}
    said = [record.getMessage() for record in caplog.records if "Redis" in record.getMessage()]
    assert ["away" in line for line in said] == [True, False]


def test_state_flows_again_when_redis_is_back_even_if_it_forgot_everything(two, server):
    one, other = two
    command(one, "drain")
    becomes(other, "drained")
    server.kill()
    assert connected(one, so=False)
    assert connected(other, so=False)
    command(one, "reopen")  # said while nobody could hear it
    server.start()
    becomes(other, "ready")
    one.a.switch("m", "rate-limit:retry=30")
    one.chat("r")
    becomes(other, "cooling down")
    with replica(server, one) as late:
        becomes(late, "cooling down")


def test_a_redis_that_was_never_there_is_one_line_in_the_log(server, caplog):
    server.kill()
    with replica(server) as one:
        one.a.switch("m", "ok")
        assert one.until(lambda: one.gateway.sharing._lost)
        assert one.chat("r").headers["x-understudy-target"] == "first/m"
    assert len([record for record in caplog.records if "Redis" in record.getMessage()]) == 1


def test_a_server_that_is_no_redis_is_one_that_is_away(caplog):
    async def scenario():
        async def babble(_reader, writer):
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n*-7\r\n$99999\r\n")
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(babble, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            shared = sharing.Sharing(f"redis://:s3cret@127.0.0.1:{port}", "p", Health())
            shared.start()
            async with asyncio.timeout(10):
                while not shared._lost:  # noqa: ASYNC110  # nothing tells
                    await asyncio.sleep(0.01)
            assert not shared._task.done()
            await shared.close()

    asyncio.run(scenario())
    assert "s3cret" not in caplog.text


# -- hostile ---------------------------------------------------------------------------------------------------------

WORD = {"what": "drained", "spot": {"provider": "first", "model": "m"}, "at": 1.0}


def message(**word):
    return msgspec.json.encode({"v": 1, "by": "x", "word": {**WORD, **word}})


GARBAGE = [
    b"",
    b"\xff\x00",
    b"[" * 5000,
    b"{}",
    msgspec.json.encode({"v": 2, "by": "x"}),
    msgspec.json.encode({"v": 1, "by": "x" * 100}),
    message(what="explode"),
    message(what="limited"),
    message(what="cooldown", until=-1),
    message(what="cooldown", until=1 + 32 * 86400),
    message(what="breaker_open"),
    message(at="soon"),
    message(at=1e12),
    message(spot={"provider": "p" * 600, "model": "m"}),
    message(scope="world"),
    message(kind="k" * 9000),
    msgspec.json.encode({"v": 1, "by": "x", "rest": {"spot": WORD["spot"], "at": 1, "windows": [{"name": "tokens"}]}}),
]


@pytest.mark.parametrize("data", [*GARBAGE, "text", None])
def test_what_is_no_message_is_refused(data):
    with pytest.raises(RefusedError):
        read(data)


def test_garbage_on_the_channel_and_in_the_store_is_counted_and_changes_nothing(two, server):
    one, other = two
    far = message(at=time.time() + 3600)
    with server.client() as client:
        for data in (*GARBAGE, far):
            client.publish("understudy:changes", data)
        client.set("understudy:state:x", b"garbage")
        client.zadd("understudy:index", {"understudy:state:x": time.time() + 60, "elsewhere": time.time() + 60})
    for running in two:
        assert running.until(lambda running=running: running.gateway.sharing.refused == len(GARBAGE) + 1)
        assert state(running) == "ready"
    with replica(server, one) as late:
        assert connected(late)
        assert late.gateway.sharing.refused == 1
    command(one, "drain")
    becomes(other, "drained")


def test_a_kind_of_fault_that_only_a_newer_replica_knows_is_an_unknown_one():
    word = read(message(what="cooldown", kind="from_tomorrow", until=30)).word
    assert entry_of(word, 0.0, 1.0).change.kind == "unknown"


def test_others_cannot_name_more_places_than_are_remembered():
    book = Words()
    for number in range(words.MOST + 10):
        change = Change("cooldown", Place("p", str(number), "https://h"), "model", "overloaded", 60.0)
        book.heard(words.Entry(change, 1.0, 61.0), 1.0)
    assert len(book.entries) == words.MOST
    assert book.said(Change("drained", PLACE, "model", "operator"), 2.0), "own ones find room"
    assert len(book.entries) == words.MOST


def test_changes_that_wait_are_bounded_and_the_oldest_are_counted_as_dropped():
    async def scenario():
        health = Health()
        shared = sharing.Sharing("redis://127.0.0.1:1", "p", health)
        for number in range(sharing.WAITING + 5):
            health.drain(Place("p", str(number)))
        assert len(shared._waiting) == sharing.WAITING
        assert shared.dropped == 5

    asyncio.run(scenario())


# -- the last word ---------------------------------------------------------------------------------------------------


def cooldown(kind="rate_limit", place=PLACE, scope="key-model", seconds=30.0):
    return Change("cooldown", place, scope, kind, seconds)


def over_the_wire(entry, here, there, now):
    """An entry from a replica whose seconds are `here` before Redis' as another one's sees it."""
    data = msgspec.json.encode(words.Message(1, "x", word_of(entry, here)))
    return entry_of(read(data).word, there, now)


def test_times_survive_the_way_between_replicas_whose_clocks_differ():
    entry = words.Entry(cooldown(), 100.0, 130.0)
    got = over_the_wire(entry, here=1e9, there=1e9 - 5000, now=5100.5)
    assert got.at == pytest.approx(5100)
    assert got.until == pytest.approx(5130)
    assert got.change.seconds == pytest.approx(29.5)


def test_the_word_spoken_last_counts_whenever_it_arrives():
    book = Words()
    [name] = book.said(Change("drained", PLACE, "model", "operator"), 10.0)
    older = words.Entry(Change("reopened", PLACE, "model", "operator"), 5.0, 0.0)
    newer = words.Entry(Change("reopened", PLACE, "model", "operator"), 15.0, 0.0)
    assert book.heard(older, 20.0) is None
    assert book.entries[name].change.what == "drained"
    assert book.heard(newer, 20.0) == name
    assert book.heard(newer, 20.0) is None


@pytest.mark.parametrize("kind", sorted(words.OWN))
def test_what_speaks_of_where_a_replica_stands_is_not_told(kind):
    assert Words().said(cooldown(kind), 1.0) == []


def test_an_embedded_engine_is_nobody_elses_business_but_an_operators_word_on_it_is():
    engine = Place("local", "small", "local/small")
    assert Words().said(cooldown("overloaded", engine), 1.0) == []
    assert Words().said(Change("drained", engine, "model", "operator"), 1.0)


def test_an_address_that_each_machine_has_for_itself_is_told_with_the_machine():
    spots = [words.spot_of(Place("p", "m", url)) for url in ("http://localhost:1", "http://127.0.0.2", "http://[::1]")]
    assert {spot.machine for spot in spots} == {words.this_machine()}
    assert words.spot_of(PLACE).machine is None


def test_a_word_about_another_machines_own_address_is_passed_over():
    async def scenario():
        health = Health()
        shared = sharing.Sharing("redis://127.0.0.1:1", "p", health)
        spot = {"provider": "p", "model": "m", "endpoint": "http://127.0.0.1:8000/v1", "machine": "elsewhere"}
        place = Place("p", "m", spot["endpoint"])
        shared._offset = 1.0 - time.monotonic()
        shared._hear(message(what="cooldown", spot=spot, kind="overloaded", until=1e6))
        assert health.cooldowns.of(place, 1.0) is None
        shared._hear(message(what="cooldown", spot={**spot, "machine": words.this_machine()}, until=1e6))
        assert health.cooldowns.of(place, 1.0) is not None

    asyncio.run(scenario())


def test_reopening_ends_what_others_were_told_and_the_end_of_what_nobody_was_told_is_not_told():
    book = Words()
    book.said(cooldown(), 1.0)
    book.said(Change("breaker_open", PLACE, kind="internal", seconds=5.0), 1.0)
    names = book.said(Change("reopened", PLACE, "model", "operator"), 2.0)
    assert sorted(name[0] for name in names) == ["breaker", "cooldown", "drain"]
    assert Words().said(Change("cooldown_over", PLACE, "key", "bad_key"), 2.0) == []


# -- limits ----------------------------------------------------------------------------------------------------------


def test_of_two_words_on_what_is_left_the_lower_one_counts():
    quotas = Quotas()
    quotas.take(PLACE, [Left("requests", 100.0, 40.0, 36.0)], 0.0, 0.0)
    assert quotas.left(PLACE, 0.0)[0].left == 40
    quotas.take(PLACE, [Left("requests", 100.0, 70.0, 18.0)], 0.0, 0.0)
    assert quotas.left(PLACE, 0.0)[0].left == 40
    quotas.take(PLACE, [Left("requests", 100.0, 0.0, 60.0)], 0.0, 0.0)
    assert 0 < quotas.admits(PLACE, 1.0, 0.0) <= 1


def test_what_came_back_since_the_word_was_said_is_counted():
    quotas = Quotas()
    quotas.take(PLACE, [Left("requests", 60.0, 0.0, 60.0)], 100.0, 30.0)
    assert quotas.left(PLACE, 100.0)[0].left == pytest.approx(30)


@pytest.mark.parametrize(
    "one",
    [Left("made-up", 1.0, 0.0, 60.0), Left("requests", 1.0, 2.0, 60.0), Left("requests", 1.0, -1.0, 60.0),
     Left("requests", math.nan, 0.0, 60.0), Left("requests", 1.0, 0.0, 1e9), Left("requests", 1.0, 0.0, 0.0)],
)  # fmt: skip
def test_a_word_on_a_limit_that_cannot_be_is_not_taken(one):
    quotas = Quotas()
    quotas.take(PLACE, [one], 0.0, 0.0)
    assert quotas.left(PLACE, 0.0) == []


# -- the setting -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    ["redis://", "http://:s3cret@host", "redis://:s3cret@host:0", "redis://:s3cret@host:99999", "redis://:s3cret@host/x",
     "redis://:s3cret@host?retry_on_timeout=yes", "redis://:s3cret@[host", "env:REDIS"],
)  # fmt: skip
def test_a_setting_that_is_no_redis_says_so_and_never_shows_it(url):
    with pytest.raises(ConfigError, match=r"server\.redis is not") as caught:
        parse(f'[server]\nredis = "{url}"\n', "x.toml", {"REDIS": "unix:///s3cret"})
    assert "s3cret" not in str(caught.value)
    assert caught.value.line == 2


@pytest.mark.parametrize("url", ["redis://h", "rediss://u:p@h:6380/3?ssl_ca_certs=/ca.pem", "env:REDIS"])
def test_a_setting_that_is_one_is_taken(url):
    assert parse(f'[server]\nredis = "{url}"\n', "x.toml", {"REDIS": "redis://[::1]:1/0"}).config.server.redis == url
