"""A few thousand damaged messages through every decoder, always the same: what `fuzz.py` does for minutes.

From committed fixtures alone, so that the suite says the same wherever it runs.
"""

from random import Random

import pytest

from tests.dialects import fuzz
from tests.dialects.mutate import LARGE, mutated, pieces
from understudy import dialects

MOST = 400
"""Inputs of each dialect; all of them take a few seconds."""


@pytest.mark.parametrize("name", fuzz.NAMES)
def test_damaged_messages_raise_nothing_but_what_is_declared(name: str) -> None:
    done, found = fuzz.run(name, seed=3, count=MOST, with_recorded=False)
    assert done.total() == MOST
    assert len(done) == len(fuzz.seeds(name, with_recorded=False)), "every kind of message was damaged"
    assert not found, "\n".join(alike[0].detail for alike in found.values())


def test_the_same_seed_damages_the_same() -> None:
    def first(seed: int) -> list[tuple[str, bytes]]:
        stream = fuzz.inputs("gemini", seed, with_recorded=False)
        return [next(stream)[:2] for _ in range(50)]

    assert first(1) == first(1)
    assert first(1) != first(2)


def test_what_is_damaged_is_still_read_often_enough_to_test_what_comes_after() -> None:
    chance, own = Random(1), dialects.get("openai-chat")
    read = 0
    for _ in range(300):
        data = mutated(chance.choice(fuzz.seeds("openai-chat", with_recorded=False)["request"]), chance)
        try:
            own.decode_request(data)
        except dialects.Malformed:
            continue
        read += 1
    assert 60 < read < 240


def test_pieces_are_the_whole() -> None:
    for n in range(50):
        chance = Random(n)
        data = chance.randbytes(n * 20)
        assert b"".join(pieces(data, chance)) == data


def test_an_exception_that_is_not_declared_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(body: bytes) -> None:
        raise KeyError(body.decode("utf-8", "replace")[:3])

    monkeypatch.setattr(dialects.get("ollama"), "decode_request", broken)
    found = fuzz.attempt("ollama", "request", b"{}", Random(1))
    assert found is not None
    assert found.what.startswith("request: KeyError at")
    assert found.data == b"{}"


def test_a_decoder_that_takes_long_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter((0.0, fuzz.SLOW + 0.1))
    monkeypatch.setattr(fuzz.time, "thread_time", lambda: next(ticks))
    with pytest.raises(AssertionError, match="is too slow"):
        fuzz.timed(len, b"x" * LARGE)


def test_a_failing_input_is_saved_and_can_be_tried_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: fuzz.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(body: bytes) -> None:
        raise KeyError

    monkeypatch.setattr(fuzz, "seeds", lambda name, *, with_recorded=True: {"request": [b'{"a":1}']})
    monkeypatch.setattr(dialects.get("ollama"), "decode_request", broken)
    saved = tmp_path / "failing"
    assert fuzz.main(["--dialect", "ollama", "--seconds", "0.05", "--save", str(saved)]) == 1
    assert fuzz.main(["--dialect", "ollama", "--replay", str(saved)]) == 1
    assert "request: KeyError at" in capsys.readouterr().out
