"""What a behaviour is, and how a model name chooses one: `slow`, or with parameters `slow:first=2,between=0.1`."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

import msgspec

from understudy.sim.asked import Asked
from understudy.sim.wire import Script

if TYPE_CHECKING:
    from understudy.sim.voices.voice import Voice

Value = int | float | str
Values = Mapping[str, Value]

Fails = Literal["never", "before", "after"]
"""When the exchange goes wrong: never, before the first content has been sent, or after some has."""

MOST = 86_400
"""The largest number a parameter may have: a day of waiting, or as many events."""


class Call(msgspec.Struct, frozen=True):
    """One request to one behaviour.

    `number` counts the calls of this model name since it was last switched, from 1. `reused` says that the connection
    has carried a request before. `created` is in Unix seconds.
    """

    asked: Asked
    values: Values
    number: int = 1
    reused: bool = False
    id: str = "chatcmpl-simulated"
    created: int = 0

    def count(self, name: str) -> int:
        return int(self.values.get(name, 0))

    def seconds(self, name: str) -> float:
        return float(self.values.get(name, 0.0))


EVERY = frozenset(
    {
        "anthropic-messages", "bedrock-converse", "cohere-chat", "gemini", "ollama", "openai-chat",
        "openai-completions", "openai-responses",
    }
)  # fmt: skip
"""The dialects of chat, each with a voice."""


class Behaviour(msgspec.Struct, frozen=True):
    """A row of the table. `rows` are its rows in the catalogue of faults, none where it is no fault of that catalogue.

    `defaults` are its parameters; a parameter has the type of its default. `fails` holds for the defaults. `dialects`
    are those that can show it.
    """

    name: str
    rows: tuple[int, ...]
    summary: str
    script: Callable[[Voice, Call], Script]
    defaults: Values = {}
    fails: Fails = "before"
    dialects: frozenset[str] = EVERY

    def shown_in(self, voice: str) -> bool:
        """Whether a voice has it. What OpenAI offers beside chat fails as its Completions do."""
        return (voice if voice in EVERY else "openai-completions") in self.dialects


class BehaviourError(ValueError):
    """A model name that means nothing here. `unknown` tells a wrong name from a wrong parameter."""

    def __init__(self, message: str, *, unknown: bool) -> None:
        super().__init__(message)
        self.unknown = unknown


def resolve(model: str, table: Mapping[str, Behaviour]) -> tuple[Behaviour, Values]:
    """The behaviour that `model` names and its parameters, or `BehaviourError` saying what is wrong."""
    name, colon, rest = model.partition(":")
    behaviour = table.get(name)
    if behaviour is None:
        raise BehaviourError(
            f"The model `{model}` does not exist or you do not have access to it. "
            f"This is a simulated provider, its models are: {', '.join(sorted(table))}.",
            unknown=True,
        )
    parts = rest.split(",") if colon else []
    known = dict(behaviour.defaults)
    if "like" in known:
        given = (part.removeprefix("like=") for part in parts if part.startswith("like="))
        other = next(given, str(known["like"]))
        if other not in table or "like" in table[other].defaults:
            raise BehaviourError(f"`{name}:like={other}` names no behaviour that can be taken on.", unknown=False)
        known = {**table[other].defaults, **known}
    values = dict(known)
    for part in parts:
        key, equals, text = part.partition("=")
        default = known.get(key)
        if default is None or not equals:
            takes = ", ".join(known) or "none"
            raise BehaviourError(f"`{name}` has no parameter `{part}`; it takes: {takes}.", unknown=False)
        values[key] = _value(name, key, text, default)
    return behaviour, values


def settle(
    behaviour: Behaviour, call: Call, table: Mapping[str, Behaviour], otherwise: tuple[Behaviour, Values]
) -> tuple[Behaviour, Call]:
    """What is done about this call in particular, by a behaviour that fails some calls as another one does.

    `otherwise` is what happens to the rest. Chance is the same for the same seed and call, so that a failing test can
    be run again.
    """
    if "like" not in behaviour.defaults:
        return behaviour, call
    if "n" in behaviour.defaults:
        fails = call.number <= call.count("n")
    else:
        drawn = hashlib.blake2b(f"{call.values['seed']}:{call.number}".encode(), digest_size=8).digest()
        fails = int.from_bytes(drawn, "big") / 2**64 < call.seconds("rate")
    if fails:
        return table[str(call.values["like"])], call
    other, values = otherwise
    return other, msgspec.structs.replace(call, values=values)


def _value(name: str, key: str, given: str, default: Value) -> Value:
    if isinstance(default, str):
        return given
    kind, wanted = (int, "a whole number") if isinstance(default, int) else (float, "a number")
    try:
        value = kind(given)
    except ValueError:
        value = math.nan
    if not 0 <= value <= MOST:  # also false of not-a-number
        raise BehaviourError(f"`{name}:{key}={given}` must be {wanted} from 0 to {MOST}.", unknown=False)
    return value
