"""Parts of messages, both ways: content parts, tool calls, reasoning, citations. Shared by requests, answers, streams.

Shapes: `ChatCompletionRequestMessageContentPart*` and `ChatCompletionMessageToolCall*` of OpenAI's OpenAPI document;
`reasoning_content` (DeepSeek, then vLLM, SGLang, xAI), `reasoning` (Groq, Ollama, Cerebras), `reasoning_details`
(OpenRouter), `thinking` parts (Mistral), `cache_control` (OpenRouter, DashScope), `extra_content` (Gemini's
compatibility endpoint puts thought signatures there), `message.images` (OpenRouter).
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes

from understudy.canon import (
    Audio,
    CacheHint,
    Citation,
    Extra,
    File,
    Image,
    Inline,
    Part,
    Reasoning,
    Refusal,
    Source,
    Stored,
    Text,
    ToolCall,
    Unknown,
    Url,
)
from understudy.dialects.wire import BLANKS, DICT, FORM, LIST, STR, Malformed, dump, expect, keep, restore, split, take

NAME = "openai-chat"

_AUDIO_TYPES = {"wav": "audio/wav", "mp3": "audio/mpeg"}
_AUDIO_FORMATS = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}
_TTL = {"5m": 300, "1h": 3600}
_CACHE_FIELDS = ("cache_control", "prompt_cache_breakpoint")


# --- sources ---------------------------------------------------------------------------------------------------------


def source_of(url: str, path: str) -> Source:
    """A URL, or the bytes inside a `data:` URL (RFC 2397)."""
    if url[:5].lower() != "data:":
        return Url(url)
    comma = url.find(",", 5)
    if comma < 0:
        raise Malformed(path, "is a data: URL without a comma")
    head = url[5:comma]
    if head.endswith(";base64"):
        return Inline(url[comma + 1 :], head[:-7] or None)
    return Inline(base64.b64encode(unquote_to_bytes(url[comma + 1 :])).decode(), head or "text/plain")


def url_of(source: Inline | Url) -> str:
    if isinstance(source, Url):
        return source.url
    return f"data:{source.media_type or ''};base64,{source.data}"


# --- content parts, decoding -----------------------------------------------------------------------------------------


def _cache(rest: dict[str, Any], blank: dict[str, Any]) -> CacheHint | None:
    """The cache mark of a part. Its spelling is kept whole, since servers differ in it."""
    for key in _CACHE_FIELDS:
        mark = rest.get(key)
        if isinstance(mark, dict):
            blank[key] = rest.pop(key)
            ttl = mark.get("ttl")
            return CacheHint(_TTL.get(ttl) if isinstance(ttl, str) else None)
    return None


def _text(part: dict[str, Any], path: str) -> Part:
    rest, blank = split(part)
    if "text" in blank and blank["text"] != "":
        raise Malformed(path + ".text", "must be a string")
    text = take(rest, "text", STR, path + ".")
    if text is None and "text" not in blank:
        raise Malformed(path + ".text", "is required in a part of type text")
    del rest["type"]
    blank.pop("text", None)
    cache = _cache(rest, blank)
    return Text(text or "", cache=cache, extra=keep(rest, blank))


def _image(part: dict[str, Any], path: str) -> Part:
    rest, blank = split(part)
    del rest["type"]
    body = rest.pop("image_url", None)
    where = path + ".image_url"
    if isinstance(body, str):
        return Image(source_of(body, where), cache=_cache(rest, blank), extra=keep(rest, blank, "string"))
    inner = dict(expect(body, DICT, where))
    url = expect(inner.pop("url", None), STR, where + ".url")
    detail = inner.pop("detail", None)
    if detail is not None:
        expect(detail, STR, where + ".detail")
    if inner:
        rest["image_url"] = inner
    return Image(source_of(url, where + ".url"), detail=detail, cache=_cache(rest, blank), extra=keep(rest, blank))


def _input_audio(part: dict[str, Any], path: str) -> Part:
    rest, blank = split(part)
    del rest["type"]
    where = path + ".input_audio"
    inner = dict(expect(rest.pop("input_audio", None), DICT, where))
    data = expect(inner.pop("data", None), STR, where + ".data")
    form = take(inner, "format", STR, where + ".")
    if inner:
        rest["input_audio"] = inner
    source = Inline(data, _AUDIO_TYPES.get(form or ""))
    return Audio(source, format=form, extra=keep(rest, blank))


def _file(part: dict[str, Any], path: str) -> Part:
    rest, blank = split(part)
    del rest["type"]
    where = path + ".file"
    inner = dict(expect(rest.pop("file", None), DICT, where))
    data = take(inner, "file_data", STR, where + ".")
    held = take(inner, "file_id", STR, where + ".") if data is None else None
    name = take(inner, "filename", STR, where + ".")
    if inner:
        rest["file"] = inner
    source: Source
    if data is not None:
        is_url = data[:8].lower().startswith(("data:", "http://", "https://"))
        source = source_of(data, where + ".file_data") if is_url else Inline(data)
    elif held is not None:
        source = Stored(held)
    else:
        return Unknown("file", part)
    return File(source, filename=name, cache=_cache(rest, blank), extra=keep(rest, blank))


def _refusal(part: dict[str, Any], path: str) -> Part:
    rest = dict(part)
    del rest["type"]
    return Refusal(expect(rest.pop("refusal", None), STR, path + ".refusal"), extra=keep(rest, {}, "part"))


def _thinking(part: dict[str, Any], path: str) -> Part:  # noqa: ARG001  the same shape as its siblings
    rest, blank = split(part)
    del rest["type"]
    body = rest.pop("thinking", [])
    items = body if isinstance(body, list) else [body]
    texts = [item["text"] for item in items if isinstance(item, dict) and isinstance(item.get("text"), str)]
    if body != [{"type": "text", "text": "".join(texts)}]:
        return Unknown("thinking", part)
    blank |= rest  # `closed` is a mark of the transfer, not of the thought
    return Reasoning("".join(texts), extra=keep({}, blank, {"as": "thinking"}))


_DECODERS: dict[str, Callable[[dict[str, Any], str], Part]] = {
    "text": _text,
    "image_url": _image,
    "input_audio": _input_audio,
    "file": _file,
    "refusal": _refusal,
    "thinking": _thinking,
}


def decode_part(value: Any, path: str) -> Part:
    part: dict[str, Any] = expect(value, DICT, path)
    kind = part.get("type")
    decoder = _DECODERS.get(kind) if isinstance(kind, str) else None
    return decoder(part, path) if decoder else Unknown(kind if isinstance(kind, str) else "", part)


def decode_content(value: Any, path: str) -> list[Part]:
    """A string or an array of parts."""
    if isinstance(value, str):
        return [Text(value)]
    if isinstance(value, list):
        return [decode_part(part, f"{path}[{i}]") for i, part in enumerate(value)]
    raise Malformed(path, "must be a string or an array of parts")


# --- content parts, encoding -----------------------------------------------------------------------------------------


def encode_part(part: Part) -> dict[str, Any] | None:
    """A content part for a request, with its own extras; None if it has no form there."""
    if isinstance(part, Text):
        return restore({"type": "text", "text": part.text}, part.extra)
    if isinstance(part, Image) and not isinstance(part.source, Stored):
        url = url_of(part.source)
        if part.extra.get(FORM) == "string":
            return restore({"type": "image_url", "image_url": url}, part.extra)
        image = {"url": url} if part.detail is None else {"url": url, "detail": part.detail}
        return restore({"type": "image_url", "image_url": image}, part.extra)
    if isinstance(part, Audio) and isinstance(part.source, Inline):
        form = part.format or _AUDIO_FORMATS.get(part.source.media_type or "")
        sound = {"data": part.source.data} if form is None else {"data": part.source.data, "format": form}
        return restore({"type": "input_audio", "input_audio": sound}, part.extra)
    if isinstance(part, File):
        return restore({"type": "file", "file": _file_fields(part)}, part.extra)
    if isinstance(part, Refusal):
        return restore({"type": "refusal", "refusal": part.text}, part.extra)
    if isinstance(part, Reasoning) and form_of(part.extra).get("as") == "thinking":
        return restore({"type": "thinking", "thinking": [{"type": "text", "text": part.text}]}, part.extra)
    return part.body if isinstance(part, Unknown) and isinstance(part.body, dict) else None


def form_of(extra: Extra) -> dict[str, Any]:
    form = extra.get(FORM)
    return form if isinstance(form, dict) else {}


def _file_fields(part: File) -> dict[str, Any]:
    source = part.source
    fields: dict[str, Any] = {} if part.filename is None else {"filename": part.filename}
    if isinstance(source, Stored):
        fields["file_id"] = source.id
    elif isinstance(source, Inline) and source.media_type is None:
        fields["file_data"] = source.data
    else:
        fields["file_data"] = url_of(source)
    return fields


# --- tool calls ------------------------------------------------------------------------------------------------------


def arguments_text(value: Any, path: str) -> str:
    """Arguments as text. Some servers send the object itself, and some null for none."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return dump(value).decode()
    text: str = expect(value, STR, path)
    return text


