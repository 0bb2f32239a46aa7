"""`understudy.toml`: what may stand in it, and an error with line and remedy for whatever may not.

The file is checked whole before anything takes effect. Every setting has a default, so that no file at all is a valid
configuration. `settings.py` has the settings themselves.
"""

from __future__ import annotations

import difflib
import importlib.util
import ipaddress
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from understudy.gateway.lines import Steps, locate
from understudy.gateway.settings import (
    BUILT_IN,
    Cache,
    Config,
    Defaults,
    Ledger,
    Provider,
    Redaction,
    Route,
    RouteSettings,
    Server,
)
from understudy.ledger import end_users
from understudy.ledger.cost import OwnPrices
from understudy.local import models
from understudy.providers import auth, catalogue, signing
from understudy.upstream import split_url

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_URL = re.compile(r"[!-~]+")
_REDIS_OPTIONS = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
_VARIABLE = re.compile(r"\{([A-Z][A-Z0-9_,]*)\}")  # as catalogue.toml writes them

_OURS = frozenset(
    {
        "accept-encoding", "connection", "content-length", "content-type", "host", "keep-alive", "proxy-connection",
        "te", "trailer", "transfer-encoding", "upgrade", "user-agent",
    }
)  # fmt: skip
"""Headers that say how a request of ours is sent: a second one would contradict."""

_CREDENTIALS = frozenset({"api-key", "authorization", "cookie", "proxy-authorization", "x-api-key"})
"""Headers that clients show to this gateway: they are nobody else's business."""


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
        text = path.read_text("utf-8-sig")
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
        line = int(found[1]) if found else text.rstrip().count("\n") + 1
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
            f"{_dotted((*path, name))} is not a setting",
            _near(name, known, "Settings here"),
        )
    missing = re.search(r"missing required field `([^`]+)`", what)
    if missing:
        return ConfigError(source, locate(text, path), f"{_dotted(path)} lacks `{missing[1]}`", "Add it.")
    remedy = "Give a value of that kind."
    if _of_prices(path):
        remedy = "Write `input` and `output` in US dollars per million tokens, `hour` in US dollars per hour, or all."
    return ConfigError(source, locate(text, path), f"{_dotted(path)}: {what[0].lower()}{what[1:]}", remedy)


def _dotted(path: Steps) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def _path(where: str, raw: dict[str, Any]) -> Steps:
    """The keys behind msgspec's path. `[...]` there is some key of a table: the one whose value does not convert."""
    path: list[str | int] = []
    value: Any = raw
    for step in re.findall(r"\.([A-Za-z_]\w*)|\[(\.\.\.|\d+)\]", where):
        name, index = step
        if name:
            path.append(name)
            value = value.get(name) if isinstance(value, dict) else None
        elif index == "..." and isinstance(value, dict):
            kind = _SECTIONS.get(str(path[-1])) if path else None
            key = next((k for k, v in value.items() if not _converts(v, kind)), "...")
            path.append(key)
            value = value.get(key)
        elif index.isdigit():
            path.append(int(index))
    return tuple(path)


_SECTIONS: dict[str, Any] = {
    "providers": Provider,
    "routes": Route,
    "headers": str,
    "model_prices": OwnPrices,
    "patterns": str,
}


