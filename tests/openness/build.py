"""Families and licences for tests, in one line each. Made up, and so are their sources."""

import datetime as dt

from understudy.openness.facts import (
    Component,
    Condition,
    Fact,
    Facts,
    Family,
    Grants,
    Licence,
    Licences,
    Source,
    When,
)
from understudy.openness.register import Register

SOURCES = {"page": Source("https://example.org/page", dt.date(2026, 1, 2))}
ALL = Grants(use=True, modify=True, redistribute=True)


def fact(value):
    return Fact(value, "page", "so it says")


def part(state="open", licence=None, *, partly=False):
    return Component(state, "page", "so it says", licence=licence, partly=partly)


def family(name="tiny", licence="mit", components=None, base=(), maker="Somebody", **more):
    facts = {key: fact(value) for key, value in more.items() if key not in {"dimensions", "names"}}
    return Family(
        id=name,
        title=name.title(),
        names=(f"{name}*",),
        sources=SOURCES,
        facts=Facts(maker=fact(maker), base=fact(tuple(base)) if base else None, **facts),
        licences=Licences(distribution=fact(licence) if licence else None),
        components={"parameters": part()} if components is None else components,
        dimensions={key: fact(value) for key, value in more.get("dimensions", {}).items()},
    )


def condition(subject, effect, clause="7", when=None, **more):
    return Condition(subject, effect, clause, "page", "the words", when=When(**(when or {})), todo="do it", **more)


def licence(name="own", *conditions, grants=ALL, **more):
    return Licence(name, name.title(), SOURCES, fact(grants), conditions=conditions, **more)


def register(*entries):
    return Register(
        {one.id: one for one in entries if isinstance(one, Family)},
        {one.id: one for one in entries if isinstance(one, Licence)},
    )