def signature_in(rest: dict[str, Any]) -> str | None:
    """A thought signature where Gemini's compatibility endpoint puts it; removed from `rest` if it is all there is."""
    match rest.get("extra_content"):
        case {"google": {"thought_signature": str(signature), **others}, **more} if not others and not more:
            del rest["extra_content"]
            return signature
    return None


def decode_tool_call(value: Any, path: str) -> Part:
    call = expect(value, DICT, path)
    rest, blank = split(call)
    kind = take(rest, "type", STR, path + ".") or "function"
    if kind not in ("function", "custom"):
        return Unknown("tool_calls." + kind, call)
    body = dict(expect(rest.pop(kind, {}), DICT, f"{path}.{kind}"))
    name = take(body, "name", STR, f"{path}.{kind}.") or ""
    if kind == "custom":
        text = take(body, "input", STR, path + ".custom.") or ""
    else:
        text = arguments_text(body.pop("arguments", None), path + ".function.arguments")
    if body:
        rest[kind] = body
    if "index" in rest:
        blank["index"] = rest.pop("index")
    call_id = take(rest, "id", STR, path + ".") or ""
    signature = signature_in(rest)
    extra = keep(rest, blank, None if "type" in call else "untyped")
    return ToolCall(call_id, name, text, "custom" if kind == "custom" else "function", signature, extra=extra)


