"""Providers, targets and routes as the data path needs them: every byte that can be prepared beforehand is.

A `Routing` is built once from the configuration and from what discovery found, and never changes but for caches; a new
configuration builds another one.
"""

from __future__ import annotations

import difflib
import fnmatch
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from understudy import __version__
from understudy.cache import Rules, digest
from understudy.gateway import settings, surface
from understudy.gateway.config import reveal
from understudy.ledger import credentials
from understudy.ledger.consent import Store
from understudy.local.embedded import Embedded
from understudy.providers import auth, catalogue, signing
from understudy.resilience import Order, Place
from understudy.upstream import Client, Clocks, Origin, split_url

FORWARDED = frozenset({b"idempotency-key", b"x-client-request-id", b"traceparent", b"tracestate", b"accept-language"})
"""Client headers that mean something to a provider. Others can hold secrets or addresses and stay here."""

_TELLS_CALLS_APART = frozenset({b"idempotency-key", b"x-client-request-id", b"traceparent", b"tracestate"})
"""Those of them that are another for each call, and have nothing to do with its answer."""

_FIXED = {"anthropic-messages": {"anthropic-version": "2023-06-01"}}
"""Headers that a dialect itself asks for, whoever speaks it."""

_ON_DEMAND = 4096
"""Routes kept for names that no configuration lists. Clients choose names, so there must be an end to them."""

_LONGEST_NAME = 512
"""Characters of such a name. It stands in response headers and in memory; the longest known are about 100."""


SHORTEST_SECRET = 8
"""Characters of a key that is taken out wherever it stands. Shorter ones may be words."""


class Link(msgspec.Struct, frozen=True):
    """How requests reach a server. `lines` are the headers of every request; `head` is a whole request head but for the
    client's own headers and the length, where the path is the same for every call (else it is empty). `site` is the
    address without any path.
    """

    base_url: str
    origin: Origin
    path: bytes
    lines: bytes
    head: bytes
    dialect: str
    site: str

    def where(self, model: str, *, stream: bool, form: str = "") -> str:
        """The path of a call, as an HTTP request asks for it."""
        return surface.provider_path(self.dialect, self.path.decode(), model, stream=stream, form=form)

    def start(self, model: str, *, stream: bool, form: str = "") -> bytes:
        """The head of a call so far."""
        if self.head and not form:
            return self.head
        path = self.where(model, stream=stream, form=form).encode()
        return b"POST %b HTTP/1.1\r\n%bcontent-type: application/json\r\n" % (path, self.lines)


class Provider:
    """A provider that calls can be sent to: its row, its credentials, its connections.

    `link` is None for the embedded engines, which have one each. `found` says in words for people where the provider
    comes from. `account` is the provider of which this is a further API, else its own name. `listed` are the model
    names it is known to serve, `serves` patterns of further ones. `secrets` is what only it may be shown.
    """

    __slots__ = (
        "account", "continues", "continues_link", "continues_models", "cooldown", "dialect",
        "engines", "forward", "forward_foreign", "found", "key_label", "link", "listed",
        "listing", "name", "secrets", "serves", "signer", "thinks_long", "with_other_keys",
    )  # fmt: skip

    def __init__(self, name: str, dialect: str, found: str) -> None:
        self.name = name
        self.account = name
        self.dialect = dialect
        self.found = found
        self.key_label = ""
        self.cooldown = True
        self.continues: catalogue.Continuation | None = None
        self.continues_models: tuple[str, ...] = ("*",)
        self.continues_link: Link | None = None
        self.forward = FORWARDED | surface.FORWARDED.get(dialect, frozenset())
        self.forward_foreign = FORWARDED
        self.serves: tuple[str, ...] = ()
        self.listed: tuple[str, ...] = ()
        self.listing: str | None = None
        self.link: Link | None = None
        self.secrets: tuple[str, ...] = ()
        self.engines: Mapping[str, Embedded] = {}
        self.signer: signing.Signer | None = None
        self.thinks_long: tuple[str, ...] = ()
        self.with_other_keys: tuple[Provider, ...] = ()

    def serving(self, model: str) -> bool:
        """Whether `model`, a bare name, is known to be this provider's."""
        return model in self.listed or any(fnmatch.fnmatchcase(model, pattern) for pattern in self.serves)


