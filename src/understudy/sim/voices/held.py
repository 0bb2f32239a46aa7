"""Files and batches, kept in memory as OpenAI and Anthropic shape them: a batch is done by the time it is asked about.

Shapes: OpenAI's OpenAPI description, and the types of the two SDKs.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, unquote

import msgspec

from understudy import clock
from understudy.sim import wire
from understudy.sim.asked import Refused
from understudy.sim.voices.media import form
from understudy.sim.voices.play import refusal
from understudy.sim.voices.voice import Json, Trouble, Voice, decode
from understudy.sim.wire import Script

MOST = 1000
"""Files, and batches, that are kept; the oldest make room."""

_PATH = re.compile(r"/v1/(files|batches|messages/batches)(?:/([^/]+)(?:/(content|cancel|results))?)?")
_ANTHROPIC_HOME = "https://api.anthropic.com"
_WHEN = "2025-01-01T00:00:00Z"


class Shelf:
    """What one simulated provider holds."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[Json, bytes]] = {}
        self.batches: dict[str, Json] = {}
        self.results: dict[str, bytes] = {}


def is_held(path: str) -> bool:
    """Whether files or batches live at `path`."""
    return _PATH.fullmatch(path) is not None


def script(method: str, url: str, form_type: str, body: bytes, *, shelf: Shelf, voice: Voice) -> Script:
    """The answer to a request about files or batches. `form_type` is its content type. Raises `Refused`."""
    path, _, query = url.partition("?")
    found = _PATH.fullmatch(path)
    assert found is not None  # or else the request would not have come here
    kind, named, what = found[1], unquote(found[2] or ""), found[3] or ""
    anthropic = voice.name == "anthropic-messages"
    held: dict[str, Any] = shelf.files if kind == "files" else shelf.batches
    if named and named not in held:
        return [refusal(voice, Trouble("not-found", 404, f"No such object: {named[:100]}"))]
    step = f"{method} {kind.rpartition('/')[2]}{' id' if named else ''}{' ' + what if what else ''}"
    answer: Any
    if step == "POST files":
        answer = _keep(form(body, form_type), shelf, anthropic=anthropic)
    elif step == "POST batches":
        answer = _batched(body, shelf) if anthropic else _started(body, shelf)
    elif step in ("GET files", "GET batches"):
        entries = [one[0] for one in held.values()] if kind == "files" else list(held.values())
        answer = _page(entries, parse_qs(query))
    elif step == "GET files id":
        answer = shelf.files[named][0]
    elif step == "GET files id content":
        return [wire.whole(200, shelf.files[named][1], {"content-type": "application/octet-stream"})]
    elif step == "GET batches id":
        answer = _ended(shelf.batches[named]) if anthropic else _completed(shelf.batches[named], shelf)
    elif step == "POST batches id cancel":
        answer = shelf.batches[named]
        answer.update({"processing_status": "canceling"} if anthropic else {"status": "cancelling"})
    elif step == "GET batches id results" and anthropic:
        return [wire.whole(200, shelf.results[named], {"content-type": "application/x-jsonl"})]
    elif step in ("DELETE files id", "DELETE batches id"):
        del held[named]
        answer = _deleted(kind, named, anthropic=anthropic)
    else:
        return [refusal(voice, Trouble("malformed", 405, f"Not allowed to {method} here."))]
    return [wire.refuse(200, answer)]


def _deleted(kind: str, named: str, *, anthropic: bool) -> Json:
    if anthropic:
        return {"id": named, "type": "file_deleted" if kind == "files" else "message_batch_deleted"}
    return {"id": named, "object": "file", "deleted": True}


def _page(entries: list[Json], query: dict[str, list[str]]) -> Json:
    """Newest first, `limit` from after the one that `after` or `after_id` names."""
    entries = [*reversed(entries)]
    after = (query.get("after") or query.get("after_id") or [""])[0]
    if after:
        at = next((n for n, entry in enumerate(entries) if entry["id"] == after), None)
        if at is None:
            raise Refused(f"Invalid 'after': {after[:100]}.", "after")
        entries = entries[at + 1 :]
    limit = int(query.get("limit", ["20"])[0])
    page = entries[:limit]
    ends = {"first_id": page[0]["id"], "last_id": page[-1]["id"]} if page else {"first_id": None, "last_id": None}
    return {"object": "list", "data": page, "has_more": len(entries) > limit, **ends}


def _room(held: dict[str, Any]) -> None:
    while len(held) >= MOST:
        del held[next(iter(held))]


