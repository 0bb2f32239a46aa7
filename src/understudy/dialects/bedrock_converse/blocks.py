"""Content blocks, both ways, for requests, answers and streams. `ContentBlock` of the service model.

A block is an object with one field, which says its kind. What the canon has no part for stays `Unknown` and whole:
videos, changes of the tool set. A cache point is a block of its own here; behind another block it becomes that part's
`cache`. Text under guard and search results are plain texts to every other dialect.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

import msgspec

from understudy.canon import (
    Audio,
    CacheHint,
    Citation,
    File,
    Image,
    Inline,
    Part,
    Reasoning,
    Source,
    Stored,
    Text,
    ToolCall,
    ToolResult,
    Unknown,
)
from understudy.dialects.anthropic_messages.carried import unseal
from understudy.dialects.wire import (
    BLANKS,
    DICT,
    FORM,
    LIST,
    STR,
    Malformed,
    dump,
    expect,
    keep,
    parse,
    restore,
    split,
    take,
)

NAME = "bedrock-converse"

DOCUMENTS = {
    "pdf": "application/pdf",
    "csv": "text/csv",
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xls": "application/vnd.ms-excel",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "html": "text/html",
    "txt": "text/plain",
    "md": "text/markdown",
}
IMAGES = ("png", "jpeg", "gif", "webp")
_TTLS = {"5m": 300, "1h": 3600}
_FIVE_MINUTES = 300
_POINT = "cachePoint"


# --- cache points ----------------------------------------------------------------------------------------------------


def cache_point(cache: CacheHint) -> dict[str, Any]:
    ttl = {} if cache.ttl is None else {"ttl": "5m" if cache.ttl <= _FIVE_MINUTES else "1h"}
    return {_POINT: {"type": "default", **ttl}}


def read_cache_point(value: Any) -> CacheHint | None:
    """The cache hint that a block is; None if it is none, or one that would not come back as it was."""
    point = value.get(_POINT) if isinstance(value, dict) else None
    if not isinstance(point, dict):
        return None
    ttl = point.get("ttl")
    cache = CacheHint(_TTLS.get(ttl) if isinstance(ttl, str) else None)
    return cache if cache_point(cache) == value else None


# --- sources ---------------------------------------------------------------------------------------------------------


def _required(inner: dict[str, Any], key: str, path: str) -> str:
    value: str = expect(inner.pop(key, None), STR, f"{path}.{key}")
    return value


def _source(rest: dict[str, Any], media: str | None, path: str) -> tuple[Source, Any] | None:
    """The source of a picture, a sound or a document, and the form it came in; None for a kind that is not known.

    What lies in S3 is held by AWS: no other provider can fetch it.
    """
    wire = expect(rest.pop("source", None), DICT, path + ".source")
    match wire:
        case {"bytes": str(data)} if len(wire) == 1:
            return Inline(data, media), None
        case {"s3Location": {"uri": str(uri)} as place} if len(wire) == 1:
            return Stored(uri), ({"source": wire} if len(place) > 1 else None)
        case {"text": str(words)} if len(wire) == 1:
            return _plain(words), "text"
        case {"content": [*blocks]} if len(wire) == 1:
            pieces = [block.get("text") for block in blocks if isinstance(block, dict)]
            said = [text for text in pieces if isinstance(text, str)]
            return (_plain("\n\n".join(said)), {"source": wire}) if len(said) == len(blocks) else None
    return None


def _plain(words: str) -> Inline:
    return Inline(base64.b64encode(words.encode("utf-8", "surrogatepass")).decode(), "text/plain")


def encode_source(source: Source, form: Any) -> dict[str, Any] | None:
    if isinstance(form, dict):
        whole: dict[str, Any] = form["source"]
        return whole
    if isinstance(source, Stored):
        return {"s3Location": {"uri": source.id}}
    if not isinstance(source, Inline):
        return None
    if form == "text":
        try:
            return {"text": base64.b64decode(source.data, validate=True).decode("utf-8", "surrogatepass")}
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return None
    return {"bytes": source.data}


# --- citations -------------------------------------------------------------------------------------------------------


def decode_citation(value: dict[str, Any]) -> Citation:
    """One citation; its wire form is kept beside, for places in documents are of many kinds."""
    location = value.get("location")
    kind = next(iter(location), "source") if isinstance(location, dict) else "source"
    web = location.get("web") if isinstance(location, dict) else None
    url = web.get("url") if isinstance(web, dict) else None
    source, title = value.get("source"), value.get("title")
    if url is None and isinstance(source, str) and source.startswith(("http://", "https://")):
        url = source
    pieces = value.get("sourceContent")
    said = [piece.get("text") for piece in pieces if isinstance(piece, dict)] if isinstance(pieces, list) else []
    quote = "".join(text for text in said if isinstance(text, str)) or None
    words = [text if isinstance(text, str) and text else None for text in (url, title)]
    return Citation("url" if kind == "web" else str(kind), words[0], words[1], quote, extra={FORM: value})


def encode_citation(citation: Citation, *, own: bool) -> dict[str, Any]:
    form = citation.extra.get(FORM)
    if own and isinstance(form, dict):
        return form
    out: dict[str, Any] = {}
    if citation.title is not None:
        out["title"] = citation.title
    if citation.quote is not None:
        out["sourceContent"] = [{"text": citation.quote}]
    if citation.url is not None:
        out["location"] = {"web": {"url": citation.url}}
    return out


# --- blocks, decoding ------------------------------------------------------------------------------------------------


def _text(value: Any, path: str) -> Part:
    return Text(expect(value, STR, path))


def _cited(value: Any, path: str) -> Part:
    inner = dict(expect(value, DICT, path))
    content, citations = take(inner, "content", LIST, path + ".") or [], take(inner, "citations", LIST, path + ".")
    words = [piece.get("text") if isinstance(piece, dict) and len(piece) == 1 else None for piece in content]
    said = [text for text in words if isinstance(text, str)]
    if inner or len(said) != len(words) or not all(isinstance(item, dict) for item in citations or ()):
        return Unknown("citationsContent", value)
    found = tuple(decode_citation(item) for item in citations or ())
    plain = len(said) == 1 and bool(found)
    return Text("".join(said), found, extra={} if plain else {FORM: {"block": {"citationsContent": value}}})


def _guard(value: Any, path: str) -> Part:
    match expect(value, DICT, path):
        case {"text": {"text": str(text)}}:
            return Text(text, extra={"guardContent": True, FORM: {"block": {"guardContent": value}}})
    return Unknown("guardContent", value)


def _search_result(value: Any, path: str) -> Part:
    inner = expect(value, DICT, path)
    content = inner.get("content")
    words = [piece.get("text") for piece in content if isinstance(piece, dict)] if isinstance(content, list) else []
    said = [text for text in (inner.get("title"), inner.get("source"), "", *words) if isinstance(text, str)]
    return Text("\n".join(said), extra={FORM: {"block": {"searchResult": value}}})


def _image(value: Any, path: str) -> Part:
    rest, blank = split(expect(value, DICT, path))
    kind = take(rest, "format", STR, path + ".")
    found = _source(rest, None if kind is None else "image/" + kind, path)
    if found is None or found[1] == "text":
        return Unknown("image", value)
    return Image(found[0], extra=keep(rest, blank, _form(found[1], kind, found[0])))


def _audio(value: Any, path: str) -> Part:
    rest, blank = split(expect(value, DICT, path))
    kind = take(rest, "format", STR, path + ".")
    found = _source(rest, None if kind is None else "audio/" + kind, path)
    if found is None or found[1] is not None:
        return Unknown("audio", value)
    return Audio(found[0], kind, extra=keep(rest, blank))


def _form(form: Any, kind: str | None, source: Source) -> Any:
    """How the source came, and the format where no media type can say it."""
    if isinstance(source, Stored) and kind is not None:
        return {**(form or {}), "format": kind}
    return form


def _document(value: Any, path: str) -> Part:
    rest, blank = split(expect(value, DICT, path))
    kind = take(rest, "format", STR, path + ".")
    found = _source(rest, None if kind is None else DOCUMENTS.get(kind, "application/" + kind), path)
    if found is None:
        return Unknown("document", value)
    citations = rest.get("citations") == {"enabled": True}
    if citations or rest.get("citations") == {"enabled": False}:
        wanted = rest.pop("citations")
        if not citations:
            blank["citations"] = wanted
    form = found[1]
    if form is not None and kind is not None:
        blank["format"] = kind
    return File(
        found[0],
        title=take(rest, "name", STR, path + "."),
        context=take(rest, "context", STR, path + "."),
        citations=citations,
        extra=keep(rest, blank, _form(form, kind, found[0]) if form != "text" else form),
    )


def _tool_use(value: Any, path: str) -> Part:
    inner = dict(expect(value, DICT, path))
    if "input" not in inner:
        raise Malformed(path + ".input", "is required")
    arguments = dump(inner.pop("input")).decode()
    call_id, name = _required(inner, "toolUseId", path), _required(inner, "name", path)
    hosted = inner.get("type") == "server_tool_use"
    if hosted:
        del inner["type"]
    return ToolCall(call_id, name, arguments, "hosted" if hosted else "function", extra=keep(*split(inner)))


def _tool_result(value: Any, path: str) -> Part:
    rest, blank = split(expect(value, DICT, path))
    content = rest.pop("content", None)
    parts: tuple[Part, ...] = ()
    if content is not None:
        blocks = expect(content, LIST, path + ".content")
        parts = tuple(_inner(block, f"{path}.content[{i}]") for i, block in enumerate(blocks))
    status = take(rest, "status", STR, path + ".")
    if status == "success":
        blank["status"] = status
    elif status not in (None, "error"):
        rest["status"] = status
    return ToolResult(_required(rest, "toolUseId", path), parts, failed=status == "error", extra=keep(rest, blank))


def _inner(value: Any, path: str) -> Part:
    """A block inside a result. Results do not nest, so that nothing here recurses on what a client sends."""
    block = expect(value, DICT, path)
    if len(block) == 1 and "json" in block:
        return Text(dump(block["json"]).decode(), extra={FORM: {"block": block}})
    return Unknown("toolResult", value) if "toolResult" in block else decode_block(value, path)


def _reasoning(value: Any, path: str, origin: str = "") -> Part:
    match expect(value, DICT, path):
        case {"reasoningText": {"text": str(text)} as inner}:
            signature = inner.get("signature")
            if signature is not None and not isinstance(signature, str):
                raise Malformed(path + ".reasoningText.signature", "must be a string")
            carried = unseal(text, signature) if signature else None
            if carried is not None:
                return carried
            rest, blank = split({key: item for key, item in inner.items() if key != "text"})
            rest.pop("signature", None)
            return Reasoning(text, signature=signature or None, origin=origin, extra=keep(rest, blank))
        case {"redactedContent": str(sealed)}:
            return Reasoning(sealed=sealed, origin=origin)
    return Unknown("reasoningContent", value)


_DECODERS: dict[str, Callable[[Any, str], Part]] = {
    "text": _text,
    "citationsContent": _cited,
    "guardContent": _guard,
    "searchResult": _search_result,
    "image": _image,
    "audio": _audio,
    "document": _document,
    "toolUse": _tool_use,
    "toolResult": _tool_result,
    "reasoningContent": _reasoning,
}


def decode_block(value: Any, path: str, origin: str = "") -> Part:
    """A content block. `origin` is who signed its reasoning. Raises `Malformed`, naming the path."""
    block: dict[str, Any] = expect(value, DICT, path)
    kind = next((key for key in block if key in _DECODERS), None)
    if kind is None:
        return Unknown(next(iter(block), ""), block)
    part = _DECODERS[kind](block[kind], f"{path}.{kind}")
    others = {key: item for key, item in block.items() if key != kind}
    if isinstance(part, Unknown):
        return Unknown(part.kind, block)
    if isinstance(part, Reasoning) and not part.origin:
        part = msgspec.structs.replace(part, origin=origin)
    if not others:
        return part
    blank = {**part.extra.get(BLANKS, {}), "~beside": others}
    return msgspec.structs.replace(part, extra={**part.extra, BLANKS: blank})


def decode_blocks(value: Any, path: str, origin: str = "") -> tuple[Part, ...]:
    out: list[Part] = []
    for i, block in enumerate(expect(value, LIST, path)):
        cache = read_cache_point(block)
        last = out[-1] if out else None
        if cache is not None and isinstance(last, Text | Image | File | ToolCall | ToolResult) and last.cache is None:
            out[-1] = msgspec.structs.replace(last, cache=cache)
        else:
            out.append(decode_block(block, f"{path}[{i}]", origin))
    return tuple(out)


# --- blocks, encoding ------------------------------------------------------------------------------------------------


def encode_own(parts: tuple[Part, ...]) -> list[dict[str, Any]]:
    """Parts of this dialect's own as content blocks, as they came; what has no form is left out."""
    out = []
    for part in parts:
        block = _encode(part)
        if block is None:
            continue
        beside = part.extra.get(BLANKS, {}).get("~beside") if not isinstance(part, Unknown) else None
        out.append({**block, **beside} if isinstance(beside, dict) else block)
        cache = getattr(part, "cache", None)
        if cache is not None:
            out.append(cache_point(cache))
    return out


