"""Loads the register: `register/*.toml`, one file per model family, and `licences/*.toml`, one per licence.

The files are the register, written by hand and reviewed like code. `register.json` is the same, put together by `make
docs`, so that a start costs a millisecond instead of the parsing of a hundred files; a test says that it is current.
`read` is what checks: every fact names a source of its file, licences and bases exist, no lineage runs in a circle.
"""

from __future__ import annotations

import difflib
import fnmatch
import functools
import importlib.resources
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from understudy.openness.components import COMPONENTS
from understudy.openness.facts import Component, Condition, Fact, Family, Licence
from understudy.openness.spdx import UNKNOWN, UNLICENSED, canonical, is_open

COMPILED = "register.json"

Entry = TypeVar("Entry", Family, Licence)


class RegisterError(ValueError):
    """A file of the register is wrong. The message says which, where in it, and what to do."""


class Register(msgspec.Struct, frozen=True):
    """All that is known: families and licences by their ids."""

    families: dict[str, Family]
    licences: dict[str, Licence]

    def find(self, name: str) -> Family | None:
        """The family of a model, whatever it is called: a hub's id, a target, a vendor's name. None: not registered.

        The pattern with the most literal characters wins: `qwen2.5-72b*` before `qwen2.5*`.
        """
        names = list(spellings(name))
        best: tuple[int, Family] | None = None
        for family in self.families.values():
            for pattern in family.names:
                head = pattern.partition("*")[0]  # most patterns are ruled out by it, at a tenth of the price
                if any(one.startswith(head) and fnmatch.fnmatchcase(one, pattern) for one in names):
                    weight = len(pattern) - pattern.count("*")
                    if best is None or weight > best[0]:
                        best = (weight, family)
        return self.families.get(name) or (best[1] if best else None)

    def nearest(self, name: str) -> list[str]:
        """Up to three ids that look like `name`, for "did you mean"."""
        wanted = next(iter(spellings(name))).rsplit("/", 1)[-1]
        return difflib.get_close_matches(wanted, list(self.families), n=3, cutoff=0.5)


def spellings(name: str) -> Iterator[str]:
    """The ways in which a pattern may meet a name: the whole, and what follows each slash; with and without a tag."""
    whole = name.strip().lower()
    parts = whole.split("/")
    for start in range(len(parts)):
        rest = "/".join(parts[start:])
        yield rest
        if ":" in rest:
            yield rest.partition(":")[0]


@functools.cache
def register() -> Register:
    """The register that comes with the package."""
    text = importlib.resources.files(__package__).joinpath(COMPILED).read_bytes()
    return msgspec.json.decode(text, type=Register)


def compiled(folder: Path) -> str:
    """`register.json`, from the files in `folder`."""
    return msgspec.json.format(msgspec.json.encode(read(folder)), indent=1).decode() + "\n"


def read(folder: Path) -> Register:
    """The register of a folder that has `register/` and `licences/`, checked.

    Errors:
        RegisterError: a file cannot be read, or says something that has no source or does not fit.
    """
    licences = {licence.id: licence for licence in _files(folder / "licences", Licence)}
    families = {family.id: family for family in _files(folder / "register", Family)}
    for licence in licences.values():
        _check_licence(licence)
    for family in families.values():
        _check_family(family, families, licences)
    for family in families.values():
        _check_lineage(family, families)
    return Register(families=families, licences=licences)


def _files(folder: Path, kind: type[Entry]) -> Iterator[Entry]:
    for path in sorted(folder.glob("*.toml")):
        try:
            entry = parse(path.read_text("utf-8"), kind)
        except (ValueError, msgspec.ValidationError) as error:
            raise RegisterError(f"{folder.name}/{path.name}: {error}") from error
        if entry.id != path.stem:
            raise RegisterError(f"{folder.name}/{path.name} has the id {entry.id!r}; name the file after the id")
        yield entry


def parse(text: str, kind: type[Entry]) -> Entry:
    """One file's text. Raises ValueError or msgspec.ValidationError, which say where."""
    return msgspec.convert(tomllib.loads(text), kind)