def _converts(value: object, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _known_keys(path: Steps) -> list[str]:
    kind: Any = Config
    if _of_prices(path):
        kind = OwnPrices
    elif path:
        sections = {"server": Server, "ledger": Ledger, "cache": Cache, "redaction": Redaction, "defaults": Defaults}
        kind = {**sections, **_SECTIONS}[str(path[0])]
    return list(kind.__struct_fields__)


def _of_prices(path: Steps) -> bool:
    return path[:1] == ("providers",) and path[2:3] in (("prices",), ("model_prices",))


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

    def fail(self, path: Steps, what: str, remedy: str) -> ConfigError:
        return ConfigError(self.source, locate(self.text, path), what, remedy)

    def run(self) -> None:
        self.host()
        for name in ("keys", "admin_keys"):
            for index, key in enumerate(getattr(self.config.server, name)):
                path = ("server", name, index)
                self.secret(path, key)
                self.sendable(path, _dotted(path), "bearer", reveal(key, self.environ))
        self.redis()
        self.cache()
        self.redaction()
        self.end_users()
        self.key_store()
        for name, provider in self.config.providers.items():
            self.provider(name, provider)
        for name, route in self.config.routes.items():
            for index, target in enumerate(route.targets):
                self.target(("routes", name, "targets", index), name, target)
            if route.weights and len(route.weights) != len(route.targets):
                what = f"{len(route.weights)} weights stand for {len(route.targets)} targets"
                raise self.fail(("routes", name, "weights"), what, "Give each target one.")
            self.circle(name, ())
            self.keeping(("routes", name), route)
        self.keeping(("defaults",), self.config.defaults)
        for index, target in enumerate(self.config.defaults.substitutes):
            self.target(("defaults", "substitutes", index), "", target)

    def redis(self) -> None:
        """Fail unless `server.redis` can be connected to. Its value has a password in it and is never shown."""
        value, path = self.config.server.redis, ("server", "redis")
        if value is None:
            return
        self.secret(path, value)
        try:
            parts = urlsplit(reveal(value, self.environ))
            fits = parts.scheme in ("redis", "rediss") and parts.hostname and parts.port != 0 and not parts.fragment
            options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        except ValueError:
            fits, options = False, {}
        if not fits or not re.fullmatch(r"/?|/\d{1,5}", parts.path) or not options.keys() <= _REDIS_OPTIONS:
            what = "server.redis is not the URL of a Redis"
            remedy = f"Write it as redis://user:password@host:6379/0. Options: {', '.join(sorted(_REDIS_OPTIONS))}."
            raise self.fail(path, what, remedy)
        if importlib.util.find_spec("redis") is None:
            what = "server.redis needs the library redis, which is not installed"
            raise self.fail(path, what, "Install it with `pip install understudy[redis]`.")

    def cache(self) -> None:
        """Fail if answers could not be kept where `[cache]` says."""
        values = self.config.cache
        if values.where == "redis" and self.config.server.redis is None:
            what = "cache.where is redis, and there is no server.redis"
            raise self.fail(("cache", "where"), what, "Set server.redis, or name a file.")
        if values.where != "redis" and values.largest_body > values.max_bytes:
            what = f"cache.max_bytes holds no answer of {values.largest_body} bytes (cache.largest_body)"
            raise self.fail(("cache", "max_bytes"), what, "Give it more, or lower cache.largest_body.")

    def keeping(self, path: Steps, values: RouteSettings) -> None:
        """Fail if answers are to be kept of calls of which nothing may be."""
        store = values.store or self.config.defaults.store or BUILT_IN["store"]
        if values.cache not in (None, "off") and store == "none":
            what = f"{_dotted(path)} keeps answers in the cache, and `store` forbids to keep anything"
            raise self.fail((*path, "cache"), what, 'Leave `cache` out, or set `store` to "metadata" or "bodies".')

    def redaction(self) -> None:
        """Fail unless what is to be redacted can be: else it would be stored as it came."""
        values = self.config.redaction
        if not values.on or self.config.ledger.url == "off":
            return
        if values.pseudonym_key is not None:
            self.secret(("redaction", "pseudonym_key"), values.pseudonym_key)
        if values.pseudonym_key is not None or values.patterns:
            from understudy.gateway import redacting  # noqa: PLC0415  # compiles a good deal, for few

            wrong = redacting.mistake(values, self.environ)
            if wrong is not None:
                setting, why = wrong
                raise self.fail(("redaction", *setting), f"redaction.{_dotted(setting)} cannot be used", why)
        keeping = next((path for path, said in self.stores() if said == "bodies"), None)
        if keeping is not None and values.scanner and importlib.util.find_spec("kingfisher_sdk") is None:
            what = "bodies are to be kept, and the detector of secrets in them is not installed"
            remedy = "Install it with `pip install understudy[redaction]`, or set redaction.scanner = false."
            raise self.fail(keeping, what, remedy)

    def stores(self) -> Iterable[tuple[Steps, str | None]]:
        """Where something says what is kept, and what it says."""
        yield ("defaults", "store"), self.config.defaults.store
        yield from ((("routes", name, "store"), route.store) for name, route in self.config.routes.items())

    def end_users(self) -> None:
        """Fail unless there is a key to hash the names of users with, where they are to be hashed."""
        ledger, path = self.config.ledger, ("ledger", "end_user_key")
        if ledger.end_users != "hashed":
            return
        if not ledger.end_user_key:
            what = 'ledger.end_users is "hashed", and there is no ledger.end_user_key'
            raise self.fail(("ledger", "end_users"), what, "Add one: `openssl rand -hex 32`, and `env:NAME` for it.")
        self.secret(path, ledger.end_user_key)
        if len(reveal(ledger.end_user_key, self.environ)) < end_users.SHORTEST_KEY:
            what = f"ledger.end_user_key has fewer than {end_users.SHORTEST_KEY} characters"
            raise self.fail(path, what, "Make one that nobody can guess: `openssl rand -hex 32`.")

    def key_store(self) -> None:
        """Fail if `server.key_store` is a URL that cannot be used. It may have a password in it and is never shown."""
        value, path = self.config.server.key_store, ("server", "key_store")
        if value.startswith("env:"):
            self.secret(path, value)
        value = reveal(value, self.environ)
        if "://" not in value:
            return
        try:
            parts = urlsplit(value)
            fits = parts.scheme in ("postgresql", "postgres") and parts.path.strip("/") and parts.port != 0
        except ValueError:
            fits = ""
        if not fits:
            what = "server.key_store is neither a file's path nor the URL of a PostgreSQL database"
            raise self.fail(path, what, "Write it as postgresql://user:password@host/name.")
        if importlib.util.find_spec("psycopg") is None:
            what = "server.key_store needs the driver psycopg, which is not installed"
            raise self.fail(path, what, "Install it with `pip install understudy[postgres]`.")

    def host(self) -> None:
        server = self.config.server
        if not server.keys and not server.key_store and not _is_loopback(server.host):
            raise self.fail(
                ("server", "host"),
                f"{server.host!r} can be reached from other machines, and no key is asked for",
                "Set server.keys, or listen on 127.0.0.1.",
            )

    def secret(self, path: Steps, value: str) -> None:
        """Fail if `value` is `env:NAME` of a variable without a value, or nothing at all."""
        if not value.startswith("env:"):
            if not value.strip():
                what = f"{_dotted(path)} is empty"
                raise self.fail(path, what, "Give a key, or `env:NAME` to take it from the environment.")
        elif not reveal(value, self.environ).strip():
            name = value.removeprefix("env:")
            what = f"{_dotted(path)} names the variable {name}, which is not set"
            raise self.fail(path, what, f"Set {name}, or remove the line.")

    def sendable(self, path: Steps, label: str, scheme: str, key: str) -> None:
        try:
            auth.headers(scheme, key)
        except auth.AuthError as error:
            raise self.fail(path, f"{label} cannot stand in a request", str(error)) from None

    def provider(self, name: str, provider: Provider) -> None:
        path = ("providers", name)
        known = catalogue.load()
        if "/" in name:
            remedy = "Rename it: targets are `provider/model`."
            raise self.fail(path, f"the provider name {name!r} has a slash in it", remedy)
        if name == models.PROVIDER and provider.base_url is None:
            if provider != Provider(prices=provider.prices, model_prices=provider.model_prices):
                remedy = "Leave nothing but prices; `understudy pull` adds models."
                raise self.fail(path, f"{name} is the embedded engine, which takes no settings but prices", remedy)
            return
        if name not in known:
            for field in ("dialect", "base_url"):
                if getattr(provider, field) is None:
                    near = _near(name, known, "Providers of the catalogue")
                    what = f"{name} is not in the catalogue, and has no `{field}`"
                    raise self.fail(path, what, f"{near} Or add `{field}`.")
        words = {
            "dialect": ("a dialect", catalogue.DIALECTS),
            "auth": ("a way to send keys", (*auth.SCHEMES, *signing.SIGNERS)),
        }
        for field, (kind, allowed) in words.items():
            value = getattr(provider, field)
            if value is not None and value not in allowed:
                raise self.fail((*path, field), f"{value!r} is not {kind}", _near(value, allowed, "Known"))
        if provider.api_key is not None:
            self.secret((*path, "api_key"), provider.api_key)
        if provider.api_keys and provider.api_key is not None:
            raise self.fail((*path, "api_keys"), f"{name} has both `api_key` and `api_keys`", "Leave one of them.")
        for index, key in enumerate(provider.api_keys):
            self.secret((*path, "api_keys", index), key)
        self.headers(path, provider)
        self.usable(path, name, provider)

    def headers(self, path: Steps, provider: Provider) -> None:
        for header, value in provider.headers.items():
            at = (*path, "headers", header)
            if not _TOKEN.fullmatch(header) or header.lower() in _OURS:
                raise self.fail(at, f"{header!r} is not a header that can be set", "Take it out.")
            if value.startswith("env:"):
                self.secret(at, value)
            if _CONTROL.search(reveal(value, self.environ)):
                raise self.fail(at, f"{_dotted(at)} has a line break or control character in it", "Take it out.")
        for index, header in enumerate(provider.forward):
            if not _TOKEN.fullmatch(header) or header.lower() in _OURS | _CREDENTIALS:
                at = (*path, "forward", index)
                raise self.fail(at, f"{header!r} is not a header that can be passed on", "Take it out.")

    def usable(self, path: Steps, name: str, provider: Provider) -> None:
        """Fail unless calls could be sent to the provider with what it says, its row and the environment."""
        row = catalogue.load().get(name)
        base_url = provider.base_url
        if base_url is None and row is not None:
            base_url = catalogue.resolve_base_url(row, self.environ)
        if base_url is None:
            names = _VARIABLE.findall(row.base_url or "") if row else ()
            unset = " and ".join(name.replace(",", " or ") for name in names)
            remedy = f"Set {unset} in the environment, or `base_url` in [providers.{name}]."
            raise self.fail(path, f"{name} needs {unset}, which must be set", remedy)
        try:
            split_url(base_url)
            if not _URL.fullmatch(base_url):
                raise ValueError("base_url has white space or characters outside ASCII in it")  # noqa: TRY301
        except ValueError as error:
            raise self.fail((*path, "base_url"), str(error), "Write it as https://host/path.") from None
        scheme = provider.auth or (row.auth if row else "bearer")
        if scheme in signing.SIGNERS:
            return
        for index, key in enumerate(provider.api_keys):
            self.sendable((*path, "api_keys", index), "the key", scheme, reveal(key, self.environ))
        if provider.api_keys:
            return
        found = catalogue.find_key(row, self.environ) if row else None
        if provider.api_key is not None:
            self.sendable((*path, "api_key"), "the key", scheme, reveal(provider.api_key, self.environ))
        elif found is not None:
            self.sendable(path, f"the key in {found[0]}", scheme, found[1])
        elif row is not None and scheme != "none" and not row.signed and not catalogue.is_local(row):
            remedy = f"Set {' or '.join(row.env)} in the environment, or `api_key` in [providers.{name}]."
            raise self.fail(path, f"{name} needs a key, and there is none", remedy)

    def target(self, path: Steps, route: str, target: str) -> None:
        if target in self.config.routes and target != route:
            return
        provider, slash, model = target.partition("/")
        known = {*catalogue.load(), *self.config.providers}
        if not slash or not provider or not model:
            owned = [f"Did you mean `{owner}/{target}`?" for owner in catalogue.serving(target)]
            what = f"the target {target!r} is neither `provider/model` nor another route"
            near = _near(target, self.config.routes.keys() - {route}, "Other routes")
            raise self.fail(path, what, owned[0] if owned else near)
        if provider not in known:
            what = f"the target {target!r} names the unknown provider {provider!r}"
            raise self.fail(path, what, _near(provider, known, "Providers"))
        embedded = provider == models.PROVIDER and self.config.providers.get(provider, Provider()).base_url is None
        if provider in self.config.providers and not embedded:
            return
        if not embedded:
            self.usable(path, provider, Provider())
        elif model not in (here := models.available()):
            remedy = f"On this machine: {', '.join(here) or 'none'}. `understudy pull` fetches others."
            raise self.fail(path, f"the target {target!r} names a model that is not here", remedy)

    def circle(self, name: str, above: tuple[str, ...]) -> None:
        for index, target in enumerate(self.config.routes[name].targets):
            if target == name or target not in self.config.routes:
                continue
            chain = (*above, name, target)
            if target in above:
                raise self.fail(
                    ("routes", name, "targets", index),
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
