"""docs/reference/openness.md, the schemas beside it, and `register.json`: all from the register's files."""

from __future__ import annotations

import importlib.resources
from pathlib import Path
from typing import Any

import msgspec

from understudy.openness import assess, framework
from understudy.openness.facts import Family, Licence
from understudy.openness.register import COMPILED, compiled, read

__all__ = ["COMPILED", "family_schema", "folder", "licence_schema", "register_json", "render"]

_HEAD = """# Openness: families and licences

Generated from `src/understudy/openness/` by `make docs`. What the words mean stands in the
[guide](../guides/openness.md), how to correct a fact in [contributing-facts.md](../contributing-facts.md). No legal
advice.

`class` is that of {framework}; "at best" is what it would be if all that is unknown
were open. `OSI` is the Open Source AI Definition 1.0, `EU` the exemption of the EU AI Act, Art. 53(2). `unknown` means
that nobody has verified it yet, `person` that somebody has to judge.

## Families

| id | maker | from | licence of the weights | class | missing or unknown for the next class | OSI | EU |
|---|---|---|---|---|---|---|---|
"""

_LICENCES = """
## Licences and terms

`!` forbids, `?` needs a person, `+` is a duty; the rest is good to know.

| id | title | SPDX id | conditions |
|---|---|---|---|
"""

_MARKS = {"forbidden": "!", "person": "?", "duty": "+", "note": ""}


def folder() -> Path:
    """Where the register's files are: in the source tree, from which the pages are made."""
    return Path(str(importlib.resources.files(__package__)))


def render() -> str:
    """The page, as Markdown."""
    register = read(folder())
    families = [_family(family, assess.assess(family, register)) for family in register.families.values()]
    licences = [_licence(licence) for licence in register.licences.values()]
    return _HEAD.format(framework=framework.RULES) + "".join(families) + _LICENCES + "".join(licences)


def _family(family: Family, found: assess.Openness) -> str:
    seat = family.facts.jurisdiction.value if family.facts.jurisdiction else "unknown"
    missing = ", ".join(one.replace("_", " ") for one in found.framework.missing_for_next) or "-"
    best = f" (at best {framework.TITLES[found.best_grade]})" if found.best_grade != found.grade else ""
    verdicts = f"{framework.TITLES[found.grade]}{best} | {missing} | {found.definition.meets} | {found.exemption.meets}"
    return f"| `{family.id}` | {family.facts.maker.value} | {seat} | `{found.licence or 'unknown'}` | {verdicts} |\n"


def _licence(licence: Licence) -> str:
    conditions = dict.fromkeys(f"{_MARKS[one.effect]}{one.subject}" for one in licence.conditions)
    return f"| `{licence.id}` | {licence.title} | {licence.spdx or '-'} | {', '.join(conditions) or '-'} |\n"


def family_schema() -> str:
    """The JSON Schema of a file in `register/`."""
    return _schema(Family, "A model family: src/understudy/openness/register/*.toml")


def licence_schema() -> str:
    """The JSON Schema of a file in `licences/`."""
    return _schema(Licence, "A licence: src/understudy/openness/licences/*.toml")


def _schema(kind: type[Family | Licence], title: str) -> str:
    schema: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    schema |= msgspec.json.schema(kind)
    return msgspec.json.format(msgspec.json.encode(schema), indent=2).decode() + "\n"


def register_json() -> str:
    """`register.json`, which the package loads."""
    return compiled(folder())
