"""Pseudonyms of an exchange turned back into what they stand for, for who has the key."""

from __future__ import annotations

import msgspec

from understudy.ledger import pieces
from understudy.ledger.pseudonyms import Pseudonyms
from understudy.ledger.queries import Found
from understudy.ledger.records import Attempt, Body, Feedback

_replace = msgspec.structs.replace


def revealed(found: Found, pseudonyms: Pseudonyms) -> Found:
    """`found` with real values in the place of the pseudonyms that the key made; others stay."""

    def back(text: str | None) -> str | None:
        return text and pseudonyms.restored(text)

    def attempt(one: Attempt) -> Attempt:
        return _replace(one, fault_message=pseudonyms.restored(one.fault_message))

    def feedback(one: Feedback) -> Feedback:
        return _replace(one, label=back(one.label), comment=back(one.comment), corrected=back(one.corrected))

    def body(one: Body) -> Body:
        text = one.data.decode("utf-8", "surrogateescape")
        restored = pseudonyms.restored(text, as_json=pieces.is_json(text))
        return _replace(one, data=restored.encode("utf-8", "surrogateescape"))

    line = found.exchange
    return _replace(
        found,
        exchange=_replace(
            line, session=back(line.session), task=back(line.task), end_user=back(line.end_user),
            tags=tuple(pseudonyms.restored(tag) for tag in line.tags),
        ),
        attempts=[attempt(one) for one in found.attempts],
        feedback=[feedback(one) for one in found.feedback],
        bodies=[body(one) for one in found.bodies],
    )  # fmt: skip
