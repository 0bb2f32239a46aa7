"""Parts of a turn, both ways: `Part` of Google's OpenAPI document. Shared by requests, answers and streams.

A part holds one kind of data (`text`, `inlineData`, …) and marks beside it: `thought`, `thoughtSignature`,
`videoMetadata`. Google's calls need no id; every other dialect's do. A call without one gets an id worked out from
where it stands, so that it is the same each time the history is sent, and loses it again on the way back.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from typing import Any

from understudy.canon import (
    Audio,
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
from understudy.dialects.gemini.spelling import Spelt, camel, form_of, note, own, read
from understudy.dialects.wire import DICT, LIST, STR, Malformed, dump, expect, parse, take

NAME = "gemini"
CODE = "code_execution"
"""The name of calls of the interpreter that Google runs itself."""

_MADE = "call_gem_"
_GOOGLES_OWN = ("https://generativelanguage.googleapis.com/", "gs://")
_FORMATS = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/wave": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}
_TYPES = {"wav": "audio/wav", "mp3": "audio/mp3", "pcm16": "audio/L16;codec=pcm;rate=24000"}
_ANSWERS = ("output", "result", "error")
"""Keys that hold a tool's whole answer, if it is text: Google's documentation names the first and the last, and its own
SDK writes the second."""


def made_id(seed: str, name: str, arguments: str) -> str:
    """The id of a call that came without: the same for the same call in the same place."""
    digest = hashlib.blake2b(f"{seed}\0{name}\0{arguments}".encode("utf-8", "surrogatepass"), digest_size=9)
    return _MADE + digest.hexdigest()


def is_made(call_id: str) -> bool:
    return call_id.startswith(_MADE)


def is_signature(text: str) -> bool:
    """Whether Google could read `text` as bytes: it refuses the whole request otherwise."""
    try:
        base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def arguments_of(text: str) -> dict[str, Any] | None:
    """A call's arguments as an object, {} for none; None if the text is no JSON object. Never repaired."""
    if not text.strip():
        return {}
    try:
        value = parse(text.encode("utf-8", "surrogatepass"))
    except Malformed:
        return None
    return value if isinstance(value, dict) else None


# --- decoding --------------------------------------------------------------------------------------------------------


def _blob(rest: dict[str, Any], spelt: Spelt, path: str, blank: dict[str, Any]) -> Part:
    inner = camel(rest.pop("inlineData"), path + ".inlineData", spelt, "inlineData.")
    data = expect(inner.pop("data", None), STR, path + ".inlineData.data")
    media = take(inner, "mimeType", STR, path + ".inlineData.")
    name = take(inner, "displayName", STR, path + ".inlineData.") if _kind(media) is File else None
    if inner:
        rest["inlineData"] = inner
    return _media(Inline(data, media), media, name, note(rest, blank, spelt, named=name is not None))


def _stored(rest: dict[str, Any], spelt: Spelt, path: str, blank: dict[str, Any]) -> Part:
    inner = camel(rest.pop("fileData"), path + ".fileData", spelt, "fileData.")
    uri = expect(inner.pop("fileUri", None), STR, path + ".fileData.fileUri")
    media = take(inner, "mimeType", STR, path + ".fileData.")
    if inner:
        rest["fileData"] = inner
    if uri.startswith(_GOOGLES_OWN) or "://" not in uri:
        return _media(Stored(uri), media, None, note(rest, blank, spelt, mimeType=media or False))
    return _media(Url(uri, media), media, None, note(rest, blank, spelt))


def _kind(media: str | None) -> type[Image | Audio | File]:
    family = (media or "").partition("/")[0].lower()
    return Image if family == "image" else Audio if family == "audio" else File


def _media(source: Source, media: str | None, name: str | None, extra: dict[str, Any]) -> Part:
    if _kind(media) is Image:
        return Image(source, extra=extra)
    if _kind(media) is Audio:
        return Audio(source, audio_format(media or ""), extra=extra)
    return File(source, name, extra=extra)


def audio_format(media: str) -> str:
    """The short name that other dialects have for a sound's media type."""
    plain = media.partition(";")[0].strip().lower()
    return "pcm16" if plain == "audio/l16" else _FORMATS.get(plain, plain.partition("/")[2])


