"""Answers as they may look, for the OpenAPI document: by the names of operations. A test holds them to their shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TARGET = {
    "target": "openai/gpt-5",
    "dialect": "openai-chat",
    "key": "OPENAI_API_KEY",
    "state": "cooling down",
    "cooldown": {
        "scope": "key-model",
        "kind": "rate_limited",
        "why": "too many requests",
        "seconds_left": 27.5,
        "until": 1795600027.5,
    },
    "breaker": {"state": "closed", "failures": 0.0, "seconds_left": None},
    "quota": [{"limit_of": "requests", "limit": 500.0, "left": 12.0, "full_in": 48.0}],
    "in_flight": 3,
    "limit": None,
    "rate": None,
    "first_content": {"load": 0.62, "p95": 1.4},
    "continues": False,
}

_EXCHANGE = {
    "id": "ex_6b070b89",
    "wall": 1795600000.0,
    "route": "gpt-5",
    "dialect": "openai-chat",
    "model": "gpt-5",
    "stream": True,
    "outcome": "answered",
    "status": 200,
    "target": "anthropic/claude-opus-4-1",
    "key": "key_1a0682c9563f9928",
    "session": "s-17",
    "task": "summary",
    "end_user": "u-123",
    "tags": ["beta"],
    "tokens": {
        "input": 812,
        "output": 164,
        "cached_read": 0,
        "cached_write": 0,
        "reasoning": None,
        "estimated": False,
    },
    "cost": {"usd": 0.0245, "price_version": "0.2.3"},
    "first_content": 1.31,
    "total": 4.02,
    "seams": [],
    "attempts": 2,
}

_CLOCKS = {"connected": 0.03, "head": 0.41}
_UNHURT = {
    "fault": None,
    "fault_phase": None,
    "fault_status": None,
    "fault_code": None,
    "fault_message": "",
    "retry_after": None,
    "request_id": "req_2",
    "skipped": 0,
    "way": None,
}

_KEY = {
    "id": "key_1a0682c9563f9928",
    "name": "team-a",
    "owner": "ann",
    "role": "user",
    "hint": "CWyb",
    "disabled": False,
    "created": 1795600000.0,
    "expires": None,
    "used": "2026-11-25",
    "routes": ["gpt-5"],
    "store": None,
    "limits": ["requests=100/minute"],
    "budgets": ["usd=20/day"],
    "tags": {"team": "search"},
    "former_until": [],
    "spent": [
        {"unit": "usd", "per": "day", "zone": "UTC", "start": 1795564800.0, "spent": 3.27, "unpriced": 0},
    ],
}

_SECRET = {"key": _KEY, "secret": "understudy-…"}

_ROWS = {"attempts": 4, "losses": 0, "bodies": 6, "exchange_tags": 3, "feedback": 1, "events": 0, "exchanges": 3}

ANSWERS: Mapping[str, Any] = {
    "list_targets": {"targets": [_TARGET], "sharing": None, "limits": None},
    "command_target": {"targets": [_TARGET]},
    "list_events": {
        "events": [
            {
                "number": 1,
                "at": 1795600000.0,
                "what": "cooldown",
                "target": "openai/gpt-5",
                "scope": "key-model",
                "why": "too many requests",
                "seconds": 30.0,
            }
        ],
        "started": 1795590000.0,
    },
    "list_exchanges": {"exchanges": [_EXCHANGE], "next": "1795600000.0~ex_6b070b89"},
    "show_exchange": {
        "exchange": _EXCHANGE,
        "attempts": [
            {
                **_UNHURT,
                **_CLOCKS,
                "target": "openai/gpt-5",
                "started": 0.0,
                "ended": 0.42,
                "first_content": None,
                "reaction": "fail_over",
                "fault": "overloaded",
                "fault_phase": "head",
                "fault_status": 529,
                "fault_message": "Overloaded",
                "tokens": None,
                "cost": None,
                "losses": [],
            },
            {
                **_UNHURT,
                "target": "anthropic/claude-opus-4-1",
                "started": 0.42,
                "ended": 4.02,
                "connected": 0.45,
                "head": 1.2,
                "first_content": 1.31,
                "reaction": "answered",
                "tokens": _EXCHANGE["tokens"],
                "cost": _EXCHANGE["cost"],
                "losses": [{"field": "seed", "why": "has no such parameter", "kind": "dropped"}],
            },
        ],
        "events": [],
        "feedback": [{"id": "fb_1", "wall": 1795600100.0, "by": None, "score": 0.2, "label": "wrong"}],
        "bodies": [{"side": "request", "content_type": "application/json", "size": 3250, "kept": 3250}],
    },
    "read_body": {
        "side": "request",
        "content_type": "application/json",
        "size": 57,
        "kept": 57,
        "encoding": "utf-8",
        "data": '{"model":"gpt-5","messages":[{"role":"user","content":…}]}',
    },
    "sum_usage": {
        "usage": [
            {
                "group": {"route": "gpt-5"},
                "exchanges": 120,
                "answered": 118,
                "attempts": 125,
                "input": 90312,
                "output": 40100,
                "cached_read": 0,
                "cached_write": 0,
                "reasoning": 0,
                "usage_estimated": 1,
                "usage_unknown": 2,
                "cost_usd": 1.94,
                "cost_unknown": 2,
                "seconds": 411.5,
            }
        ]
    },
    "list_feedback": {
        "feedback": [
            {
                "id": "fb_1",
                "exchange": "ex_6b070b89",
                "wall": 1795600100.0,
                "by": None,
                "score": 0.2,
                "label": "wrong",
                "comment": None,
                "corrected": "Paris.",
            }
        ],
        "next": None,
    },
    "list_audit": {
        "audit": [
            {
                "id": "au_1",
                "wall": 1795600200.0,
                "actor": "key_1a0682c9563f9928",
                "action": "purge",
                "subject": "exchanges",
                "outcome": "done",
                "detail": {"deleted": _ROWS, "by": ["end_user"]},
            }
        ],
        "next": None,
    },
    "purge": {"confirmed": True, "rows": _ROWS, "left": 0},
    "show_ledger": {
        "queued": 3,
        "spooled": 0,
        "written": 120317,
        "lost": {},
        "lag": 0.02,
        "error": None,
        "database": "sqlite",
    },
    "list_keys": {"keys": [_KEY]},
    "create_key": _SECRET,
    "show_key": _KEY,
    "change_key": _KEY,
    "remove_key": {"id": "key_1a0682c9563f9928", "name": "team-a"},
    "rotate_key": _SECRET,
    "metrics": "understudy_exchanges_total 120.0\n",
    "give_feedback": {"id": "fb_1"},
}
