"""What a behaviour is, and how a model name chooses one: `slow`, or with parameters `slow:first=2,between=0.1`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from understudy.sim.asked import Asked
from understudy.sim.wire import Script

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


class Behaviour(msgspec.Struct, frozen=True):
    """A row of the table. `row` is its row in the table of faults, None where it is no fault of that table.

    `defaults` are its parameters; a parameter has the type of its default. `fails` holds for the defaults.
    """

    name: str
    row: int | None
    summary: str
    script: Callable[[Call], Script]
    defaults: Values = {}
    fails: Fails = "before"


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
    values = dict(behaviour.defaults)
    for part in rest.split(",") if colon else ():
        key, equals, given = part.partition("=")
        default = behaviour.defaults.get(key)
        if default is None or not equals:
            takes = ", ".join(behaviour.defaults) or "none"
            raise BehaviourError(f"`{name}` has no parameter `{part}`; it takes: {takes}.", unknown=False)
        values[key] = _value(name, key, given, default)
    if (other := values.get("like")) is not None and other not in table:
        raise BehaviourError(f"`{name}:like={other}` names no behaviour.", unknown=False)
    return behaviour, values


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
