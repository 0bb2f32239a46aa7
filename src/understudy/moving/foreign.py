"""Logs of others, as exchanges. Only forms that their makers document:

- `{"request": ..., "response": ...}`: bodies of OpenAI's Chat Completions or Responses API, as gateways and wrappers of
  SDKs log them. The answer must say when it was made (`created`, `created_at`).
- OpenAI's stored completions: the `chat.completion` objects of GET /v1/chat/completions (OpenAI API reference, "List
  Chat Completions"), one a line.
- OpenAI's batch results (OpenAI API reference, "The request output object").
- LiteLLM's StandardLoggingPayload (docs.litellm.ai, "StandardLoggingPayload Specification").

An exchange's id is made of the line, or of the id in it, so that the same line is the same exchange however often it is
read. What cannot be known of a log, as its clocks, stays unknown. A price is looked up like that of any attempt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from understudy import dialects
from understudy.canon import Answer
from understudy.dialects.wire import Malformed
from understudy.ledger.cost import Prices
from understudy.moving import jsonl, lines
from understudy.moving.lines import Read

LONGEST = 32 * 1024 * 1024
"""Bytes of one line that are read."""

CHAT, RESPONSES = "openai-chat", "openai-responses"
_FORMS = "{request, response}, a chat.completion object, a batch result, or LiteLLM's standard logging payload"

Members = dict[str, msgspec.Raw]
_members = msgspec.json.Decoder(Members)


class _BadLogError(ValueError):
    """What is wrong with a line."""


class _Asked(msgspec.Struct):
    model: str = ""
    stream: bool | None = None
    user: str | None = None
    safety_identifier: str | None = None


class _Made(msgspec.Struct):
    object: str = ""
    created: float | None = None
    created_at: float | None = None
    error: Any = None
    input_user: str | None = None


class _Answered(msgspec.Struct):
    """The response within a batch result."""

    status_code: int = 200
    request_id: str | None = None
    body: msgspec.Raw = msgspec.Raw(b"{}")


class _Batch(msgspec.Struct):
    id: str
    custom_id: str
    response: _Answered | None = None


class _Metadata(msgspec.Struct):
    user_api_key_alias: str | None = None
    user_api_key_hash: str | None = None


class _Wrong(msgspec.Struct):
    error_code: str | None = None
    error_class: str | None = None


class _Standard(msgspec.Struct):
    """LiteLLM's payload, as far as it has a place in the ledger. Times are Unix seconds."""

    id: str
    call_type: str
    startTime: float  # noqa: N815  the wire's names
    endTime: float | None = None  # noqa: N815
    completionStartTime: float | None = None  # noqa: N815
    stream: bool | None = None
    response_cost: float | None = None
    status: str = "success"
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    model: str = ""
    model_group: str | None = None
    custom_llm_provider: str | None = None
    trace_id: str | None = None
    metadata: _Metadata | None = None
    request_tags: list[str] | None = None
    end_user: str | None = None
    messages: msgspec.Raw = msgspec.Raw(b"null")
    response: msgspec.Raw = msgspec.Raw(b"null")
    error_str: str | None = None
    error_information: _Wrong | None = None


