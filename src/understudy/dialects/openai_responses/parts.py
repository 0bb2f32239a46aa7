"""Content parts, both ways: what stands inside messages and tool results. Shared by requests, answers and streams.

Shapes: `InputTextContent`, `InputImageContent`, `InputFileContent`, `OutputTextContent`, `RefusalContent` and
`Annotation` of OpenAI's OpenAPI document. Where the wire has two ways to say a thing, the one chosen is noted in the
part's `extra` under `~as`: `type` of a part that is not its role's usual one, `item` for the head of the item it opens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec

from understudy.canon import (
    Audio,
    CacheHint,
    Citation,
    Extra,
    File,
    Image,
    Inline,
    Loss,
    Part,
    Refusal,
    Source,
    Stored,
    Text,
    TokenLogprob,
    Unknown,
    Url,
)
from understudy.dialects.openai_chat.answer import decode_logprobs, encode_logprob
from understudy.dialects.openai_chat.parts import form_of, source_of, url_of
from understudy.dialects.wire import DICT, FORM, STR, Malformed, expect, foreign, keep, restore, split, take

NAME = "openai-responses"

CONTENT = "content."
"""Begins the kind of an unknown content part, which tells it from an unknown item."""

_CACHE_FIELD = "prompt_cache_breakpoint"
_DETAILS = ("low", "high", "auto", "original")
_SOUNDS = {"wav": "audio/wav", "mp3": "audio/mpeg"}
_SUFFIXES = {
    "application/pdf": "pdf",
    "text/plain": "txt",
    "text/markdown": "md",
    "text/csv": "csv",
    "text/html": "html",
}

Noted = TypeVar("Noted", bound=msgspec.Struct)


def note(value: Noted, **form: Any) -> Noted:
    """`value` with `form` added to the notes of its spelling."""
    extra: Extra = getattr(value, "extra", {})
    return msgspec.structs.replace(value, extra={**extra, FORM: {**form_of(extra), **form}})


# --- decoding --------------------------------------------------------------------------------------------------------


def _cache(rest: dict[str, Any], blank: dict[str, Any]) -> CacheHint | None:
    if isinstance(rest.get(_CACHE_FIELD), dict):
        blank[_CACHE_FIELD] = rest.pop(_CACHE_FIELD)
        return CacheHint()
    return None


def _text(part: dict[str, Any], path: str) -> Part:
    rest, blank = split(part)
    text = expect(part.get("text"), STR, path + ".text")
    rest.pop("text", None)
    blank.pop("text", None)
    kind = rest.pop("type")
    citations = decode_citations(rest.get("annotations"))
    if citations is not None:
        del rest["annotations"]
    logprobs = decode_logprobs(rest.get("logprobs"))
    if logprobs is not None:
        del rest["logprobs"]
    cache = _cache(rest, blank)
    return Text(text, citations or (), logprobs or (), cache, keep(rest, blank, {"type": kind}))


def _image(part: dict[str, Any], path: str) -> Part:
    rest, blank = split(part)
    del rest["type"]
    url = take(rest, "image_url", STR, path + ".")
    held = take(rest, "file_id", STR, path + ".") if url is None else None
    if url is None and held is None:
        raise Malformed(path, "needs image_url or file_id")
    source: Source = Stored(held or "") if url is None else source_of(url, path + ".image_url")
    detail, cache = take(rest, "detail", STR, path + "."), _cache(rest, blank)
    return Image(source, detail, cache, keep(rest, blank))


def _file(part: dict[str, Any], path: str) -> Part:
    rest, blank = split(part)
    del rest["type"]
    source: Source
    if (data := take(rest, "file_data", STR, path + ".")) is not None:
        source = source_of(data, path + ".file_data") if data[:5].lower() == "data:" else Inline(data)
    elif (url := take(rest, "file_url", STR, path + ".")) is not None:
        source = source_of(url, path + ".file_url")
    elif (held := take(rest, "file_id", STR, path + ".")) is not None:
        source = Stored(held)
    else:
        raise Malformed(path, "needs file_data, file_url or file_id")
    name, cache = take(rest, "filename", STR, path + "."), _cache(rest, blank)
    return File(source, name, cache=cache, extra=keep(rest, blank))


def _audio(part: dict[str, Any], path: str) -> Part:
    rest, blank = split(part)
    del rest["type"]
    where = path + ".input_audio"
    inner = dict(expect(rest.pop("input_audio", None), DICT, where))
    data, form = expect(inner.pop("data", None), STR, where + ".data"), take(inner, "format", STR, where + ".")
    if inner:
        rest["input_audio"] = inner
    return Audio(Inline(data, _SOUNDS.get(form or "")), form, extra=keep(rest, blank))


def _refusal(part: dict[str, Any], path: str) -> Part:
    rest, blank = split(part)
    text = expect(part.get("refusal"), STR, path + ".refusal")
    for fields in (rest, blank):
        fields.pop("refusal", None)
    del rest["type"]
    return Refusal(text, keep(rest, blank))


_DECODERS: dict[str, Callable[[dict[str, Any], str], Part]] = {
    "input_text": _text,
    "output_text": _text,
    "text": _text,
    "input_image": _image,
    "input_file": _file,
    "input_audio": _audio,
    "refusal": _refusal,
}


def decode_part(value: Any, path: str, usual: str) -> Part:
    """A content part; `usual` is the type that a text has in this place, which needs no note."""
    part: dict[str, Any] = expect(value, DICT, path)
    kind = part.get("type")
    decoder = _DECODERS.get(kind) if isinstance(kind, str) else None
    if decoder is None:
        return Unknown(CONTENT + (kind if isinstance(kind, str) else ""), part)
    decoded = decoder(part, path)
    if isinstance(decoded, Text) and decoded.extra[FORM]["type"] == usual:
        extra = {key: field for key, field in decoded.extra.items() if key != FORM}
        return msgspec.structs.replace(decoded, extra=extra)
    return decoded


def decode_content(value: Any, path: str, usual: str) -> list[Part]:
    """A string or an array of parts."""
    if isinstance(value, str):
        return [Text(value)]
    if isinstance(value, list):
        return [decode_part(part, f"{path}[{i}]", usual) for i, part in enumerate(value)]
    raise Malformed(path, "must be a string or an array of parts")


# --- citations -------------------------------------------------------------------------------------------------------

_CITATIONS = {
    "url_citation": ("url", ("url", "title", "start_index", "end_index")),
    "file_citation": ("file", ("file_id", "filename")),
    "container_file_citation": ("container_file", ("file_id", "filename", "start_index", "end_index")),
    "file_path": ("file_path", ("file_id",)),
}
_KINDS = {kind: wire for wire, (kind, _) in _CITATIONS.items()}
_TYPES = {"start_index": int, "end_index": int}


def decode_citation(value: Any) -> Citation | None:
    """One annotation; None if it is of an unknown kind or shape."""
    known = _CITATIONS.get(value["type"]) if isinstance(value, dict) and isinstance(value.get("type"), str) else None
    if known is None:
        return None
    kind, names = known
    rest, blank = split(value)
    del rest["type"]
    found = {name: rest.pop(name) for name in names if type(rest.get(name)) is _TYPES.get(name, str)}
    if any(name in rest for name in names):
        return None
    held = found.get("file_id")
    return Citation(
        kind,
        found.get("url"),
        found.get("title") or found.get("filename"),
        None,
        found.get("start_index"),
        found.get("end_index"),
        None if held is None else Stored(held),
        keep(rest, blank),
    )


def decode_citations(value: Any) -> tuple[Citation, ...] | None:
    """All of `annotations`, or None if one of them is unknown: then they are kept as they came."""
    if not isinstance(value, list):
        return None
    found = tuple(decode_citation(item) for item in value)
    known = tuple(citation for citation in found if citation is not None)
    return known if len(known) == len(found) else None


def encode_citation(citation: Citation, *, own: bool) -> dict[str, Any] | None:
    """An annotation; None for a citation that has no form here: with neither a URL nor a file."""
    if own and citation.kind in _KINDS:
        wire = _KINDS[citation.kind]
    elif citation.url is not None:
        wire = "url_citation"
    else:
        return None
    fields = {
        "url": citation.url,
        "title" if wire == "url_citation" else "filename": citation.title,
        "start_index": citation.start,
        "end_index": citation.end,
        "file_id": None if citation.source is None else getattr(citation.source, "id", None),
    }
    out = {"type": wire, **{key: value for key, value in fields.items() if value is not None}}
    if own:
        return restore(out, citation.extra)
    for key, default in (("title", ""), ("start_index", 0), ("end_index", 0)):
        out.setdefault(key, default)
    return out


def citation_losses(citation: Citation, path: str, *, own: bool) -> Iterator[Loss]:
    """What `encode_citation` leaves out or makes up of another dialect's citation."""
    if own:
        return
    if citation.url is None:
        yield Loss(path, f"a citation of kind {citation.kind!r} has no URL to give")
        return
    if citation.quote is not None:
        yield Loss(path + ".quote", "a citation has no quote here")
    if citation.source is not None:
        yield Loss(path + ".source", "is held by another provider, under an id of its own")
    if citation.start is None or citation.end is None:
        yield Loss(path, "its place in the text is unknown: a zero stands for it", "approximated")
    yield from foreign(citation.extra, path + ".")