def _check_licence(licence: Licence) -> None:
    where = f"licences/{licence.id}.toml"
    facts: dict[str, Any] = {"grants": licence.grants, "law": licence.law}
    facts |= {f"conditions[{number}]": condition for number, condition in enumerate(licence.conditions)}
    _check_sources(where, licence.sources, facts)
    for number, condition in enumerate(licence.conditions):
        if condition.effect == "duty" and not (condition.show or condition.todo):
            raise RegisterError(f"{where}: conditions[{number}] is a duty without `show` or `todo`: say what to do")
        if condition.show and not condition.where:
            raise RegisterError(f"{where}: conditions[{number}] has `show` but no `where`: say where the text belongs")


def _check_family(family: Family, families: Mapping[str, Family], licences: Mapping[str, Licence]) -> None:
    where = f"register/{family.id}.toml"
    facts: dict[str, Any] = {name: getattr(family.facts, name) for name in family.facts.__struct_fields__}
    facts |= {f"licences.{name}": getattr(family.licences, name) for name in family.licences.__struct_fields__}
    facts |= {f"weights.{name}": fact for name, fact in family.weights.items()}
    facts |= {f"dimensions.{name}": fact for name, fact in family.dimensions.items()}
    facts |= {f"components.{name}": component for name, component in family.components.items()}
    _check_sources(where, family.sources, facts)
    for name in family.names:
        if name != name.lower():
            raise RegisterError(f"{where}: the name {name!r} is not lower case; names are compared in lower case")
    for name, component in family.components.items():
        _check_component(f"{where}: components.{name}", name, component, family)
    for licence in _licences(family):
        if licence not in {UNKNOWN, UNLICENSED} and licence not in licences and not is_open(canonical(licence)):
            raise RegisterError(
                f"{where}: the licence {licence!r} has no file in licences/, and is no open SPDX licence"
            )
    for base in family.facts.base.value if family.facts.base else ():
        if base not in families:
            raise RegisterError(f"{where}: the base {base!r} is not in the register")


def _licences(family: Family) -> Iterable[str]:
    general = (family.licences.distribution, family.licences.code, family.licences.data, family.licences.document)
    yield from (fact.value for fact in general if fact is not None)
    yield from (component.licence for component in family.components.values() if component.licence)


def _check_component(where: str, name: str, component: Component, family: Family) -> None:
    if name not in COMPONENTS:
        raise RegisterError(f"{where}: there is no such component; there is: {', '.join(COMPONENTS)}")
    general = family.licence(COMPONENTS[name].kind)
    licence = component.licence or (general.value if general else UNLICENSED)
    openly = licence != UNLICENSED and is_open(canonical(licence))
    if component.state == "open" and (not openly or component.partly):
        raise RegisterError(f"{where}: it is called open, but its licence is {licence}, or only a part is published")
    gated = family.facts.gated is not None and family.facts.gated.value
    if component.state == "restricted" and openly and not component.partly and not gated:
        raise RegisterError(f"{where}: it is called restricted, but is published whole under {licence}")


def _check_sources(
    where: str, sources: Mapping[str, Any], facts: Mapping[str, Fact[Any] | Component | Condition | None]
) -> None:
    used = set()
    for name, fact in facts.items():
        if fact is None:
            continue
        if fact.source not in sources:
            raise RegisterError(
                f"{where}: {name} names the source {fact.source!r}, which is not in [sources]; "
                "every fact needs a page that shows it, and the day it was read"
            )
        used.add(fact.source)
    if unused := set(sources) - used:
        raise RegisterError(f"{where}: nothing names the sources {', '.join(sorted(unused))}")


def _check_lineage(family: Family, families: Mapping[str, Family]) -> None:
    chain = [family.id]
    waiting = [chain]
    while waiting:
        chain = waiting.pop()
        fact = families[chain[-1]].facts.base
        for base in fact.value if fact else ():
            if base in chain:
                raise RegisterError(
                    f"register/{family.id}.toml: its lineage runs in a circle: {' -> '.join([*chain, base])}"
                )
            waiting.append([*chain, base])
