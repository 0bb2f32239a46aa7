"""`understudy.toml`: what may stand in it, and an error with line and remedy for whatever may not.

The file is checked whole before anything takes effect. Every setting has a default, so that no file at all is a valid
configuration. docs/reference/configuration.md is generated from the structs of this module.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from understudy.providers import catalogue

Seconds = Annotated[float, Meta(gt=0, le=86400)]


class Server(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    host: Annotated[
        str, Meta(description="Address to listen on. Any but loopback is refused unless `keys` are set.")
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to listen on. 0 lets the system choose.")] = 4000
    keys: Annotated[
        list[str],
        Meta(
            description="API keys that clients may use, each `env:NAME` or the key itself. Empty: no key is asked for."
        ),
    ] = []
    cors_origins: Annotated[
        list[str], Meta(description="Web origins whose pages may call the gateway; `*` for any. Empty: none.")
    ] = []
    max_body: Annotated[int, Meta(ge=1024, description="Largest request body, in bytes.")] = 32 * 1024 * 1024
    max_headers: Annotated[int, Meta(ge=1024, le=65536, description="Largest request head, in bytes.")] = 32 * 1024
    max_open: Annotated[
        int, Meta(ge=1, description="Calls that may be under way at once; a further one is answered 503.")
    ] = 4096
    drain: Annotated[
        Seconds, Meta(description="Seconds that running streams get to finish when the gateway is told to stop.")
    ] = 30.0


class Provider(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dialect: Annotated[
        str | None, Meta(description="Wire format it speaks. Needed unless the catalogue has its row.")
    ] = None
    base_url: Annotated[
        str | None, Meta(description="As the provider's own SDK takes it. Needed unless the catalogue has its row.")
    ] = None
    api_key: Annotated[
        str | None, Meta(description="`env:NAME` or the key itself. Default: the environment variable of its row.")
    ] = None
    auth: Annotated[str | None, Meta(description="How the key is sent. Default: its row's, else `bearer`.")] = None
    headers: Annotated[dict[str, str], Meta(description="Further request headers; values may be `env:NAME`.")] = {}
    forward: Annotated[
        list[str], Meta(description="Names of client headers that are passed on, besides the dialect's own.")
    ] = []
    models: Annotated[
        list[str], Meta(description="Models it serves, so that a client can ask for them by bare name.")
    ] = []
    continues: Annotated[
        str | None, Meta(description="How its models continue a partial answer, if known. Default: its row's.")
    ] = None
    cooldown: Annotated[bool, Meta(description="false: never skipped, whatever it answered (for test benches).")] = True


class RouteSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `[defaults]` and every route share; None in a route means that the default holds."""

    connect_timeout: Annotated[Seconds | None, Meta(description="Seconds to connect, TLS included.")] = None
    first_token_timeout: Annotated[
        Seconds | None, Meta(description="Seconds from sending the call to the first content.")
    ] = None
    liveness_timeout: Annotated[
        Seconds | None, Meta(description="Seconds without any byte, once an answer has begun.")
    ] = None
    progress_timeout: Annotated[Seconds | None, Meta(description="Seconds without content, though bytes may come.")] = (
        None
    )
    deadline: Annotated[Seconds | None, Meta(description="Seconds for the call as a whole, all attempts together.")] = (
        None
    )
    retries: Annotated[
        Annotated[int, Meta(ge=0, le=5)] | None,
        Meta(description="Further tries on the same target before the next one."),
    ] = None


