"""Wire formats. Each is a module with the functions of `Dialect`; to add one, write it and add its row here.

Pure: bytes and structs in, bytes and structs out. N dialects cost N modules, since all meet in `canon`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from understudy.canon import Answer, Event, Fault, Loss, Request, Usage
from understudy.dialects import (
    anthropic_messages,
    bedrock_converse,
    cohere_chat,
    gemini,
    ollama,
    openai_chat,
    openai_completions,
    openai_responses,
)
from understudy.dialects import watch as watching
from understudy.dialects.openai_chat import answer as chat_answer
from understudy.dialects.openai_chat import watch as chat_watching
from understudy.dialects.wire import Malformed


class StreamDecoder(Protocol):
    """Bytes of a stream to events. After `Ended` or `Failed` it gives nothing more."""

    @property
    def whole(self) -> bool:
        """Whether every choice that began has finished: what may still come (usage, the end) would not be missed."""
        ...

    def feed(self, data: bytes) -> list[Event]: ...

    def close(self) -> list[Event]:
        """The connection ended."""
        ...


class StreamEncoder(Protocol):
    """Events to bytes of a stream. `losses` grows as they come."""

    losses: list[Loss]

    def encode(self, event: Event) -> bytes: ...


class Dialect(Protocol):
    """What every dialect module offers. Decoding raises `Malformed`, and nothing else."""

    @property
    def NAME(self) -> str: ...  # noqa: N802  a constant of the module

    def StreamDecoder(self) -> StreamDecoder: ...  # noqa: N802  a class of the module

    def StreamEncoder(self, request: Request | None = None) -> StreamEncoder: ...  # noqa: N802  likewise

    def decode_request(self, body: bytes) -> Request: ...

    def encode_request(self, request: Request) -> tuple[bytes, tuple[Loss, ...]]: ...

    def decode_answer(self, body: bytes) -> Answer: ...

    def encode_answer(self, answer: Answer) -> tuple[bytes, tuple[Loss, ...]]: ...

    def decode_fault(self, status: int, headers: Mapping[str, str], body: bytes) -> Fault: ...

    def encode_fault(self, fault: Fault) -> tuple[int, dict[str, str], bytes]: ...


DIALECTS: Mapping[str, Dialect] = {
    anthropic_messages.NAME: anthropic_messages,
    bedrock_converse.NAME: bedrock_converse,
    cohere_chat.NAME: cohere_chat,
    gemini.NAME: gemini,
    ollama.NAME: ollama,
    openai_chat.NAME: openai_chat,
    openai_completions.NAME: openai_completions,
    openai_responses.NAME: openai_responses,
}


_ENDS = {ollama.NAME: watching.LINES, bedrock_converse.NAME: None}
"""What ends an event, where that is not server-sent events' blank line."""


class Watch(Protocol):
    """A look at a stream that is passed on as it came; see `watch.Watch` for what each says."""

    content: bool
    moved: bool
    finish: str | None
    done: bool
    fault: Fault | None
    skipped: int

    @property
    def whole(self) -> bool: ...

    @property
    def usage(self) -> Usage | None: ...

    @property
    def answered_by(self) -> str: ...

    @property
    def tier(self) -> str | None: ...

    def feed(self, data: bytes) -> bytes: ...

    def close(self) -> bytes: ...


def watch(name: str) -> Watch:
    """A watch over one stream of the dialect `name`."""
    if name == openai_chat.NAME:
        return chat_watching.Watch()
    return watching.Watch(get(name).StreamDecoder(), _ENDS.get(name, watching.EVENTS))


def answer_fault(name: str, body: bytes, *, streamed: bool) -> Fault | None:
    """What is wrong with the body of a 200 of the dialect `name`; None if it is a whole answer to who asked for one."""
    if name == openai_chat.NAME:
        return chat_watching.answer_fault(body, streamed=streamed)
    return watching.answer_fault(get(name), body, streamed=streamed)


def answer_figures(name: str, body: bytes) -> tuple[Usage | None, str, str | None]:
    """What a whole answer of the dialect `name` says of its tokens (None if nothing), its model and service tier.

    Raises `Malformed`.
    """
    if name == openai_chat.NAME:
        return chat_answer.answer_figures(body)
    answer = get(name).decode_answer(body)
    return answer.usage, answer.model, answer.service_tier


def get(name: str) -> Dialect:
    """The dialect called `name`. Raises `LookupError` that lists those there are."""
    if name not in DIALECTS:
        raise LookupError(f"there is no dialect {name!r}; known are: {', '.join(sorted(DIALECTS))}")
    return DIALECTS[name]


__all__ = [
    "DIALECTS",
    "Dialect",
    "Malformed",
    "StreamDecoder",
    "StreamEncoder",
    "Watch",
    "answer_fault",
    "answer_figures",
    "get",
    "watch",
]
