"""Citations and log-probabilities of an answer, both ways.

Google names sources in `groundingMetadata` (`groundingChunks`, and `groundingSupports` that tie stretches of a part to
them) and, for recitations, in `citationMetadata`. Stretches are counted in bytes of UTF-8; everywhere else characters
are counted. The metadata itself stays in `extra` for its own dialect, since it says more than citations do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from understudy.canon import Citation, TokenLogprob
from understudy.dialects.wire import restore


def _integer(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def characters(raw: bytes, offset: int) -> int:
    """How many characters the first `offset` bytes of `raw` are; a half character does not count."""
    return len(raw[:offset].decode("utf-8", "ignore"))


def decode_citations(candidate: dict[str, Any], texts: Sequence[str]) -> list[tuple[int, Citation]]:
    """The citations of a candidate, each with the place of its text among `texts`, where its offsets count."""
    raw = [text.encode("utf-8", "replace") for text in texts]
    out: list[tuple[int, Citation]] = []
    if not raw:
        return out
    grounding, recitation = candidate.get("groundingMetadata"), candidate.get("citationMetadata")
    if isinstance(grounding, dict):
        chunks, supports = grounding.get("groundingChunks"), grounding.get("groundingSupports")
        if isinstance(chunks, list) and isinstance(supports, list):
            for support in supports:
                out += _support(support, chunks, raw)
    if isinstance(recitation, dict):
        sources = recitation.get("citationSources", recitation.get("citations"))
        for source in sources if isinstance(sources, list) else ():
            if isinstance(source, dict) and isinstance(source.get("uri"), str):
                place, start, end = _locate(source, raw)
                title = source.get("title")
                cited = Citation("url", source["uri"], title if isinstance(title, str) else None, None, start, end)
                if (place, cited) not in out:
                    out.append((place, cited))
    return out


def _support(support: Any, chunks: list[Any], raw: list[bytes]) -> list[tuple[int, Citation]]:
    if not isinstance(support, dict) or not isinstance(support.get("segment"), dict):
        return []
    indices = support.get("groundingChunkIndices")
    place, start, end = _locate(support["segment"], raw)
    out = []
    for index in indices if isinstance(indices, list) else ():
        if _integer(index) is None or index >= len(chunks) or not isinstance(chunks[index], dict):
            continue
        for source in chunks[index].values():  # web, maps, image or retrievedContext: each with uri and title
            if isinstance(source, dict) and isinstance(source.get("uri"), str):
                title, quote = source.get("title"), source.get("text")
                words = [each if isinstance(each, str) else None for each in (title, quote)]
                out.append((place, Citation("url", source["uri"], words[0], words[1], start, end)))
    return out


def _locate(segment: dict[str, Any], raw: list[bytes]) -> tuple[int, int | None, int | None]:
    """The text that a segment stands in, and its start and end there in characters; None for a whole text.

    Offsets count from the start of a part. Streams cut one part into many, so a segment that goes past the end of its
    text is looked for in those that follow.
    """
    place = _integer(segment.get("partIndex")) or 0
    start, end = _integer(segment.get("startIndex")) or 0, _integer(segment.get("endIndex"))
    if place >= len(raw):
        place = len(raw) - 1
    while place + 1 < len(raw) and start >= len(raw[place]):
        start, end = start - len(raw[place]), None if end is None else end - len(raw[place])
        place += 1
    if end is None:
        return place, None, None
    return place, characters(raw[place], start), characters(raw[place], end)


def encode_citations(cited: Sequence[tuple[int, str, Citation]]) -> dict[str, Any]:
    """`groundingMetadata` for citations, each with the index of its part and that part's text."""
    chunks: list[dict[str, Any]] = []
    supports: list[dict[str, Any]] = []
    for place, text, citation in cited:
        source = {key: item for key, item in (("uri", citation.url), ("title", citation.title)) if item is not None}
        chunk = {"web": source}
        if chunk not in chunks:
            chunks.append(chunk)
        start, end = citation.start or 0, len(text) if citation.end is None else citation.end
        segment: dict[str, Any] = {"partIndex": place} if place else {}
        if start:
            segment["startIndex"] = len(text[:start].encode("utf-8", "replace"))
        segment["endIndex"] = len(text[:end].encode("utf-8", "replace"))
        segment["text"] = text[start:end]
        supports.append({"segment": segment, "groundingChunkIndices": [chunks.index(chunk)]})
    return {"groundingChunks": chunks, "groundingSupports": supports}


def decode_logprobs(value: Any) -> tuple[TokenLogprob, ...] | None:
    """The tokens of a `logprobsResult`, or None if it has another shape: then it is kept as it came."""
    if not isinstance(value, dict) or not isinstance(value.get("chosenCandidates"), list):
        return None
    chosen = [_token(item) for item in value["chosenCandidates"]]
    tops: list[Any] = [None] * len(chosen)
    if "topCandidates" in value:
        listed = value["topCandidates"]
        if not isinstance(listed, list) or len(listed) != len(chosen):
            return None
        for i, item in enumerate(listed):
            if not isinstance(item, dict) or item.keys() != {"candidates"} or not isinstance(item["candidates"], list):
                return None
            tops[i] = [_token(each) for each in item["candidates"]]
    out: list[TokenLogprob] = []
    for token, top in zip(chosen, tops, strict=True):
        if token is None or (top is not None and None in top):
            return None
        out.append(TokenLogprob(token.token, token.logprob, None, None if top is None else tuple(top), token.extra))
    return tuple(out) or None


def _token(item: Any) -> TokenLogprob | None:
    match item:
        case {"token": str(token), "logProbability": float() | int() as logprob, **more}:
            return TokenLogprob(token, logprob, extra={str(key): value for key, value in more.items()})
    return None


def encode_logprobs(tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
    out: dict[str, Any] = {"chosenCandidates": [_encode_token(token) for token in tokens]}
    if any(token.top is not None for token in tokens):
        out["topCandidates"] = [{"candidates": [_encode_token(top) for top in token.top or ()]} for token in tokens]
    return out


def _encode_token(token: TokenLogprob) -> dict[str, Any]:
    return restore({"token": token.token, "logProbability": token.logprob}, token.extra)
