"""Decisions about failures, without I/O: the fault table, the reaction to a fault, cooldowns, the choice of target."""

from understudy.resilience.choice import choose
from understudy.resilience.cooldown import Cooldown, Cooldowns, Place, seconds_left
from understudy.resilience.faults import Row, classify, row, table
from understudy.resilience.react import Cooling, Reaction, State, react

__all__ = [
    "Cooldown",
    "Cooldowns",
    "Cooling",
    "Place",
    "Reaction",
    "Row",
    "State",
    "choose",
    "classify",
    "react",
    "row",
    "seconds_left",
    "table",
]
