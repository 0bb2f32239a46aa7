"""Reads and writes files of the Model Openness Tool, so that a grading can be checked upstream and sent there.

The form is that of the tool (lfai/model_openness_tool, schema/mof_schema.json, read 2026-11-25): a component's own
licence stands with it, `unlicensed` as a word; what has none takes the release's. What a file says beside that (type,
architecture, contact ...) is kept as it is.
"""

from __future__ import annotations

from typing import Any, Literal, cast

import msgspec
import yaml

from understudy.openness.assess import release
from understudy.openness.components import COMPONENTS, NAMED
from understudy.openness.facts import Family, Kind
from understudy.openness.framework import Release, Whole
from understudy.openness.yamls import YamlError, load

NAME, VERSION, DATE = "Model Openness Framework", "1.0", "2024-12-15"


class ExchangeError(ValueError):
    """A file that is none of the tool's. The message says where and what is wrong."""


class _Licence(msgspec.Struct):
    name: str | None = None
    path: str | None = None


class _Component(msgspec.Struct):
    name: str
    license: str | None = None


class _Release(msgspec.Struct):
    name: str
    components: list[_Component]
    producer: str = ""
    license: dict[str, _Licence] | list[Any] = {}


class _Framework(msgspec.Struct):
    name: Literal["Model Openness Framework"]
    version: str | float


class _File(msgspec.Struct):
    framework: _Framework
    release: _Release


def read(text: str) -> tuple[str, Release]:
    """The name and the release of a file.

    Errors:
        ExchangeError: it is no YAML, or no file of the framework 1.0, or names a component that there is not.
    """
    try:
        found = msgspec.convert(load(text), _File)
    except (YamlError, msgspec.ValidationError) as error:
        raise ExchangeError(f"no file of the Model Openness Tool: {error}") from error
    if str(found.framework.version) != VERSION:
        raise ExchangeError(f"framework version {found.framework.version}: only {VERSION} is known")
    components: dict[str, str | None] = {}
    for component in found.release.components:
        if component.name not in NAMED:
            raise ExchangeError(f"there is no component {component.name!r}; there is: {', '.join(NAMED)}")
        components[NAMED[component.name]] = component.license
    general = found.release.license if isinstance(found.release.license, dict) else {}  # an empty one is written as []
    licences = {kind: licence.name for kind, licence in general.items() if licence.name}
    unknown = set(licences) - {"code", "data", "document", "distribution"}
    if unknown:
        raise ExchangeError(f"there is no licence for {', '.join(sorted(unknown))}")
    return found.release.name, Release(components, cast("dict[Kind | Whole, str]", licences))


def write(family: Family) -> str:
    """The file of a family, from its facts: links are those of its evidence."""
    graded = release(family)
    entry: dict[str, Any] = {
        "name": family.title,
        "producer": family.facts.maker.value,
        "origin": ", ".join(family.facts.base.value) if family.facts.base else "",
        "license": {kind: {"name": name, "path": ""} for kind, name in graded.licences.items()},
        "components": [_component(name, licence, family) for name, licence in graded.components.items()],
    }
    if family.facts.released is not None:
        entry["date"] = family.facts.released.value.isoformat()
    return dump({"framework": {"name": NAME, "version": VERSION, "date": DATE}, "release": entry})


def of_release(name: str, graded: Release) -> str:
    """The smallest file that says the same as a release."""
    entry = {
        "name": name,
        "producer": "",
        "license": {kind: {"name": licence, "path": ""} for kind, licence in graded.licences.items()},
        "components": [
            {"name": COMPONENTS[part].title, **({} if licence is None else {"license": licence})}
            for part, licence in graded.components.items()
        ],
    }
    return dump({"framework": {"name": NAME, "version": VERSION, "date": DATE}, "release": entry})


def dump(document: dict[str, Any]) -> str:
    return cast("str", yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120))


def _component(name: str, licence: str | None, family: Family) -> dict[str, str]:
    entry = {"name": COMPONENTS[name].title, "component_path": family.evidence(family.components[name]).link}
    if licence is not None:
        entry["license"] = licence
    return entry
