"""The behaviours that are one HTTP answer: the errors of each dialect's providers, as data.

The shapes come from recorded traffic, the providers' documentation, and bodies that users quoted in public bug
reports, in our own words where the words do not matter. They do matter where the table of faults tells two faults
apart by an anchored phrase of the message ("Request too large"): there the phrase is the provider's. A dialect whose
provider has no distinct shape for a fault that we know of does not show it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from understudy.sim import wire
from understudy.sim.behaviour import Behaviour, Call
from understudy.sim.refusals.anthropic import ANTHROPIC
from understudy.sim.refusals.google import GOOGLE
from understudy.sim.refusals.openai import ANYWHERE, COMPATIBLE, OPENAI
from understudy.sim.refusals.others import BEDROCK, COHERE, OLLAMA, RESPONSES
from understudy.sim.refusals.row import Row
from understudy.sim.voices.voice import Trouble, Voice
from understudy.sim.wire import Script

_TABLES: Mapping[str, tuple[Row, ...]] = {
    "openai-chat": (*OPENAI, *COMPATIBLE),
    "openai-responses": (*OPENAI, *RESPONSES),
    "openai-completions": OPENAI,
    "anthropic-messages": ANTHROPIC,
    "gemini": GOOGLE,
    "cohere-chat": COHERE,
    "ollama": OLLAMA,
    "bedrock-converse": BEDROCK,
}
_ROWS: Mapping[str, Mapping[str, Row]] = {
    dialect: {row.name: row for row in (*rows, *ANYWHERE)} for dialect, rows in _TABLES.items()
}


def _row(name: str, voice: Voice) -> Row | None:
    return _ROWS.get(voice.name, _ROWS["openai-completions"]).get(name)


def trouble(name: str, voice: Voice, call: Call) -> Trouble:
    """The error `name` as the voice's provider tells it; an internal one where it has none of that name."""
    row = _row(name, voice) or _row("internal", voice)
    assert row is not None
    body, headers = row.told(call)
    return Trouble(name, row.status, name, told=(row.status, msgspec.json.decode(body), headers))


def refused(name: str, voice: Voice, call: Call) -> bytes:
    """The error `name` as a whole answer."""
    row = _row(name, voice)
    if row is None or row.raw.startswith(b"{"):
        status, body, headers = voice.refuse(trouble(name, voice, call))
        return wire.refuse(status, body, headers)
    raw, headers = row.told(call)
    return wire.whole(row.status, raw, headers)


def _always(name: str) -> Callable[[Voice, Call], Script]:
    return lambda voice, call: [refused(name, voice, call)]


def _behaviours() -> tuple[Behaviour, ...]:
    first: dict[str, Row] = {}
    for rows in _ROWS.values():
        for row in rows.values():
            if row.name not in first or not first[row.name].summary:
                first[row.name] = row
    return tuple(
        Behaviour(
            name,
            row.rows,
            row.summary,
            _always(name),
            {} if row.retry is None else {"retry": row.retry},
            dialects=frozenset(dialect for dialect, rows in _ROWS.items() if name in rows),
        )
        for name, row in first.items()
    )


REFUSALS: Mapping[str, Behaviour] = {behaviour.name: behaviour for behaviour in _behaviours()}