# --- encoding --------------------------------------------------------------------------------------------------------


def encode_token(token: TokenLogprob, *, own: bool) -> dict[str, Any]:
    out = encode_logprob(token)
    if not own:  # both are required here
        out["bytes"] = list(token.token.encode()) if token.bytes is None else out["bytes"]
        out["top_logprobs"] = [encode_token(other, own=False) for other in token.top or ()]
    elif token.bytes is None:
        del out["bytes"]
    return out


def encode_output(part: Text | Refusal, *, own: bool) -> dict[str, Any]:
    """A content part of an assistant's message."""
    out: dict[str, Any]
    if isinstance(part, Refusal):
        out = {"type": "refusal", "refusal": part.text}
        return restore(out, part.extra) if own else out
    out = {"type": form_of(part.extra).get("type", "output_text") if own else "output_text", "text": part.text}
    annotations = [wire for c in part.citations if (wire := encode_citation(c, own=own)) is not None]
    if annotations or not own:
        out["annotations"] = annotations
    if part.logprobs or not own:
        out["logprobs"] = [encode_token(token, own=own) for token in part.logprobs]
    return restore(out, part.extra) if own else out


def encode_input(part: Part, *, own: bool) -> dict[str, Any] | None:
    """A content part of what the client sends; None if it has no form here."""
    out: dict[str, Any]
    if isinstance(part, Text):
        if own and form_of(part.extra).get("type") == "output_text":
            return encode_output(part, own=True)
        out = {"type": form_of(part.extra).get("type", "input_text") if own else "input_text", "text": part.text}
    elif isinstance(part, Image):
        out = {"type": "input_image"}
        out |= {"file_id": part.source.id} if isinstance(part.source, Stored) else {"image_url": url_of(part.source)}
        if part.detail is not None or not own:
            out["detail"] = part.detail if own or part.detail in _DETAILS else "auto"  # required here
    elif isinstance(part, File):
        out = {"type": "input_file", **_file_fields(part, own=own)}
    elif isinstance(part, Audio) and own and isinstance(part.source, Inline):
        out = {"type": "input_audio", "input_audio": {"data": part.source.data}}
        if part.format is not None:
            out["input_audio"]["format"] = part.format
    elif isinstance(part, Refusal) and own:
        return encode_output(part, own=True)
    elif own and isinstance(part, Unknown) and part.kind.startswith(CONTENT):
        body: dict[str, Any] = part.body
        return body
    else:
        return None
    return restore(out, part.extra) if own else out


