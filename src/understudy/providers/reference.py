"""The page docs/reference/providers.md, made from the catalogue; a test fails when it is not current.

`python -m understudy.providers.reference > docs/reference/providers.md` brings it up to date.
"""

from __future__ import annotations

import sys

from understudy.providers import catalogue

_INTRODUCTION = """\
# Providers

Made from `src/understudy/providers/catalogue.toml` by `python -m understudy.providers.reference`: change the row, not
this page.

A provider with a key in one of its variables is used without configuration, and so is a local server that is found at
its port. `can` means that at least one of its models can, `cannot` that its API refuses or lacks it; a capability in
neither list is unknown. Each fact has its source and date below.

A row that is a further API of another provider (same keys, same models, another dialect) lists and claims no models: it
is used only when it is named, as in `deepseek-anthropic/deepseek-chat`. In a base URL `{ONE,OTHER}` stands for the
first of the two variables that is set.
"""


def render() -> str:
    """The page as Markdown, ending with a line break."""
    providers = catalogue.load().values()
    rows = [
        "| provider | base URL | key | models of its own |",
        "|---|---|---|---|",
        *(
            f"| [`{row.name}`](#{row.name}) | {_code(row.base_url) or 'chosen at start'} | {_key(row)} "
            f"| {_list(row.serves) or (f'those of `{row.api_of}`' if row.api_of else '')} |"
            for row in providers
        ),
    ]
    return "\n".join([_INTRODUCTION, *rows, "", *(_section(row) for row in providers)])


def _section(row: catalogue.Provider) -> str:
    ports = ", or ".join(str(port) for port in (row.port, *row.other_ports) if port is not None)
    continues = _code(row.continues) + (f" at `{row.continues_base_url}`" if row.continues_base_url else "")
    if row.continues_models != ("*",):
        continues += f", models {_list(row.continues_models)}"
    facts = {
        "dialect": _code(row.dialect),
        "base URL": _code(row.base_url),
        "base URLs of its own have": _list(tuple(row.base_urls)),
        "further API of": _code(row.api_of),
        "auth": _code(row.auth),
        "key from": _list(row.env),
        "port": ports,
        "list of models": _code(row.listing),
        "models of its own": _list(row.serves),
        "can": ", ".join(row.can),
        "cannot": ", ".join(row.cannot),
        "reasoning text in": _code(row.reasoning_field),
        "think long": _list(row.thinks_long),
        "continues by": continues,
        "comes with": ", ".join(f"`{model.name}` ({model.title}, {model.licence})" for model in row.models),
    }
    lines = [f"## {row.name}", "", f"{row.title}.", ""]
    lines += [f"- {label}: {value}" for label, value in facts.items() if value]
    lines += ["", "Sources:", ""]
    lines += [f"- <{source.url}> ({source.date.isoformat()}): {source.what}" for source in row.sources]
    return "\n".join([*lines, ""])


def _key(row: catalogue.Provider) -> str:
    if row.auth == "none":
        return "none"
    if not row.env:
        return "its own" if row.base_url is None else "optional"
    return _list(row.env) + (" (optional)" if catalogue.is_local(row) else "")


def _code(text: str | None) -> str:
    return f"`{text}`" if text else ""


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    sys.stdout.write(render())
