"""Every behaviour of the simulated provider x client dialect x provider dialect x streamed or not x before or after
the first content, over real sockets: the cells, and what must hold in each.

Generated from the simulator's table, so that a new behaviour is tested by existing. One gateway, one simulator, and the
clients share one event loop; calls of a case run at once. `python -m tests.gateway.matrix` runs all and counts.
"""

import asyncio
import collections
import dataclasses
import os
import re
import sys
import time

from tests.gateway import look
from tests.running import Running
from understudy import dialects
from understudy.canon import Delta, Ended, Failed, Message, Request, Text, Tool
from understudy.gateway import surface
from understudy.resilience import row
from understudy.sim import BEHAVIOURS, Behaviour, Sim
from understudy.sim.refusals import REFUSALS

NAMES = sorted(dialects.DIALECTS)
TALKS = [name for name in NAMES if name != "openai-completions"]
BASES = {"openai-chat": "/v1", "openai-responses": "/v1", "openai-completions": "/v1"}
FULL = os.environ.get("UNDERSTUDY_MATRIX") == "full"

TABLE = {**BEHAVIOURS, "down": Behaviour("down", (1,), "nobody listens", lambda _voice, _call: [])}
"""The simulator's behaviours, and the one that no server can show."""

BEGINS = "This is a simulated answer, it only echoes what you said: "
WEATHER = Tool(
    "get_weather",
    description="The weather in a city",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)

PAUSE = 0.25
"""Seconds for what was said to go through the gateway before it breaks."""

AT_ONCE = 64
"""Calls at a time: so many that a case is quick, so few that a quick clock is not run down by the others' work."""

QUICK = {"split": "size=5", "slow": "first=0.02,between=0.005", "drip": "between=0.005", "comments": "every=0.02",
         "pings": "every=0.1", "huge-body": "mib=1", "fail-first": "n=9999"}  # fmt: skip
"""Parameters that make a behaviour quick; or sure, where it is chance."""
SURE = {"flaky": "rate=1"}
SHORT = {"silent", "head-only", "pings", "hang", "queued"}
"""Behaviours that nothing ends but a clock: their routes have quick ones."""
PARTIAL = {"length", "filtered", "refusal", "paused", "prompt-blocked", "prompt-refused", "huge-body", "empty",
           "restarts", "differs", "no-prefill"}  # fmt: skip
"""Behaviours whose own answer is not the usual one."""

KNOWN = {
    "a tool call that the provider could not finish ends a stream as if it were an answer": lambda cell: (
        cell.stream
        and cell.client in ("anthropic-messages", "cohere-chat", "openai-responses")
        and (cell.behaviour, cell.provider) == ("tool-garbled", "bedrock-converse")
    ),
}  # fmt: skip
"""Gaps of the gateway that the matrix has found. A cell that is mended must leave the list."""

CANNOT_SAY = {"cohere-chat": {("filtered", True, None), ("prompt-refused", True, None),
                              ("refusal", "anthropic-messages", True, None)}}  # fmt: skip
"""Finishes for which a dialect has no other word than that of an error."""

SHOWN_AS = {2: {2, 35}, 3: {3, 40}, 6: {5, 6}, 7: {5, 6, 7}, 16: {13, 14, 15, 16, 22, 28}, 18: {17, 18},
            24: {24, 25, 26}, 25: {25, 26}, 30: {25, 26, 30}, 34: {13, 14, 34}, 35: {16, 35}, 38: {3, 38},
            40: {3, 40}, 43: {16, 43}, 44: {14, 16, 35, 43, 44, 46}, 48: {3, 40, 48}, 51: {5},
            53: {14, 25, 26, 53}}  # fmt: skip
"""Rows of the catalogue that the table of faults has under another row, or by the status that came with them."""


@dataclasses.dataclass(frozen=True)
class Cell:
    behaviour: str
    client: str
    provider: str
    stream: bool
    after: bool | None = None
    """Whether it breaks after the first content; None where the behaviour does not let one choose."""

    @property
    def model(self):
        parts = [part for part in (QUICK.get(self.behaviour), SURE.get(self.behaviour)) if part]
        if self.after is not None:
            parts.append("after=3" if self.after else "after=0")
            if self.after and "pause" in TABLE[self.behaviour].defaults:
                parts.append(f"pause={PAUSE}")
        return ":".join([self.behaviour, ",".join(parts)]) if parts else self.behaviour

    @property
    def target(self):
        return f"{'down' if self.behaviour == 'down' else 'a'}-{self.provider}/{self.model}"

    @property
    def tools(self):
        return self.behaviour.startswith("tool-")

    @property
    def substitute(self):
        """The provider dialect after this one, so that a call moves between dialects."""
        names = TALKS if self.tools else NAMES
        return names[(names.index(self.provider) + 1) % len(names)]

    @property
    def route(self):
        return f"{self.provider}+{self.model}".replace(":", "/")


