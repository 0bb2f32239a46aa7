"""A stream that breaks off behind its first words goes on: every client dialect, every dialect of who takes over."""

import pytest

from tests.gateway.test_dialects import BASES, NAMES, TALKS, ask, read_stream
from tests.running import TWO, Running
from understudy.canon import (
    Delta,
    Ended,
    Failed,
    Finished,
    PartEnded,
    PartStarted,
    ResponseFormat,
    Started,
)


def config():
    text = "[server]\nkeys = ['gateway-key']\n" + TWO.replace("0.4", "5")
    for name in NAMES:
        text += (
            f'[providers.sim-{name}]\ndialect = "{name}"\nbase_url = "{{root}}{BASES.get(name, "")}"\napi_key = "x"\n'
        )
        text += "cooldown = false\n"
        text += f'[providers.able-{name}]\ndialect = "{name}"\nbase_url = "{{root}}{BASES.get(name, "")}"\n'
        text += 'api_key = "x"\ncooldown = false\ncontinues = "prefill"\n'
    for first in NAMES:
        for second in NAMES:
            text += f'[routes.replay-{first}-{second}]\ntargets = ["sim-{first}/cut:after=5", "sim-{second}/ok"]\n'
            text += f'[routes.prefill-{first}-{second}]\ntargets = ["sim-{first}/cut:after=5", "able-{second}/ok"]\n'
    for name in NAMES:
        text += (
            f'[routes.thrice-{name}]\ntargets = ["sim-{name}/cut:after=3", "sim-openai-chat/cut:after=6", '
            f'"sim-anthropic-messages/cut:after=9", "sim-{name}/ok"]\n'
            f'[routes.error-{name}]\ntargets = ["sim-{name}/cut:after=5", "sim-{name}/ok"]\nmid_stream = "error"\n'
            f'[routes.alone-{name}]\ntargets = ["sim-{name}/cut:after=5"]\nretries = 1\n'
        )
    return text


@pytest.fixture(scope="module")
def gateway():
    with Running(config()) as running:
        yield running


def words(events):
    return "".join(event.text for event in events if isinstance(event, Delta))


def well_formed(events):
    """One start, parts that open before they grow and close once, one finish, one end."""
    assert sum(isinstance(event, Started) for event in events) == 1
    assert sum(isinstance(event, Finished) for event in events) == 1
    assert isinstance(events[-1], Ended)
    opened, closed = [], []
    for event in events:
        if isinstance(event, PartStarted):
            opened.append(event.index)
        elif isinstance(event, Delta):
            assert event.index in opened
            assert event.index not in closed
        elif isinstance(event, PartEnded):
            closed.append(event.index)
    assert opened == sorted(set(opened))
    assert sorted(closed) == opened


@pytest.mark.parametrize("way", ["replay", "prefill"])
@pytest.mark.parametrize("first", NAMES)
@pytest.mark.parametrize("client", NAMES)
def test_another_target_goes_on_and_every_word_comes_once(gateway, client, first, way):
    whole = words(read_stream(client, ask(gateway, client, f"sim-{client}/ok", stream=True)))
    # The simulated model behind completions echoes its whole prompt, as no real one would.
    for second in NAMES if way == "replay" else TALKS:
        response = ask(gateway, client, f"{way}-{first}-{second}", stream=True)
        assert response.status_code == 200, response.text
        events = read_stream(client, response)
        well_formed(events)
        assert words(events) == whole, (first, second)
        record = gateway.exchange(response)
        assert record.outcome == "answered"
        assert record.attempts[0].way is None
        assert record.attempts[0].fault.kind == "stream_cut"
        (seam,) = record.splice.seams
        assert (seam["from"], seam["to"]) == (record.attempts[0].target, record.attempts[-1].target)
        assert b'"understudy":{"continued":[{"at":' in response.content


@pytest.mark.parametrize("client", NAMES)
def test_an_answer_that_breaks_thrice_is_still_one_answer(gateway, client):
    whole = words(read_stream(client, ask(gateway, client, f"sim-{client}/ok", stream=True)))
    response = ask(gateway, client, f"thrice-{client}", stream=True)
    events = read_stream(client, response)
    well_formed(events)
    assert words(events) == whole
    record = gateway.exchange(response)
    assert len(record.splice.seams) >= 2
    assert record.attempts[0].fault.kind == "stream_cut"


@pytest.mark.parametrize("client", NAMES)
def test_the_same_target_goes_on_where_there_is_no_other(gateway, client):
    """By replay it breaks at the same place again: an error, and no word twice."""
    response = ask(gateway, client, f"alone-{client}", stream=True)
    events = read_stream(client, response)
    assert isinstance(events[-1], Failed)
    assert len(gateway.exchange(response).attempts) == 2
    whole = words(read_stream(client, ask(gateway, client, f"sim-{client}/ok", stream=True)))
    assert whole.startswith(words(events))


@pytest.mark.parametrize("client", NAMES)
def test_a_route_may_want_an_error_instead(gateway, client):
    response = ask(gateway, client, f"error-{client}", stream=True)
    assert isinstance(read_stream(client, response)[-1], Failed)
    assert len(gateway.exchange(response).attempts) == 1


@pytest.mark.parametrize("client", TALKS)
def test_an_answer_bound_to_a_schema_is_not_gone_on_with(gateway, client):
    form = ResponseFormat("schema", "s", schema={"type": "object", "properties": {"a": {"type": "string"}}})
    response = ask(gateway, client, f"replay-{client}-openai-chat", stream=True, response_format=form)
    assert isinstance(read_stream(client, response)[-1], Failed)
    assert len(gateway.exchange(response).attempts) == 1
