"""`understudy init`: a configuration to start from, and the first admin key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from understudy.cli.keys import STORE, StoreOption, facts, opened, tell_secret
from understudy.cli.opening import JsonOption, fail

TEMPLATE = """\
# Understudy's configuration. Every setting has a default, so every line here may stay a comment.
# All settings: docs/reference/configuration.md. `understudy check` says whether this file is right.

[server]
# host = "127.0.0.1"          # another address needs keys
# port = 4000
key_store = {store}  # clients need a key of `understudy keys`; without this line none is asked for

# A provider of the catalogue needs its key only; keys in the environment are found without this.
# [providers.openai]
# api_key = "env:OPENAI_API_KEY"

# Any other server: say what it speaks, and where.
# [providers.box]
# dialect = "openai-chat"
# base_url = "http://127.0.0.1:8000/v1"

# A route is the name that clients ask for, and its targets in order. The last one is an open model on this machine.
# [routes."gpt-5"]
# targets = ["openai/gpt-5", "anthropic/claude-sonnet-4-5", "local/smollm2-135m"]
# first_token_timeout = 10    # seconds; then the next target is tried
"""


def init(
    config: Annotated[
        Path, typer.Option("--config", "-c", metavar="FILE", help="Configuration to write, if it is not there.")
    ] = Path("understudy.toml"),
    store: StoreOption = None,
    json: JsonOption = False,
) -> None:
    """Write a commented configuration if there is none, and make the first admin key, printed once.

    What is there already stays as it is: where there is an admin key, none is made.

    Exit code: 0 all is there, 1 it cannot be written.

    Example: understudy init
    """
    import msgspec

    written = _write(config, store)
    if not json:
        typer.echo(f"{config} is {'written' if written else 'there already, and stays as it is'}.", err=True)
    with opened(store, config, make=True) as keys:
        admins = [record.key for record in keys.records() if record.key.role == "admin"]
        if not admins:
            name = "admin" if all(record.key.name != "admin" for record in keys.records()) else "first admin"
            record, secret = keys.create(name, role="admin")
            if json:
                key = {**facts(record.key), "secret": secret.reveal()}
            else:
                tell_secret(record.key, secret, keys, json=False)
    if json:
        found = {"configuration": str(config), "written": written, "store": keys.where, "key": None if admins else key}
        typer.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    elif admins:
        typer.echo(f"There is an admin key already: {admins[0].name}. `understudy keys` makes others.", err=True)


def _write(path: Path, store: str | None) -> bool:
    """Whether the file had to be written."""
    import msgspec

    named = store or STORE
    if store is not None and "://" not in store and not store.startswith("env:"):
        named = str(Path(store).absolute())
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE.replace("{store}", msgspec.json.encode(named).decode()))  # as TOML writes it too
    except FileExistsError:
        return False
    except OSError as error:
        fail(f"Cannot write {path}: {(error.strerror or str(error)).lower()}.", 1)
    return True
