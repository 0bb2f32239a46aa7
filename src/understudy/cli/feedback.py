"""`understudy feedback EXCHANGE`: what an answer was worth, told to the gateway that is running."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from understudy.cli.asking import UrlOption
from understudy.cli.opening import ConfigOption, JsonOption, fail

_MOST = 1_000_000


def feedback(
    exchange: Annotated[str, typer.Argument(help="The exchange's id, as in `x-understudy-exchange`.")],
    *,
    score: Annotated[float | None, typer.Option(min=0, max=1, help="From 0, useless, to 1, perfect.")] = None,
    label: Annotated[str | None, typer.Option(help="A word to group by, such as good or off-topic.")] = None,
    comment: Annotated[str | None, typer.Option(help="What there is to say.")] = None,
    corrected: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file with the answer that it should have been.")
    ] = None,
    config: ConfigOption = None,
    url: UrlOption = None,
    json: JsonOption = False,  # Typer's flags are booleans
) -> None:
    """Say what an answer was worth. The ledger keeps it with the exchange.

    The key is that of `understudy targets`.

    Exit code: 0 it is kept, 2 nothing is said, or the gateway cannot be asked.

    Example: understudy feedback ex_6b070b89 --score 0.9 --label good --comment "Short and right."
    """
    import uvloop

    from understudy.cli.asking import CannotAskError, ask, find

    said: dict[str, Any] = {"score": score, "label": label, "comment": comment, "corrected": _read(corrected)}
    body = {"exchange": exchange, **{name: value for name, value in said.items() if value is not None}}
    if len(body) == 1:
        fail("Say something of it: --score, --label, --comment or --corrected.")
    try:
        found = uvloop.run(ask(find(url, config), "/understudy/feedback", body))
    except CannotAskError as error:
        fail(str(error))
    if json:
        import msgspec

        typer.echo(msgspec.json.encode(found).decode())
    else:
        typer.echo(f"Kept. `understudy log {exchange}` shows it.")


def _read(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        text = file.read_text("utf-8")
    except OSError as error:
        fail(f"--corrected {file} cannot be read: {(error.strerror or str(error)).lower()}.")
    except UnicodeDecodeError:
        fail(f"--corrected {file} is not text in UTF-8.")
    if len(text) > _MOST:
        fail(f"--corrected {file} has more than {_MOST} characters.")
    return text
