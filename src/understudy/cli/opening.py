"""What several verbs begin with: reading the configuration, and ending with exit code 2 when that fails."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from understudy.gateway.config import Loaded

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", help="Configuration. Default: $UNDERSTUDY_CONFIG, ./understudy.toml."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print facts as JSON.")]


def read(config: Path | None) -> Loaded:
    """The configuration that `--config` means; exits with 2 and the reason when it is not valid."""
    from understudy.gateway.assemble import configuration
    from understudy.gateway.config import ConfigError

    try:
        return configuration(config, os.environ, Path.cwd())
    except ConfigError as error:
        fail(str(error))


def located(config: Path | None) -> Path | None:
    """The file that `--config` means; None if there is none."""
    from understudy.gateway.assemble import location

    return location(config, os.environ, Path.cwd())


def fail(message: str, code: int = 2) -> NoReturn:
    typer.secho(message, err=True, fg=typer.colors.RED)
    raise typer.Exit(code)
