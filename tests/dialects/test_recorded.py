"""Traffic that others recorded from real providers decodes and encodes back. Skips where the material is absent.

Streams are compared with an accumulation of the original chunks that shares no code with the decoder.
"""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.dialects.accumulate import accumulate
from understudy import dialects
from understudy.canon import Ended, Failed

MATERIAL = Path(__file__).parents[2].parent / "shared" / "material" / "exchanges.jsonl.gz"
NAME = "openai-chat"

REASONS = {
    "content-null": "A message always says `content`: absent becomes null, which OpenAI's schema requires.",
    "blank": 'A blank field of a chunk (null, "", [] or {}) says nothing and is not sent again.',
    "padding": "`obfuscation` (OpenAI) and `p` (Mistral) are noise against traffic analysis, moot once re-chunked.",
    "repeated-message": "Perplexity repeats the whole answer so far as `message` beside each `delta`.",
    "fault-in-choice": "A choice that holds an error (OpenRouter) is a failed stream, whatever its finish reason says.",
    "content-list": "Mistral's text parts in a stream's content come back as plain strings, which it sends as well.",
    "untyped-call": "A streamed tool call without `type` (Mistral) gets the `type` that the schema requires.",
    "indexed": "Calls sent without an index, or all under index 0, are numbered as the schema requires.",
    "role": "The first chunk of a choice names the role, as OpenAI's does, where a server left it out.",
}


def recorded() -> list[dict[str, Any]]:
    if not MATERIAL.exists():
        pytest.skip("recorded traffic is not here")
    with gzip.open(MATERIAL) as lines:
        rows = (json.loads(line) for line in lines if NAME.encode() in line)
        return [row for row in rows if row["dialect"] == NAME]


@pytest.fixture(scope="module")
def exchanges() -> list[dict[str, Any]]:
    return recorded()


def differences(old: Any, new: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            found
            for key in {**old, **new}
            for found in differences(old.get(key, "<absent>"), new.get(key, "<absent>"), f"{path}.{key}")
        ]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            found for i, pair in enumerate(zip(old, new, strict=True)) for found in differences(*pair, f"{path}[{i}]")
        ]
    return (
        []
        if (old == new and type(old) is type(new)) or (old == new and not isinstance(old, bool))
        else [(path, old, new)]
    )


def explain(difference: tuple[str, Any, Any]) -> str | None:
    path, old, new = difference
    if path.endswith(".content") and old == "<absent>" and new is None:
        return "content-null"
    return None


def tally(counts: Counter[str], what: str, identity: str, found: list[tuple[str, Any, Any]]) -> list[str]:
    reasons = {explain(difference) for difference in found}
    counts[f"{what}: " + ("exact" if not found else " + ".join(sorted(r or "UNEXPLAINED" for r in reasons)))] += 1
    return [f"{identity} {what} {d[0]}: {str(d[1])[:200]} -> {str(d[2])[:200]}" for d in found if explain(d) is None]


def test_every_recorded_request_comes_back_as_it_was(exchanges: list[dict[str, Any]]) -> None:
    dialect, counts, wrong = dialects.get(NAME), Counter[str](), []
    for row in exchanges:
        if row["request"] is None:
            continue
        body, losses = dialect.encode_request(dialect.decode_request(json.dumps(row["request"]).encode()))
        assert losses == (), (row["id"], losses)
        wrong += tally(counts, "request", row["id"], differences(row["request"], json.loads(body)))
    print(dict(counts))
    assert not wrong, "\n".join(wrong[:20])


def test_every_recorded_answer_comes_back_as_it_was(exchanges: list[dict[str, Any]]) -> None:
    dialect, counts, wrong = dialects.get(NAME), Counter[str](), []
    for row in exchanges:
        if row["wire"] != "json" or "choices" not in row["body"]:
            continue
        body, losses = dialect.encode_answer(dialect.decode_answer(json.dumps(row["body"]).encode()))
        assert losses == (), (row["id"], losses)
        wrong += tally(counts, "answer", row["id"], differences(row["body"], json.loads(body)))
    print(dict(counts))
    assert not wrong, "\n".join(wrong[:20])