class Target:
    """One provider's model. An embedded one has an `engine`, and a `link` only once that has started.

    `prefills` says whether it goes on with an answer that it is given the beginning of, as far as that is known:
    it is False once a provider has refused. `thinks` says that its first word may take minutes. `keys` are the same
    target with each of the provider's keys, itself first; empty where there is one key.
    """

    __slots__ = (
        "cooldown",
        "engine",
        "keys",
        "label",
        "link",
        "model",
        "name",
        "place",
        "prefills",
        "provider",
        "thinks",
    )

    def __init__(self, provider: Provider, model: str) -> None:
        self.name = f"{provider.name}/{model}"
        # Clients name models: what a header cannot hold must not get into one.
        self.label = re.sub(rb"[^ -~]", b"?", self.name.encode("ascii", "replace"))
        self.provider = provider
        self.model = model
        self.cooldown = provider.cooldown
        self.prefills = provider.continues is not None and any(
            fnmatch.fnmatchcase(model, pattern) for pattern in provider.continues_models
        )
        self.thinks = any(fnmatch.fnmatchcase(model, pattern) for pattern in provider.thinks_long)
        self.keys: tuple[Target, ...] = ()
        if provider.with_other_keys:
            self.keys = (self, *(Target(other, model) for other in provider.with_other_keys))
        self.engine = provider.engines.get(model)
        self.link = provider.link
        endpoint = provider.link.base_url if provider.link else self.name
        self.place = Place(provider.name, model, endpoint, provider.key_label)


class Route(msgspec.Struct, frozen=True):
    """A name that clients ask for. `whole_clocks` are for answers not streamed; `why` is for people.

    The clocks of targets that think long wait longer where the configuration does not say how long. `weights` go with
    `targets`; empty: equal.
    """

    name: str
    targets: tuple[Target, ...]
    clocks: Clocks
    whole_clocks: Clocks
    thinking_clocks: Clocks
    thinking_whole_clocks: Clocks
    deadline: float
    retries: int
    why: str
    order: Order = "listed"
    affinity: bool = False
    weights: tuple[float, ...] = ()
    keep_alive: float = 0.0
    hedge: bool = False
    mid_stream: str = "continue"
    store: Store = "metadata"
    strict: bool = False
    other_vector_space: bool = False
    cache: Rules | None = None

    def clocks_for(self, target: Target, *, stream: bool) -> Clocks:
        """The clocks of an attempt at `target`."""
        if target.thinks:
            return self.thinking_clocks if stream else self.thinking_whole_clocks
        return self.clocks if stream else self.whole_clocks


class NoRouteError(Exception):
    """No target for the name asked for. `near` are names that would work."""

    code, param = "model_not_found", "model"

    def __init__(self, model: str, near: Sequence[str]) -> None:
        self.model, self.near = model, near
        hint = f" Did you mean {_either(near)}?" if near else " GET /v1/models lists what there is."
        super().__init__(f"The model {model[:200]!r} is not served here.{hint}")


class AmbiguousError(NoRouteError):
    """More than one provider serves the name."""

    def __init__(self, model: str, targets: Sequence[str]) -> None:
        super().__init__(model, targets)
        self.args = (f"More than one provider serves {model[:200]!r}. Ask for {_either(targets)}, or add a route.",)


