"""The clients of the fault runs believe nobody: only a whole answer counts as one."""

import asyncio
import importlib

import msgspec
import pytest

from understudy.sim import Sim

QUESTION = "number 7, please"


@pytest.fixture
def talk():
    return importlib.import_module("talk")


def asked(talk, behaviour, dialect="chat", *, stream=True, **more):
    """What a client hears from the simulated provider itself."""

    async def run():
        async with Sim() as sim:
            line = talk.Line(sim.port)
            heard = await line.ask(dialect, behaviour, QUESTION, stream=stream, limit=5, **more)
            line.close()
            return heard

    return asyncio.run(run())


@pytest.mark.parametrize("dialect", ["chat", "anthropic", "responses", "gemini", "ollama"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_whole_answer_is_whole_in_every_dialect(talk, dialect, stream):
    if dialect == "gemini" and stream is False:
        pytest.skip("the benchmark only asks for Gemini's streams")
    heard = asked(talk, "ok", dialect, stream=stream)
    assert talk.wrong(heard, talk.expected(QUESTION, 0)) == ""
    assert heard.first > heard.asked


def test_the_length_of_an_answer_is_known(talk):
    heard = asked(talk, "ok:tokens=60")
    assert heard.text == talk.expected(QUESTION, 60)
    assert talk.wrong(heard, talk.expected(QUESTION, 0)).startswith("other words from character")
    assert talk.silent_truncation(heard, talk.expected(QUESTION, 61))


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        ("internal", "status 500"),
        ("cut:after=3", "broke off"),
        ("cut-clean:after=3", "ended without a finish"),
        ("error-event-late:after=3", "ended with an error"),
        ("close", "no answer"),
        ("no-done", "ended without its end"),
        ("differs", "other words"),
    ],
)
def test_what_is_not_whole_is_named(talk, behaviour, said):
    assert said in talk.wrong(asked(talk, behaviour), talk.expected(QUESTION, 0))


def test_a_stream_that_hangs_ends_at_the_limit(talk):
    async def run():
        async with Sim() as sim:
            return await talk.Line(sim.port).ask("chat", "hang:after=3", QUESTION, stream=True, limit=0.1)

    assert "hung" in talk.wrong(asyncio.run(run()), talk.expected(QUESTION, 0))


def test_a_client_that_leaves_on_purpose_is_no_error(talk):
    heard = asked(talk, "drip:between=0.001,tokens=500", leave=20)
    assert heard.left
    assert talk.wrong(heard, "anything") == ""


def test_words_behind_the_end_are_noticed(talk):
    heard = talk.Heard(status=200, text="a", finish="stop", over=True)
    talk._event(b'{"choices": [{"delta": {"content": "b"}}]}', "chat", heard)
    assert talk.wrong(heard, "ab") == "went on behind its end"
    assert talk.wrong(msgspec.structs.replace(heard, late=False), "ab") == ""
