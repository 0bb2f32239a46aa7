"""Every recorded exchange through every other dialect: what it says arrives, or a `Loss` says that it does not.

`python -m tests.dialects.pairs [--show N]` goes through all of them and prints the counts as a table.

A message is decoded with its own dialect A, encoded with B and decoded with B again. `facts.py` says what is compared.
A difference is explained by a loss whose field is the fact's path, or one above or below it; all else is unexplained.
"""

import functools
import gzip
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tests.dialects.facts import compare_answers, compare_requests
from tests.dialects.recorded_bedrock_converse import event
from understudy import dialects
from understudy.canon import Answer, Delta, Event, Failed, Image, Loss, PartStarted, Request, Unknown
from understudy.canon.join import join
from understudy.dialects import Malformed
from understudy.dialects.probes import MODELS

MATERIAL = Path(__file__).parents[3] / "shared" / "material" / "exchanges.jsonl.gz"
RECORDED = {"cohere-v2-chat": "cohere-chat", "ollama-native": "ollama"}
"""Names in the material that are not ours."""

WORDS = ("exact", "losses", "refused", "unexplained")
Kind = str  # "request", "answer" or "stream"


class Wire(NamedTuple):
    """One half of an exchange, as bytes."""

    id: str
    kind: Kind
    data: bytes


def wires(row: dict[str, Any]) -> Iterator[Wire]:
    """What of a recorded row is a request, an answer or a stream."""
    if isinstance(row["request"], dict):
        yield Wire(row["id"], "request", json.dumps(row["request"]).encode())
    if row["status"] >= 400:
        return
    if row["wire"] == "json" and isinstance(row["body"], dict) and not row["body"].get("error"):
        yield Wire(row["id"], "answer", json.dumps(row["body"]).encode())
    elif row["wire"] == "json-array":
        yield Wire(row["id"], "stream", json.dumps(row["body"]).encode())
    elif row["wire"] == "aws-eventstream":
        yield Wire(row["id"], "stream", b"".join(event(item["event"], item["payload"]) for item in row["body"]))
    elif row["wire"] == "ndjson" and row["dialect"] == "bedrock-converse":
        frames = (next(iter(json.loads(line).items())) for line in row["body_text"].splitlines())
        yield Wire(row["id"], "stream", b"".join(event(kind, payload) for kind, payload in frames))
    elif row["wire"] in ("sse", "ndjson"):
        yield Wire(row["id"], "stream", row["body_text"].encode())


@functools.cache
def recorded() -> dict[str, list[Wire]]:
    """The material by dialect; nothing where it is absent."""
    found: dict[str, list[Wire]] = defaultdict(list)
    if MATERIAL.exists():
        with gzip.open(MATERIAL) as lines:
            for line in lines:
                row = json.loads(line)
                name = RECORDED.get(row["dialect"], row["dialect"])
                if name in dialects.DIALECTS:
                    found[name] += wires(row)
    return found


def sample(name: str, most: int) -> list[Wire]:
    """At most `most` of a dialect, spread evenly over all there are and the same each time."""
    rows = recorded().get(name, [])
    step = max(1, -(-len(rows) // most))
    return rows[::step]


# --- one message through one pair -------------------------------------------------------------------------------------


class Outcome(NamedTuple):
    """`losses` were announced; `unexplained` lists differences that none of them covers.

    `refused` is our word to a client whose request the other dialect has no form for at all.
    """

    losses: tuple[Loss, ...]
    unexplained: tuple[str, ...]
    refused: str = ""

    @property
    def word(self) -> str:
        if self.refused:
            return "refused"
        return "unexplained" if self.unexplained else "losses" if self.losses else "exact"


def read(name: str, wire: Wire) -> Request | Answer | list[Event] | None:
    """The message as its own dialect reads it; None for what it refuses to read."""
    own = dialects.get(name)
    try:
        if wire.kind == "request":
            return own.decode_request(wire.data)
        if wire.kind == "answer":
            return own.decode_answer(wire.data)
    except Malformed:
        return None
    decoder = own.StreamDecoder()
    events = decoder.feed(wire.data) + decoder.close()
    return None if isinstance(events[-1], Failed) else events


def through(message: Request | Answer | list[Event], name: str) -> Outcome:
    """`message` encoded and decoded by the dialect `name`."""
    other = dialects.get(name)
    if isinstance(message, Request):
        sent = msgspec.structs.replace(message, model=MODELS[name])
        try:
            body, losses = other.encode_request(sent)
        except Malformed as error:
            return Outcome((), (), str(error))
        return Outcome(losses, tuple(compare_requests(sent, other.decode_request(body), losses)))
    if isinstance(message, Answer):
        body, losses = other.encode_answer(message)
        return Outcome(losses, tuple(compare_answers(message, other.decode_answer(body), losses)))
    encoder, decoder = other.StreamEncoder(), other.StreamDecoder()
    events = [found for one in message for found in decoder.feed(encoder.encode(one))] + decoder.close()
    losses = tuple(encoder.losses)
    if isinstance(events[-1], Failed):
        told = any(loss.field.endswith(".finish") for loss in losses)
        return Outcome(losses, () if told else (f"the stream failed: {events[-1].fault.message}; losses {losses}",))
    return Outcome(losses, tuple(compare_answers(sum_of(message), sum_of(events), losses)))


def sum_of(events: list[Event]) -> Answer:
    """The answer that a stream adds up to. Parts that do not grow in `canon` may still have deltas of their own."""
    still = {(e.choice, e.index) for e in events if isinstance(e, PartStarted) and isinstance(e.part, Unknown | Image)}
    return join([event for event in events if not (isinstance(event, Delta) and (event.choice, event.index) in still)])


# --- the table --------------------------------------------------------------------------------------------------------


def table(counts: dict[tuple[str, str, str], Counter[str]]) -> str:
    lines = [
        "| what | from | to | exchanges | exact | announced losses | refused | unexplained |",
        "|---|---|---|--:|--:|--:|--:|--:|",
    ]
    total = Counter[str]()
    for (kind, name, other), counted in sorted(counts.items()):
        figures = [counted.total(), *(counted[word] for word in WORDS)]
        lines.append(f"| {kind} | {name} | {other} | " + " | ".join(map(str, figures)) + " |")
        total += counted
    figures = [total.total(), *(total[word] for word in WORDS)]
    return "\n".join([*lines, "| all | | | " + " | ".join(map(str, figures)) + " |"])


def main(show: int) -> None:
    counts: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    shown = Counter[tuple[str, str]]()
    for name, rows in sorted(recorded().items()):
        for wire in rows:
            message = read(name, wire)
            for other in dialects.DIALECTS if message is not None else ():
                if other == name:
                    continue
                outcome = through(message, other)
                counts[wire.kind, name, other][outcome.word] += 1
                if outcome.unexplained and shown[wire.kind, other] < show:
                    shown[wire.kind, other] += 1
                    sys.stderr.writelines(
                        f"{wire.id} {wire.kind} {name} -> {other}: {u[:400]}\n" for u in outcome.unexplained[:2]
                    )
    sys.stdout.write(table(counts) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[2]) if sys.argv[1:2] == ["--show"] else 0)