def _file_fields(part: File, *, own: bool) -> dict[str, Any]:
    source = part.source
    fields: dict[str, Any] = {} if part.filename is None else {"filename": part.filename}
    if isinstance(source, Stored):
        return {**fields, "file_id": source.id}
    if isinstance(source, Url):
        return {**fields, "file_url": source.url}
    bare = source.media_type is None and own
    fields["file_data"] = source.data if bare else url_of(source)
    if not own:  # bytes are refused without a name, and the name tells their type
        fields.setdefault("filename", "document." + _SUFFIXES.get(source.media_type or "", "pdf"))
    return fields


def part_losses(part: Part, path: str) -> Iterator[Loss]:
    """What a part of another dialect's request has beside its content."""
    yield from foreign(getattr(part, "extra", {}), path + ".")
    if getattr(part, "cache", None) is not None:
        yield Loss(path + ".cache", "prefixes are cached without marks here")
    if isinstance(part, Text):
        said = (("citations", part.citations), ("logprobs", part.logprobs), ("signature", part.signature))
        yield from (Loss(f"{path}.{key}", "an earlier answer's are not taken here") for key, value in said if value)
    if isinstance(part, Image) and part.detail not in (None, *_DETAILS):
        yield Loss(path + ".detail", f"no detail is called {part.detail!r} here", "approximated")
    if isinstance(part, File):
        named = (("title", part.title), ("context", part.context), ("citations", part.citations or None))
        yield from (Loss(f"{path}.{key}", "a file has no such field here") for key, value in named if value is not None)