def _keep(parts: dict[str, Any], shelf: Shelf, *, anthropic: bool) -> Json:
    if "file" not in parts:
        raise Refused("Missing required parameter: 'file'.", "file")
    name, content = parts["file"]
    if anthropic:
        made = {"id": f"file_{clock.token(12)}", "type": "file", "filename": name or "file", "size_bytes": len(content),
                "mime_type": "application/octet-stream", "created_at": _WHEN, "downloadable": True}  # fmt: skip
    else:
        if "purpose" not in parts:
            raise Refused("Missing required parameter: 'purpose'.", "purpose")
        made = _file(name or "file", len(content), parts["purpose"].content.decode())
    _room(shelf.files)
    shelf.files[str(made["id"])] = (made, content)
    return made


def _file(name: str, size: int, purpose: str) -> Json:
    return {"id": f"file-{clock.token(12)}", "object": "file", "bytes": size, "created_at": int(clock.wall()),
            "filename": name, "purpose": purpose, "status": "processed"}  # fmt: skip


class _Batch(msgspec.Struct):
    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: Json | None = None


def _started(body: bytes, shelf: Shelf) -> Json:
    asked = decode(body, _Batch)
    if asked.input_file_id not in shelf.files:
        raise Refused(f"No such File object: {asked.input_file_id[:100]}", "input_file_id")
    made = {
        "id": f"batch_{clock.token(12)}", "object": "batch", "endpoint": asked.endpoint, "errors": None,
        "input_file_id": asked.input_file_id, "completion_window": asked.completion_window, "status": "validating",
        "output_file_id": None, "error_file_id": None, "created_at": int(clock.wall()), "metadata": asked.metadata,
    }  # fmt: skip
    _room(shelf.batches)
    shelf.batches[str(made["id"])] = made
    return made


def _completed(batch: Json, shelf: Shelf) -> Json:
    """The batch as it is now: done, unless it was cancelled."""
    if batch["status"] == "validating":
        lines = shelf.files[batch["input_file_id"]][1].splitlines() if batch["input_file_id"] in shelf.files else []
        asked = [msgspec.json.decode(line) for line in lines if line.strip()]
        done = [
            {"id": f"batch_req_{n}", "custom_id": one.get("custom_id"), "error": None,
             "response": {"status_code": 200, "request_id": f"req_{n}", "body": {"model": one["body"]["model"]}}}
            for n, one in enumerate(asked)
        ]  # fmt: skip
        output = b"".join(msgspec.json.encode(one) + b"\n" for one in done)
        made = _file("output.jsonl", len(output), "batch_output")
        shelf.files[str(made["id"])] = (made, output)
        batch |= {"status": "completed", "output_file_id": made["id"], "completed_at": int(clock.wall())}
    return batch


class _One(msgspec.Struct):
    custom_id: str
    params: Json


class _Batched(msgspec.Struct):
    requests: list[_One]


def _batched(body: bytes, shelf: Shelf) -> Json:
    """Anthropic's batch, which has its requests in it."""
    asked = decode(body, _Batched).requests
    named = f"msgbatch_{clock.token(12)}"
    results = []
    for one in asked:
        message = {"id": "msg_simulated", "type": "message", "role": "assistant", "model": one.params.get("model"),
                   "content": [{"type": "text", "text": "Simulated."}], "stop_reason": "end_turn",
                   "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1}}  # fmt: skip
        results.append({"custom_id": one.custom_id, "result": {"type": "succeeded", "message": message}})
    _room(shelf.batches)
    shelf.results[named] = b"".join(msgspec.json.encode(result) + b"\n" for result in results)
    counts = {"processing": len(asked), "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
    shelf.batches[named] = {
        "id": named, "type": "message_batch", "processing_status": "in_progress", "request_counts": counts,
        "ended_at": None, "created_at": _WHEN, "expires_at": _WHEN, "archived_at": None, "cancel_initiated_at": None,
        "results_url": None,
    }  # fmt: skip
    return shelf.batches[named]


def _ended(batch: Json) -> Json:
    if batch["processing_status"] == "in_progress":
        counts = {**batch["request_counts"], "processing": 0, "succeeded": batch["request_counts"]["processing"]}
        url = f"{_ANTHROPIC_HOME}/v1/messages/batches/{batch['id']}/results"
        batch |= {"processing_status": "ended", "ended_at": _WHEN, "results_url": url, "request_counts": counts}
    return batch