def _encode(part: Part) -> dict[str, Any] | None:
    if isinstance(part, Unknown):
        return part.body if isinstance(part.body, dict) else None
    form = part.extra.get(FORM)
    if isinstance(part, Text):
        return form["block"] if isinstance(form, dict) else text_block(part, own=True)
    if isinstance(part, Reasoning):
        return reasoning_block(part)
    if isinstance(part, ToolCall):
        return {"toolUse": _restored(call_fields(part), part)}
    if isinstance(part, ToolResult):
        fields: dict[str, Any] = {"toolUseId": part.call_id, "content": encode_own(part.parts)}
        if part.failed:
            fields["status"] = "error"
        return {"toolResult": _restored(fields, part)}
    if isinstance(part, File):
        return _encode_file(part)
    if isinstance(part, Image | Audio) and part.source is not None:
        return _encode_media(part, part.source)
    return None


def _restored(fields: dict[str, Any], part: Part) -> dict[str, Any]:
    restored = restore(fields, part.extra) if not isinstance(part, Unknown) else fields
    restored.pop("~beside", None)
    return restored


def text_block(part: Text, *, own: bool) -> dict[str, Any]:
    if not part.citations:
        return {"text": part.text}
    citations = [encode_citation(citation, own=own) for citation in part.citations]
    return {"citationsContent": {"content": [{"text": part.text}], "citations": citations}}