def decode_function_call(value: Any, path: str) -> ToolCall:
    """The form before tools: one call, without an id."""
    body = dict(expect(value, DICT, path))
    name = take(body, "name", STR, path + ".") or ""
    text = arguments_text(body.pop("arguments", None), path + ".arguments")
    return ToolCall("", name, text, extra=keep(body, {}, "function_call"))


def encode_tool_call(call: ToolCall, *, own: bool) -> dict[str, Any]:
    kind = "custom" if call.kind == "custom" else "function"
    body = {"name": call.name, "input" if kind == "custom" else "arguments": call.arguments}
    out: dict[str, Any] = {"id": call.id, "type": kind, kind: body}
    if call.signature is not None:
        out["extra_content"] = {"google": {"thought_signature": call.signature}}
    if not own:
        return out
    if call.extra.get(FORM) == "untyped":
        del out["type"]
    if not call.id:
        del out["id"]
    return restore(out, call.extra)


# --- reasoning -------------------------------------------------------------------------------------------------------

_PLAIN = ("reasoning_content", "reasoning")


def take_reasoning(rest: dict[str, Any], path: str) -> list[Part]:
    """Remove what a message says about its reasoning. A second wording that differs stays in `rest`, as it came."""
    details = rest.get("reasoning_details")
    plain = {key: rest[key] for key in _PLAIN if isinstance(rest.get(key), str)}
    if isinstance(details, list) and all(isinstance(item, dict) for item in details):
        del rest["reasoning_details"]
        parts = [decode_detail(item) for item in details]
        shown = "".join(part.text or part.summary or "" for part in parts)
    elif plain:
        shown = next(iter(plain.values()))
        parts = [Reasoning(shown)]
    else:
        for key in (*_PLAIN, "reasoning_details"):
            if key in rest:
                raise Malformed(
                    f"{path}.{key}", "must be " + ("an array of objects" if "details" in key else "a string")
                )
        return []
    names = [key for key, text in plain.items() if text == shown]
    for key in names:
        del rest[key]
    first = parts[0]
    form = {**form_of(first.extra), "as": names}
    parts[0] = Reasoning(
        first.text, first.summary, first.signature, first.sealed, first.id, first.origin, {**first.extra, FORM: form}
    )
    return list(parts)


def decode_detail(item: dict[str, Any]) -> Reasoning:
    """One entry of OpenRouter's `reasoning_details`: text, a summary, or something sealed."""
    rest = dict(item)

    def pop(key: str) -> str | None:
        return rest.pop(key) if isinstance(rest.get(key), str) and rest[key] else None

    text, summary, sealed = pop("text"), pop("summary"), pop("data")
    signature, own_id, origin = pop("signature"), pop("id"), pop("origin")
    return Reasoning(text or "", summary, signature, sealed, own_id, origin or "", {FORM: {"detail": rest}})


def encode_detail(part: Reasoning, index: int) -> dict[str, Any]:
    kind = "encrypted" if part.sealed is not None else "summary" if part.summary is not None else "text"
    out: dict[str, Any] = {"type": "reasoning." + kind}
    if "detail" in (form := form_of(part.extra)):
        out |= form["detail"]
    else:
        out["index"] = index
        if kind == "text":
            out["text"] = ""
    fields = (
        ("text", part.text or None),
        ("summary", part.summary),
        ("data", part.sealed),
        ("signature", part.signature),
        ("id", part.id),
        ("origin", part.origin or None),
    )
    for key, value in fields:
        if value is not None:
            out[key] = value
    return out


def needs_details(parts: list[Reasoning]) -> bool:
    """Whether plain text would lose something that a client must be able to send back."""
    if len(parts) > 1:
        return True
    part = parts[0]
    opaque = (part.signature, part.sealed, part.summary, part.id, part.origin or None)
    return "detail" in form_of(part.extra) or any(value is not None for value in opaque)