class Routing:
    """All that a request's model name can lead to."""

    def __init__(self, config: settings.Config, providers: Iterable[Provider]) -> None:
        self.config = config
        self.providers = {provider.name: provider for provider in providers}
        self._targets: dict[str, Target] = {}
        self._substitutes = self._expand(config.defaults.substitutes, "")
        self.routes = {name: self._configured(name, route) for name, route in config.routes.items()}
        self._on_demand: dict[str, Route] = {}

    def find(self, model: str) -> Route:
        """The route for the name a client asked for. Raises NoRouteError."""
        route = self.routes.get(model) or self._on_demand.get(model)
        if route is None:
            route = self._derive(model)
            if len(self._on_demand) >= _ON_DEMAND:
                self._on_demand.clear()
            self._on_demand[model] = route
        return route

    def only(self, provider: Provider, what: str) -> Route:
        """The way to one provider and no other, for what it alone holds: `what` stands where a model's name would."""
        target = self._target(f"{provider.name}/{what}")
        return self._route(what, [target], self.config.defaults, f"{provider.name} holds it", own=False)

    def known(self) -> list[Target]:
        """Every target that a route names, or a call has been for, once for each key."""
        return [one for target in self._targets.values() for one in target.keys or (target,)]

    def names(self) -> list[str]:
        """Every name that is known to work, routes first."""
        full = [f"{provider.name}/{model}" for provider in self.providers.values() for model in provider.listed]
        return list(dict.fromkeys([*self.routes, *full]))

    def forget(self) -> None:
        """Models were listed anew: names that led nowhere may lead somewhere now, or to more than one."""
        self._on_demand.clear()

    def _derive(self, model: str) -> Route:
        if len(model) > _LONGEST_NAME or not model.isprintable():
            raise NoRouteError(model, ())
        if any(credentials.known(model)) and model not in self.names():
            raise NoRouteError(model, ())  # a key in the wrong place: it would get into logs and lists of targets
        provider_name, slash, rest = model.partition("/")
        provider = self.providers.get(provider_name) if slash and rest else None
        # An engine runs the models that it has; a server may know more than it lists.
        if provider is not None and (provider.link is not None or rest in provider.engines):
            return self._route(model, [self._target(model)], self.config.defaults, f"{provider_name} is a provider")
        owners = [provider for provider in self.providers.values() if provider.serving(model)]
        if len(owners) > 1:
            raise AmbiguousError(model, [f"{owner.name}/{model}" for owner in owners])
        if not owners:
            raise NoRouteError(model, _near(model, self.names()))
        target = self._target(f"{owners[0].name}/{model}")
        return self._route(model, [target], self.config.defaults, f"{owners[0].name} alone serves {model}")

    def _configured(self, name: str, route: settings.Route) -> Route:
        return self._route(name, self._expand(route.targets, name), route, "a route of the configuration", own=False)

    def _route(
        self, name: str, targets: list[Target], values: settings.RouteSettings, why: str, *, own: bool = True
    ) -> Route:
        def said(field: str) -> Any:
            own = getattr(values, field)
            return own if own is not None else getattr(self.config.defaults, field)

        def setting(field: str, built_in: Mapping[str, Any] = settings.BUILT_IN) -> Any:
            value = said(field)
            return built_in[field] if value is None else value

        if own:
            targets = list(dict.fromkeys([*targets, *self._substitutes]))

        def clocks(first: str, built_in: Mapping[str, Any]) -> Clocks:
            names = ("connect_timeout", first, "liveness_timeout", "progress_timeout")
            return Clocks(*(float(setting(name, built_in)) for name in names))

        short, long = settings.BUILT_IN, {**settings.BUILT_IN, **settings.THINKING}
        return Route(
            name,
            tuple(targets),
            clocks("first_token_timeout", short),
            clocks("answer_timeout", short),
            clocks("first_token_timeout", long),
            clocks("answer_timeout", long),
            float(setting("deadline")),
            setting("retries"),
            why,
            order=setting("order"),
            affinity=setting("affinity"),
            weights=tuple(values.weights) if isinstance(values, settings.Route) else (),
            keep_alive=setting("keep_alive"),
            hedge=setting("hedge"),
            mid_stream=setting("mid_stream"),
            store=setting("store"),
            strict=setting("strict"),
            other_vector_space=setting("other_vector_space"),
            cache=self._rules(targets, values, setting) if setting("cache") != "off" else None,
        )

    def _rules(
        self, targets: Sequence[Target], values: settings.RouteSettings, setting: Callable[[str], Any]
    ) -> Rules | None:
        """How answers of a route are kept; None where nothing may be kept of its calls."""
        if setting("store") == "none":
            return None
        weights = values.weights if isinstance(values, settings.Route) else []
        made_of = [[setting("order"), weights, setting("strict")], *map(self._made_of, targets)]
        seen = {name for target in targets for name in target.provider.forward} - _TELLS_CALLS_APART
        return Rules(
            setting("cache"),
            float(setting("cache_ttl")),
            setting("cache_shared"),
            digest(msgspec.json.encode(made_of)),
            tuple(sorted(seen)),
        )

    def _made_of(self, target: Target) -> list[Any]:
        """What the configuration has to do with a target's answers. Its keys have nothing to do with them."""
        provider, values = target.provider, self.config.providers.get(target.provider.name, settings.Provider())
        address = target.link.base_url if target.link is not None and target.engine is None else ""
        return [target.name, provider.dialect, address, values.headers, sorted(values.forward)]

    def _expand(self, names: Sequence[str], within: str) -> list[Target]:
        """The targets behind `names`, routes among them replaced by theirs. The configuration has no circles."""
        found: list[Target] = []
        for name in names:
            if name in self.config.routes and name != within:
                found.extend(self._expand(self.config.routes[name].targets, name))
            else:
                found.append(self._target(name))
        return list(dict.fromkeys(found))

    def _target(self, name: str) -> Target:
        target = self._targets.get(name)
        if target is None:
            provider, _, model = name.partition("/")
            target = self._targets[name] = Target(self.providers[provider], model)
            if len(self._targets) > 2 * _ON_DEMAND:
                self._targets = {name: target}
        return target