def _call(rest: dict[str, Any], spelt: Spelt, path: str, blank: dict[str, Any], seed: str) -> Part | None:
    inner = camel(rest.pop("functionCall"), path + ".functionCall", spelt, "functionCall.")
    if "partialArgs" in inner or "willContinue" in inner:
        return None  # arguments in pieces by JSON path (Vertex): not to be taken for a whole call
    where = path + ".functionCall."
    name, call_id = take(inner, "name", STR, where) or "", take(inner, "id", STR, where)
    args = take(inner, "args", DICT, where)
    arguments = dump(args or {}).decode()
    if inner:
        rest["functionCall"] = inner
    signature = take(rest, "thoughtSignature", STR, path + ".")
    extra = note(rest, blank, spelt, anonymous=not call_id, bare=args is None)
    return ToolCall(call_id or made_id(seed, name, arguments), name, arguments, "function", signature, extra=extra)


def _result(rest: dict[str, Any], spelt: Spelt, path: str, blank: dict[str, Any]) -> Part:
    """A tool's result. Its call's id and name, where they are missing, are for whoever knows the turns before."""
    inner = camel(rest.pop("functionResponse"), path + ".functionResponse", spelt, "functionResponse.")
    where = path + ".functionResponse."
    name, call_id = take(inner, "name", STR, where), take(inner, "id", STR, where)
    response = take(inner, "response", DICT, where)
    media = take(inner, "parts", LIST, where)
    parts, key = _answer(response)
    listed = [decode_part(part, f"{where}parts[{i}]", "") for i, part in enumerate(media or ())]
    if inner:
        rest["functionResponse"] = inner
    extra = note(rest, blank, spelt, anonymous=not call_id, nameless=name is None, key=key, listed=media == [])
    return ToolResult(call_id or "", (*parts, *listed), name, key == "error", extra=extra)


def _answer(response: dict[str, Any] | None) -> tuple[tuple[Part, ...], str | None]:
    """The text that a tool gave, and the key it stood under; without one, the whole object as JSON."""
    if response is None:
        return (), ""
    if len(response) == 1:
        key, value = next(iter(response.items()))
        if key in _ANSWERS and isinstance(value, str):
            return (Text(value),), key
    return (Text(dump(response).decode()),), None


def _code(rest: dict[str, Any], spelt: Spelt, path: str, blank: dict[str, Any], seed: str) -> Part:
    inner = camel(rest.pop("executableCode"), path + ".executableCode", spelt, "executableCode.")
    call_id = take(inner, "id", STR, path + ".executableCode.")
    text = dump(inner).decode()
    signature = take(rest, "thoughtSignature", STR, path + ".")
    extra = note(rest, blank, spelt, anonymous=not call_id)
    return ToolCall(call_id or made_id(seed, CODE, text), CODE, text, "hosted", signature, extra=extra)


def _ran(rest: dict[str, Any], spelt: Spelt, path: str, blank: dict[str, Any]) -> Part:
    inner = camel(rest.pop("codeExecutionResult"), path + ".codeExecutionResult", spelt, "codeExecutionResult.")
    where = path + ".codeExecutionResult."
    call_id, output = take(inner, "id", STR, where), take(inner, "output", STR, where)
    outcome = inner.pop("outcome", None)
    if inner:
        rest["codeExecutionResult"] = inner
    failed = outcome not in ("OUTCOME_OK", 1)
    parts = () if output is None else (Text(output),)
    extra = note(rest, blank, spelt, anonymous=not call_id, outcome=outcome)
    return ToolResult(call_id or "", parts, CODE, failed, extra=extra)


_Decoder = Callable[[dict[str, Any], Spelt, str, dict[str, Any]], Part]
_DECODERS: dict[str, _Decoder] = {
    "inlineData": _blob,
    "fileData": _stored,
    "functionResponse": _result,
    "codeExecutionResult": _ran,
}


def decode_part(value: Any, path: str, seed: str) -> Part:
    """One part. `seed` says where it stands, for the id of a call that has none. Raises `Malformed`."""
    rest, blank, spelt = read(value, path)
    if "text" in rest or blank.get("text") == "" or rest.get("thought") is True:
        return _words(rest, blank, spelt, path)
    if "functionCall" in rest:
        return _call(rest, spelt, path, blank, seed) or Unknown("functionCall", value)
    if "executableCode" in rest:
        return _code(rest, spelt, path, blank, seed)
    for key, decoder in _DECODERS.items():
        if key in rest:
            return decoder(rest, spelt, path, blank)
    kind = next((key for key in rest if key != "thoughtSignature"), "")
    return Unknown(kind, value)


