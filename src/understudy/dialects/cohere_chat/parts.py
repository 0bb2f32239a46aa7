"""Parts of messages, both ways: text, pictures, thinking, documents, citations. Shared by requests, answers, streams.

A document is an object of the client's own fields (`text`, `title`, `url`, …), or a plain string. Canonical is a text
file with the text and the title; the document itself is noted, so that it comes back whole. A citation names its
sources, which are documents or tools' outputs; the first of them gives the canonical URL and title.
"""

from __future__ import annotations

import base64
from typing import Any

from understudy.canon import Citation, Extra, File, Image, Inline, Part, Reasoning, Stored, Text, Unknown
from understudy.dialects.openai_chat.parts import form_of, source_of, url_of
from understudy.dialects.wire import DICT, FORM, STR, Malformed, dump, expect, keep, restore, split, take, text_in

NAME = "cohere-chat"

_PLAIN = "text/plain"


# --- content parts ---------------------------------------------------------------------------------------------------


def decode_content(value: Any, path: str) -> list[Part]:
    """A string or an array of parts."""
    if isinstance(value, str):
        return [Text(value)]
    if isinstance(value, list):
        return [decode_part(part, f"{path}[{i}]") for i, part in enumerate(value)]
    raise Malformed(path, "must be a string or an array of parts")


def decode_part(value: Any, path: str) -> Part:
    wire = expect(value, DICT, path)
    rest = dict(wire)
    kind = rest.pop("type", None)
    if kind == "text":
        return Text(expect(rest.pop("text", None), STR, path + ".text"), extra=rest)
    if kind == "thinking":
        return Reasoning(expect(rest.pop("thinking", None), STR, path + ".thinking"), extra=rest)
    if kind == "image_url":
        inner = dict(expect(rest.pop("image_url", None), DICT, path + ".image_url"))
        where = path + ".image_url."
        url = expect(inner.pop("url", None), STR, where + "url")
        detail = take(inner, "detail", STR, where)
        return Image(
            source_of(url, where + "url"), detail=detail, extra={**rest, **({"image_url": inner} if inner else {})}
        )
    if kind == "document":
        return decode_document(rest.pop("document", None), path + ".document", rest)
    return Unknown(kind if isinstance(kind, str) else "", wire)


def encode_part(part: Part) -> dict[str, Any] | None:
    """A content part, with its own extras; None if it has no form here."""
    if isinstance(part, Text):
        return restore({"type": "text", "text": part.text}, part.extra)
    if isinstance(part, Reasoning):
        return restore({"type": "thinking", "thinking": part.text}, part.extra)
    if isinstance(part, Image) and not isinstance(part.source, Stored):
        image = {"url": url_of(part.source)} | ({} if part.detail is None else {"detail": part.detail})
        return restore({"type": "image_url", "image_url": image}, part.extra)
    if isinstance(part, File) and (document := encode_document(part)) is not None:
        return restore({"type": "document", "document": document}, part.extra)
    return part.body if isinstance(part, Unknown) and isinstance(part.body, dict) else None


# --- documents -------------------------------------------------------------------------------------------------------


def decode_document(value: Any, path: str, rest: Extra | None = None) -> File:
    """A document as a text file. One without a `text` is its own JSON."""
    if isinstance(value, str):
        text, title = value, None
    else:
        text, title = _read(expect(value, DICT, path))
    data = base64.b64encode(text.encode("utf-8", "surrogatepass")).decode()
    return File(Inline(data, _PLAIN), title=title, citations=True, extra={**(rest or {}), FORM: {"document": value}})


def _read(document: dict[str, Any]) -> tuple[str, str | None]:
    data = document.get("data")
    if isinstance(data, str):
        return data, None
    body = data if isinstance(data, dict) else document
    text, title = body.get("text"), body.get("title")
    return text if isinstance(text, str) else dump(body).decode(), title if isinstance(title, str) else None


def encode_document(part: File) -> Any:
    """The document that a file came from if it is still the same, else a new one; None if the file is no text."""
    written = form_of(part.extra).get("document")
    if written is not None:
        again = decode_document(written, "")
        if (again.source, again.title) == (part.source, part.title):
            return written
    text = text_in(part.source)
    if text is None:
        return None
    title = part.title or part.filename
    return {"data": {"text": text} | ({"title": title} if title else {})}


# --- citations -------------------------------------------------------------------------------------------------------


def decode_citation(value: Any) -> Citation | None:
    """One citation of a text; None for one of a plan or a thought, or of another shape: it is kept as it came."""
    if not isinstance(value, dict) or value.get("type") not in (None, "TEXT_CONTENT"):
        return None
    start, end, quoted, place = (value.get(key) for key in ("start", "end", "text", "content_index"))
    listed = value.get("sources")
    if not (type(start) in (int, type(None)) and type(end) in (int, type(None)) and type(place) in (int, type(None))):
        return None
    if not isinstance(quoted, str) or not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        return None
    first = listed[0] if listed else {}
    kind = str(first.get("type") or "document")
    body = first.get("document" if kind == "document" else "tool_output")
    said = {key: item for key, item in (body if isinstance(body, dict) else {}).items() if isinstance(item, str)}
    return Citation(kind, said.get("url"), said.get("title"), said.get("text"), start, end,
                    extra={FORM: {"citation": value}})  # fmt: skip


def place_of(citation: Citation) -> int | None:
    """The content part that a citation of this dialect stands in, if it says so."""
    place: int | None = form_of(citation.extra).get("citation", {}).get("content_index")
    return place


def encode_citation(citation: Citation, text: str, place: int) -> dict[str, Any]:
    """A citation as it came, or one whose source is a document of what is known."""
    written: dict[str, Any] | None = form_of(citation.extra).get("citation")
    if written is not None and (written.get("start"), written.get("end")) == (citation.start, citation.end):
        return written
    known = {"title": citation.title, "text": citation.quote, "url": citation.url}
    document = {key: item for key, item in known.items() if item is not None}
    name = citation.url or (citation.source.id if citation.source is not None else None) or citation.title or "source"
    source = {"type": "document", "id": name, "document": {"id": name, **document}}
    span = {"start": citation.start, "end": citation.end, "text": text[citation.start : citation.end]}
    if citation.start is None or citation.end is None:  # the whole part
        span = {"start": 0, "end": len(text), "text": text}
    return {**span, "sources": [source], "type": "TEXT_CONTENT", "content_index": place}


def read(value: Any, path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields of an object that say something, and the blank ones."""
    return split(expect(value, DICT, path))


def note(rest: dict[str, Any], blank: dict[str, Any], **form: Any) -> Extra:
    """An `extra` of what is left over, with the notes that say something."""
    return keep(rest, blank, {key: value for key, value in form.items() if value is not None})
