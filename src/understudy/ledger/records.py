"""What is written, as frozen structs: the only thing that the rest of the program says to the ledger.

They also are the wire format between the gateway and the process that writes, and the format of the spool, so a
record on disk may be read by a newer version: fields are only ever added, at the end, with a default.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from understudy.canon import Loss

Outcome = Literal["answered", "failed", "broken", "client_left", "stopped"]
"""`failed`: the client got an error and nothing else. `broken`: the answer had begun and ended with an error."""

Side = Literal["request", "answer"]


class Tokens(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Tokens as billed. `input` includes `cached_read` and `cached_write`, `output` includes `reasoning`.

    None is not known, which is not 0. `estimated` marks figures that we worked out because the provider's never came.
    """

    input: int | None = None
    output: int | None = None
    cached_read: int | None = None
    cached_write: int | None = None
    reasoning: int | None = None
    estimated: bool = False


class Cost(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """US dollars, and which version of which prices said so. No `Cost` at all is an unknown cost, never 0."""

    usd: float
    price_version: str


class Attempt(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One try at one target. Clocks are seconds since the exchange began, None for what did not happen.

    `fault` is the kind of the fault table, `reaction` what was done about it ("answered" where there was no fault).
    `skipped` counts events of a stream that could not be read. `way` is how it was to go on with an answer that
    another attempt had begun.
    """

    target: str
    started: float
    ended: float | None = None
    connected: float | None = None
    head: float | None = None
    first_content: float | None = None
    reaction: str | None = None
    fault: str | None = None
    fault_phase: str | None = None
    fault_status: int | None = None
    fault_code: str | None = None
    fault_message: str = ""
    retry_after: float | None = None
    request_id: str | None = None
    skipped: int = 0
    way: str | None = None
    tokens: Tokens | None = None
    cost: Cost | None = None
    losses: tuple[Loss, ...] = ()


class Seam(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where an answer was continued: after how many characters, by the attempt of which number, and in which way."""

    characters: int | None
    attempt: int
    way: str


class Body(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the client sent or saw. `size` is its length before it was cut; 0 means that `data` is all of it.

    `encoding` is "" for plain bytes and "zstd" for packed ones, which are `kept` bytes once unpacked. The writer packs:
    the gateway hands over plain bytes.
    """

    side: Side
    data: bytes
    content_type: str = ""
    size: int = 0
    encoding: str = ""
    kept: int = 0


class Exchange(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="exchange"):
    """One client request and all that came of it. `wall` is the Unix time of its start; durations are seconds.

    `dialect` is the client's, `model` what it asked for, `target` the one that answered last (None if none was tried),
    `status` what the client was shown. `key`, `session`, `task`, `tags` and `end_user` group exchanges, where given.
    """

    id: str
    wall: float
    route: str
    dialect: str
    model: str
    outcome: Outcome
    stream: bool = False
    status: int | None = None
    target: str | None = None
    key: str | None = None
    session: str | None = None
    task: str | None = None
    end_user: str | None = None
    tags: tuple[str, ...] = ()
    tokens: Tokens | None = None
    cost: Cost | None = None
    first_content: float | None = None
    total: float | None = None
    seams: tuple[Seam, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    bodies: tuple[Body, ...] = ()


class Feedback(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="feedback"):
    """What somebody thought of an answer. `corrected` is the answer that it should have been. `by` is a key's id."""

    id: str
    exchange: str
    wall: float
    by: str | None = None
    score: float | None = None
    label: str | None = None
    comment: str | None = None
    corrected: str | None = None


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="event"):
    """Something that happened beside or during exchanges: a cooldown, a reload. `detail` is JSON."""

    id: str
    wall: float
    kind: str
    exchange: str | None = None
    target: str | None = None
    detail: str = ""


class Audit(msgspec.Struct, frozen=True, array_like=True, gc=False, tag="audit"):
    """Who did what to the gateway: `actor` (a key's id) did `action` to `subject`. `detail` is JSON, and no secret."""

    id: str
    wall: float
    actor: str
    action: str
    subject: str = ""
    outcome: str = "done"
    detail: str = ""


Record = Exchange | Feedback | Event | Audit
