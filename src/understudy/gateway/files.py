"""Files and batches: passed through to the one provider that holds them, in OpenAI's form or Anthropic's.

Nothing is stored here. An id that a client sees says who holds what it names (`operations/ids.py`), so any instance of
the gateway can serve it. Only what has no id yet, an upload or a list, must be told where to go: by the header
`x-understudy-provider`, by a field `understudy_provider`, or by there being one provider that speaks the client's
dialect. There is no fail-over, for nobody else has the file. Sources: OpenAI's and Anthropic's own SDKs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NoReturn
from urllib.parse import parse_qsl, quote, urlencode

import msgspec

from understudy.dialects.wire import Malformed, dump, parse
from understudy.gateway import media, surface
from understudy.gateway.client import Client
from understudy.gateway.operate import (
    JSON,
    Answered,
    NotOfferedError,
    Operation,
    OperationCall,
    Sent,
    below,
)
from understudy.gateway.record import Exchange, Failure, Headers
from understudy.gateway.routing import NoRouteError, Provider, Route, Routing, Target
from understudy.operations import ids, multipart
from understudy.upstream import Response

HEADER = b"x-understudy-provider"
FIELD = "understudy_provider"
"""How a request says where it is to go, if its ids do not: a header, or a field of the form, the JSON or the query."""

_CURSORS = ("after", "after_id", "before_id")
"""Fields of a list's query that hold ids."""

_OURS = ("key", FIELD)
"""Fields of a query that are for us alone."""

_ANTHROPIC = frozenset({surface.ANTHROPIC})


class NotHeldError(NoRouteError):
    """The provider that an id names is not here."""

    code, param = "not_found", "id"

    def __init__(self, provider: str, field: str) -> None:
        super().__init__(provider, ())
        self.args = (f"`{field}` is held by provider {provider[:100]!r}, which is not configured here.",)


# -- which provider ----------------------------------------------------------------------------------------------------


def _route(call: OperationCall, routing: Routing, *, again: bool) -> Route:
    """The way to the provider that holds, or is to hold, what the call is about. Raises Malformed, NoRouteError.

    `again`: the request may be tried a second time. Else there could be two files in the end.
    """
    provider = _provider(call, routing)
    call.known["models"] = [
        (position, _own_name(model, provider, routing, position)) for position, model in _models(call)
    ]
    route = routing.only(provider, call.operation.name)
    return route if again else msgspec.structs.replace(route, retries=0)


def _provider(call: OperationCall, routing: Routing) -> Provider:
    able = {name: it for name, it in routing.providers.items() if it.dialect in call.operation.offered and it.link}
    # Two APIs of one account hold the same: ids name the account.
    holders = {name: it for name, it in able.items() if it.account == name or it.account not in able}
    named = {field: ids.unwrap(shown, field)[0] for field, shown in _shown(call)}
    said = _said(call)
    if said is not None:
        named[FIELD] = said
    if len(set(named.values())) > 1:
        places = ", ".join(f"{field} {name[:100]!r}" for field, name in named.items())
        raise Malformed(FIELD, f"must be one: this request names {places}")
    for field, name in named.items():
        if name in able:
            return holders.get(name) or able[able[name].account]
        if name in routing.providers:
            other = routing.providers[name].dialect
            raise Malformed(field, f"names provider {name}, which speaks {other}: ask for it with that dialect's SDK")
        if field != FIELD:
            raise NotHeldError(name, field)
    if named:
        raise Malformed(FIELD, f"names none of this gateway's providers; use one of {', '.join(holders) or 'none'}")
    if len(holders) == 1:
        return next(iter(holders.values()))
    if not holders:
        spoken = ", ".join(sorted(call.operation.offered))
        raise NotOfferedError(f"No provider here holds {call.operation.name}: add one that speaks one of {spoken}.")
    return _by_models(call, holders, routing)


def _by_models(call: OperationCall, able: Mapping[str, Provider], routing: Routing) -> Provider:
    """A batch that has its requests in it goes where the first one's model is."""
    for _, model in _models(call)[:1]:
        try:
            targets = routing.find(model).targets
        except NoRouteError:
            break
        for target in targets:
            if target.provider.name in able:
                return target.provider
    choices = ", ".join(able)
    raise Malformed(
        FIELD,
        f"is needed, for several providers could take this: name one of {choices}, as this field or in the header "
        f"{HEADER.decode()}",
    )


def _said(call: OperationCall) -> str | None:
    """The provider that a request names outright. The header, which every SDK can send, wins."""
    header = call.headers.get(HEADER)
    if header is not None:
        return header.decode("latin-1").strip()
    if media.is_form(call) and call.body:
        field = _field(call)
        if field is not None:
            return field.value
    said = _members(call).get(FIELD, dict(_query(call)).get(FIELD))
    if said is not None and not isinstance(said, str):
        raise Malformed(FIELD, "must be a string")
    return said


