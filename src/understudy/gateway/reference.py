"""docs/reference/configuration.md, from the structs that the file is checked against."""

from __future__ import annotations

from typing import Any, get_type_hints

import msgspec

from understudy.gateway import settings
from understudy.ledger.cost import OwnPrices

_HEAD = """# Configuration

Generated from `src/understudy/gateway/settings.py` by `make docs`.

The file is `understudy.toml` in the current folder, or `--config`, or `$UNDERSTUDY_CONFIG`. It is checked whole before
anything takes effect; an error names the line and the remedy. Everything has a default: no file at all is a valid one.

A value `env:NAME` is taken from the environment variable NAME, which must be set.

```toml
[server]
keys = ["env:UNDERSTUDY_KEY"]

[providers.box]
dialect = "openai-chat"
base_url = "http://127.0.0.1:8000/v1"

[defaults]
first_token_timeout = 30

[routes."gpt-5"]
targets = ["openai/gpt-5", "box/qwen3-32b", "local/smollm2-135m"]
first_token_timeout = 10
```
"""

_SECTIONS = (
    ("[server]", settings.Server, ""),
    (
        "[providers.NAME]",
        settings.Provider,
        "A provider of the [catalogue](providers.md) needs no table if its variable is set; NAME is its name there.",
    ),
    (
        "[providers.NAME.prices]",
        OwnPrices,
        (
            "What the models of a provider cost, for a server or a contract of one's own: `input` and `output`, `hour` "
            'or all. `[providers.NAME.model_prices."MODEL"]` has the same keys. Also for `local`, the embedded '
            "engine, whose costs are unknown without."
        ),
    ),
    ("[ledger]", settings.Ledger, "What `serve` keeps of exchanges."),
    ("[cache]", settings.Cache, "Where answers are kept, for routes that have `cache`."),
    ("[redaction]", settings.Redaction, "What the ledger never keeps. See [Privacy](../guides/privacy.md)."),
    ("[defaults]", settings.Defaults, "What holds for every route that does not say otherwise."),
    ('[routes."NAME"]', settings.Route, "NAME is what clients ask for."),
)


def render() -> str:
    """The page, as Markdown."""
    return _HEAD + "".join(_section(title, kind, words) for title, kind, words in _SECTIONS)


def _section(title: str, kind: type[msgspec.Struct], words: str) -> str:
    lines = [f"\n## `{title}`\n", *([words, ""] if words else []), "| key | default | |", "|---|---|---|"]
    hints = get_type_hints(kind, include_extras=True)
    lines += [
        f"| `{field.name}` | {_default(kind, field)} | {_description(hints[field.name])} |"
        for field in msgspec.structs.fields(kind)
    ]
    return "\n".join(lines) + "\n"


def _default(kind: type[msgspec.Struct], field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    if field.default is None and field.name in settings.BUILT_IN:
        value = settings.BUILT_IN[field.name]
        shown = f"{value:g}" if isinstance(value, float) else msgspec.json.encode(value).decode()
        return f"`{shown}`" if kind is settings.Defaults else "`[defaults]`"
    default = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
    return "" if default is None else f"`{msgspec.json.encode(default).decode()}`"


def _description(hint: Any) -> str:
    for note in getattr(hint, "__metadata__", ()):
        if isinstance(note, msgspec.Meta) and note.description:
            return note.description
    raise LookupError(f"no description in {hint}")