def reasoning_block(part: Reasoning) -> dict[str, Any]:
    if part.sealed is not None:
        return {"reasoningContent": {"redactedContent": part.sealed}}
    fields: dict[str, Any] = {"text": part.text}
    if part.signature is not None:
        fields["signature"] = part.signature
    return {"reasoningContent": {"reasoningText": _restored(fields, part)}}


def call_fields(part: ToolCall) -> dict[str, Any]:
    try:
        given = parse(part.arguments.encode("utf-8", "surrogatepass")) if part.arguments.strip() else {}
    except Malformed:
        given = part.arguments
    out = {"toolUseId": part.id, "name": part.name, "input": given}
    return {**out, "type": "server_tool_use"} if part.kind == "hosted" else out


def _encode_file(part: File) -> dict[str, Any] | None:
    form = part.extra.get(FORM)
    source = encode_source(part.source, None if isinstance(form, dict) and "source" not in form else form)
    if source is None:
        return None
    fields: dict[str, Any] = {"source": source}
    named = format_of(part.source, form)
    if named is not None and (form is None or "format" in form):
        fields["format"] = named
    words = {"name": part.title, "context": part.context}
    fields.update((key, value) for key, value in words.items() if value is not None)
    if part.citations:
        fields["citations"] = {"enabled": True}
    return {"document": _restored(fields, part)}


def _encode_media(part: Image | Audio, source: Source) -> dict[str, Any] | None:
    form = part.extra.get(FORM)
    wire = encode_source(source, form if isinstance(form, dict) and "source" in form else None)
    if wire is None:
        return None
    named = part.format if isinstance(part, Audio) else format_of(source, form)
    fields = {"format": named, "source": wire}
    kind = "audio" if isinstance(part, Audio) else "image"
    return {kind: _restored({key: value for key, value in fields.items() if value is not None}, part)}


def format_of(source: Source, form: Any = None) -> str | None:
    """The word for a media type: of a document by the table, else what stands behind the slash."""
    if isinstance(form, dict) and "format" in form:
        word: str = form["format"]
        return word
    media = source.media_type if isinstance(source, Inline) else None
    if media is None:
        return None
    return next((word for word, known in DOCUMENTS.items() if known == media), media.partition("/")[2])