def test_every_recorded_stream_comes_back_field_by_field(exchanges: list[dict[str, Any]]) -> None:
    dialect, counts, wrong = dialects.get(NAME), Counter[str](), []
    for row in exchanges:
        if row["wire"] != "sse":
            continue
        decoder, encoder = dialect.StreamDecoder(), dialect.StreamEncoder()
        events = decoder.feed(row["body_text"].encode()) + decoder.close()
        text = b"".join(encoder.encode(event) for event in events).decode()
        reasons: set[str] = set()
        old, new = accumulate(row["body_text"], reasons), accumulate(text, set())
        finished = all("finish_reason" in choice["rest"] for choice in old["choices"].values()) and old["choices"]
        failed = bool(old["error"]) or not finished
        assert isinstance(events[-1], Failed if failed else Ended), (row["id"], events[-1])
        assert sum(isinstance(event, Failed | Ended) for event in events) == 1
        assert new["done"] is not failed
        assert bool(new["error"]) is failed
        assert encoder.losses == []
        for total in (old, new):
            for key in ("done", "error"):
                del total[key]
            for choice in total["choices"].values():
                for call in choice["calls"]:
                    del call["wire"]
                if failed:  # a held finish is not sent once the stream has failed
                    choice["rest"].pop("finish_reason", None)
                    choice["rest"].pop("native_finish_reason", None)
        assert reasons <= REASONS.keys()
        if failed:
            old["choices"] = {i: c for i, c in old["choices"].items() if c["text"] or c["calls"] or i in new["choices"]}
        found = differences(old, new)
        counts["stream: " + ("UNEXPLAINED" if found else " + ".join(sorted(reasons)) or "exact")] += 1
        counts["streams that failed"] += failed
        wrong += [f"{row['id']} {row['vendor']} {d[0]}: {str(d[1])[:160]} -> {str(d[2])[:160]}" for d in found]
    print(dict(counts))
    assert not wrong, "\n".join(wrong[:40])


def test_every_recorded_error_keeps_its_structured_fields(exchanges: list[dict[str, Any]]) -> None:
    dialect, counts = dialects.get(NAME), Counter[str]()
    for row in exchanges:
        if row["wire"] != "empty" and (row["wire"] != "json" or "choices" in row["body"]):
            continue
        headers = {key.lower(): str(value) for key, value in (row["headers"] or {}).items()}
        body = b"" if row["body"] is None else json.dumps(row["body"]).encode()
        fault = dialect.decode_fault(row["status"], headers, body)
        status, _, again = dialect.encode_fault(fault)
        said = json.loads(again)["error"]
        known = strings(row["body"]) if body else set()
        assert fault.kind == "unknown"
        if row["status"] >= 400:
            assert fault.status == row["status"]
        if known:
            assert fault.message
            assert said["message"] == fault.message
        for field in ("message", "type", "param", "code"):
            value = getattr(fault, field)
            assert value is None or value in known or (field == "message" and not value), (row["id"], field, value)
            outer = row["body"].get("error") if known else None
            if isinstance(outer, dict) and outer.get(field) is not None and "metadata" not in outer:
                assert str(outer[field]) == said[field]
        assert status >= 400
        counts[f"error: {'with' if known else 'without'} a body"] += 1
    print(dict(counts))
    assert sum(counts.values())


def strings(value: Any) -> set[str]:
    """Every text and number in a JSON value, that in OpenRouter's `raw` too."""
    if isinstance(value, dict):
        return set().union(*(strings(item) for item in value.values())) if value else set()
    if isinstance(value, list):
        return set().union(*(strings(item) for item in value)) if value else set()
    if isinstance(value, str) and value.startswith("{"):
        return strings(json.loads(value)) | {value}
    return {str(value)}
