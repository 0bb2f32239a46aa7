"""What may stand in `understudy.toml`, section by section. Every setting has a default.

docs/reference/configuration.md is generated from these structs; `config.py` reads and checks the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from understudy.ledger.consent import Store
from understudy.ledger.cost import OwnPrices
from understudy.ledger.settings import DEFAULT_NATIONAL, National, Recogniser
from understudy.providers.catalogue import Continuation
from understudy.resilience import Order

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
    admin_keys: Annotated[
        list[str],
        Meta(
            description="Keys for `/admin`, each `env:NAME` or the key itself. Needed there as soon as `keys` are set; "
            "they open nothing else."
        ),
    ] = []
    key_store: Annotated[
        str,
        Meta(
            description="Virtual keys, as `understudy keys` makes them, with owners, routes, limits and budgets: a "
            "file's path, or for several replicas a `postgresql://` URL (or `env:NAME`). Clients may use these beside "
            "`keys`. Empty: none."
        ),
    ] = ""
    cors_origins: Annotated[
        list[str], Meta(description="Web origins whose pages may call the gateway; `*` for any. Empty: none.")
    ] = []
    max_body: Annotated[int, Meta(ge=1024, description="Largest request body, in bytes.")] = 32 * 1024 * 1024
    max_headers: Annotated[int, Meta(ge=1024, le=65536, description="Largest request head, in bytes.")] = 32 * 1024
    max_open: Annotated[
        int, Meta(ge=1, description="Calls that may be under way at once; a further one is answered 503.")
    ] = 4096
    log_exchanges: Annotated[
        bool, Meta(description="true: `serve` prints a line of JSON for each exchange that is over, without its words.")
    ] = False
    stored_responses: Annotated[
        str,
        Meta(
            description="Where responses of the Responses API are kept, so that `previous_response_id` works whichever "
            "provider answers: `memory` (until the gateway stops), a file's path, or `off`. Not with `store: false`."
        ),
    ] = "memory"
    redis: Annotated[
        str | None,
        Meta(
            description="Redis through which replicas share what they find: `env:NAME` or `redis://host:6379/0`, "
            "`rediss://` for TLS. Needs the extra `redis`. See [Several replicas](../guides/replicas.md)."
        ),
    ] = None
    redis_prefix: Annotated[
        str,
        Meta(
            pattern="^[A-Za-z0-9_.:-]{1,64}$",
            description="What the names of its keys and its channel begin with. One for each installation "
            "that uses the same Redis.",
        ),
    ] = "understudy"
    redis_patience: Annotated[
        float,
        Meta(gt=0, le=10, description="Seconds that a call of a key with limits or budgets waits for Redis at most."),
    ] = 0.1
    redis_gone: Annotated[
        Literal["open", "closed"],
        Meta(
            description="What holds for limits of keys while Redis does not answer. `open`: each replica goes by its "
            "own counts. `closed`: calls of keys with limits or budgets are refused (503, `limits_unavailable`)."
        ),
    ] = "open"
    linger: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="Seconds for which calls are still taken after SIGTERM, while `/readyz` answers 503: as long "
            "as a load balancer needs to notice. Then `drain` begins. See [Deploying](../guides/deploy.md).",
        ),
    ] = 0.0
    drain: Annotated[
        Seconds, Meta(description="Seconds that running streams get to finish when the gateway is told to stop.")
    ] = 30.0


class Ledger(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    url: Annotated[
        str,
        Meta(
            description="Where `serve` keeps the ledger: a file's path, a `postgresql://` URL (or `env:NAME`), or "
            "`off`. Empty: `ledger.sqlite` in the user's data folder."
        ),
    ] = ""
    sample: Annotated[
        float, Meta(ge=0, le=1, description="Share of the exchanges whose bodies are kept, where bodies are.")
    ] = 1.0
    largest_body: Annotated[int, Meta(ge=1024, description="Bytes of a body that are kept.")] = 256 * 1024
    bodies_days: Annotated[float, Meta(gt=0, le=36500, description="Days for which bodies are kept.")] = 30.0
    bodies_bytes: Annotated[int, Meta(ge=1, description="Bytes of packed bodies that are kept, the latest.")] = (
        10 * 1024**3
    )
    exchanges_days: Annotated[
        Annotated[float, Meta(gt=0, le=36500)] | None,
        Meta(description="Days for which exchanges are kept. Default: for ever."),
    ] = None
    end_users: Annotated[
        Literal["given", "hashed", "none"],
        Meta(
            description="What is kept of the name that an application gives its user: the name as `given`, `hashed` "
            "under `end_user_key`, or `none`."
        ),
    ] = "given"
    end_user_key: Annotated[
        str,
        Meta(description="The secret for `hashed`, 32 characters or more, or `env:NAME`. All replicas need the same."),
    ] = ""


class Cache(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    where: Annotated[
        str,
        Meta(
            description="Where answers are kept: a file's path, `memory` (until the gateway stops), or `redis`, that "
            "of `server.redis`, for all replicas together. Empty: `cache.sqlite` in the user's data folder."
        ),
    ] = ""
    max_bytes: Annotated[
        int,
        Meta(
            ge=4096,
            description="Bytes of packed answers that are kept in a file or in memory, the latest. A Redis has "
            "`maxmemory` for that.",
        ),
    ] = 256 * 1024 * 1024
    largest_body: Annotated[
        int,
        Meta(
            ge=1024, le=16 * 1024 * 1024, description="Bytes of a request or an answer above which a call is not kept."
        ),
    ] = 1024 * 1024
    patience: Annotated[
        float,
        Meta(ge=0.001, le=5, description="Seconds that a call waits for the cache; then it goes on without."),
    ] = 0.02


class Redaction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    on: Annotated[
        bool,
        Meta(description="false: what the ledger keeps is kept as it came, secrets and all. Nothing below counts."),
    ] = True
    find: Annotated[
        tuple[Recogniser, ...],
        Meta(
            description="What is taken out of bodies, feedback and providers' messages before anything is written. "
            "`secret`: keys, tokens, passwords; these also out of names that clients choose."
        ),
    ] = ("secret", "iban", "card", "email", "phone", "ip")
    national: Annotated[
        tuple[National, ...],
        Meta(
            description="National ids that are taken out. Not by default: `de-idnr`, `nl-bsn`, `pl-pesel`, which are "
            "bare digits, and one number in ten passes for one."
        ),
    ] = DEFAULT_NATIONAL
    patterns: Annotated[
        dict[str, str],
        Meta(
            description="Further patterns by name, as RE2 regular expressions; `[NAME:1]` takes the place of what they "
            "match. Need the extra `redaction`."
        ),
    ] = {}
    scanner: Annotated[
        bool,
        Meta(
            description="true: bodies and feedback are also searched by Kingfisher, which knows hundreds of kinds of "
            "secrets. Needs the extra `redaction` where bodies are kept. false: the built-in kinds alone."
        ),
    ] = True
    pseudonym_key: Annotated[
        str | None,
        Meta(
            description="`env:NAME` or a key of 32 characters or more (`openssl rand -hex 32`): pseudonyms take the "
            "place of what was found, and `understudy log --reveal` turns them back. Needs the extra `redaction`."
        ),
    ] = None


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
    api_keys: Annotated[
        list[str],
        Meta(
            description="Several keys of the same account or of several, instead of `api_key`. Each has limits and "
            "cooldowns of its own, and calls take turns."
        ),
    ] = []
    auth: Annotated[str | None, Meta(description="How the key is sent. Default: its row's, else `bearer`.")] = None
    headers: Annotated[dict[str, str], Meta(description="Further request headers; values may be `env:NAME`.")] = {}
    forward: Annotated[
        list[str], Meta(description="Names of client headers that are passed on, besides the dialect's own.")
    ] = []
    models: Annotated[
        list[str], Meta(description="Models it serves, so that a client can ask for them by bare name.")
    ] = []
    continues: Annotated[
        Continuation | Literal["no"] | None,
        Meta(
            description="How it takes an answer that it is to go on with: `prefill` (a last assistant turn, as it is), "
            "`prefix`, `partial` or `continue_final_message` (with that field), `no`. Default: its row's."
        ),
    ] = None
    cooldown: Annotated[bool, Meta(description="false: never skipped, whatever it answered (for test benches).")] = True
    prices: Annotated[
        OwnPrices | None,
        Meta(description="What its models cost, instead of the price list: see `[providers.NAME.prices]`."),
    ] = None
    model_prices: Annotated[
        dict[str, OwnPrices],
        Meta(
            description="The same for single models, which goes before `prices`: `[providers.NAME.model_prices.MODEL]`."
        ),
    ] = {}


class RouteSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `[defaults]` and every route share; None in a route means that the default holds."""

    connect_timeout: Annotated[Seconds | None, Meta(description="Seconds to connect, TLS included.")] = None
    first_token_timeout: Annotated[
        Seconds | None, Meta(description="Seconds from sending the call to the first content.")
    ] = None
    answer_timeout: Annotated[
        Seconds | None, Meta(description="Seconds from sending the call to an answer that is not streamed.")
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
    order: Annotated[
        Order | None,
        Meta(
            description="`listed`: in the order of `targets`. `weighted`: by chance, in proportion to `weights`. "
            "`least_loaded`: who answers soonest, as measured."
        ),
    ] = None
    affinity: Annotated[
        bool | None,
        Meta(
            description="true: with another order than `listed`, a conversation stays with one target while that is "
            "well, so that the provider's prompt cache is of use. It is known by `x-understudy-session`, else by how "
            "the request begins."
        ),
    ] = None
    hedge: Annotated[
        bool | None,
        Meta(
            description="true: when a target is later than 95 of 100 of its own answers, the next one is asked beside "
            "it, for at most one call in a hundred; who answers first, answers. Both may be billed."
        ),
    ] = None
    keep_alive: Annotated[
        Annotated[float, Meta(ge=0, le=3600)] | None,
        Meta(
            description="Seconds without anything after which a stream of server-sent events gets a comment, so that "
            "no proxy takes it for dead. The answer has then begun with status 200: errors come inside it. 0: never."
        ),
    ] = None
    store: Annotated[
        Store | None,
        Meta(
            description="What the ledger keeps of a call. `none`: nothing. `metadata`: who, when, how much, what "
            "failed. `bodies`: also what was asked and answered. A client can ask for less, by `x-understudy-store`."
        ),
    ] = None
    cache: Annotated[
        Literal["off", "deterministic", "always"] | None,
        Meta(
            description="Which answers are kept, to be given again to exactly the same call. `deterministic`: to calls "
            "with temperature 0 or a seed, and no tool that the provider runs. `always`: to all. "
            "See [Cache](../guides/cache.md)."
        ),
    ] = None
    cache_ttl: Annotated[
        Annotated[float, Meta(gt=0, le=366 * 86400)] | None, Meta(description="Seconds for which an answer is kept.")
    ] = None
    cache_shared: Annotated[
        bool | None,
        Meta(
            description="true: an answer that one key's call got is given to other keys as well. Else each key has its "
            "own answers."
        ),
    ] = None
    mid_stream: Annotated[
        Literal["error", "continue", "instruct"] | None,
        Meta(
            description="What happens when a stream breaks off behind its first words. `continue`: another attempt "
            "goes on where that is possible without a changed prompt. `instruct`: also by asking it to. "
            "`error`: the stream ends with an error."
        ),
    ] = None
    strict: Annotated[
        bool | None, Meta(description="true: a call that a target's dialect cannot carry whole does not go there.")
    ] = None
    other_vector_space: Annotated[
        bool | None,
        Meta(
            description="true: embeddings may come from another model than the first target's, though the vectors of "
            "two models cannot be compared. Else other models are left out of embeddings."
        ),
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
    weights: Annotated[
        list[Annotated[float, Meta(ge=0, le=1e6)]],
        Meta(description="Shares of the targets, as many as there are, for `order` = `weighted`. Default: equal."),
    ] = []


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    server: Server = Server()
    ledger: Ledger = Ledger()
    cache: Cache = Cache()
    redaction: Redaction = Redaction()
    providers: dict[str, Provider] = {}
    defaults: Defaults = Defaults()
    routes: dict[str, Route] = {}


BUILT_IN: Mapping[str, Any] = {
    "connect_timeout": 5.0,
    "first_token_timeout": 60.0,
    "answer_timeout": 300.0,
    "liveness_timeout": 60.0,
    "progress_timeout": 120.0,
    "deadline": 600.0,
    "retries": 1,
    "order": "listed",
    "affinity": False,
    "keep_alive": 0.0,
    "hedge": False,
    "store": "metadata",
    "cache": "off",
    "cache_ttl": 3600.0,
    "cache_shared": False,
    "mid_stream": "continue",
    "strict": False,
    "other_vector_space": False,
}
"""What holds where neither the route nor `[defaults]` says anything."""

THINKING: Mapping[str, Any] = {"first_token_timeout": 300.0, "answer_timeout": 600.0, "progress_timeout": 300.0}
"""Likewise, for models that may think for minutes before the first word (`thinks_long` in the catalogue)."""
