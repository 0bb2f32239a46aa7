"""Content blocks, both ways, for requests, answers and streams. `InputContentBlock` and `ContentBlock` of the document.

What the canon has no part for stays `Unknown` and whole: results of tools that Anthropic runs itself, container
uploads, compactions. A search result is a text to every other dialect, with its source above it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from typing import Any

from understudy.canon import (
    CacheHint,
    Citation,
    Extra,
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
    Url,
)
from understudy.dialects.anthropic_messages.carried import is_ours, seal, unseal
from understudy.dialects.wire import (
    BLANKS,
    BOOL,
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

NAME = "anthropic-messages"

_TTL = {"5m": 300, "1h": 3600}
_FIVE_MINUTES = 300
_ID = re.compile(r"[a-zA-Z0-9_-]+")
_HOSTED = {"server_tool_use": None, "mcp_tool_use": "mcp_tool_use"}
_DOCUMENT_CITATIONS = ("char_location", "page_location", "content_block_location")


# --- small things ----------------------------------------------------------------------------------------------------


def blanks_of(extra: Extra) -> dict[str, Any]:
    blank = extra.get(BLANKS)
    return blank if isinstance(blank, dict) else {}


def form_of(extra: Extra) -> dict[str, Any]:
    form = extra.get(FORM)
    return form if isinstance(form, dict) else {}


def tidy(text: str, limit: int) -> str:
    """`text` as an id or a name that Anthropic takes (letters, digits, _ and -). The same text gives the same name."""
    if len(text) <= limit and _ID.fullmatch(text):
        return text
    mark = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return re.sub(r"[^a-zA-Z0-9_-]", "_", text)[: limit - 9] + "_" + mark


def cache_mark(cache: CacheHint) -> dict[str, Any]:
    if cache.ttl is None:
        return {"type": "ephemeral"}
    return {"type": "ephemeral", "ttl": "5m" if cache.ttl <= _FIVE_MINUTES else "1h"}


def take_cache(rest: dict[str, Any], blank: dict[str, Any], path: str) -> CacheHint | None:
    mark = take(rest, "cache_control", DICT, path + ".")
    if mark is None:
        return None
    ttl = mark.get("ttl")
    cache = CacheHint(_TTL.get(ttl) if isinstance(ttl, str) else None)
    if cache_mark(cache) != mark:
        blank["cache_control"] = mark
    return cache


def put_cache(out: dict[str, Any], cache: CacheHint | None, extra: Extra) -> None:
    if cache is not None and "cache_control" not in blanks_of(extra):
        out["cache_control"] = cache_mark(cache)


def arguments_of(text: str) -> dict[str, Any] | None:
    """A tool call's arguments, None if they are no JSON object. No text at all means no arguments."""
    if not text.strip():
        return {}
    try:
        value = parse(text.encode("utf-8", "surrogatepass"))
    except Malformed:
        return None
    return value if isinstance(value, dict) else None


# --- sources ---------------------------------------------------------------------------------------------------------


def _source(block: dict[str, Any], rest: dict[str, Any], path: str) -> tuple[Source, Any] | None:
    """The source of an image or a document and the form it came in; None for a kind that is not known."""
    inner = dict(expect(rest.pop("source", None), DICT, path + ".source"))
    kind, where = inner.pop("type", None), path + ".source."
    source: Source
    form: Any = None
    if kind == "base64":
        source = Inline(_required(inner, "data", where), take(inner, "media_type", STR, where))
    elif kind == "url":
        source = Url(_required(inner, "url", where))
    elif kind == "file":
        source = Stored(_required(inner, "file_id", where))
    elif kind == "text":
        words, media = _required(inner, "data", where), take(inner, "media_type", STR, where)
        source, form = _plain(words, media), "text"
    elif kind == "content" and (joined := _joined(inner.get("content"))) is not None:
        source, form = _plain(joined, "text/plain"), {"source": block["source"]}
        inner.clear()
    else:
        return None
    if inner:
        rest["source"] = inner
    return source, form


