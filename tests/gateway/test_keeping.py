"""What is kept of an answer in passing: the answer itself, whatever its words look like."""

import asyncio
import json

import pytest

from understudy.gateway.keeping import Keeper

FINAL = {"id": "resp_1", "object": "response", "status": "completed", "output": []}
MARK = "event: response.completed\ndata: {}\n\n"


class Client:
    committed, exchange = False, None

    def __init__(self):
        self.sent = b""

    async def start(self, status, headers):
        self.committed = True

    async def write(self, data):
        self.sent += data

    async def end(self, data=b""):
        self.sent += data


def event(kind, **fields):
    data = json.dumps({"type": kind, **fields}, separators=(",", ":"))
    return f"event: {kind}\ndata: {data}\n\n".encode()


def kept(pieces):
    client = Client()
    keeper = Keeper(client)

    async def scenario():
        await keeper.start(200, [])
        for piece in pieces[:-1]:
            await keeper.write(piece)
        await keeper.end(pieces[-1])

    asyncio.run(scenario())
    assert client.sent == b"".join(pieces)
    return keeper._answer()


QUOTED = [
    event("response.output_text.delta", delta=MARK),
    event("response.output_text.done", text=MARK + "event: response.incomplete"),
]


@pytest.mark.parametrize("kind", ["completed", "incomplete"])
def test_the_mark_quoted_in_an_answer_is_not_taken_for_the_end(kind):
    final = {**FINAL, "status": kind, "output": [{"type": "message", "content": [{"text": MARK}]}]}
    end = event(f"response.{kind}", response=final)
    assert kept([*QUOTED, end]) == final
    assert kept([b"".join((*QUOTED, end))]) == final
    assert kept([*QUOTED, end, b"data: [DONE]\n\n"]) == final
    assert kept([*QUOTED, end.replace(b"\n", b"\r\n")]) == final


def test_an_answer_that_only_quotes_its_end_is_not_kept():
    assert kept([*QUOTED, event("error", message=MARK)]) is None


def test_the_mark_inside_a_line_is_no_end():
    assert kept([b'data: {"x":"event: response.completed"}\n\n', event("response.completed", response=FINAL)]) == FINAL
