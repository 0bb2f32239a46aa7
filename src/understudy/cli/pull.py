"""`understudy pull`: fetch an open model for the embedded engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from understudy.cli.opening import JsonOption, fail

if TYPE_CHECKING:
    from understudy.local.models import LocalModel


def pull(
    model: Annotated[str, typer.Argument(help="Repository on the Hugging Face hub, owner/name.")],
    file: Annotated[str | None, typer.Argument(help="Its GGUF file, or a pattern such as '*Q4_K_M*'.")] = None,
    revision: Annotated[str, typer.Option(help="Branch, tag or commit.")] = "main",
    json: JsonOption = False,  # Typer's flags are booleans
) -> None:
    """Fetch a GGUF model from the Hugging Face hub; a broken download goes on where it stopped.

    Exit code: 0 the model is here, 1 it is not.

    Example: understudy pull bartowski/SmolLM2-360M-Instruct-GGUF '*Q4_K_M*'
    """
    from understudy.local.pull import PullError

    try:
        got = _pull(model, file, revision, quiet=json)
    except PullError as error:
        fail(str(error), 1)
    if json:
        import msgspec

        typer.echo(msgspec.json.format(msgspec.json.encode(got, enc_hook=str)).decode())  # a path as its text
        return
    licence = got.licence or "unknown: the hub states none"
    typer.echo(f"local/{got.name} is ready ({got.size / 1e6:.0f} MB, licence {licence}).")


def _pull(model: str, file: str | None, revision: str, *, quiet: bool) -> LocalModel:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    from understudy.local.pull import pull as fetch

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bars:
        bar = bars.add_task(model, total=None)
        return fetch(
            model, file, revision=revision, progress=lambda done, total: bars.update(bar, completed=done, total=total)
        )