def encode_reasoning(parts: list[Reasoning], *, own: bool) -> dict[str, Any]:
    """The message fields for `parts`: plain text under the names it came by, and details where there are any."""
    out: dict[str, Any] = {}
    form = form_of(parts[0].extra) if own else {}
    shown = "".join(part.text or part.summary or "" for part in parts)
    for key in form.get("as", ["reasoning_content"] if shown else []):
        out[key] = shown
    if needs_details(parts):
        out["reasoning_details"] = [encode_detail(part, i) for i, part in enumerate(parts)]
    return out


# --- citations -------------------------------------------------------------------------------------------------------


def decode_citations(value: Any) -> tuple[Citation, ...] | None:
    """All of `annotations`, or None if one of them is no URL citation: then they are kept as they came."""
    if not isinstance(value, list):
        return None
    out = []
    for item in value:
        match item:
            case {"type": "url_citation", "url_citation": dict(body), **more} if not more:
                rest = dict(body)
                url, title, quote = rest.pop("url", None), rest.pop("title", None), rest.pop("content", None)
                start, end = rest.pop("start_index", None), rest.pop("end_index", None)
            case _:
                return None
        if not all(type(field) in (str, type(None)) for field in (url, title, quote)):
            return None
        if not all(type(field) in (int, type(None)) for field in (start, end)):
            return None
        out.append(Citation("url", url, title, quote, start, end, extra=rest))
    return tuple(out)


def encode_citation(citation: Citation, offset: int = 0) -> dict[str, Any] | None:
    """An annotation; None for a citation without a URL, which has no form here."""
    if citation.url is None:
        return None
    fields = {
        "url": citation.url,
        "title": citation.title,
        "start_index": None if citation.start is None else citation.start + offset,
        "end_index": None if citation.end is None else citation.end + offset,
        "content": citation.quote,
    }
    said = {key: value for key, value in fields.items() if value is not None}
    return {"type": "url_citation", "url_citation": restore(said, citation.extra)}


# --- assistant messages ----------------------------------------------------------------------------------------------


def _take_audio(rest: dict[str, Any], path: str) -> Audio | None:
    body = take(rest, "audio", DICT, path + ".")
    if body is None:
        return None
    inner = dict(body)
    where = path + ".audio."
    data, transcript = take(inner, "data", STR, where), take(inner, "transcript", STR, where)
    audio_id, expires = take(inner, "id", STR, where), take(inner, "expires_at", (int,), where)
    return Audio(Inline(data) if data else None, None, transcript, audio_id, expires, extra=inner)


def encode_audio(part: Audio) -> dict[str, Any]:
    data = part.source.data if isinstance(part.source, Inline) else None
    fields = {"id": part.id, "data": data, "transcript": part.transcript, "expires_at": part.expires_at}
    return restore({key: value for key, value in fields.items() if value is not None}, part.extra)


def take_assistant(rest: dict[str, Any], path: str) -> tuple[list[Part], bool]:
    """Remove the content of an assistant's message from `rest`; its parts, and whether content was an array."""
    content = rest.pop("content", None)
    parts = take_reasoning(rest, path)
    if content is not None:
        parts += decode_content(content, path + ".content")
    refusal = take(rest, "refusal", STR, path + ".")
    if refusal is not None:
        parts.append(Refusal(refusal))
    audio = _take_audio(rest, path)
    if audio is not None:
        parts.append(audio)
    for i, image in enumerate(take(rest, "images", LIST, path + ".") or ()):
        parts.append(decode_part(image, f"{path}.images[{i}]"))
    function = rest.pop("function_call", None)
    if function is not None:
        parts.append(decode_function_call(function, path + ".function_call"))
    for i, call in enumerate(take(rest, "tool_calls", LIST, path + ".") or ()):
        parts.append(decode_tool_call(call, f"{path}.tool_calls[{i}]"))
    citations = decode_citations(rest.get("annotations"))
    if citations is not None and (place := _only_text(parts)) is not None:
        del rest["annotations"]
        text = parts[place]
        assert isinstance(text, Text)
        parts[place] = Text(text.text, citations, cache=text.cache, extra=text.extra)
    return parts, isinstance(content, list)


_ORDER = (Reasoning, Text, Refusal, Audio, Image, ToolCall)


def out_of_order(parts: tuple[Part, ...]) -> bool:
    """Whether the fixed places that kinds have in a message would change the order of `parts`."""
    ranks = [_ORDER.index(type(part)) for part in parts if type(part) in _ORDER]
    return ranks != sorted(ranks)


def _only_text(parts: list[Part]) -> int | None:
    places = [i for i, part in enumerate(parts) if isinstance(part, Text)]
    return places[0] if len(places) == 1 else None


def blanks_of(extra: Extra) -> dict[str, Any]:
    blank = extra.get(BLANKS)
    return blank if isinstance(blank, dict) else {}