def _field(call: OperationCall) -> multipart.Field | None:
    """Our field of a form. Raises Malformed, also where the form is not whole."""
    if "field" not in call.known:
        call.known["field"] = multipart.fields(call.body, call.media.decode("latin-1"), (FIELD,)).get(FIELD)
    found: multipart.Field | None = call.known["field"]
    return found


def _shown(call: OperationCall) -> list[tuple[str, str]]:
    """The ids in a request that say who holds what it is about, with where each stands."""
    found = [("id", call.named["id"])] if "id" in call.named else []
    found += [(name, value) for name, value in _query(call) if name in _CURSORS]
    named = _members(call).get("input_file_id")
    if isinstance(named, str):
        found.append(("input_file_id", named))
    return found


def _query(call: OperationCall) -> list[tuple[str, str]]:
    return parse_qsl(call.query, keep_blank_values=True)


def _members(call: OperationCall) -> dict[str, Any]:
    """The JSON object in the body, empty where there is none. Raises Malformed."""
    if not call.body or media.is_form(call):
        return {}
    if "members" not in call.known:
        value = parse(call.body)
        if not isinstance(value, dict):
            raise Malformed("body", "must be a JSON object")
        call.known["members"] = value
    members: dict[str, Any] = call.known["members"]
    return members


def _models(call: OperationCall) -> list[tuple[int, str]]:
    """The models that the requests of a batch name, with their positions."""
    requests = _members(call).get("requests")
    found = []
    for position, one in enumerate(requests if isinstance(requests, list) else ()):
        params = one.get("params") if isinstance(one, dict) else None
        if isinstance(params, dict) and isinstance(params.get("model"), str):
            found.append((position, params["model"]))
    return found


def _own_name(model: str, provider: Provider, routing: Routing, position: int) -> str:
    """What the provider calls a model of a batch. Raises Malformed."""
    try:
        route = routing.find(model)
    except NoRouteError:
        return model  # it may know more than it lists, and will say if not
    for target in route.targets:
        if target.provider is provider:
            return target.model
    where = f"requests[{position}].params.model"
    raise Malformed(where, f"names {model[:200]!r}, which {provider.name} does not serve; a batch goes to one provider")


# -- there and back ----------------------------------------------------------------------------------------------------


def _send(call: OperationCall, target: Target, *, path: str, method: str, takes_body: bool) -> Sent:
    """The request as the provider takes it, its ids the provider's own. Raises Malformed."""
    name = target.provider.name
    if "id" in call.named:
        path = path.replace("{id}", ids.segment(ids.unwrap(call.named["id"])[1]))
    query = [(key, ids.own((name,), value, key) if key in _CURSORS else value) for key, value in _query(call)]
    asked = urlencode([pair for pair in query if pair[0] not in _OURS], quote_via=quote)
    whole = below(target, f"{path}?{asked}" if asked else path)
    if not takes_body:
        return Sent(path=whole, method=method)
    return Sent(path=whole, method=method, body=_body(call, target), media=call.media)


def _body(call: OperationCall, target: Target) -> bytes:
    if media.is_form(call):
        field = _field(call)
        return call.body if field is None else multipart.without(call.body, field)
    members = {key: value for key, value in _members(call).items() if key != FIELD}
    for position, model in call.known["models"]:
        members["requests"][position]["params"]["model"] = model
    name = target.provider.name
    return dump(ids.known_to((name, target.provider.account), ids.unwrap_fields(members, name)))


def _answer(call: OperationCall, target: Target, headers: Headers, body: bytes) -> Answered:
    """The provider's answer with its ids as clients see them. Raises Malformed."""
    value = parse(body)
    if not isinstance(value, dict):
        raise Malformed("body", "is no JSON object")
    shown = ids.wrap_fields(value, target.provider.name)
    listed = shown.get("data")
    for entry in (shown, *(listed if isinstance(listed, list) else ())):
        if call.door.dialect == surface.ANTHROPIC and isinstance(entry, dict) and entry.get("results_url"):
            # The provider's own address would lead clients past us, with our key. SDKs put their base URL in front.
            entry["results_url"] = f"{_BATCHES}/{entry.get('id')}/results"
    kept = [pair for pair in headers if pair[0] != b"content-type"]
    return Answered(headers=[(b"content-type", JSON), *kept], body=dump(shown))


async def _content(
    response: Response, headers: Headers, _target: Target, exchange: Exchange, client: Client
) -> Failure | None:
    """A file's bytes, as they come. Raises TransportError."""
    await media.flow(await response.read(), response, headers, exchange, client)
    return None


# -- the operations ----------------------------------------------------------------------------------------------------


