"""Orders other than the listed one, conversations that stay, several keys; comments before an answer begins."""

import concurrent.futures

import pytest

from tests.gateway.test_fail_over import BOTH, route
from tests.running import TWO, Running, read
from understudy.gateway.config import ConfigError, parse


def targets(gateway, count, model="r", headers=None):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(gateway.chat, model, headers=headers and headers(i)) for i in range(count)]
        return [call.result().headers["x-understudy-target"] for call in calls]


def test_weights_are_shares():
    with Running(TWO + route("first/ok", "second/ok", more='order = "weighted"\nweights = [9, 1]')) as gateway:
        found = targets(gateway, 200)
        assert 150 <= found.count("first/ok") < 200


def test_a_target_that_fails_is_still_followed_by_the_other():
    more = 'order = "weighted"\nweights = [9, 1]'
    with Running(TWO + route("first/internal", "second/ok", more=more)) as gateway:
        assert set(targets(gateway, 8)) == {"second/ok"}


def test_the_least_loaded_answers():
    with Running(TWO + route("first/slow:first=0.1", "second/ok", more='order = "least_loaded"')) as gateway:
        gateway.chat("first/slow:first=0.1")
        gateway.chat("second/ok")
        found = [gateway.chat("r").headers["x-understudy-target"] for _ in range(10)]
        assert found == ["second/ok"] * 10


def test_a_conversation_stays_with_its_target():
    more = 'order = "weighted"\naffinity = true'
    with Running(TWO + route("first/ok", "second/ok", more=more)) as gateway:

        def named(i):
            return {"x-understudy-session": f"s{i % 8}"}

        found = targets(gateway, 64, headers=named)
        assert set(found) == {"first/ok", "second/ok"}
        for session in range(8):
            assert len({found[i] for i in range(session, 64, 8)}) == 1
        assert len(set(targets(gateway, 8))) == 1  # the same request begins alike


KEYS = BOTH.replace(
    'base_url = "{a}"', 'base_url = "{a}"\napi_keys = ["sk-simulated-first-0001", "sk-simulated-other-0002"]'
)


def used(gateway):
    return [request.headers["authorization"] for request in gateway.a.requests if request.method == "POST"]


def test_keys_take_turns():
    with Running(KEYS + route("first/ok")) as gateway:
        targets(gateway, 20)
        assert len(set(used(gateway))) == 2


def test_a_key_that_is_refused_gives_way_to_the_next_and_rests():
    with Running(KEYS + route("first/m")) as gateway:
        gateway.a.switch("m", "rate-limit:retry=60")
        assert gateway.chat("r").status_code == 429
        assert len(set(used(gateway))) == 2
        gateway.a.switch("m", "ok")
        response = gateway.chat("r")  # both rest: the one that comes back first is tried
        assert response.status_code == 200
        states = gateway.http.get("/admin/targets").json()["targets"]
        assert sorted(target["state"] for target in states if target["target"] == "first/m") == [
            "cooling down",
            "ready",
        ]
        assert len({target["key"] for target in states if target["target"] == "first/m"}) == 2


@pytest.mark.parametrize("more", ["weights = [1]\n", "weights = [1, -1]\n", 'order = "random"\n', "keep_alive = -1\n"])
def test_nonsense_is_refused(more):
    with pytest.raises(ConfigError):
        parse(route("openai/a", "openai/b", more=more), "test.toml", {"OPENAI_API_KEY": "k"})


def test_one_key_or_several():
    with pytest.raises(ConfigError, match="api_keys"):
        parse('[providers.openai]\napi_key = "a"\napi_keys = ["b"]\n', "test.toml", {})


# -- comments ---------------------------------------------------------------------------------------------------------

PATIENT = TWO.replace("0.4", "0.6")


def test_a_stream_that_is_long_in_coming_is_kept_alive_and_can_still_be_moved():
    with Running(PATIENT + route("first/silent", "second/ok", more="keep_alive = 0.1")) as gateway:
        response = gateway.chat("r", stream=True)
        assert response.text.startswith(": keep-alive\n\n")
        content, finish, error, done = read(response.text)
        assert content.startswith("This is a simulated answer")
        assert (finish, error, done) == ("stop", None, True)
        assert gateway.exchange(response).outcome == "answered"


def test_then_an_error_comes_inside_the_stream():
    with Running(PATIENT + route("first/silent", more="keep_alive = 0.1")) as gateway:
        response = gateway.chat("r", stream=True)
        assert response.status_code == 200
        content, finish, error, done = read(response.text)
        assert (content, finish, done) == ("", None, False)
        assert "first/silent" in error["message"]


def test_who_answers_soon_gets_no_comment():
    with Running(PATIENT + route("first/ok", more="keep_alive = 0.1")) as gateway:
        response = gateway.chat("r", stream=True)
        assert ": keep-alive" not in response.text
        assert gateway.chat("r").status_code == 200
