"""docs/reference/faults.md, from the table itself."""

from __future__ import annotations

from understudy.resilience.faults import Row, Sign, table

_HEAD = """# Faults

Generated from `kinds.toml` and `signs.toml` in `src/understudy/resilience/` by `make docs`: what can go wrong, and
what is done.

- **again**: `once` on the same target, within the route's `retries`; `soon` only if the provider names a wait of at
  most two seconds; `free` because the call never reached the provider.
  *without X*: once more, with what is named left out of the call, where the gateway can do so.
- **left alone**: the scope that is not tried for a while, and how long. *reset*: the time the provider names, if any.
  *date*: the same, if that is later. *the day's end*: midnight where the provider's days end, if that is known.
- **moves**: the next target takes the call, if no content has gone out yet.
- **answer**: the provider's own answer goes to the client if no other target takes the call.
- **status**: what the client gets when nobody could answer.

| kind | what | again | left alone | moves | answer | status |
|---|---|---|---|---|---|---|
"""

_SIGNS = """
## How they are recognised

First match wins. Structured fields of the provider's error come first; a phrase must match from the start of its
message, and is used only where no field tells. Whatever matches nothing goes by its status.

| kind | sign |
|---|---|
"""


def render() -> str:
    """The page, as Markdown."""
    known = table()
    rows = [_row(kind, row) for kind, row in known.kinds.items()]
    signs = [f"| `{sign.kind}` | {_sign(sign)} |" for sign in known.signs]
    status = [f"| `{kind}` | otherwise, status {code} |" for code, kind in known.status.items()]
    return _HEAD + "\n".join(rows) + "\n" + _SIGNS + "\n".join([*signs, *status]) + "\n"


def _row(kind: str, row: Row) -> str:
    retry = "" if row.retry == "no" else row.retry
    again = retry if row.without is None else f"without {row.without}"
    alone = ""
    if row.cool is not None:
        seconds = f"{row.cool_seconds:g} s" if row.cool_seconds else "until restart"
        known = {"day": "the day's end or ", "date": "date or ", None: "reset or " if row.trust_reset else ""}
        alone = f"{row.cool.replace('-', ' and ')}, {known[row.cool_until]}{seconds}"
    moves, answer = ("yes" if flag else "" for flag in (row.fail_over, row.surface))
    return f"| `{kind}` | {row.what} | {again} | {alone} | {moves} | {answer} | {row.status} |"


def _sign(sign: Sign) -> str:
    parts = []
    for name in ("dialect", "status", "code", "type", "param"):
        value = getattr(sign, name)
        if value is not None:
            values = value if isinstance(value, list) else [value]
            parts.append(f"{name} {' or '.join(f'`{one}`' for one in values)}")
    if sign.param_like is not None:
        parts.append(f"param has `{sign.param_like}`")
    if sign.phrase is not None:
        shown = sign.phrase.replace("|", "\\|")
        parts.append(f"message begins `{shown}`")
    return ", ".join(parts)