def cells(behaviour, client):
    """The cells of one case."""
    row_ = TABLE[behaviour]
    shown = [name for name in NAMES if name in row_.dialects]
    if behaviour.startswith("tool-") and client not in TALKS:
        return []
    chosen = "after" in row_.defaults and behaviour != "tool-cut"
    found = []
    for provider in shown:
        found.append(Cell(behaviour, client, provider, False, False if chosen else None))
        found += [Cell(behaviour, client, provider, True, after) for after in ((False, True) if chosen else (None,))]
    return found


CASES = [(behaviour, client) for behaviour in TABLE for client in NAMES if cells(behaviour, client)]


def chosen(cell):
    """Whether a cell belongs to the quick run: all but every other one of the errors that are one HTTP answer."""
    one = cell.behaviour in REFUSALS and cell.after is None
    return FULL or not one or cell.stream == ((NAMES.index(cell.client) + NAMES.index(cell.provider)) % 2 == 0)


def asked(behaviour):
    """The cells of a behaviour, all its clients'."""
    return [cell for client in NAMES for cell in cells(behaviour, client) if chosen(cell)]


class Counting(Sim):
    """Counts the requests of each cell by the mark in its text."""

    def __init__(self):
        super().__init__()
        self.counts = collections.Counter()

    def keep(self, request):
        super().keep(request)
        if found := re.search(rb"cell-\d+-", request.body):
            self.counts[found[0].decode()] += 1


def config():
    text = "[defaults]\nretries = 0\nconnect_timeout = 5\n"
    for name in NAMES:
        for side, root in (("a", "{root}"), ("b", "{root}"), ("down", "http://127.0.0.1:9")):
            text += (
                f'[providers.{side}-{name}]\ndialect = "{name}"\nbase_url = "{root}{BASES.get(name, "")}"\n'
                'api_key = "x"\ncooldown = false\n'
            )
    seen = {}
    for behaviour in TABLE:
        for cell in cells(behaviour, "openai-chat"):
            seen[cell.route] = cell
    clocks = ("first_token_timeout", "answer_timeout", "liveness_timeout", "progress_timeout")
    for name, cell in seen.items():
        times = (1.0, 1.0, 1.3, 1.6) if cell.behaviour in SHORT else (20, 20, 20, 20)
        text += f'[routes."{name}"]\ntargets = ["{cell.target}", "b-{cell.substitute}/ok"]\n'
        text += "".join(f"{clock} = {seconds}\n" for clock, seconds in zip(clocks, times, strict=True))
    return text


@dataclasses.dataclass
class Answer:
    cell: Cell
    text: str
    status: int
    headers: dict
    body: bytes
    exchange: object
    calls: int


