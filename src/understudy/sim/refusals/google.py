"""Gemini's errors: Google's `{"error": {code, message, status, details}}`.

From Google's page on troubleshooting the Gemini API, recorded traffic, and bodies that users quoted in public bug
reports. A wrong key is a 400, a day's quota differs from a minute's by the name of the quota alone.
"""

from __future__ import annotations

from typing import Any

from understudy.sim.refusals.row import Row, likewise, refusal

_TYPES = "type.googleapis.com/google.rpc."
_QUOTA = ("You exceeded your current quota, please check your plan and billing details. For more information on this "
          "error, head to: https://ai.google.dev/gemini-api/docs/rate-limits.")  # fmt: skip
_EXHAUSTED = "RESOURCE_EXHAUSTED"
_INVALID = "INVALID_ARGUMENT"
_DENIED = "PERMISSION_DENIED"


def _error(code: int, status: str, message: str, *details: dict[str, Any]) -> dict[str, Any]:
    said = {"code": code, "message": message, "status": status}
    return {"error": {**said, "details": [*details]} if details else said}


def _quota(metric: str, name: str, value: str) -> dict[str, Any]:
    violation = {
        "quotaMetric": f"generativelanguage.googleapis.com/{metric}", "quotaId": name,
        "quotaDimensions": {"location": "global", "model": "{model}"}, "quotaValue": value,
    }  # fmt: skip
    return {"@type": f"{_TYPES}QuotaFailure", "violations": [violation]}


_REQUESTS = "generate_content_free_tier_requests"
_TOKENS = "generate_content_free_tier_input_token_count"
_AFTER = {"@type": f"{_TYPES}RetryInfo", "retryDelay": "{retry}s"}

GOOGLE: tuple[Row, ...] = (
    likewise("rate-limit", 429, _error(
        429, _EXHAUSTED, _QUOTA, _quota(_REQUESTS, "GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "15"),
        _AFTER)),
    likewise("rate-limit-bare", 429, _error(
        429, _EXHAUSTED, "Resource exhausted. Please try again later. Please refer to "
        "https://cloud.google.com/vertex-ai/generative-ai/docs/error-code-429 for more details.")),
    likewise("rate-limit-tokens", 429, _error(
        429, _EXHAUSTED, _QUOTA, _quota(_TOKENS, "GenerateContentInputTokensPerModelPerMinute-FreeTier", "250000"),
        _AFTER)),
    refusal(
        "daily-quota", 7, "the day's quota is used up, though the answer says to try again in `retry` seconds", 429,
        _error(429, _EXHAUSTED, _QUOTA, _quota(_REQUESTS, "GenerateRequestsPerDayPerProjectPerModel-FreeTier", "20"),
               _AFTER), retry=22.0),
    likewise("overloaded", 503, _error(503, "UNAVAILABLE", "The model is overloaded. Please try again later.")),
    likewise("internal", 500, _error(500, "INTERNAL", "An internal error has occurred. Please retry.")),
    likewise("upstream-timeout", 504, _error(504, "DEADLINE_EXCEEDED", "Deadline expired before the operation could "
                                             "complete.")),
    likewise("invalid-key", 400, _error(
        400, _INVALID, "API key not valid. Please pass a valid API key.",
        {"@type": f"{_TYPES}ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com",
         "metadata": {"service": "generativelanguage.googleapis.com"}})),
    refusal("leaked-key", 18, "403: the key was found in public and blocked", 403,
            _error(403, _DENIED, "Your API key was reported as leaked. Please use another API key.")),
    refusal("project-denied", 18, "403: the project was shut out", 403,
            _error(403, _DENIED, "Your project has been denied access. Please contact support.")),
    likewise("region", 400, _error(400, "FAILED_PRECONDITION", "User location is not supported for the API use.")),
    likewise("no-access", 403, _error(403, _DENIED, "The caller does not have permission")),
    likewise("not-found", 404, _error(
        404, "NOT_FOUND", "models/{model} is not found for API version v1beta, or is not supported for "
        "generateContent. Call ListModels to see the list of available models and their supported methods.")),
    likewise("malformed", 400, _error(400, _INVALID, "Please use a valid role: user, model.")),
    likewise("context-length", 400, _error(
        400, _INVALID, "The input token count (1250074) exceeds the maximum number of tokens allowed (1048576).")),
    likewise("no-prefill", 400, _error(400, _INVALID, "Requests ending with a model turn are not supported.")),
)  # fmt: skip