class Defaults(RouteSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    substitutes: Annotated[
        list[str], Meta(description="Targets that stand in, in this order, for a model that has no route of its own.")
    ] = []


class Route(RouteSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    targets: Annotated[
        list[str],
        Meta(min_length=1, description="`provider/model` or the name of another route, in order of preference."),
    ]


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    server: Server = Server()
    providers: dict[str, Provider] = {}
    defaults: Defaults = Defaults()
    routes: dict[str, Route] = {}


BUILT_IN = {
    "connect_timeout": 5.0,
    "first_token_timeout": 60.0,
    "liveness_timeout": 60.0,
    "progress_timeout": 120.0,
    "deadline": 600.0,
    "retries": 1,
}
"""What holds where neither the route nor `[defaults]` says anything."""


class ConfigError(Exception):
    """A configuration that cannot take effect. `str()` says file, line, what is wrong and what to do."""

    def __init__(self, source: str, line: int | None, what: str, remedy: str) -> None:
        self.source, self.line, self.what, self.remedy = source, line, what, remedy
        place = source if line is None else f"{source}:{line}"
        super().__init__(f"{place}: {what}\n  {remedy}")


class Loaded(msgspec.Struct, frozen=True):
    """A configuration that has been checked, and what to call it when something is wrong with it later."""

    config: Config
    source: str


def load(path: Path | None, environ: Mapping[str, str]) -> Loaded:
    """Read and check `path`; None is the empty configuration. Raises ConfigError."""
    if path is None:
        return Loaded(Config(), "(no file)")
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise ConfigError(
            str(path), None, f"cannot be read: {error.strerror}", "Check the path and its rights."
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), None, "is not UTF-8 text", "Save the file as UTF-8.") from error
    return parse(text, str(path), environ)


def parse(text: str, source: str, environ: Mapping[str, str]) -> Loaded:
    """Check the TOML `text`, called `source` in errors. Raises ConfigError."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else len(text.splitlines())
        raise ConfigError(source, line, f"is not valid TOML: {error}", "Correct the line.") from error
    try:
        config = msgspec.convert(raw, Config)
    except msgspec.ValidationError as error:
        raise _explain(error, raw, text, source) from error
    _Check(config, text, source, environ).run()
    return Loaded(config, source)


def _explain(error: msgspec.ValidationError, raw: dict[str, Any], text: str, source: str) -> ConfigError:
    """Turn msgspec's error, whose path is `$.routes[...].targets`, into a line and a remedy."""
    message = str(error)
    what, _, where = message.partition(" - at `")
    path = _path(where.rstrip("`"), raw)
    unknown = re.search(r"unknown field `([^`]+)`", what)
    if unknown:
        name = unknown[1]
        known = _known_keys(path)
        return ConfigError(
            source,
            locate(text, (*path, name)),
            f"{'.'.join((*path, name))} is not a setting",
            _near(name, known, "Settings here"),
        )
    missing = re.search(r"missing required field `([^`]+)`", what)
    if missing:
        return ConfigError(source, locate(text, path), f"{'.'.join(path)} lacks `{missing[1]}`", "Add it.")
    return ConfigError(
        source, locate(text, path), f"{'.'.join(path)}: {what[0].lower()}{what[1:]}", "Give a value of that kind."
    )


def _path(where: str, raw: dict[str, Any]) -> tuple[str, ...]:
    """The keys behind msgspec's path. `[...]` there is some key of a table: the one whose value does not convert."""
    path: list[str] = []
    value: Any = raw
    for step in re.findall(r"\.([A-Za-z_]\w*)|\[(\.\.\.|\d+)\]", where):
        name, index = step
        if name:
            path.append(name)
            value = value.get(name) if isinstance(value, dict) else None
        elif index == "..." and isinstance(value, dict):
            kind = _SECTIONS.get(path[-1]) if path else None
            key = next((k for k, v in value.items() if not _converts(v, kind)), "...")
            path.append(key)
            value = value.get(key)
    return tuple(path)


_SECTIONS: dict[str, Any] = {"providers": Provider, "routes": Route, "headers": str}


def _converts(value: object, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _known_keys(path: tuple[str, ...]) -> list[str]:
    kind: Any = Config
    if path:
        kind = {"server": Server, "defaults": Defaults, **_SECTIONS}.get(path[0], Config)
    return list(kind.__struct_fields__)


def locate(text: str, path: tuple[str, ...]) -> int | None:
    """The line on which the value at `path` is set in the TOML `text`, or its nearest table, counted from 1.

    tomllib does not say where things stand, and TOML has many ways to write one path: dotted, quoted, inline. This
    follows headers and keys line by line, and settles for the enclosing table where a value hides in an inline one.
    """
    table: tuple[str, ...] = ()
    best: tuple[int, int | None] = (0, None)
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[\[?([^\[\]]+)\]\]?\s*(#.*)?$", line)
        if header:
            table = _keys(header[1])
            at = table
        else:
            pair = re.match(r"""\s*((?:[\w.-]|"[^"]*"|'[^']*')+)\s*=""", line)
            if not pair:
                continue
            at = table + _keys(pair[1])
        if at == path[: len(at)] and len(at) > best[0]:
            best = (len(at), number)
    return best[1]


def _keys(dotted: str) -> tuple[str, ...]:
    return tuple(next(filter(None, found)) for found in re.findall(r"""([\w-]+)|"([^"]*)"|'([^']*)'""", dotted))


def _near(name: str, known: Iterable[str], label: str) -> str:
    known = sorted(known)
    near = difflib.get_close_matches(name, known, 1)
    if near:
        return f"Did you mean `{near[0]}`?"
    return f"{label}: {', '.join(known)}." if known else "Remove it."


class _Check:
    """What types alone cannot tell: names that point nowhere, circles, variables that are not set."""

    def __init__(self, config: Config, text: str, source: str, environ: Mapping[str, str]) -> None:
        self.config, self.text, self.source, self.environ = config, text, source, environ

    def fail(self, path: tuple[str, ...], what: str, remedy: str) -> ConfigError:
        return ConfigError(self.source, locate(self.text, path), what, remedy)

    def run(self) -> None:
        self.host()
        for index, key in enumerate(self.config.server.keys):
            self.secret(("server", "keys"), f"server.keys[{index}]", key)
        for name, provider in self.config.providers.items():
            self.provider(name, provider)
        for name, route in self.config.routes.items():
            for target in route.targets:
                self.target(("routes", name, "targets"), name, target)
            self.circle(name, ())
        for target in self.config.defaults.substitutes:
            self.target(("defaults", "substitutes"), "", target)

    def host(self) -> None:
        server = self.config.server
        if not server.keys and not _is_loopback(server.host):
            raise self.fail(
                ("server", "host"),
                f"{server.host} can be reached from other machines, and no key is asked for",
                "Set server.keys, or listen on 127.0.0.1.",
            )

    def secret(self, path: tuple[str, ...], label: str, value: str) -> None:
        name = value.removeprefix("env:")
        if name == value:
            if not value.strip():
                raise self.fail(path, f"{label} is empty", "Give a key, or `env:NAME` to take it from the environment.")
        elif not self.environ.get(name):
            raise self.fail(
                path, f"{label} names the variable {name}, which is not set", f"Set {name}, or remove the line."
            )

    def provider(self, name: str, provider: Provider) -> None:
        path = ("providers", name)
        known = catalogue.load()
        if "/" in name:
            raise self.fail(
                path, f"the provider name {name!r} has a slash in it", "Rename it: targets are `provider/model`."
            )
        if name not in known:
            for field in ("dialect", "base_url"):
                if getattr(provider, field) is None:
                    near = _near(name, known, "Providers of the catalogue")
                    raise self.fail(
                        path, f"{name} is not in the catalogue, and has no `{field}`", f"{near} Or add `{field}`."
                    )
        if provider.dialect is not None and provider.dialect not in catalogue.DIALECTS:
            raise self.fail(
                (*path, "dialect"),
                f"{provider.dialect} is not a dialect",
                _near(provider.dialect, catalogue.DIALECTS, "Dialects"),
            )
        if provider.base_url is not None and not re.match(r"https?://[^/\s]+", provider.base_url):
            raise self.fail((*path, "base_url"), "base_url is not an http(s) URL", "Write it as https://host/path.")
        if provider.api_key is not None:
            self.secret((*path, "api_key"), f"providers.{name}.api_key", provider.api_key)
        for header, value in provider.headers.items():
            if value.startswith("env:"):
                self.secret((*path, "headers", header), f"providers.{name}.headers.{header}", value)

    def target(self, path: tuple[str, ...], route: str, target: str) -> None:
        if target in self.config.routes and target != route:
            return
        provider, slash, model = target.partition("/")
        known = {*catalogue.load(), *self.config.providers}
        if not slash or not model:
            raise self.fail(
                path,
                f"the target {target!r} is neither `provider/model` nor a route",
                _near(target, self.config.routes, "Routes"),
            )
        if provider not in known:
            raise self.fail(
                path,
                f"the target {target!r} names the unknown provider {provider!r}",
                _near(provider, known, "Providers"),
            )

    def circle(self, name: str, above: tuple[str, ...]) -> None:
        for target in self.config.routes[name].targets:
            if target == name or target not in self.config.routes:
                continue
            chain = (*above, name, target)
            if target in above:
                raise self.fail(
                    ("routes", name, "targets"),
                    f"the routes go round in a circle: {' -> '.join(chain)}",
                    "Take one of them out of the other's targets.",
                )
            self.circle(target, (*above, name))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listening(loaded: Loaded, host: str | None, port: int | None) -> Loaded:
    """`loaded` with another address to listen on, as the command line may ask for. Raises ConfigError."""
    server = loaded.config.server
    server = msgspec.structs.replace(
        server, host=server.host if host is None else host, port=server.port if port is None else port
    )
    config = msgspec.structs.replace(loaded.config, server=server)
    _Check(config, "", "--host", {}).host()
    return Loaded(config, loaded.source)


def reveal(value: str, environ: Mapping[str, str]) -> str:
    """The secret behind `value`: the variable's for `env:NAME`, else the value itself."""
    name = value.removeprefix("env:")
    return value if name == value else environ.get(name, "")
