"""Damaged messages through every decoder: only the declared exceptions come out, and none takes long.

`python -m tests.dialects.fuzz [--seconds 300] [--dialect NAME] [--seed N] [--save FILE] [--replay FILE]`

Each input is a committed fixture, a probe, or (where they are) a recorded message, damaged by `mutate.py`. Requests and
answers that can still be read are written again in their own and one other dialect. `Malformed` may come out of reading
a body and of writing a request; nothing may come out of a stream, a fault, a watch, or the writing of an answer, since
nothing there expects it. A stream has one end, and is the same however its bytes are cut. Every input has a random
generator of its own (`seed`, dialect, number), so a run can be repeated. What a dialect has read, it writes so that it
can read it again. `operations` counts as one more dialect.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import json
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import msgspec

from tests.dialects.join import unjoin
from tests.dialects.mutate import LARGE, mutated, pieces
from tests.dialects.pairs import MATERIAL, RECORDED, recorded
from understudy import dialects
from understudy.canon import Answer, Ended, Event, Failed, Fault, Request
from understudy.dialects import Malformed, probes
from understudy.dialects.watch import says_something
from understudy.operations import embeddings_ollama, embeddings_openai, ids, multipart

WIRE = Path(__file__).parents[1] / "wire"
OPERATIONS = "operations"
NAMES = (*dialects.DIALECTS, OPERATIONS)
SLOW = 1.0
"""Seconds of processor time for one decoding of at most `LARGE` bytes."""

HUNG = 20.0
"""Seconds of processor time after which an input is given up, whatever its size."""

KINDS = ("request", "answer", "stream", "fault")


class Hung(BaseException):
    """A decoder has not come back. No `Exception`, so that nothing under test can swallow it."""


class Finding(NamedTuple):
    """`what` is the same for inputs that fail alike."""

    what: str
    kind: str
    data: bytes
    detail: str


# --- where inputs come from ------------------------------------------------------------------------------------------


def fixtures(name: str) -> Iterator[tuple[str, bytes]]:
    """The committed streams, and the bodies of the committed responses that tell of a fault."""
    for path in sorted((WIRE / name).glob("*.*")):
        wire = path.read_bytes().rpartition(b"-----\n")[0]
        if path.suffix == ".http":
            kind = "stream" if path.stem.startswith("stream") and name != "bedrock-converse" else "fault"
            yield kind, wire.partition(b"\n\n")[2]
        else:
            yield "stream", bytes.fromhex(wire.decode()) if path.suffix == ".hex" else wire


def handmade(name: str) -> Iterator[tuple[str, bytes]]:
    """The probes as this dialect writes them, and a fault."""
    own = dialects.get(name)
    for probe in probes.REQUESTS:
        fields: dict[str, Any] = {**probe.given, **probe.fields}
        request = msgspec.structs.replace(probes.HELLO, dialect=name, model=probes.MODELS[name], **fields)
        try:
            yield "request", own.encode_request(request)[0]
        except Malformed:
            continue
    for probe in probes.ANSWERS:
        answer = msgspec.structs.replace(probes.SAID, dialect=name, **{**probe.given, **probe.fields})
        yield "answer", own.encode_answer(answer)[0]
        encoder = own.StreamEncoder()
        yield "stream", b"".join(encoder.encode(one) for one in [*unjoin(answer), Ended()])
    for retry_after in (None, 1.5):
        said = Fault(status=429, code="rate_limit", type="tokens", message="Slow down.", retry_after=retry_after)
        yield "fault", own.encode_fault(said)[2]


@functools.cache
def recorded_faults() -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {name: [] for name in NAMES}
    if MATERIAL.exists():
        with gzip.open(MATERIAL) as lines:
            for row in map(json.loads, lines):
                name = RECORDED.get(row["dialect"], row["dialect"])
                if name in found and row["status"] >= 400 and row["wire"] == "json":
                    found[name].append(json.dumps(row["body"]).encode())
    return found


PACKED = embeddings_openai.decode_request(b'{"model":"m","input":"a","encoding_format":"base64"}')
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a; name=x"\r\n\r\nRIFF\r\n--b--\r\n'
)
OPERATIONAL: dict[str, list[bytes]] = {
    "openai embeddings request": [
        b'{"model":"m","input":["a","b"],"dimensions":3,"encoding_format":"base64","user":"u"}',
        b'{"model":"m","input":[1,2,3]}',
        b'{"model":"m","input":[[1,2],[3]]}',
    ],
    "openai embeddings answer": [
        b'{"object":"list","data":[{"index":1,"embedding":[0.5,1]},{"index":0,"embedding":"AACAPwAAAEA="}],"model":"m"}',
        b'{"data":[{"index":0,"embedding":[0]}],"usage":{"prompt_tokens":3,"total_tokens":3}}',
    ],
    "ollama embeddings request": [b'{"model":"m","input":["a"],"truncate":true,"dimensions":3,"options":{}}'],
    "ollama embeddings answer": [b'{"model":"m","embeddings":[[0.5,1,2]],"prompt_eval_count":2}'],
    "id": [b"understudy.openai.file-abc", b"understudy.~b3BlbiBhaQ.~ZmlsZSBh"],
    "ids": [
        b'{"id":"understudy.openai.file-abc","data":[{"id":"understudy.openai.b","input_file_id":"x"}],"last_id":"b"}'
    ],
    "form": [FORM],
}


@functools.cache
def seeds(name: str, *, with_recorded: bool = True) -> dict[str, list[bytes]]:
    """What there is to damage, by kind."""
    if name == OPERATIONS:
        return OPERATIONAL
    found: dict[str, list[bytes]] = {kind: [] for kind in KINDS}
    for kind, data in (*fixtures(name), *handmade(name)):
        found[kind].append(data)
    if with_recorded:
        for wire in recorded().get(name, ()):
            if len(wire.data) < LARGE // 10:
                found[wire.kind].append(wire.data)
        found["fault"] += recorded_faults()[name]
    return found


# --- what is checked -------------------------------------------------------------------------------------------------


def check_request(name: str, data: bytes, chance: Random) -> None:
    try:
        request = timed(dialects.get(name).decode_request, data)
    except Malformed:
        return
    for other in (name, chance.choice(list(dialects.DIALECTS))):
        try:
            body, _ = timed(dialects.get(other).encode_request, named(request, other), size=len(data))
        except Malformed:
            continue
        json.loads(body)
        if other == name:
            readable(dialects.get(name).decode_request, body)


def named(request: Request, name: str) -> Request:
    return msgspec.structs.replace(request, model=probes.MODELS[name])


def check_answer(name: str, data: bytes, chance: Random) -> None:
    timed(functools.partial(dialects.answer_fault, name, streamed=chance.random() < 0.2), data)
    try:
        answer: Answer = timed(dialects.get(name).decode_answer, data)
    except Malformed:
        return
    for other in (name, chance.choice(list(dialects.DIALECTS))):
        body, _ = timed(dialects.get(other).encode_answer, answer, size=len(data))
        json.loads(body)
        if other == name:
            readable(dialects.get(name).decode_answer, body)


def readable(decode: Callable[[bytes], Any], body: bytes) -> None:
    try:
        decode(body)
    except Malformed as error:
        raise AssertionError(f"what {decode.__module__} has read and written, it can read: {error.message}") from error


def check_stream(name: str, data: bytes, chance: Random) -> None:
    own = dialects.get(name)

    def decoded(parts: list[bytes]) -> list[Event]:
        decoder = own.StreamDecoder()
        return [event for part in parts for event in decoder.feed(part)] + decoder.close()

    events = timed(decoded, [data], size=len(data))
    ends = [isinstance(event, Failed | Ended) for event in events]
    assert ends.count(True) == 1, "a stream has one end"
    assert ends[-1], "nothing comes after the end"
    again = timed(decoded, pieces(data, chance), size=len(data))
    assert msgspec.json.encode(again) == msgspec.json.encode(events), "any split gives the same events"
    for other in (name, chance.choice(list(dialects.DIALECTS))):
        encoder = dialects.get(other).StreamEncoder()
        timed(lambda given, to=encoder: [to.encode(event) for event in given], events, size=len(data))
    check_watch(name, data, chance, events)


def check_watch(name: str, data: bytes, chance: Random, events: list[Event]) -> None:
    def watched(parts: list[bytes]) -> tuple[dialects.Watch, bytes]:
        watch = dialects.watch(name)
        passed = b""
        for part in parts:
            passed += watch.feed(part)
            if watch.done or watch.fault is not None:  # where the relay stops reading
                return watch, passed
        return watch, passed + watch.close()

    watch, _ = timed(watched, pieces(data, chance), size=len(data))
    assert watch.done is not (watch.fault is not None), "a watch says that a stream is done, or what is wrong"
    assert type(watch.content) is bool, "content is a boolean"
    if name != "openai-chat":  # which has a reader of its own, and looks less closely
        assert watch.done is isinstance(events[-1], Ended), "a watch and a decoder agree on the end"
        assert watch.content is any(map(says_something, events)), "a watch and a decoder agree on content"


def check_fault(name: str, data: bytes, chance: Random) -> None:
    own = dialects.get(name)
    headers = {
        field: chance.choice(("", "0", "1.5", "-1", "nan", "9" * 50, "Wed, 99 Foo 2026", "1m6.5s", "é", "1e9"))
        for field in ("retry-after", "retry-after-ms", "x-ratelimit-reset-tokens", "x-request-id", "x-amzn-errortype")
        if chance.random() < 0.3
    }
    fault: Fault = timed(lambda body: own.decode_fault(chance.choice((200, 400, 429, 503, 999)), headers, body), data)
    for other in (name, chance.choice(list(dialects.DIALECTS))):
        status, _, body = dialects.get(other).encode_fault(fault)
        blocked = status == 200 and fault.type == "PROMPT_BLOCKED"  # Google's own way of saying it
        assert blocked or 400 <= status <= 599, "a fault has the status of an error"
        json.loads(body)


def check_operation(kind: str, data: bytes) -> None:
    try:
        if kind == "form":
            timed(functools.partial(multipart.find, content_type="multipart/form-data; boundary=b"), data)
        elif kind == "id":
            ids.wrap(*timed(ids.unwrap, data.decode("utf-8", "replace"), size=len(data)))
        elif kind == "ids":
            value = timed(ids.unwrap_fields, msgspec.json.decode(data), "openai", size=len(data))
            timed(ids.wrap_fields, value, "openai", size=len(data))
        else:
            check_embeddings(kind, data)
    except (Malformed, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if not isinstance(error, Malformed) and kind != "ids":  # whose caller reads the JSON
            raise


def check_embeddings(kind: str, data: bytes) -> None:
    own = embeddings_openai if kind.startswith("openai") else embeddings_ollama
    if kind.endswith("request"):
        request = timed(own.decode_request, data)
        for other in (embeddings_openai, embeddings_ollama):
            json.loads(timed(other.encode_request, request, size=len(data))[0])
        return
    answer = timed(own.decode_answer, data)
    for other in (embeddings_openai, embeddings_ollama):
        json.loads(timed(other.encode_answer, answer, PACKED, size=len(data))[0])


def check(name: str, kind: str, data: bytes, chance: Random) -> None:
    """Everything that a message of this kind goes through. Raises what must not come out."""
    if name == OPERATIONS:
        check_operation(kind, data)
    else:
        {"request": check_request, "answer": check_answer, "stream": check_stream, "fault": check_fault}[kind](
            name, data, chance
        )


def timed(work: Callable[..., Any], given: Any, *more: Any, size: int | None = None) -> Any:
    """What `work` gives for `given`; fails if a message of at most `LARGE` bytes costs too much time."""
    start = time.thread_time()
    try:
        return work(given, *more)
    finally:
        spent = time.thread_time() - start
        if spent > SLOW and (len(given) if size is None else size) <= LARGE:
            raise AssertionError(f"{getattr(work, '__qualname__', work)} is too slow")  # whatever came of it


# --- the run ---------------------------------------------------------------------------------------------------------


def attempt(name: str, kind: str, data: bytes, chance: Random) -> Finding | None:
    try:
        check(name, kind, data, chance)
    except (Exception, Hung) as error:  # noqa: BLE001  whatever comes out is the finding
        frames = traceback.extract_tb(error.__traceback__)
        place = next((f for f in reversed(frames) if "understudy" in f.filename), frames[-1])
        what = f"{kind}: {type(error).__name__} at {Path(place.filename).parent.name}/{Path(place.filename).name}"
        if isinstance(error, AssertionError):
            what = f"{kind}: {error.args[0] if error.args else error}"
        else:
            what += f":{place.lineno} ({place.name})"
        return Finding(what, kind, data, "".join(traceback.format_exception(error))[-3000:])
    return None


def inputs(name: str, seed: int, *, with_recorded: bool = True) -> Iterator[tuple[str, bytes, Random]]:
    """Damaged messages without end, the same for the same seed. Streams come twice as often as the rest."""
    sources = seeds(name, with_recorded=with_recorded)
    kinds = [kind for kind in sources if sources[kind]]
    kinds += ["stream"] if "stream" in kinds else []
    number = 0
    while True:
        chance = Random(f"{seed} {name} {number}")
        kind = chance.choice(kinds)
        yield kind, mutated(chance.choice(sources[kind]), chance), chance
        number += 1


def run(
    name: str, seed: int, *, seconds: float = 0, count: int = 0, with_recorded: bool = True
) -> tuple[Counter[str], dict[str, list[Finding]]]:
    """Executions by kind, and findings by what they are, until `seconds` or `count` inputs are over."""
    done, found = Counter[str](), dict[str, list[Finding]]()
    until = time.monotonic() + seconds
    for kind, data, chance in inputs(name, seed, with_recorded=with_recorded):
        if (count and done.total() >= count) or (not count and time.monotonic() > until):
            return done, found
        if seconds:
            signal.setitimer(signal.ITIMER_VIRTUAL, HUNG)
        finding = attempt(name, kind, data, chance)
        if seconds:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        done[kind] += 1
        if finding is not None:
            found.setdefault(finding.what, []).append(finding)
    raise AssertionError("inputs never end")


def hang(_: int, __: object) -> None:
    raise Hung


def main(arguments: list[str]) -> int:
    options = argparse.ArgumentParser(prog="python -m tests.dialects.fuzz")
    options.add_argument("--seconds", type=float, default=300, help="for each dialect")
    options.add_argument("--dialect", choices=NAMES)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--save", type=Path, help="a file for the first failing input; others get .2, .3, …")
    options.add_argument("--replay", type=Path, help="a file to try as every kind of message of --dialect")
    asked = options.parse_args(arguments)
    signal.signal(signal.SIGVTALRM, hang)
    names = (asked.dialect,) if asked.dialect else NAMES
    saved = 0
    for name in names:
        if asked.replay:
            tried = [
                attempt(name, kind, asked.replay.read_bytes(), Random(n)) for kind in seeds(name) for n in range(20)
            ]
            found = {f.what: [f] for f in tried if f is not None}
            done = Counter(replayed=len(tried))
        else:
            done, found = run(name, asked.seed, seconds=asked.seconds)
        sys.stdout.write(f"{name}: {done.total()} executions {dict(done)}, {len(found)} findings\n")
        for what, alike in found.items():
            shortest = min(alike, key=lambda finding: len(finding.data))
            sys.stdout.write(f"  {len(alike)} x {what}\n    {shortest.data[:300]!r}\n{shortest.detail}\n")
            if asked.save and not asked.replay:
                saved += 1
                asked.save.with_name(asked.save.name + (f".{saved}" if saved > 1 else "")).write_bytes(shortest.data)
        sys.stdout.flush()
    return 1 if saved or found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