def configured(
    name: str, values: settings.Provider, environ: Mapping[str, str], client: Client, found: str
) -> Provider | None:
    """The provider `name` as configuration and catalogue describe it; None if a variable that it needs is not set."""
    row = catalogue.load().get(name)
    base_url = values.base_url or (catalogue.resolve_base_url(row, environ) if row else None)
    if base_url is None:
        return None
    if values.api_keys:
        return _with_keys(name, values, environ, client, found)
    scheme = values.auth or (row.auth if row else "bearer")
    key, label = _credential(row, values, environ)
    signer = scheme if scheme in signing.SIGNERS else row.signed if row is not None and key is None else None
    if key is None and scheme != "none" and row is not None and not catalogue.is_local(row) and signer is None:
        return None
    provider = Provider(name, values.dialect or (row.dialect if row else ""), found)
    provider.key_label = label
    if row is not None and row.api_of is not None and values.api_key is None:
        provider.account = row.api_of
    provider.cooldown = values.cooldown
    also = {header.lower().encode() for header in values.forward}
    provider.forward |= also
    provider.forward_foreign |= also
    provider.serves = row.serves if row else ()
    provider.listed = tuple(values.models)
    _continuing(provider, values, row)
    provider.listing = row.listing if row else "/models"
    provider.thinks_long = row.thinks_long if row else ()
    if signer is not None:
        provider.signer = signing.SIGNERS[signer](environ)
        key = None
    fixed = row.headers if row is not None and row.dialect == provider.dialect else {}
    extra = [(k.encode(), v.encode()) for k, v in {**_FIXED.get(provider.dialect, {}), **fixed}.items()]
    extra += [(k.lower().encode(), reveal(v, environ).encode()) for k, v in values.headers.items()]
    shown = [key or "", *(reveal(value, environ) for value in values.headers.values() if value.startswith("env:"))]
    provider.secrets = tuple(secret for secret in shown if len(secret) >= SHORTEST_SECRET)
    pairs = (*(auth.headers(scheme, key) if key is not None else ()), *extra)
    provider.link = link(base_url, provider.dialect, client, pairs)
    if provider.continues == "prefix-beta" and row is not None and row.continues_base_url is not None:
        provider.continues_link = link(row.continues_base_url, provider.dialect, client, pairs)
    return provider


def _with_keys(
    name: str, values: settings.Provider, environ: Mapping[str, str], client: Client, found: str
) -> Provider | None:
    """The provider with the first of its keys, which knows itself with the others."""
    each = [msgspec.structs.replace(values, api_key=key, api_keys=[]) for key in values.api_keys]
    made = [configured(name, one, environ, client, found) for one in each]
    found_all = [provider for provider in made if provider is not None]
    if not found_all:
        return None
    found_all[0].with_other_keys = tuple(found_all[1:])
    return found_all[0]


def _continuing(provider: Provider, values: settings.Provider, row: catalogue.Provider | None) -> None:
    """What is known of how it goes on with a started answer: the configuration's word, else its row's."""
    if provider.dialect == surface.COHERE:
        return  # its conversations must end with somebody else's turn
    if values.continues is not None:
        provider.continues = None if values.continues == "no" else values.continues
    elif row is not None and row.dialect == provider.dialect:
        provider.continues, provider.continues_models = row.continues, row.continues_models


def link(base_url: str, dialect: str, client: Client, headers: Iterable[tuple[bytes, bytes]]) -> Link:
    """The connections to `base_url`, and the start of every request that will go there."""
    address = split_url(base_url)
    path = address.path.encode()
    pairs = (
        (b"host", address.authority.encode()),
        (b"user-agent", b"understudy/" + __version__.encode()),
        (b"accept-encoding", b"identity"),
        *headers,
    )
    lines = b"".join(b"%b: %b\r\n" % pair for pair in pairs)
    made = Link(base_url, client.origin(base_url), path, lines, b"", dialect, f"{address.scheme}://{address.authority}")
    if surface.names_model(dialect):
        return made
    return msgspec.structs.replace(made, head=made.start("", stream=False))


def _credential(
    row: catalogue.Provider | None, values: settings.Provider, environ: Mapping[str, str]
) -> tuple[str | None, str]:
    """The key, and a label that stands for it wherever people or tables see it."""
    if values.api_key is not None:
        key = reveal(values.api_key, environ)
        label = values.api_key if values.api_key.startswith("env:") else hashlib.sha256(key.encode()).hexdigest()[:8]
        return key, label
    found = catalogue.find_key(row, environ) if row else None
    return (found[1], f"env:{found[0]}") if found else (None, "")


def _near(model: str, names: Sequence[str]) -> list[str]:
    """Up to three names that `model` may have been meant to be. A model's bare name counts as much as its full one."""
    short = {name.rpartition("/")[2]: name for name in reversed(names)}
    close = difflib.get_close_matches(model[:200], [*names, *short], 3, 0.6)
    return list(dict.fromkeys(short.get(name, name) for name in close))


def _either(names: Sequence[str]) -> str:
    quoted = [repr(name) for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"
