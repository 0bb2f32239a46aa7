"""Anthropic's errors: `{"type": "error", "error": {type, message}}`. The voice adds the request's id.

From Anthropic's pages on errors and rate limits, recorded traffic, and bodies that users quoted in public bug reports.
A limit's reset is a point in time, to be read against the header `date`.
"""

from __future__ import annotations

from typing import Any

from understudy.sim.refusals.row import Row, likewise, refusal
from understudy.sim.wire import Headers

_REQUEST = "invalid_request_error"
_RATE = "rate_limit_error"


def _error(kind: str, message: str, code: str | None = None) -> dict[str, Any]:
    details = {} if code is None else {"details": {"error_code": code}}
    return {"type": "error", "error": {"type": kind, "message": message, **details}}


def _limits(name: str, limit: str) -> Headers:
    """The headers of a limit that is used up."""
    start = f"anthropic-ratelimit-{name}-"
    return {"date": "{date}", start + "limit": limit, start + "remaining": "0", start + "reset": "{reset}"}


_RETRY: Headers = {"retry-after": "{retry}"}
_TOO_MANY = "This request would exceed your organization's rate limit of 50 requests per minute (model: {model})."

ANTHROPIC: tuple[Row, ...] = (
    likewise("conflict", 409, _error("conflict_error", "The resource is being changed by another request.")),
    likewise("rate-limit", 429, _error(_RATE, _TOO_MANY), _RETRY, _limits("requests", "50")),
    likewise("rate-limit-reset", 429, _error(_RATE, _TOO_MANY), _limits("requests", "50")),
    likewise("rate-limit-bare", 429, _error(_RATE, _TOO_MANY)),
    likewise("rate-limit-tokens", 429, _error(
        _RATE, "This request would exceed your organization's rate limit of 30,000 input tokens per minute "
        "(model: {model})."), _RETRY, _limits("input-tokens", "30000")),
    likewise("slow-down", 429, _error(_RATE, "Your organization's usage increased too quickly. Ramp up gradually.",
                                      "ramp_limit_exceeded"), _RETRY),
    likewise("retry-negative", 429, _error(_RATE, _TOO_MANY), {"retry-after": "-1"}),
    likewise("retry-huge", 429, _error(_RATE, _TOO_MANY), {"retry-after": "999999999"}),
    likewise("retry-nonsense", 429, _error(_RATE, _TOO_MANY), {"retry-after": "soon"}),
    likewise("payment-required", 402, _error("billing_error", "There is a problem with your billing information.")),
    likewise("credit-exhausted", 400, _error(
        _REQUEST, "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade "
        "or purchase credits.")),
    likewise("spend-limit", 429, _error(_RATE, "The spend limit of this organization has been reached.",
                                        "enforced_spend_limit_reached")),
    refusal(
        "spend-limit-400", 12, "400 with the date on which access comes back, as if the request were wrong", 400,
        _error(_REQUEST, "You have reached your specified API usage limits. You will regain access on 2099-01-01 at "
               "00:00 UTC.")),
    likewise("overloaded", 529, _error("overloaded_error", "Overloaded")),
    likewise("internal", 500, _error("api_error", "Internal server error")),
    likewise("upstream-timeout", 504, _error("timeout_error", "Request timed out while it was processed.")),
    likewise("invalid-key", 401, _error("authentication_error", "invalid x-api-key")),
    likewise("no-access", 403, _error("permission_error", "Your API key may not use the model {model}.")),
    likewise("not-found", 404, _error("not_found_error", "model: {model}")),
    likewise("malformed", 400, _error(_REQUEST, "messages.0.content: Field required")),
    likewise("context-length", 400, _error(_REQUEST, "prompt is too long: 210000 tokens > 200000 maximum")),
    likewise("body-too-large", 413, _error("request_too_large", "Request exceeds the maximum size")),
    refusal(
        "foreign-reasoning", 30, "400: a reasoning block of another model, or one that was changed", 400,
        _error(_REQUEST, "messages.1.content.0: `thinking` or `redacted_thinking` blocks in the latest assistant "
               "message cannot be modified. These blocks must remain as they were in the original response.")),
    likewise("no-prefill", 400, _error(
        _REQUEST, "This model does not support assistant message prefill. The conversation must end with a "
        "user message.")),
)  # fmt: skip