def _words(rest: dict[str, Any], blank: dict[str, Any], spelt: Spelt, path: str) -> Part:
    bare = "text" not in rest and "text" not in blank
    text = take(rest, "text", STR, path + ".") or ""
    blank.pop("text", None)
    signature = take(rest, "thoughtSignature", STR, path + ".")
    if rest.get("thought") is True:
        del rest["thought"]
        return Reasoning(text, signature=signature, extra=note(rest, blank, spelt, bare=bare))
    return Text(text, signature=signature, extra=note(rest, blank, spelt))


# --- encoding --------------------------------------------------------------------------------------------------------


def encode_part(part: Part) -> dict[str, Any] | None:
    """The part as it came, notes and all; None if it has no form here. For parts of this dialect's own messages."""
    if isinstance(part, Unknown):
        return part.body if isinstance(part.body, dict) else None
    out = bare_part(part)
    return None if out is None else own(out, part.extra)


def bare_part(part: Part) -> dict[str, Any] | None:
    """The part without what is only in its `extra`, but for the notes of this dialect."""
    form = form_of(getattr(part, "extra", {}))
    out: dict[str, Any] | None = None
    if isinstance(part, Text):
        out = {"text": part.text}
    elif isinstance(part, Reasoning):
        out = {"thought": True} if "bare" in form and not part.text else {"text": part.text, "thought": True}
    elif isinstance(part, Image | Audio | File):
        out = _encode_media(part, form)
    elif isinstance(part, ToolCall):
        out = _encode_call(part, form)
    elif isinstance(part, ToolResult):
        out = _encode_ran(part, form) if "outcome" in form else encode_result(part, part.name or "", form)
    signature = getattr(part, "signature", None)
    if out is not None and signature is not None:
        out["thoughtSignature"] = signature
    return out


def _encode_media(part: Image | Audio | File, form: dict[str, Any]) -> dict[str, Any] | None:
    source = part.source
    name = {"displayName": part.filename} if isinstance(part, File) and "named" in form else {}
    if isinstance(source, Inline):
        media = source.media_type
        if media is None and isinstance(part, Audio) and part.format is not None:
            media = _TYPES.get(part.format, "audio/" + part.format)
        typed = {} if media is None else {"mimeType": media}
        return {"inlineData": {**typed, "data": source.data, **name}}
    if source is None:
        return None
    media = form.get("mimeType") if isinstance(source, Stored) else source.media_type
    uri = source.id if isinstance(source, Stored) else source.url
    return {"fileData": {"fileUri": uri} if media is None else {"fileUri": uri, "mimeType": media}}


def _encode_call(part: ToolCall, form: dict[str, Any]) -> dict[str, Any] | None:
    args = arguments_of(part.arguments)
    if args is None or part.kind == "custom":
        return None
    named = {} if "anonymous" in form or is_made(part.id) or not part.id else {"id": part.id}
    if part.kind == "hosted":
        return {"executableCode": {**args, **named}} if part.name == CODE else None
    bare = "bare" in form and not args
    return {"functionCall": {**named, "name": part.name, **({} if bare else {"args": args})}}


def encode_result(part: ToolResult, name: str, form: dict[str, Any]) -> dict[str, Any]:
    """A `functionResponse`; `form` is {} for what came from elsewhere."""
    texts = [item for item in part.parts if isinstance(item, Text)]
    text = "".join(item.text for item in texts)
    key = form.get("key", "error" if part.failed else "output")
    inner: dict[str, Any] = (
        {} if "anonymous" in form or is_made(part.call_id) or not part.call_id else {"id": part.call_id}
    )
    if "nameless" not in form:
        inner["name"] = name
    whole = arguments_of(text) if key is None else None
    if key != "" or text:
        inner["response"] = whole if whole is not None else {key or "output": text}
    media = [encode_part(item) for item in part.parts if not isinstance(item, Text)]
    if media or "listed" in form:
        inner["parts"] = media
    return {"functionResponse": inner}


def _encode_ran(part: ToolResult, form: dict[str, Any]) -> dict[str, Any]:
    named = {} if "anonymous" in form else {"id": part.call_id}
    said = {} if form["outcome"] is None else {"outcome": form["outcome"]}
    text = {"output": "".join(item.text for item in part.parts if isinstance(item, Text))} if part.parts else {}
    return {"codeExecutionResult": {**said, **text, **named}}
