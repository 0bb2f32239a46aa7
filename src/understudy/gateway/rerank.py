"""Reranking, at Cohere's two paths. Another model may stand in: its scores are others, but an order is an order."""

from __future__ import annotations

import msgspec

from understudy import clock
from understudy.dialects.wire import Malformed
from understudy.gateway import surface
from understudy.gateway.embed import OPENAI_LIKE
from understudy.gateway.operate import Answered, Operation, OperationCall, Sent, UnfitError, as_json, below, named_model
from understudy.gateway.record import Headers
from understudy.gateway.routing import Target
from understudy.operations import rerank
from understudy.operations.rerank import RerankRequest, Version


def _theirs(target: Target, client: Version) -> Version:
    """Cohere has both; who took the path over has the older."""
    return client if target.provider.dialect == surface.COHERE else rerank.V1


def _path(target: Target, version: Version) -> str:
    if target.provider.dialect != surface.COHERE:
        return below(target, "/rerank")
    return below(target, "/v1/rerank" if version == rerank.V1 else "/v2/rerank")


def operation(version: Version) -> Operation:
    """Reranking for clients that ask in `version`."""

    def request(call: OperationCall) -> RerankRequest:
        if "request" not in call.known:
            call.known["request"] = rerank.decode_request(call.body, version)
        found: RerankRequest = call.known["request"]
        return found

    def send(call: OperationCall, target: Target) -> Sent:
        asked, theirs = request(call), _theirs(target, version)
        path = _path(target, theirs)
        if theirs == version:
            return Sent(path=path, body=call.body_for(target))
        try:
            body, losses = rerank.encode_request(msgspec.structs.replace(asked, model=target.model), theirs)
        except Malformed as error:
            raise UnfitError(error.field, str(error)) from None
        return Sent(path=path, body=body, losses=losses)

    def answer(call: OperationCall, target: Target, headers: Headers, body: bytes) -> Answered:
        asked, theirs = request(call), _theirs(target, version)
        found = rerank.decode_answer(body, theirs)
        rerank.check(asked, found)
        if theirs == version:
            return Answered(headers=headers, body=body)
        found = msgspec.structs.replace(found, model=found.model or target.model, id=found.id or clock.token(12))
        return as_json(*rerank.encode_answer(found, asked, version))

    return Operation(
        name="reranking", dialect=surface.COHERE, offered=OPENAI_LIKE | {surface.COHERE}, uses="prompt",
        model=named_model, send=send, answer=answer,
    )  # fmt: skip


V1 = operation(rerank.V1)
V2 = operation(rerank.V2)