def _plain(words: str, media: str | None) -> Inline:
    return Inline(base64.b64encode(words.encode("utf-8", "surrogatepass")).decode(), media)


def _required(inner: dict[str, Any], key: str, where: str) -> str:
    value: str = expect(inner.pop(key, None), STR, where + key)
    return value


def _joined(content: Any) -> str | None:
    """The text of blocks that are all text."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    words = [block.get("text") if isinstance(block, dict) else None for block in content]
    said = [text for text in words if isinstance(text, str)]
    return "\n\n".join(said) if len(said) == len(words) else None


def encode_source(source: Source) -> dict[str, Any]:
    if isinstance(source, Url):
        return {"type": "url", "url": source.url}
    if isinstance(source, Stored):
        return {"type": "file", "file_id": source.id}
    media = {} if source.media_type is None else {"media_type": source.media_type}
    return {"type": "base64", **media, "data": source.data}


def text_source(source: Inline) -> dict[str, Any] | None:
    """A text as it is instead of as base64; None if it is none."""
    try:
        words = base64.b64decode(source.data, validate=True).decode("utf-8", "surrogatepass")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    media = {} if source.media_type is None else {"media_type": source.media_type}
    return {"type": "text", **media, "data": words}


# --- citations -------------------------------------------------------------------------------------------------------


def decode_citation(value: Any) -> Citation | None:
    """One citation; None if it has no type. Places in the cited document stay in `extra`."""
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        return None
    rest: dict[str, Any] = dict(value)
    kind = rest.pop("type")

    def pop(key: str) -> str | None:
        return rest.pop(key) if isinstance(rest.get(key), str) else None

    title = pop(_title_key(kind))
    url = pop("url")
    if kind == "search_result_location" and str(rest.get("source")).startswith(("http://", "https://")):
        url = pop("source")
    return Citation(kind, url, title, pop("cited_text"), extra=rest)


def _title_key(kind: str) -> str:
    return "document_title" if kind in _DOCUMENT_CITATIONS else "title"


def encode_citation(citation: Citation) -> dict[str, Any]:
    url_key = "source" if citation.kind == "search_result_location" else "url"
    fields = {url_key: citation.url, _title_key(citation.kind): citation.title, "cited_text": citation.quote}
    out = {"type": citation.kind, **{key: value for key, value in fields.items() if value is not None}}
    return restore(out, citation.extra)


def _citations(rest: dict[str, Any], path: str) -> tuple[Citation, ...]:
    found = take(rest, "citations", LIST, path + ".") or []
    out = [decode_citation(item) for item in found]
    known = tuple(citation for citation in out if citation is not None)
    if len(known) != len(found):
        raise Malformed(path + ".citations", "must be objects with a type")
    return known


# --- blocks, decoding ------------------------------------------------------------------------------------------------


def _text(block: dict[str, Any], path: str, origin: str) -> Part:  # noqa: ARG001  the same shape as its siblings
    rest, blank = split(block)
    del rest["type"]
    text = take(rest, "text", STR, path + ".")
    if text is None and blank.pop("text", None) is None:
        raise Malformed(path + ".text", "is required in a block of type text")
    citations = _citations(rest, path)
    return Text(text or "", citations, cache=take_cache(rest, blank, path), extra=keep(rest, blank))


def _image(block: dict[str, Any], path: str, origin: str) -> Part:  # noqa: ARG001  likewise
    rest, blank = split(block)
    del rest["type"]
    found = _source(block, rest, path)
    if found is None or found[1] is not None:
        return Unknown("image", block)
    return Image(found[0], cache=take_cache(rest, blank, path), extra=keep(rest, blank))


def _document(block: dict[str, Any], path: str, origin: str) -> Part:  # noqa: ARG001  likewise
    rest, blank = split(block)
    del rest["type"]
    found = _source(block, rest, path)
    if found is None:
        return Unknown("document", block)
    citations = rest.get("citations") == {"enabled": True}
    if citations or rest.get("citations") == {"enabled": False}:
        wanted = rest.pop("citations")
        if not citations:
            blank["citations"] = wanted
    return File(
        found[0],
        title=take(rest, "title", STR, path + "."),
        context=take(rest, "context", STR, path + "."),
        citations=citations,
        cache=take_cache(rest, blank, path),
        extra=keep(rest, blank, found[1]),
    )


def _tool_use(block: dict[str, Any], path: str, origin: str) -> Part:  # noqa: ARG001  likewise
    rest, blank = split(block)
    kind = rest.pop("type")
    given = rest.pop("input", None)
    if given is None:
        given = blank.pop("input", None)
    arguments = dump(expect(given, DICT, path + ".input")).decode()
    return ToolCall(
        _required(rest, "id", path + "."),
        _required(rest, "name", path + "."),
        arguments,
        "hosted" if kind in _HOSTED else "function",
        cache=take_cache(rest, blank, path),
        extra=keep(rest, blank, _HOSTED.get(kind)),
    )


def _tool_result(block: dict[str, Any], path: str, origin: str) -> Part:
    rest, blank = split(block)
    del rest["type"]
    content = rest.pop("content", None)
    form = None
    parts: tuple[Part, ...] = ()
    if isinstance(content, str):
        parts = (Text(content),)
    elif content is not None:
        blocks = expect(content, LIST, path + ".content")
        parts = tuple(_inner(item, f"{path}.content[{i}]", origin) for i, item in enumerate(blocks))
        form = "list" if lone_text(parts) else None
    failed = take(rest, "is_error", BOOL, path + ".")
    if failed is False:
        blank["is_error"] = False
    return ToolResult(
        _required(rest, "tool_use_id", path + "."),
        parts,
        failed=bool(failed),
        cache=take_cache(rest, blank, path),
        extra=keep(rest, blank, form),
    )


def _inner(value: Any, path: str, origin: str) -> Part:
    """A block inside a result. Results do not nest, so that nothing here recurses on what a client sends."""
    if isinstance(value, dict) and value.get("type") == "tool_result":
        return Unknown("tool_result", value)
    return decode_block(value, path, origin)


def _thinking(block: dict[str, Any], path: str, origin: str) -> Part:
    rest, blank = split(block)
    del rest["type"]
    text = take(rest, "thinking", STR, path + ".") or ""
    signature = take(rest, "signature", STR, path + ".")
    carried = None if signature is None else unseal(text, signature)
    if carried is not None:
        return carried
    if "thinking" not in block:
        raise Malformed(path + ".thinking", "is required in a block of type thinking")
    blank.pop("thinking", None)
    return Reasoning(text, signature=signature, origin=origin, extra=keep(rest, blank))


def _redacted(block: dict[str, Any], path: str, origin: str) -> Part:
    rest, blank = split(block)
    del rest["type"]
    return Reasoning(sealed=_required(rest, "data", path + "."), origin=origin, extra=keep(rest, blank))


def _search_result(block: dict[str, Any], path: str, origin: str) -> Part:  # noqa: ARG001  likewise
    words = _joined(block.get("content"))
    if words is None:
        raise Malformed(path + ".content", "must be an array of text blocks")
    said = [text for key in ("title", "source") if isinstance(text := block.get(key), str) and text]
    rest, blank = split(block)
    cache = take_cache(rest, blank, path)
    extra = {"citations": rest["citations"]} if rest.get("citations") == {"enabled": True} else {}
    return Text("\n".join([*said, "", words]), cache=cache, extra=keep(extra, {}, {"block": block}))


_DECODERS: dict[str, Callable[[dict[str, Any], str, str], Part]] = {
    "text": _text,
    "image": _image,
    "document": _document,
    "tool_use": _tool_use,
    "server_tool_use": _tool_use,
    "mcp_tool_use": _tool_use,
    "tool_result": _tool_result,
    "thinking": _thinking,
    "redacted_thinking": _redacted,
    "search_result": _search_result,
}


def decode_block(value: Any, path: str, origin: str = "") -> Part:
    """A content block. `origin` is who signed its thinking. Raises `Malformed`, naming the path."""
    block: dict[str, Any] = expect(value, DICT, path)
    kind = block.get("type")
    decoder = _DECODERS.get(kind) if isinstance(kind, str) else None
    return decoder(block, path, origin) if decoder else Unknown(kind if isinstance(kind, str) else "", block)


def lone_text(parts: tuple[Part, ...]) -> bool:
    """Whether a string could stand for `parts`: one text, and nothing said about it."""
    return len(parts) == 1 and isinstance(parts[0], Text) and encode_block(parts[0]) == _bare(parts[0].text)


def _bare(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


# --- blocks, encoding ------------------------------------------------------------------------------------------------


def encode_block(part: Part) -> dict[str, Any] | None:
    """A part of this dialect's own as a content block, as it came; None if it has no form here."""
    if isinstance(part, Unknown):
        return part.body if isinstance(part.body, dict) else None
    if isinstance(part, Reasoning):
        return _encode_thinking(part)
    if isinstance(part, Text):
        if "block" in form_of(part.extra):
            whole: dict[str, Any] = form_of(part.extra)["block"]
            return whole
        out = _bare(part.text)
        if part.citations:
            out["citations"] = [encode_citation(citation) for citation in part.citations]
    elif isinstance(part, Image):
        out = {"type": "image", "source": encode_source(part.source)}
    elif isinstance(part, File):
        out = _encode_file(part)
    elif isinstance(part, ToolCall):
        kind = (part.extra.get(FORM) or "server_tool_use") if part.kind == "hosted" else "tool_use"
        out = {"type": kind, "id": part.id, "name": part.name, "input": arguments_of(part.arguments)}
        if out["input"] is None:
            return None
    elif isinstance(part, ToolResult):
        out = _encode_result(part)
    else:
        return None
    put_cache(out, part.cache, part.extra)
    return restore(out, part.extra)