class Reader:
    """`provider` answered, where a log does not say who did. `whose` is what is kept of the name of an end user."""

    def __init__(self, provider: str, whose: Callable[[str | None], str | None], *, bodies: bool) -> None:
        self._provider = provider
        self._whose = whose
        self._bodies = bodies
        self._prices = Prices()

    def read(self, path: Path) -> Iterator[Read]:
        """The exchanges of a log. Raises BadFileError or OSError."""
        for number, line in jsonl.raw(path, LONGEST):
            where = f"line {number}"
            if line is None:
                yield Read(where, None, f"longer than {LONGEST} bytes")
                continue
            try:
                yield Read(where, self._exchange(line), size=len(line))
            except (_BadLogError, Malformed) as error:
                yield Read(where, None, str(error))
            except msgspec.ValidationError as error:
                yield Read(where, None, str(error))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                yield Read(where, None, f"no JSON: {error}")

    def _exchange(self, line: bytes) -> lines.Exchange:
        members = _members.decode(line)
        if "custom_id" in members:
            return self._batch(line)
        if "request" in members and "response" in members:
            return self._pair(line, members["request"], members["response"])
        if "call_type" in members and "startTime" in members:
            return self._standard(line)
        if members.get("object") == msgspec.Raw(b'"chat.completion"'):
            return self._answered("stored", line, None, line, provider="openai")
        raise _BadLogError(f"none of the forms that are read: {_FORMS}")

    def _pair(self, line: bytes, request: msgspec.Raw, response: msgspec.Raw) -> lines.Exchange:
        return self._answered("pair", line, bytes(request), bytes(response), provider=self._provider)

    def _batch(self, line: bytes) -> lines.Exchange:
        row = msgspec.json.decode(line, type=_Batch)
        said = row.response
        if said is None or said.status_code != 200:
            raise _BadLogError("a batch's request that failed: the line says neither when nor of which model")
        return self._answered("batch", row.id.encode(), None, bytes(said.body), provider="openai",
                              batch=True, request_id=said.request_id)  # fmt: skip

    def _answered(
        self,
        form: str,
        name: bytes,
        request: bytes | None,
        response: bytes,
        *,
        provider: str,
        batch: bool = False,
        request_id: str | None = None,
    ) -> lines.Exchange:
        asked = _Asked() if request is None else msgspec.json.decode(request, type=_Asked)
        made = msgspec.json.decode(response, type=_Made)
        if made.object not in ("chat.completion", "response"):
            raise _BadLogError(f"the response is {made.object or 'nothing'!r}, not a chat.completion or response")
        wall = made.created if made.created is not None else made.created_at
        if wall is None:
            raise _BadLogError("the response does not say when it was made (`created`)")
        dialect = RESPONSES if made.object == "response" else CHAT
        answer = dialects.get(dialect).decode_answer(response)
        model = asked.model or answer.model
        target = f"{provider}/{answer.model or model}"
        used, cost = self._used(target, answer, wall, batch=batch)
        return lines.Exchange(
            id=_id(form, name),
            wall=wall,
            route=model,
            dialect=dialect,
            model=model,
            outcome="answered",
            stream=bool(asked.stream),
            status=200,
            target=target,
            end_user=self._whose(asked.safety_identifier or asked.user or made.input_user),
            tokens=used,
            cost=cost,
            attempts=(lines.Attempt(target, 0.0, reaction="answered", request_id=request_id, tokens=used, cost=cost),),
            bodies=self._kept(request, response),
        )

    def _standard(self, line: bytes) -> lines.Exchange:
        row = msgspec.json.decode(line, type=_Standard)
        good, about, wrong = row.status == "success", row.metadata or _Metadata(), row.error_information or _Wrong()
        target = f"{row.custom_llm_provider or self._provider}/{row.model}"
        used = None
        if row.prompt_tokens is not None or row.completion_tokens is not None:
            used = lines.Tokens(row.prompt_tokens, row.completion_tokens)
        cost = lines.Cost(row.response_cost, "litellm") if good and row.response_cost is not None else None
        total = None if row.endTime is None else row.endTime - row.startTime
        first = None if row.completionStartTime is None else row.completionStartTime - row.startTime
        code = wrong.error_code or ""
        status = 200 if good else int(code) if code.isdecimal() and len(code) == 3 else None
        attempt = lines.Attempt(
            target, 0.0, ended=total, first_content=first, reaction="answered" if good else "surface",
            fault=None if good else "unknown", fault_status=None if good else status,
            fault_code=None if good else wrong.error_class, fault_message="" if good else (row.error_str or "")[:500],
            tokens=used, cost=cost,
        )  # fmt: skip
        asked = msgspec.json.encode({"model": row.model_group or row.model, "messages": row.messages})
        return lines.Exchange(
            id=_id("litellm", row.id.encode()),
            wall=row.startTime,
            route=row.model_group or row.model,
            dialect=CHAT,
            model=row.model_group or row.model,
            outcome="answered" if good else "failed",
            stream=bool(row.stream),
            status=status,
            target=target,
            key=about.user_api_key_alias or about.user_api_key_hash,
            session=row.trace_id,
            end_user=self._whose(row.end_user),
            tags=tuple(row.request_tags or ()),
            tokens=used,
            cost=cost,
            first_content=first,
            total=total,
            attempts=(attempt,),
            bodies=self._kept(asked, bytes(row.response) if good else None),
        )

    def _used(
        self, target: str, answer: Answer, wall: float, *, batch: bool
    ) -> tuple[lines.Tokens | None, lines.Cost | None]:
        usage = answer.usage
        if usage is None:
            return None, None
        charge = self._prices.charge(target, usage, at=wall, tier=answer.service_tier, batch=batch)
        tokens = lines.Tokens(usage.input, usage.output, usage.cached_read, usage.cached_write, usage.reasoning)
        return tokens, None if charge is None else lines.Cost(float(charge.usd), charge.price_version)

    def _kept(self, request: bytes | None, response: bytes | None) -> tuple[lines.Body, ...]:
        if not self._bodies:
            return ()
        sides = (("request", request), ("answer", response))
        return tuple(
            lines.body_of(side, "application/json", len(data), data) for side, data in sides if data is not None
        )


def _id(form: str, name: bytes) -> str:
    return f"im_{hashlib.sha256(form.encode() + b' ' + name).hexdigest()[:32]}"
