"""Records for the tests, and a look into the database that uses none of the code under test but the engine."""

import itertools

from sqlalchemy import text

from understudy.canon import Loss
from understudy.ledger import Attempt, Body, Cost, Exchange, Seam, Tokens
from understudy.ledger.database import open_engine

NOW = 1_800_000_000.0
_COUNT = itertools.count()


def exchange(**changes):
    number = next(_COUNT)
    given = {
        "id": f"ex_{number:08x}",
        "wall": NOW + number,
        "route": "gpt-5",
        "dialect": "openai-chat",
        "model": "gpt-5",
        "outcome": "answered",
        "status": 200,
        "target": "openai/gpt-5",
        "tokens": Tokens(100, 20),
        "cost": Cost(0.25, "2026-11-01"),
        "total": 1.5,
    }
    return Exchange(**given | changes)


def whole(**changes):
    """An exchange in which everything happened that can."""
    return exchange(
        **{
            "stream": True,
            "key": "key_1",
            "session": "s1",
            "task": "summary",
            "end_user": "u1",
            "tags": ("blue", "red"),
            "tokens": Tokens(100, 20, 10, 5, 7, estimated=True),
            "first_content": 0.5,
            "seams": (Seam(120, 1, "prefill"),),
            "attempts": (
                Attempt(
                    "openai/gpt-5", 0.0, 0.4, 0.1, 0.2, None, "fail_over", "overloaded", "head", 529,
                    "overloaded_error", "Overloaded", 2.5, "req_1", 1, None, Tokens(100, None), None,
                    (Loss("tools[0]", "unknown"),),
                ),
                Attempt("anthropic/opus", 0.5, 1.5, 0.6, 0.7, 0.9, "answered", way="prefill", tokens=Tokens(1, 2),
                        cost=Cost(0.25, "2026-11-01"), losses=(Loss("a", "b"), Loss("c", "d", "approximated"))),
            ),
            "bodies": (
                Body("request", b'{"messages": "' + b"hello " * 100 + b'"}', "application/json"),
                Body("answer", b"\0\xff", "application/octet-stream"),
            ),
        }
        | changes
    )  # fmt: skip


def ask(url, question, **values):
    """The rows that an SQL question gives."""
    engine = open_engine(url)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(question), values)]


def ids(url):
    return [row[0] for row in ask(url, "SELECT id FROM exchanges ORDER BY id")]


def summed(url):
    return ask(url, "SELECT coalesce(sum(exchanges), 0) FROM hours")[0][0]