def _encode_file(part: File) -> dict[str, Any]:
    source = part.source
    form = part.extra.get(FORM)
    wire = form["source"] if isinstance(form, dict) else None
    if form == "text" and isinstance(source, Inline):
        wire = text_source(source)
    out: dict[str, Any] = {"type": "document", "source": wire or encode_source(source)}
    fields = {
        "title": part.title,
        "context": part.context,
        "citations": {"enabled": True} if part.citations else None,
    }
    out.update((key, value) for key, value in fields.items() if value is not None)
    return out


def _encode_result(part: ToolResult) -> dict[str, Any]:
    out: dict[str, Any] = {"type": "tool_result", "tool_use_id": part.call_id}
    if part.parts:
        as_text = lone_text(part.parts) and part.extra.get(FORM) != "list"
        blocks = [block for inner in part.parts if (block := encode_block(inner)) is not None]
        out["content"] = blocks[0]["text"] if as_text else blocks
    if part.failed:
        out["is_error"] = True
    return out


def _encode_thinking(part: Reasoning) -> dict[str, Any]:
    if not is_ours(part, own=True):
        return carrying(part, NAME)
    if part.sealed is not None:
        return restore({"type": "redacted_thinking", "data": part.sealed}, part.extra)
    out: dict[str, Any] = {"type": "thinking", "thinking": part.text}
    if part.signature is not None:
        out["signature"] = part.signature
    return restore(out, part.extra)


def carrying(part: Reasoning, dialect: str) -> dict[str, Any]:
    """A thinking block that carries another provider's reasoning. `dialect` names it where its origin is not known."""
    said = part.text if part.summary is None else part.summary
    return {"type": "thinking", "thinking": said, "signature": seal(part, dialect)}


def thinking_block(part: Reasoning, dialect: str) -> dict[str, Any]:
    """Reasoning out of another dialect's answer: as it was, if Anthropic signed it, else carried."""
    if not is_ours(part, own=False) or (part.signature is None and part.sealed is None):
        return carrying(part, dialect)
    return _encode_thinking(Reasoning(part.text, None, part.signature, part.sealed))
