"""The thread between calls and OpenTelemetry: never waited for, bounded, and not ended by one mistake."""

import pytest

from tests.telemetry.making import attempt, exchange, switched
from tests.timing import best
from understudy.canon import Usage
from understudy.telemetry import told
from understudy.telemetry.over import Names
from understudy.telemetry.told import Telling


class Takes:
    def __init__(self, mistake=None):
        self.taken, self.closed, self.mistake = [], False, mistake

    def take(self, one):
        self.taken.append(one)
        if self.mistake is not None and len(self.taken) == 1:
            raise self.mistake

    def close(self):
        self.closed = True


def telling(*takers):
    return Telling(takers, routes=Names(["gpt-5"]), targets=Names(["openai/gpt-5"]))


def test_each_taker_is_told_of_each_exchange_and_closed_after_the_last():
    first, second = Takes(), Takes()
    made = telling(first, second)
    for _ in range(3):
        made.observe(exchange(attempt()))
    made.close()
    assert len(first.taken) == len(second.taken) == 3
    assert first.closed
    assert second.closed
    assert made.lost == 0


def test_when_nobody_has_time_exchanges_are_let_go_and_counted(monkeypatch):
    monkeypatch.setattr(told, "_WAITING", 2)
    made = telling(Takes())
    made.close()  # nobody takes from the queue now
    for _ in range(5):
        made.observe(exchange(attempt()))
    assert made.lost == 3


def test_a_mistake_over_one_exchange_costs_neither_the_others_nor_another_taker(caplog):
    first, second = Takes(ValueError("odd")), Takes()
    made = telling(first, second)
    made.observe(exchange(attempt()))
    made.observe(exchange(attempt()))
    made.close()
    assert len(first.taken) == len(second.taken) == 2
    assert made.lost == 1
    assert "could not be told" in caplog.text


def test_the_clients_context_is_remembered_as_it_came():
    one = told.told(switched(headers={b"traceparent": b"00-1", b"baggage": b"x=1"}), [], Names(["gpt-5"]), Names())
    assert one.parent == {"traceparent": "00-1"}


def test_remembering_an_exchange_takes_microseconds():
    made = telling(Takes())
    made.close()
    one = exchange(attempt(usage=Usage(1, 1)), headers={b"traceparent": b"00-1"})
    taken = best(lambda: made.observe(one))
    assert taken is None or taken < 20e-6


@pytest.mark.parametrize(("dialect", "expected"), [("gemini", "generate_content"), ("openai-chat", "chat")])
def test_an_operation_has_the_conventions_name(dialect, expected):
    one = exchange(attempt())

    class Door:
        pass

    Door.dialect = dialect
    one.call.door = Door
    assert told.told(one, [], Names(), Names()).operation == expected
