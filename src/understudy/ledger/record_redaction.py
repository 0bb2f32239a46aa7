"""Records without what is not to be stored: what the process that writes does to each, before it writes it anywhere.

What people said (bodies, feedback) is searched for all that the settings name; a provider's message too, but not by the
further detector, which takes seconds to begin. Names that somebody chose (models, sessions, tags, fields) lose secrets
only: they are there to find exchanges by, and a number in the place of an address would join strangers.

What cannot be searched is not kept, and counted: the exchange stays, with a mark where the text was.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from understudy.ledger.records import Attempt, Body, Event, Exchange, Feedback, Record
from understudy.ledger.redaction import Numbers, Redactor, UnsearchableError
from understudy.ledger.settings import Redaction

UNSEARCHABLE = "[unsearchable]"
"""Stands where a text was that nobody could look through."""

_replace = msgspec.structs.replace


class RecordRedactor:
    """`given_up` counts the texts of which nothing was kept, since they could not be searched."""

    def __init__(self, settings: Redaction) -> None:
        self._redactor = Redactor(settings)
        self.given_up = 0

    def record(self, record: Record) -> Record:
        """A record as it may be stored."""
        numbers = Numbers()
        if isinstance(record, Exchange):
            return self._exchange(record, numbers)
        if isinstance(record, Feedback):
            said = {name: getattr(record, name) for name in ("label", "comment", "corrected")}
            texts = {name: text and self._text(text, numbers) for name, text in said.items()}
            return _replace(record, **texts, exchange=self._name(record.exchange, numbers))
        if isinstance(record, Event):
            target = record.target and self._name(record.target, numbers)
            return _replace(record, target=target, detail=self._detail(record.detail, numbers))
        return _replace(
            record, subject=self._name(record.subject, numbers), detail=self._detail(record.detail, numbers)
        )

    def _exchange(self, record: Exchange, numbers: Numbers) -> Exchange:
        changed = self._names(_chosen(record), numbers)
        if changed:
            record = _renamed(record, changed)
        if any(attempt.fault_message for attempt in record.attempts):
            record = _replace(record, attempts=tuple(self._attempt(one, numbers) for one in record.attempts))
        if record.bodies:
            record = _replace(record, bodies=tuple(self._body(body, numbers) for body in record.bodies))
        return record

    def _names(self, texts: Iterator[str | None], numbers: Numbers) -> dict[str, str]:
        known = list(texts)
        try:
            return self._redactor.names(known, numbers)
        except UnsearchableError:
            self.given_up += 1
            return {text: UNSEARCHABLE for text in known if text}

    def _name(self, text: str, numbers: Numbers) -> str:
        return self._names(iter([text]), numbers).get(text, text)

    def _attempt(self, attempt: Attempt, numbers: Numbers) -> Attempt:
        return _replace(attempt, fault_message=self._text(attempt.fault_message, numbers, quick=True))

    def _text(self, text: str, numbers: Numbers, *, quick: bool = False) -> str:
        try:
            return self._redactor.text(text, numbers, quick=quick)
        except UnsearchableError:
            self.given_up += 1
            return UNSEARCHABLE

    def _detail(self, detail: str, numbers: Numbers) -> str:
        if not detail:
            return detail
        try:
            return self._redactor.body(detail.encode(), numbers, quick=True).decode()
        except UnsearchableError:
            self.given_up += 1
            return f'"{UNSEARCHABLE}"'

    def _body(self, body: Body, numbers: Numbers) -> Body:
        if body.encoding:
            raise ValueError(f"The body is packed ({body.encoding}). It is redacted before it is packed.")
        try:
            data = self._redactor.body(body.data, numbers, cut=body.size > len(body.data))
        except UnsearchableError:
            self.given_up += 1
            data = UNSEARCHABLE.encode()
        if data == body.data:
            return body
        return _replace(body, data=data, size=body.size if body.size > len(body.data) else 0)


def bare(record: Record) -> Record:
    """A record without any text that could hold something, for when redaction itself has failed."""
    if isinstance(record, Exchange):
        attempts = tuple(
            _replace(one, fault_code=None, fault_message="", request_id=None, losses=()) for one in record.attempts
        )
        return _replace(record, session=None, task=None, end_user=None, tags=(), attempts=attempts, bodies=())
    if isinstance(record, Feedback):
        return _replace(record, label=None, comment=None, corrected=None)
    return _replace(record, detail="")


def _chosen(record: Exchange) -> Iterator[str | None]:
    """The names in a record that clients or providers chose."""
    yield from (record.route, record.model, record.target, record.session, record.task, record.end_user, *record.tags)
    for attempt in record.attempts:
        yield from (attempt.target, attempt.fault_code, attempt.request_id)
        for loss in attempt.losses:
            yield from (loss.field, loss.why)


def _renamed(record: Exchange, changed: dict[str, str]) -> Exchange:
    def new(text: str) -> str:
        return changed.get(text, text)

    def maybe(text: str | None) -> str | None:
        return text and new(text)

    def attempt(one: Attempt) -> Attempt:
        losses = tuple(_replace(loss, field=new(loss.field), why=new(loss.why)) for loss in one.losses)
        return _replace(
            one, target=new(one.target), fault_code=maybe(one.fault_code), request_id=maybe(one.request_id),
            losses=losses,
        )  # fmt: skip

    return _replace(
        record, route=new(record.route), model=new(record.model), target=maybe(record.target),
        session=maybe(record.session), task=maybe(record.task), end_user=maybe(record.end_user),
        tags=tuple(map(new, record.tags)), attempts=tuple(map(attempt, record.attempts)),
    )  # fmt: skip
