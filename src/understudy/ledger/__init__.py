"""What happened: every exchange, kept off the way of the calls.

`Ledger.put` is all that the data path knows of it. Importing this package does not import a database.
"""

from understudy.ledger.front import Ledger, State
from understudy.ledger.records import (
    Attempt,
    Audit,
    Body,
    Cost,
    Event,
    Exchange,
    Feedback,
    Outcome,
    Record,
    Seam,
    Side,
    Tokens,
)
from understudy.ledger.settings import Redaction, Retention, Settings

__all__ = [
    "Attempt",
    "Audit",
    "Body",
    "Cost",
    "Event",
    "Exchange",
    "Feedback",
    "Ledger",
    "Outcome",
    "Record",
    "Redaction",
    "Retention",
    "Seam",
    "Settings",
    "Side",
    "State",
    "Tokens",
]
