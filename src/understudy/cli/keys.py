"""`understudy keys`: virtual keys, in their store. A gateway that runs sees each change within a second."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from understudy.cli.opening import ConfigOption, JsonOption, fail, located

if TYPE_CHECKING:
    from understudy.access.budgets import Spent
    from understudy.access.keys import Key, Secret
    from understudy.access.store import Store

STORE = "understudy-keys.sqlite"

app = typer.Typer(
    help="Make, show, change and end the keys that clients and operators use.",
    epilog="Example: understudy keys create my-app --limit requests=100/minute --budget usd=20/day",
    no_args_is_help=True,
    rich_markup_mode=None,
)

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="PLACE",
        help="Key store: a file, a postgresql:// URL or env:NAME. Default: the configuration's server.key_store, else "
        f"{STORE} beside it.",
    ),
]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The key's name or id; never the key itself.")]
OwnerOption = Annotated[str | None, typer.Option(help="Who answers for it.")]
RoleOption = Annotated[
    str | None, typer.Option(help="`user` calls models; `auditor` reads; `operator` both, and targets; `admin` all.")
]
RouteOption = Annotated[
    list[str] | None, typer.Option("--route", help="Route or target it may ask for; `*` and `?` match. Repeatable.")
]
ExpiresOption = Annotated[
    str | None, typer.Option(help="When it ends: 30d, 12h, a date, a time (UTC unless it says), or `never`.")
]
LimitOption = Annotated[
    list[str] | None,
    typer.Option("--limit", help="requests=100/second, tokens=200000/minute, parallel=8, `none`. Repeatable."),
]
BudgetOption = Annotated[
    list[str] | None,
    typer.Option("--budget", help="usd=20/day, tokens=1000000/month,soft,zone=Europe/Berlin, `none`. Repeatable."),
]
KeepOption = Annotated[
    str | None,
    typer.Option(help="The most that the ledger may keep: `none`, `metadata`, `bodies`; `route`: as its route says."),
]
TagOption = Annotated[list[str] | None, typer.Option("--tag", help="NAME=VALUE, for reports. Repeatable.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it. Names are unique.")],
    *,
    owner: OwnerOption = None,
    role: RoleOption = None,
    route: RouteOption = None,
    expires: ExpiresOption = None,
    limit: LimitOption = None,
    budget: BudgetOption = None,
    keep: KeepOption = None,
    tag: TagOption = None,
    store: StoreOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Make a key. It is printed once, alone on standard output, and kept nowhere.

    Exit code: 0 made, 1 it cannot be made, 2 an option is wrong.

    Example: understudy keys create my-app --owner anna --limit requests=100/minute --budget usd=20/day
    """
    settings = _settings(
        owner=owner, role=role, routes=route, expires=expires, limits=limit, budgets=budget, keep=keep, tags=tag
    )
    with opened(store, config, make=True) as keys:
        record, secret = keys.create(name, **settings)
        tell_secret(record.key, secret, keys, json=json)


