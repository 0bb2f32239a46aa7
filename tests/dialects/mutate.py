"""Breaking a message on purpose: one of many small damages to bytes, or to the JSON in them, by a seeded `Random`.

Bytes are cut, flipped and swapped whatever they mean. Where they hold JSON (a body, an event, a line, the payload of a
binary message), values are replaced at a random path and the framing stays right, so that the damage gets past it.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from tests.dialects.recorded_bedrock_converse import message, messages

LARGE = 100_000
"""Bytes to which a message may be grown, and for which a decoder has a second."""

TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?|true|false|null|[{}\[\],:]|\S')
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 1.5, -0.0, 2**31, 2**63, -(2**64), 10**30, 1e308, 5e-324, "", " ", "x", "\x00", "null",
    "\ud800", "é", "0", "-1", "1e400", "[DONE]", "data:", "data:image/png;base64,", "data:;base64,%", "http://[", "{",
    "2026-99-99T99:99:99Z", "9" * 400, '{"a":', "[]", '{"a":1}', "AAAA", "=", [], {}, [None], [[]], [{}], {"": None},
    [1, "a"], {"type": None}, {"type": "text"}, {"type": "object", "properties": []}, {"$ref": "#"}, {"error": {}},
)  # fmt: skip
"""Values of every type, and texts that something may try to read."""

NUMBERS = (
    b"1e999",
    b"-1e999",
    b"1" + b"0" * 400,
    b"0.1e-999",
    b"18446744073709551616",
    b"NaN",
    b"Infinity",
    b"-",
    b"01",
)
BROKEN = (
    b"\xff",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\x00",
    b"\\u",
    b"\\ud800",
    b"\\ud800\\udc00",
    b"\r",
    b"\n",
)
DEPTHS = (50, 400, 900, 1100, 20_000)


# --- bytes -----------------------------------------------------------------------------------------------------------


def flipped(data: bytes, chance: Random) -> bytes:
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        if out:
            out[chance.randrange(len(out))] ^= 1 << chance.randrange(8)
    return bytes(out)


def truncated(data: bytes, chance: Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def beheaded(data: bytes, chance: Random) -> bytes:
    return data[chance.randrange(len(data) + 1) :]


def cut(data: bytes, chance: Random) -> bytes:
    first, last = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    return data[:first] + data[last:]


def doubled(data: bytes, chance: Random) -> bytes:
    first, last = sorted(chance.randrange(len(data) + 1) for _ in range(2))
    return data[:last] + data[first:]


def spliced(data: bytes, chance: Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.choice(BROKEN) + data[at:]


def swapped(data: bytes, chance: Random) -> bytes:
    """Two of the tokens change places."""
    tokens = list(TOKEN.finditer(data))
    if len(tokens) < 2:
        return data
    one, other = sorted(chance.sample(tokens, 2), key=re.Match.start)
    return data[: one.start()] + other[0] + data[one.end() : other.start()] + one[0] + data[other.end() :]


def retokened(data: bytes, chance: Random) -> bytes:
    """One token becomes a number beyond bounds, something deep, or any odd value."""
    tokens = list(TOKEN.finditer(data))
    if not tokens:
        return data
    found = chance.choice(tokens)
    value = chance.choice((chance.choice(NUMBERS), deep(chance), dumped(odd(chance))))
    return data[: found.start()] + value + data[found.end() :]


def deep(chance: Random) -> bytes:
    depth = chance.choice(DEPTHS)
    start, end = chance.choice(
        ((b"[", b"]"), (b'{"a":', b"}"), (b'{"properties":{"a":', b"}}"), (b'[{"type":"text"},', b"]"))
    )
    closed = chance.random() < 0.8
    return start * depth + b"1" + (end * depth if closed else b"")


ON_BYTES: tuple[Callable[[bytes, Random], bytes], ...] = (
    flipped, truncated, beheaded, cut, doubled, spliced, swapped, retokened,
)  # fmt: skip


# --- JSON ------------------------------------------------------------------------------------------------------------


def odd(chance: Random) -> Any:
    """One of the odd values, of its own: what holds it may change it again."""
    return copy.deepcopy(chance.choice(ODD))


def dumped(value: Any) -> bytes:
    """JSON, a lone surrogate as an escape."""
    return json.dumps(value).encode()


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every holder and key or index of a value within."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from places(value[key])


def changed(value: Any, chance: Random) -> Any:
    """One place of a JSON value damaged; `value` itself is changed."""
    found = list(places(value))
    if not found:
        return odd(chance)
    holder, key = chance.choice(found)
    kind = chance.randrange(8)
    if kind <= 2:
        holder[key] = odd(chance)
    elif kind == 3:
        del holder[key]
    elif kind == 4:  # a value from elsewhere in it
        other, at = chance.choice(found)
        holder[key] = json.loads(json.dumps(other[at])) if other is not holder and len(json.dumps(value)) < LARGE else 1
    elif kind == 5 and isinstance(holder, dict):
        names = [str(name) for _, name in found if isinstance(name, str)]
        holder[chance.choice([*names, "", "type", "~", "~as", "error", "index"])] = odd(chance)
    elif kind == 6 and isinstance(holder, list):
        holder.insert(key, chance.choice((holder[key], odd(chance))))
    else:
        holder[key] = {"": holder[key]} if chance.random() < 0.5 else [holder[key]]
    return value


def with_twin(text: bytes, chance: Random) -> bytes:
    """A member comes twice, with two values."""
    opened = [at for at, byte in enumerate(text) if byte == 0x7B]
    names = re.findall(rb'"(\w+)":', text)
    if not opened or not names:
        return text
    at = chance.choice(opened) + 1
    comma = b"" if text[at : at + 1] == b"}" else b","
    return text[:at] + b'"' + chance.choice(names) + b'":' + dumped(odd(chance)) + comma + text[at:]


def grown(value: Any, chance: Random) -> Any:
    """Something of it repeated until the whole is large."""
    found = list(places(value))
    holders = [(holder, key) for holder, key in found if isinstance(holder[key], str | list | dict) and holder[key]]
    if not holders:
        return value
    holder, key = chance.choice(holders)
    inner = holder[key]
    times = max(1, (LARGE - 2000) // max(1, len(json.dumps(inner))))
    if isinstance(inner, str | list):
        holder[key] = inner * times
    else:
        name, item = next(iter(inner.items()))
        each = max(1, (LARGE - 2000) // (len(json.dumps(item)) + len(name) + 12))
        holder[key] = inner | {f"{name}{n}": item for n in range(each)}
    return value


def damaged(text: bytes, chance: Random) -> bytes:
    """JSON text with its values damaged; what is no JSON is damaged as bytes."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return chance.choice(ON_BYTES)(text, chance)
    if chance.random() < 0.01:
        return dumped(grown(value, chance))
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        value = changed(value, chance)
    out = dumped(value)
    kind = chance.random()
    return with_twin(out, chance) if kind < 0.1 else retokened(out, chance) if kind < 0.15 else out


