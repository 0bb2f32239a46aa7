"""Which licences are open, by the lists of the Model Openness Framework's tool; `spdx.toml` holds them with sources."""

from __future__ import annotations

import functools
import importlib.resources
import tomllib

from understudy.openness.facts import Kind

UNKNOWN = "unknown"
"""A licence that holds, but that nobody has read for the register: not open until somebody has."""

UNLICENSED = "unlicensed"
"""The framework's word for: looked for, and there is none. It is no licence, whatever the release says elsewhere."""


@functools.cache
def _lists() -> dict[str, frozenset[str]]:
    text = importlib.resources.files(__package__).joinpath("spdx.toml").read_text("utf-8")
    return {name: frozenset(ids) for name, ids in tomllib.loads(text).items()}


@functools.cache
def _ids() -> dict[str, str]:
    return {one.lower(): one for ids in _lists().values() for one in ids}


def canonical(licence: str) -> str:
    """The SPDX id as the lists spell it: the register's ids and the hub's are lower case. Others stay as they are."""
    return _ids().get(licence.lower(), licence)


@functools.lru_cache(4096)
def is_open(licence: str) -> bool:
    """Approved by the OSI, free by the FSF, open data, or made for models. `licence` is an SPDX id."""
    lists = _lists()
    return any(licence in lists[name] for name in ("osi", "fsf", "data", "model"))


def is_osi_approved(licence: str) -> bool:
    return licence in _lists()["osi"]


@functools.lru_cache(4096)
def suits(licence: str, kind: Kind) -> bool:
    """Whether it is the right kind of licence for a component. Another open one counts too, with a warning."""
    return licence in _lists()[f"suits_{kind}"]