@app.command("list")
def list_(store: StoreOption = None, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Show all keys, but for what opens anything.

    Exit code: 0, or 1 where there is no store.

    Example: understudy keys list --json
    """
    with opened(store, config) as keys:
        records, spent = keys.records(), keys.spent()
    if json:
        _print([facts(record.key, spent.get(record.key.id, ())) for record in records])
        return
    rows: list[tuple[str, ...]] = [("NAME", "ROLE", "STATE", "OWNER", "ENDS IN", "USED", "ID")]
    rows += [_row(record.key) for record in records]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@app.command()
def show(name: NameArgument, store: StoreOption = None, config: ConfigOption = None, json: JsonOption = False) -> None:
    """Show one key: what it may do, and what it has spent.

    Exit code: 0, or 1 where there is no such key.

    Example: understudy keys show my-app
    """
    with opened(store, config) as keys:
        record = keys.record(name)
        found = facts(record.key, keys.spent().get(record.key.id, ()))
    found["former_until"] = [_time(former.until) for former in record.former]
    if json:
        _print(found)
        return
    for field, value in found.items():
        if isinstance(value, dict):
            value = [f"{one}={other}" for one, other in value.items()]  # noqa: PLW2901  # shown as a list
        lines = value if isinstance(value, list) else [value]
        for index, line in enumerate(lines or ["-"]):
            typer.echo(f"{'' if index else field.replace('_', ' '):<14}{'-' if line in (None, '') else line}")


@app.command()
def change(
    name: NameArgument,
    *,
    owner: OwnerOption = None,
    role: RoleOption = None,
    route: RouteOption = None,
    expires: ExpiresOption = None,
    limit: LimitOption = None,
    budget: BudgetOption = None,
    keep: KeepOption = None,
    tag: TagOption = None,
    store: StoreOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Change what a key may do. Each option replaces what was set; what was used of a limit or budget stays used.

    Exit code: 0 changed, 1 there is no such key, 2 an option is wrong.

    Example: understudy keys change my-app --budget usd=50/day
    """
    settings = _settings(
        owner=owner, role=role, routes=route, expires=expires, limits=limit, budgets=budget, keep=keep, tags=tag
    )
    if not settings:
        fail("Nothing to change: name an option, such as --budget usd=50/day.")
    with opened(store, config) as keys:
        _changed(keys.change(name, **settings).key, "is changed", json=json)


@app.command()
def rotate(
    name: NameArgument,
    overlap: Annotated[str, typer.Option(help="How long the key before still opens: 24h, 7d, or 0.")] = "24h",
    store: StoreOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Give a key another secret, printed once. With `--overlap 0`, for a key that leaked, all former ones end at once.

    Exit code: 0 rotated, 1 there is no such key, 2 the overlap is wrong.

    Example: understudy keys rotate my-app --overlap 7d
    """
    seconds = 0.0 if overlap == "0" else _span(overlap)
    if seconds is None:
        fail(f"--overlap {overlap!r} is no length of time. Write 30min, 24h, 7d or 0.")
    with opened(store, config) as keys:
        record, secret = keys.rotate(name, seconds)
        tell_secret(record.key, secret, keys, json=json)
    if seconds:
        typer.echo(f"The key before opens for another {overlap}.", err=True)


@app.command()
def disable(
    name: NameArgument, store: StoreOption = None, config: ConfigOption = None, json: JsonOption = False
) -> None:
    """Let a key open nothing until it is enabled again.

    Exit code: 0 disabled, 1 there is no such key.

    Example: understudy keys disable my-app
    """
    with opened(store, config) as keys:
        _changed(keys.change(name, disabled=True).key, "is disabled", json=json)


@app.command()
def enable(
    name: NameArgument, store: StoreOption = None, config: ConfigOption = None, json: JsonOption = False
) -> None:
    """Let a disabled key open again.

    Exit code: 0 enabled, 1 there is no such key.

    Example: understudy keys enable my-app
    """
    with opened(store, config) as keys:
        _changed(keys.change(name, disabled=False).key, "is enabled", json=json)


@app.command()
def delete(
    name: NameArgument, store: StoreOption = None, config: ConfigOption = None, json: JsonOption = False
) -> None:
    """Delete a key for good. What it did stays on record; `disable` can be undone, this cannot.

    Exit code: 0 deleted, 1 there is no such key.

    Example: understudy keys delete my-app
    """
    with opened(store, config) as keys:
        _changed(keys.remove(name), "is deleted", json=json)


def location(store: str | None, config: Path | None) -> Path | str:
    """The store that the options mean: a file or a URL. Exits with 2 and the reason where that cannot be told.

    Of the configuration only `server.key_store` is read: keys can be made where its providers' variables are not set.
    """
    from understudy.gateway.assemble import key_store

    file = located(config)
    setting, folder = store or "", Path.cwd()
    if store is None and file is not None:
        setting, folder = _configured(file), file.parent
    place = key_store(setting or STORE, folder, os.environ)
    if place == folder:
        fail(f"The key store is {setting}, and that variable is not set.")
    return place


def _configured(file: Path) -> str:
    """What a configuration says in `server.key_store`; empty where that is nothing."""
    import tomllib

    try:
        server = tomllib.loads(file.read_text("utf-8-sig")).get("server", {})
    except FileNotFoundError:
        return ""  # `init` is about to write it
    except (OSError, ValueError) as error:
        fail(f"{file} cannot be read: {error}. `understudy check` says more.")
    setting = server.get("key_store", "") if isinstance(server, dict) else ""
    return setting if isinstance(setting, str) else ""


@contextmanager
def opened(store: str | None, config: Path | None, *, make: bool = False) -> Iterator[Store]:
    """The store. What it refuses ends the command with exit code 1."""
    from understudy.access.store import Store, StoreError

    place = location(store, config)
    if not make and isinstance(place, Path) and not place.exists():
        fail(f"There is no key store at {place}. `understudy init` or `understudy keys create` makes one.", 1)
    try:
        keys = Store(place)
        try:
            yield keys
        finally:
            keys.close()
    except StoreError as error:
        fail(str(error), 1)


def tell_secret(key: Key, secret: Secret, keys: Store, *, json: bool) -> None:
    """The one time that a key is shown: standard output holds nothing else, so that a script can take it."""
    if json:
        _print({**facts(key), "secret": secret.reveal(), "store": keys.where})
        return
    typer.echo(f"{key.name} ({key.role}, {key.id}) in {keys.where}. Keep it now, it is shown this once:", err=True)
    typer.echo(secret.reveal())


def facts(key: Key, spent: Any = ()) -> dict[str, Any]:
    """A key as JSON shows it."""
    from understudy.access.budgets import amount

    def line(one: Spent) -> str:
        unpriced = f", and {one.unpriced} calls without a price" if one.unpriced else ""
        return f"{one.unit}={amount(one.unit, one.spent)}/{one.per} since {_time(one.start)}{unpriced}"

    return {
        "id": key.id,
        "name": key.name,
        "owner": key.owner,
        "role": key.role,
        "hint": f"…{key.hint}",
        "disabled": key.disabled,
        "created": _time(key.created),
        "expires": None if key.expires is None else _time(key.expires),
        "used": key.used,
        "routes": list(key.routes),
        "limits": [str(limit) for limit in key.limits],
        "budgets": [str(budget) for budget in key.budgets],
        "spent": [line(one) for one in spent],
        "keep": key.store or "route",
        "tags": key.tags,
    }


def _changed(key: Key, how: str, *, json: bool) -> None:
    if json:
        _print(facts(key))
    else:
        typer.echo(f"{key.name} ({key.id}) {how}.")


def _row(key: Key) -> tuple[str, ...]:
    from understudy import clock

    left = None if key.expires is None else key.expires - clock.wall()
    state = "disabled" if key.disabled else "expired" if left is not None and left <= 0 else "open"
    ends = "-" if left is None or left <= 0 else f"{left / 86400:.0f} d" if left > 2 * 86400 else f"{left / 3600:.0f} h"
    return (key.name, key.role, state, key.owner or "-", ends, key.used or "-", key.id)


def _settings(
    *,
    owner: str | None,
    role: str | None,
    routes: list[str] | None,
    expires: str | None,
    limits: list[str] | None,
    budgets: list[str] | None,
    keep: str | None,
    tags: list[str] | None,
) -> dict[str, Any]:
    """What the options say, as fields of `Key`; exits with 2 and the reason where one is wrong."""
    from understudy.access import budgets as budgeting
    from understudy.access import limits as limiting
    from understudy.access.keys import RIGHTS, Kept

    kept = (*get_args(Kept), "route")
    if role is not None and role not in RIGHTS:
        fail(f"--role {role!r} is none of {', '.join(RIGHTS)}.")
    if keep is not None and keep not in kept:
        fail(f"--keep {keep!r} is none of {', '.join(kept)}.")
    wrong = [tag for tag in tags or () if "=" not in tag]
    if wrong:
        fail(f"--tag {wrong[0]!r} is not NAME=VALUE.")
    try:
        said: dict[str, Any] = {
            "owner": owner,
            "role": role,
            "routes": None if not routes else tuple(routes),
            "limits": None if not limits else tuple(map(limiting.parse, limits)) if limits != ["none"] else (),
            "budgets": None if not budgets else tuple(map(budgeting.parse, budgets)) if budgets != ["none"] else (),
            "tags": None if not tags else dict(tag.split("=", 1) for tag in tags),
        }
    except ValueError as error:
        fail(str(error))
    settings = {name: value for name, value in said.items() if value is not None}
    if keep is not None:
        settings["store"] = None if keep == "route" else keep
    if expires is not None:
        settings["expires"] = None if expires == "never" else _end(expires)
    return settings


def _span(text: str) -> float | None:
    found = re.fullmatch(r"(\d{1,6})(min|h|d)", text)
    return None if found is None else float(found[1]) * {"min": 60, "h": 3600, "d": 86400}[found[2]]


def _end(text: str) -> float:
    from understudy import clock

    span, now = _span(text), clock.wall()
    if span is not None:
        return now + span
    try:
        date = datetime.fromisoformat(text)
        end = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        fail(f"--expires {text!r} is no time. Write 30d, 12h, 2027-01-31, 2027-01-31T18:00+01:00 or never.")
    if end <= now:
        fail(f"--expires {text!r} is in the past.")
    return end


def _time(stamp: float) -> str:
    return datetime.fromtimestamp(stamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _print(found: Any) -> None:
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
