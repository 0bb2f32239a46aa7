"""Decisions about failures, without I/O: the fault table, the reaction to a fault, cooldowns, breakers, budgets,
quotas, limits, and the choice of target.
"""

from understudy.resilience.breaker import Breakers, BreakerState
from understudy.resilience.budget import RetryBudget
from understudy.resilience.choice import Order, arrange, rotate
from understudy.resilience.cooldown import Cooldown, Cooldowns, Place, seconds_left
from understudy.resilience.faults import Row, classify, row, table
from understudy.resilience.health import Change, Health, Obstacle
from understudy.resilience.hedge import Hedges
from understudy.resilience.latency import Latencies
from understudy.resilience.limiter import Limiter, outcome
from understudy.resilience.quota import Left, Mark, Quotas, counted
from understudy.resilience.react import Cooling, Reaction, State, react
from understudy.resilience.splice import Way

__all__ = [
    "BreakerState",
    "Breakers",
    "Change",
    "Cooldown",
    "Cooldowns",
    "Cooling",
    "Health",
    "Hedges",
    "Latencies",
    "Left",
    "Limiter",
    "Mark",
    "Obstacle",
    "Order",
    "Place",
    "Quotas",
    "Reaction",
    "RetryBudget",
    "Row",
    "State",
    "Way",
    "arrange",
    "classify",
    "counted",
    "outcome",
    "react",
    "rotate",
    "row",
    "seconds_left",
    "table",
]