# --- streams ---------------------------------------------------------------------------------------------------------


def damaged_frames(data: bytes, chance: Random) -> bytes:
    """Binary messages with a payload or a header damaged, and sums that are right again."""
    frames = list(messages(data))
    if not frames:
        return chance.choice(ON_BYTES)(data, chance)
    at = chance.randrange(len(frames))
    headers, payload = frames[at]
    if chance.random() < 0.1:
        headers = headers | {chance.choice(list(headers) or ["x"]): chance.choice(("", "x", "event", "é", "exception"))}
    else:
        payload = damaged(payload, chance)
    frames[at] = headers, payload
    return b"".join(message(*frame) for frame in shuffled(frames, chance))


def damaged_lines(data: bytes, chance: Random) -> bytes:
    """Events with the JSON of some line damaged."""
    lines = data.split(b"\n")
    chosen = [i for i, line in enumerate(lines) if b"{" in line]
    if not chosen:
        return chance.choice(ON_BYTES)(data, chance)
    at = chance.choice(chosen)
    start, brace, rest = lines[at].partition(b"{")
    lines[at] = start + damaged(brace + rest, chance)
    if b"data:" not in data:  # lines of JSON
        return b"\n".join(shuffled(lines, chance))
    return b"\n\n".join(shuffled(b"\n".join(lines).split(b"\n\n"), chance))


def shuffled(events: list[Any], chance: Random) -> list[Any]:
    """The events as they are; or one of them lost, repeated, moved, or come a thousand times."""
    kind, at = chance.random(), chance.randrange(len(events))
    if kind < 0.7:
        return events
    if kind < 0.8:
        return events[:at] + events[at + 1 :]
    if kind < 0.9:
        return events[:at] + events[at : at + 1] * 2 + events[at + 1 :]
    if kind < 0.99:
        other = chance.randrange(len(events))
        events[at], events[other] = events[other], events[at]
        return events
    size = len(str(events[at])) + 2
    return events[:at] + events[at : at + 1] * max(1, (LARGE - 5000) // size) + events[at + 1 :]


def mutated(data: bytes, chance: Random) -> bytes:
    """`data` damaged once or more."""
    if chance.random() < 0.25:
        for _ in range(chance.choice((1, 1, 2, 3))):
            data = chance.choice(ON_BYTES)(data, chance)
        return data
    if data[:1] == b"\x00":
        return damaged_frames(data, chance)
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return damaged_lines(data, chance)
    return damaged(data, chance)


def pieces(data: bytes, chance: Random) -> list[bytes]:
    """`data` cut anywhere: into bytes where it is short, else at a few places."""
    if len(data) < 600 and chance.random() < 0.2:
        return [data[i : i + 1] for i in range(len(data))]
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice((0, 1, 3, 20))))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