class Matrix(Running):
    """A gateway and one simulator, and clients on the same loop."""

    def __init__(self):
        super().__init__(config())
        self.a = Counting()
        self.records = {}
        self.number = 0

    def __enter__(self):
        super().__enter__()
        self.call(lambda: self.gateway.observers.append(self._note))
        return self

    def record(self, name):
        """The record of an exchange, to be awaited: it is made after the client has its answer."""
        return self.records.setdefault(name, self.loop.create_future())

    def _note(self, exchange):
        self.record(exchange.id).set_result(exchange)

    def ask(self, cells_):
        """All cells at once; a cell that hangs is an error, in its place."""

        async def one(cell, turn):
            async with turn, asyncio.timeout(20):
                return await self._ask(cell)

        async def every():
            turn = asyncio.Semaphore(AT_ONCE)
            found = await asyncio.gather(*(one(cell, turn) for cell in cells_), return_exceptions=True)
            for place, cell in enumerate(cells_):
                if swallowed(found[place]):  # the loop was too busy to see the pause
                    found[place] = (await asyncio.gather(one(cell, turn), return_exceptions=True))[0]
            return found

        return asyncio.run_coroutine_threadsafe(every(), self.loop).result(100)

    async def begin(self, cell):
        """Send a cell's call: the connection's two ends, its mark, and what was asked."""
        self.number += 1
        mark = f"cell-{self.number}-"
        text = f"{mark} Use the tool" if cell.tools else f"{mark} Hello there, how are you today?"
        tools = (WEATHER,) if cell.tools else ()
        request = Request("test", cell.route, (Message("user", (Text(text),)),), tools=tools, stream=cell.stream)
        body, _ = dialects.get(cell.client).encode_request(request)
        base = "" if cell.client == "gemini" else BASES.get(cell.client, "")
        path = surface.provider_path(cell.client, base, cell.route, stream=cell.stream)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server_port, limit=2**24)
        head = (
            f"POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        return reader, writer, mark, text

    async def _ask(self, cell):
        reader, writer, mark, text = await self.begin(cell)
        try:
            raw = await reader.read()
        finally:
            writer.close()
        status, headers, content = parse(raw)
        exchange = headers["x-understudy-exchange"]
        record = await self.record(exchange)
        del self.records[exchange]
        return Answer(cell, text, status, headers, content, record, self.a.counts.pop(mark, 0))

    @property
    def server_port(self):
        return int(self.url.rpartition(":")[2].strip("/"))


def swallowed(answer):
    """Whether it was to break after the first content had gone to the client, and broke before."""
    if not isinstance(answer, Answer) or not answer.cell.after or TABLE[answer.cell.behaviour].fails == "never":
        return False
    return all(attempt.first_content is None for attempt in answer.exchange.attempts if attempt.fault is not None)


def known_gap(cell):
    """Why a cell is known to fail, None if it is not."""
    return next((why for why, holds in KNOWN.items() if holds(cell)), None)


def parse(raw):
    """Status, headers and body of a response that ended with its connection. A chunked one must end in order."""
    head, _, rest = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    if headers.get("transfer-encoding") != "chunked":
        assert "content-length" not in headers or len(rest) == int(headers["content-length"])
        return int(first.split()[1]), headers, rest
    body = bytearray()
    while True:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        body += rest[:length]
        rest = rest[length + 2 :]
        if not length:
            return int(first.split()[1]), headers, bytes(body)


def check(answer):
    """What must hold in a cell; says how it came out. AssertionError says which promise is broken.

    `answer` may be what was raised instead of one.
    """
    if isinstance(answer, BaseException):
        raise AssertionError(f"no whole response within 20 s: {answer!r}") from answer  # noqa: TRY004
    assert not swallowed(answer), "it broke after three pieces, and none of them had gone to the client"
    cell, attempts = answer.cell, answer.exchange.attempts
    assert len(attempts) <= 3, "two targets, and one retry of a connection that had gone stale"
    fresh = 2 if 2 in TABLE[cell.behaviour].rows else 0  # a kept connection that closes is tried afresh
    assert answer.calls <= len(attempts) + fresh, "the provider is called once for each attempt"
    faults = [attempt.fault for attempt in attempts]
    first = next((fault for fault in faults if fault is not None and fault.kind != "stale_connection"), faults[0])
    recognised(cell, first)
    full = BEGINS + answer.text
    committed = any(attempt.first_content is not None and attempt.fault is not None for attempt in attempts)
    if committed:
        return after_commit(answer, full)
    if answer.exchange.outcome == "answered":
        return answered(answer, first, full)
    assert answer.exchange.outcome == "failed"
    assert first is not None
    assert not row(first.kind).fail_over, f"{first.kind} may move, and did not: {faults}"
    assert 400 <= answer.status < 600
    again = bool({24, 29, 30} & set(TABLE[cell.behaviour].rows))  # tried once more without what was refused
    assert answer.calls == len(attempts) <= 1 + again
    fault = dialects.get(cell.client).decode_fault(answer.status, answer.headers, answer.body)
    assert fault.message
    if answer.headers.get("content-type", "").startswith("application/json"):
        right = (400, 403, 404, 413, 422)
        assert answer.status in right or (answer.status == first.status and cell.client == cell.provider)
    return "surfaced"


def recognised(cell, fault):
    behaviour = TABLE[cell.behaviour]
    if fault is None:
        certain = behaviour.fails == "before"
        assert not (certain and cell.behaviour != "flaky"), "a failure was taken for an answer"
        return
    assert behaviour.fails != "never", fault
    shown = {row_ for name in behaviour.rows for row_ in SHOWN_AS.get(name, {name})}
    assert not shown or row(fault.kind).row in shown, (fault.kind, row(fault.kind).row, shown)
    assert fault.kind != "unknown" or cell.behaviour == "unknown-error", fault


def seen_by(answer):
    """What the client sees, by an independent look; and the dialect's own reader must see the same."""
    cell = answer.cell
    assert answer.status == 200, (answer.status, answer.body[:300])
    if not cell.stream:
        own = dialects.get(cell.client).decode_answer(answer.body)
        found = look.whole(cell.client, answer.body)
        text = "".join(part.text for part in own.choices[0].parts if isinstance(part, Text))
        assert text == found.text or cell.tools  # Cohere's plan for its tools is a text to us
        return found
    assert answer.headers["content-type"].encode().startswith(surface.STREAM_TYPES[cell.client])
    decoder = dialects.get(cell.client).StreamDecoder()
    events = [*decoder.feed(answer.body), *decoder.close()]
    found = look.stream(cell.client, answer.body)
    assert isinstance(events[-1], Failed if found.errors else Ended), (events[-1], found)
    texts = {event.index for event in events if isinstance(getattr(event, "part", None), Text)}
    own = "".join(event.text for event in events if isinstance(event, Delta) and event.index in texts)
    assert own == found.text
    return found


def answered(answer, fault, full):
    cell, seen = answer.cell, seen_by(answer)
    said = CANNOT_SAY.get(cell.client, ())
    if (cell.behaviour, cell.stream, fault) in said or (cell.behaviour, cell.provider, cell.stream, fault) in said:
        assert (seen.errors, seen.ends, seen.finishes) == (1, 0, []), seen
        return "answered"
    done = not (
        cell.behaviour == "no-done" and cell.stream and cell.provider == cell.client
    )  # it is passed on as it came
    assert (seen.errors, seen.ends) == (0, int(done)), seen
    assert seen.finishes, seen
    if cell.behaviour != "early-finish":
        assert len(seen.finishes) == 1, seen
    if fault is None:
        assert answer.headers["x-understudy-target"] == cell.target
        if cell.behaviour not in PARTIAL and not cell.tools:
            assert seen.text == full
        return "answered"
    if fault.kind == "empty_answer" and not answer.headers["x-understudy-target"].startswith("b-"):
        return "empty"
    assert answer.headers["x-understudy-target"] == f"b-{cell.substitute}/ok"
    assert answer.headers["x-understudy-attempts"] == str(len(answer.exchange.attempts))
    if not cell.tools:
        assert seen.text == full
    return "moved"


def after_commit(answer, full):
    """What was sent is the beginning of one answer, and an error ends it; or it was continued, and is whole."""
    cell, seen = answer.cell, seen_by(answer)
    if cell.after is False:
        raise AssertionError("nothing was said before it broke, and yet something had gone to the client")
    if not cell.tools:
        assert full.startswith(seen.text), seen
    if answer.exchange.outcome == "answered":
        assert (seen.text, seen.errors, seen.ends, len(seen.finishes)) == (full, 0, 1, 1), seen
        return "continued"
    assert answer.exchange.outcome == "broken"
    assert (seen.errors, seen.ends, seen.finishes) == (1, 0, []), seen
    assert seen.last == "error", seen
    return "broken"


def main():
    counts, failed, started = collections.Counter(), [], time.monotonic()
    with Matrix() as matrix:
        for behaviour, row_ in TABLE.items():
            all_cells = [cell for client in NAMES for cell in cells(behaviour, client)]
            for cell, answer in zip(all_cells, matrix.ask(all_cells), strict=True):
                try:
                    counts[row_.fails, cell.stream, check(answer)] += 1
                except Exception as error:  # noqa: BLE001  # whatever is wrong with a cell, the others count as well
                    known = known_gap(cell)
                    counts[row_.fails, cell.stream, "known gap" if known else "FAILED"] += 1
                    failed += [] if known else [(cell, error)]
    for cell, error in failed:
        sys.stdout.write(f"{cell}: {type(error).__name__}: {str(error)[:300]}\n")
    sys.stdout.write("\n| fails | streamed | outcome | cells |\n|---|---|---|---|\n")
    for (fails, stream, outcome), count in sorted(counts.items()):
        sys.stdout.write(f"| {fails} | {'yes' if stream else 'no'} | {outcome} | {count} |\n")
    sys.stdout.write(f"\n{sum(counts.values())} cells in {time.monotonic() - started:.0f} s, {len(failed)} failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
