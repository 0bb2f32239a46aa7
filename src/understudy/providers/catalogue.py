"""The loader of `catalogue.toml`: which providers there are, where they are, what they can do.

A provider is a row, so that adding one needs no code and removing one is deleting its table; after any-llm's registry.
What each field means stands at the top of the file. Nothing here touches the network, and nothing here keeps a key:
`find_key` hands it to its caller, and a `Provider` never holds one, so that its repr is safe to log.
"""

from __future__ import annotations

import datetime as dt
import fnmatch
import functools
import importlib.resources
import re
import tomllib
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

FILE = "catalogue.toml"

DIALECTS = (
    "anthropic-messages", "bedrock-converse", "cohere-chat", "gemini", "ollama", "openai-chat", "openai-completions",
    "openai-responses",
)  # fmt: skip
"""The wire formats that a provider may speak: those that have a module in `dialects/`."""

Capability = Literal[
    "streaming", "tools", "images", "audio", "json", "structured", "reasoning", "logprobs", "seed", "stream_usage"
]

Continuation = Literal["prefill", "prefix", "prefix-beta", "partial", "continue_final_message"]
"""How a started assistant turn is handed over to be finished.

It always stands last among the messages. `prefill`: as it is. `prefix`, `partial`: with that field set to true on it.
`prefix-beta`: like `prefix`, at `continues_base_url`. `continue_final_message`: with that field set to true on the
request, and `add_generation_prompt` to false.
"""

_PLACEHOLDER = re.compile(r"\{([A-Z][A-Z0-9_]*(?:,[A-Z][A-Z0-9_]*)*)\}")


class CatalogueError(Exception):
    """The catalogue cannot be read. `str()` names file, row and key, and says what to do."""


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where facts of a row come from. `date` is the page's own, or the day on which it was read."""

    url: str
    date: dt.date
    what: str


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model that comes with its row. `licence` is an SPDX identifier."""

    name: str
    title: str
    licence: str


class Provider(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One row. The fields are explained at the top of `catalogue.toml`; `name` is the table's own key."""

    name: str
    title: str
    dialect: str
    auth: str
    sources: tuple[Source, ...]
    base_url: str | None = None
    base_urls: dict[str, str] = {}
    api_of: str | None = None
    env: tuple[str, ...] = ()
    signed: str | None = None
    headers: dict[str, str] = {}
    port: int | None = None
    other_ports: tuple[int, ...] = ()
    listing: str | None = None
    serves: tuple[str, ...] = ()
    can: tuple[Capability, ...] = ()
    cannot: tuple[Capability, ...] = ()
    reasoning_field: str | None = None
    thinks_long: tuple[str, ...] = ()
    continues: Continuation | None = None
    continues_models: tuple[str, ...] = ("*",)
    continues_base_url: str | None = None
    models: tuple[Model, ...] = ()


@functools.cache
def load() -> dict[str, Provider]:
    """Every provider by its name, in the file's order. Read once; do not change the answer. Raises CatalogueError."""
    return parse(importlib.resources.files(__package__).joinpath(FILE).read_text("utf-8"), FILE)


def parse(text: str, file: str) -> dict[str, Provider]:
    """Read a catalogue; `file` is its name for messages. Raises CatalogueError for anything that is not a row."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CatalogueError(f"{file} is not TOML: {error}. Correct it there.") from error
    return {name: _row(name, table, file) for name, table in tables.items()}


def _row(name: str, table: Any, file: str) -> Provider:
    if not isinstance(table, dict):
        raise CatalogueError(f"{file}: `{name}` stands outside a table. Put it below the [provider] that it describes.")
    if "name" in table:
        raise CatalogueError(f"{file}, [{name}]: `name` is the table's own key. Remove it, or rename the table.")
    try:
        return msgspec.convert({"name": name, **table}, Provider)
    except msgspec.ValidationError as error:
        remedy = "Correct or remove it: the fields and their values are listed at the top of catalogue.toml."
        raise CatalogueError(f"{file}, [{name}]: {error}. {remedy}") from error


def resolve_base_url(provider: Provider, environ: Mapping[str, str]) -> str | None:
    """The base URL, with the values of variables in place of their names.

    None if one of these is not set, or if the provider has no address until it is started (the embedded engine).
    """
    if provider.base_url is None:
        return None
    values = {names: _first(names, environ) for names in _PLACEHOLDER.findall(provider.base_url)}
    if not all(values.values()):
        return None
    base_url = provider.base_urls.get(next(iter(values.values()), ""), provider.base_url)
    return _PLACEHOLDER.sub(lambda found: values[found[1]], base_url)


def _first(names: str, environ: Mapping[str, str]) -> str:
    """The value of the first of `names` (as `ONE,OTHER`) that is set and not blank; "" if none is."""
    values = (environ.get(name, "").strip().rstrip("/") for name in names.split(","))
    return next(filter(None, values), "")


def find_key(provider: Provider, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """The first variable of `provider.env` that is set and not blank, and the key in it; None if there is none."""
    for name in provider.env:
        key = environ.get(name, "")
        if key.strip():
            return name, key
    return None


def is_local(provider: Provider) -> bool:
    """Whether it runs on this machine: a local server, where a key is optional, or the embedded engine."""
    return provider.port is not None or provider.base_url is None


def local_base_urls(provider: Provider) -> tuple[str, ...]:
    """Where a local server may be found, likeliest first: its base URL at its usual port and at its former ones."""
    if provider.base_url is None or provider.port is None:
        return ()
    return tuple(
        provider.base_url.replace(f":{provider.port}", f":{port}", 1) for port in (provider.port, *provider.other_ports)
    )


def capability(provider: Provider, name: Capability) -> bool | None:
    """Whether the provider is known to have it (True) or to lack it (False); None if nobody has told."""
    if name in provider.can:
        return True
    return False if name in provider.cannot else None


def serving(model: str) -> tuple[str, ...]:
    """The names of the providers whose own model `model` is, by its bare name, in the catalogue's order."""
    return tuple(
        name
        for name, provider in load().items()
        if any(fnmatch.fnmatchcase(model, pattern) for pattern in provider.serves)
    )