_NO_BODY = (JSON, media.FORM, b"application/x-www-form-urlencoded", b"application/octet-stream")
"""Content types that clients send with nothing."""


def _named(call: OperationCall) -> str:
    return call.operation.name


def _operation(
    name: str, dialect: str, method: str, path: str, takes: bytes | None = None, *, flows: bool = False
) -> Operation:
    return Operation(
        name=name,
        dialect=dialect,
        offered=_ANTHROPIC if dialect == surface.ANTHROPIC else media.OPENAI,
        model=_named,
        route=partial(_route, again=method == "GET"),
        send=partial(_send, path=path, method=method, takes_body=takes is not None),
        answer=_answer,
        passing=_content if flows else None,
        uses="unknown" if takes == JSON else "nothing",  # a new batch will cost something, nobody knows what
        media=_NO_BODY if takes is None else (takes,),
    )


_anthropic = partial(_operation, "batches", surface.ANTHROPIC)
_BATCHES = "/v1/messages/batches"


def _unserved(dialect: str, why: str) -> Operation:
    def refuse(_call: OperationCall, _routing: Routing) -> NoReturn:
        raise NotOfferedError(why)

    operation = _operation("files", dialect, "", "")
    return msgspec.structs.replace(operation, route=refuse)


_GEMINI = _unserved(
    surface.GEMINI,
    "Gemini's files and batches are not passed on. Send what a file holds in the request itself (`inlineData`), or use "
    "OpenAI's or Anthropic's files and batches, which are.",
)
_GOOGLE = ((b"x-goog-api-key", _GEMINI), (b"x-goog-api-client", _GEMINI))
"""Google's clients ask at the same paths, for what is not served."""

_UPLOADS = _unserved(surface.CHAT, "Uploads in parts are not passed on. Send the file whole to `POST /v1/files`.")


def _both(method: str, path: str, takes: bytes | None = None, *, flows: bool = False) -> Operation:
    """OpenAI's operation on files, and Anthropic's at the same path; Google's clients ask there as well."""
    other = _operation("files", surface.ANTHROPIC, method, f"/v1{path}", takes, flows=flows)
    ours = _operation("files", surface.CHAT, method, path, takes, flows=flows)
    return msgspec.structs.replace(ours, others=((b"anthropic-version", other), *_GOOGLE))


def _openai(method: str, path: str, takes: bytes | None = None) -> Operation:
    """OpenAI's operation on batches."""
    return msgspec.structs.replace(_operation("batches", surface.CHAT, method, path, takes), others=_GOOGLE)


PATHS: Mapping[str, Mapping[str, Operation]] = {
    "/v1/files": {"GET": _both("GET", "/files"), "POST": _both("POST", "/files", media.FORM)},
    "/v1/batches": {"GET": _openai("GET", "/batches"), "POST": _openai("POST", "/batches", JSON)},
    _BATCHES: {"GET": _anthropic("GET", _BATCHES), "POST": _anthropic("POST", _BATCHES, JSON)},
    "/v1/uploads": {"POST": _UPLOADS},
}
_PATTERNS: Sequence[tuple[str, Mapping[str, Operation]]] = (
    ("/v1/files/{id}", {"GET": _both("GET", "/files/{id}"), "DELETE": _both("DELETE", "/files/{id}")}),
    ("/v1/files/{id}/content", {"GET": _both("GET", "/files/{id}/content", flows=True)}),
    ("/v1/batches/{id}", {"GET": _openai("GET", "/batches/{id}")}),
    ("/v1/batches/{id}/cancel", {"POST": _openai("POST", "/batches/{id}/cancel")}),
    (
        _BATCHES + "/{id}",
        {"GET": _anthropic("GET", _BATCHES + "/{id}"), "DELETE": _anthropic("DELETE", _BATCHES + "/{id}")},
    ),
    (_BATCHES + "/{id}/cancel", {"POST": _anthropic("POST", _BATCHES + "/{id}/cancel")}),
    (_BATCHES + "/{id}/results", {"GET": _anthropic("GET", _BATCHES + "/{id}/results", flows=True)}),
    ("/upload/v1(?:beta|alpha)?/files", {"POST": _GEMINI}),
    ("/v1(?:beta|alpha)/(?:files|batches)(?:/.+)?", dict.fromkeys(("GET", "POST", "DELETE"), _GEMINI)),
    ("/v1(?:beta|alpha)?/models/[^/]+:(?:batchGenerateContent|asyncBatchEmbedContent)", {"POST": _GEMINI}),
)
PATTERNS: Sequence[tuple[re.Pattern[str], Mapping[str, Operation]]] = [
    (re.compile(path.replace("{id}", "(?P<id>[^/]+)")), methods) for path, methods in _PATTERNS
]
