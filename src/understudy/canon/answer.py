"""What a provider answers: whole (`Answer`) or as it comes (`Event`).

A stream is `Started`, then parts that open, grow and close, then one `Finished` for each choice, then exactly one of
`Ended` and `Failed`. `Ping` and `Skipped` may come before `Started`. A part still open at `Failed` was not whole.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from understudy.canon.fault import Fault
from understudy.canon.request import Citation, Extra, Part, TokenLogprob

FinishReason = Literal["stop", "length", "tool_calls", "filtered", "refusal", "paused", "error", "unknown"]


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens. `input` includes `cached_read` and `cached_write`; `output` includes `reasoning`; None is not reported.

    `estimated` marks figures that we worked out because the provider's never came.
    """

    input: int | None = None
    output: int | None = None
    total: int | None = None
    cached_read: int | None = None
    cached_write: int | None = None
    reasoning: int | None = None
    audio_input: int | None = None
    audio_output: int | None = None
    accepted_prediction: int | None = None
    rejected_prediction: int | None = None
    estimated: bool = False
    extra: Extra = {}


class Choice(msgspec.Struct, frozen=True, omit_defaults=True):
    """One of the answers asked for. `native_reason` is the provider's own word for `finish`: it says more."""

    index: int
    parts: tuple[Part, ...]
    finish: FinishReason | None = None
    native_reason: str | None = None
    extra: Extra = {}
    message_extra: Extra = {}


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A whole answer. `created` is in Unix seconds."""

    dialect: str
    id: str
    model: str
    choices: tuple[Choice, ...]
    usage: Usage | None = None
    created: int | None = None
    service_tier: str | None = None
    extra: Extra = {}


class Started(msgspec.Struct, frozen=True, tag="started", omit_defaults=True):
    """The first event. It carries no content: a client that has seen only this can still be moved elsewhere."""

    dialect: str
    id: str = ""
    model: str = ""
    created: int | None = None
    service_tier: str | None = None
    extra: Extra = {}


class PartStarted(msgspec.Struct, frozen=True, tag="part_started"):
    """Part `index` of choice `choice` begins; `part` is its kind and what is known already, still without content."""

    choice: int
    index: int
    part: Part


class Delta(msgspec.Struct, frozen=True, tag="delta", omit_defaults=True):
    """More of an open part.

    `text` grows text, refusal, tool arguments, an audio's transcript, and of reasoning the summary if the part opened
    with one, else the text. `data` is base64 of audio. `signature` and `sealed` come whole, and may come late.
    """

    choice: int
    index: int
    text: str = ""
    data: str = ""
    signature: str | None = None
    citations: tuple[Citation, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    extra: Extra = {}
    sealed: str | None = None


class PartEnded(msgspec.Struct, frozen=True, tag="part_ended"):
    choice: int
    index: int


class Finished(msgspec.Struct, frozen=True, tag="finished", omit_defaults=True):
    """Choice `choice` is complete, in the provider's own judgement."""

    choice: int
    finish: FinishReason
    native_reason: str | None = None
    extra: Extra = {}


class Used(msgspec.Struct, frozen=True, tag="used"):
    """Usage so far. Later figures replace earlier ones: never add them."""

    usage: Usage
    extra: Extra = {}


class Ping(msgspec.Struct, frozen=True, tag="ping", omit_defaults=True):
    """A sign of life without content. `text` is the comment's text, if it was one."""

    text: str = ""


class Skipped(msgspec.Struct, frozen=True, tag="skipped"):
    """An event that could not be read and was passed over. `body` is its start, for the record."""

    body: str


class Extras(msgspec.Struct, frozen=True, tag="extras"):
    """Fields that belong to a chunk and not to any part, kept for the same dialect."""

    choice: int | None
    fields: Extra


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The stream broke. Terminal: nothing follows."""

    fault: Fault


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """The stream is complete: every choice has finished and the provider closed it in order. Terminal."""


Event = Started | PartStarted | Delta | PartEnded | Finished | Used | Ping | Skipped | Extras | Failed | Ended
