"""Errors of the providers that speak `openai-chat`, and what a server or proxy of any provider may send.

The shapes come from recorded traffic, the providers' documentation, and bodies that users quoted in public bug
reports, in our own words where the words do not matter. They do matter where the table of faults tells two faults
apart by an anchored phrase of the message ("Request too large"): there the phrase is the provider's. A row whose
status is documented but whose body or code we have not seen from the provider itself has a † in its summary: do not
take it for evidence. `{model}` and `{retry}` are filled in.
"""

from __future__ import annotations

from typing import Any

from understudy.sim.refusals.row import Row, refusal
from understudy.sim.wire import Headers, error

Json = dict[str, Any]

_HTML: Headers = {"content-type": "text/html; charset=UTF-8"}
_TEXT: Headers = {"content-type": "text/plain; charset=utf-8"}
_REQUEST = "invalid_request_error"
_RATE_CODE = "rate_limit_exceeded"
_QUOTA = "insufficient_quota"


def _page(status: int, title: str, server: str) -> str:
    return (
        f"<html>\r\n<head><title>{status} {title}</title></head>\r\n<body>\r\n<center><h1>{status} {title}</h1>"
        f"</center>\r\n<hr><center>{server}</center>\r\n</body>\r\n</html>\r\n"
    )


def _limits(kind: str, limit: str, reset: str) -> Headers:
    """OpenAI's rate limit headers with one of the two limits, `requests` or `tokens`, used up."""
    full = {"requests": ("500", "499", "120ms"), "tokens": ("30000", "29000", "2s")}
    full[kind] = (limit, "0", reset)
    return {
        f"x-ratelimit-{field}-{name}": full[name][place]
        for place, field in enumerate(("limit", "remaining", "reset"))
        for name in full
    }


def _groq(message: str, kind: str, code: str) -> Json:
    """Groq's error body: OpenAI's without `param`."""
    return {"error": {"message": message, "type": kind, "code": code}}


_RETRY_AFTER: Headers = {"retry-after": "{retry}"}

_RATE = (
    refusal(
        "rate-limit", 5, "429 requests per minute, with `retry-after` (seconds) and OpenAI's headers", 429,
        error("Rate limit reached for {model} in organization org-simulated on requests per min (RPM): Limit 500, "
              "Used 500, Requested 1. Please try again in {retry}s. "
              "Visit https://platform.openai.com/account/rate-limits to learn more.", "requests", _RATE_CODE),
        {**_RETRY_AFTER, **_limits("requests", "500", "{retry}s")}, retry=20.0),
    refusal(
        "rate-limit-reset", 5, "429 requests per minute, only `x-ratelimit-reset-requests: 12ms` says when", 429,
        error("Rate limit reached for {model} on requests per min (RPM): Limit 500, Used 500, Requested 1.",
              "requests", _RATE_CODE),
        _limits("requests", "500", "12ms")),
    refusal(
        "rate-limit-bare", 5, "429 requests per minute without any header about it", 429,
        error("Rate limit reached for {model} on requests per min (RPM): Limit 3, Used 3, Requested 1.",
              "requests", _RATE_CODE)),
    refusal(
        "rate-limit-tokens", 6, "429 tokens per minute, with `retry-after` and OpenAI's token headers", 429,
        error("Rate limit reached for {model} in organization org-simulated on tokens per min (TPM): Limit 30000, "
              "Used 29950, Requested 1200. Please try again in {retry}s. "
              "Visit https://platform.openai.com/account/rate-limits to learn more.", "tokens", _RATE_CODE),
        {**_RETRY_AFTER, **_limits("tokens", "30000", "{retry}s")}, retry=2.0),
    refusal(
        "request-too-large", 9, "429 \"Request too large\": more tokens than a minute's whole limit", 429,
        error("Request too large for {model} in organization org-simulated on tokens per min (TPM): Limit 30000, "
              "Requested 37313. The input or output tokens must be reduced in order to run successfully. "
              "Visit https://platform.openai.com/account/rate-limits to learn more.", "tokens", _RATE_CODE),
        _limits("tokens", "30000", "0s")),
    refusal(
        "slow-down", 10, "429 `slow_down`: the load grew too fast", 429,
        error("Your request rate increased too quickly. Slow down, then increase it gradually.",
              "rate_limit_error", "slow_down"), _RETRY_AFTER, retry=20.0),
    refusal(
        "slow-down-503", 10, "503 `slow_down`, as it was before †", 503,
        error("Slow down: your request rate increased too quickly.", "service_unavailable_error", "slow_down")),
    refusal(
        "retry-negative", 51, "429 with `retry-after: -1` and Azure's limits of -1 †", 429,
        error("Rate limit reached for {model} on requests per min (RPM).", "requests", _RATE_CODE),
        {"retry-after": "-1", "x-ratelimit-limit-tokens": "-1", "x-ratelimit-remaining-tokens": "-1",
         "x-ratelimit-reset-tokens": "0"}),
    refusal(
        "retry-huge", 51, "429 with a `retry-after` of 31 years", 429,
        error("Rate limit reached for {model} on requests per min (RPM).", "requests", _RATE_CODE),
        {"retry-after": "999999999"}),
    refusal(
        "retry-nonsense", 51, "429 with a `retry-after` that is neither a number nor a date", 429,
        error("Rate limit reached for {model} on requests per min (RPM).", "requests", _RATE_CODE),
        {"retry-after": "soon", "x-ratelimit-reset-requests": "NaN"}),
)  # fmt: skip

_MONEY = (
    refusal(
        "insufficient-quota", 11, "429 `insufficient_quota`: no credit left", 429,
        error("You exceeded your current quota, please check your plan and billing details. For more information on "
              "this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
              _QUOTA, _QUOTA)),
    refusal(
        "credit-exhausted", 11, "429 `credit_balance_exhausted`: prepaid credit used up", 429,
        error("Your organization has no prepaid credits remaining.", _QUOTA, "credit_balance_exhausted")),
    refusal(
        "spend-limit", 12, "429 `project_spend_limit_exceeded`: a limit the owner set", 429,
        error("The project has reached its enforced spend limit.", _QUOTA, "project_spend_limit_exceeded")),
)  # fmt: skip

_ACCESS = (
    refusal(
        "invalid-key", 17, "401 `invalid_api_key`", 401,
        error("Incorrect API key provided: sk-simul*****ated. You can find your API key at "
              "https://platform.openai.com/account/api-keys.", _REQUEST, "invalid_api_key")),
    refusal(
        "account-closed", 19, "401 `account_deactivated`", 401,
        error("The OpenAI account associated with this API key has been deactivated.", _REQUEST,
              "account_deactivated")),
    refusal(
        "ip-not-authorized", 20, '401 "IP not authorized": our address is not on the allow list †', 401,
        error("IP not authorized: the request IP does not match the configured IP allowlist.", _REQUEST,
              "ip_not_authorized")),
    refusal(
        "region", 21, "403 `unsupported_country_region_territory`", 403,
        error("Country, region, or territory not supported", "request_forbidden",
              "unsupported_country_region_territory")),
    refusal(
        "no-access", 22, "403: the project may not use this model", 403,
        error("Project `proj_simulated` does not have access to model `{model}`", _REQUEST, "model_not_found")),
    refusal(
        "sample-forbidden", 22, '403 with `code` null: "You are not allowed to sample from this model"', 403,
        error("You are not allowed to sample from this model", _REQUEST)),
    refusal(
        "not-found", 23, "404 `model_not_found`", 404,
        error("The model `{model}` does not exist or you do not have access to it.", _REQUEST, "model_not_found")),
    refusal(
        "retired", 23, "404 `model_not_found`: the model has been deprecated", 404,
        error("The model `{model}` has been deprecated, learn more here: "
              "https://platform.openai.com/docs/deprecations", _REQUEST, "model_not_found")),
)  # fmt: skip

_REQUESTS = (
    refusal(
        "unsupported-parameter", 24, "400 `unsupported_parameter`: this model does not take `max_tokens`", 400,
        error("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
              "instead.", _REQUEST, "unsupported_parameter", "max_tokens")),
    refusal(
        "malformed", 25, "400: the request is wrong, and the field is named", 400,
        error("Missing required parameter: 'messages[1].content[0].type'.", _REQUEST, "missing_required_parameter",
              "messages[1].content[0].type")),
    refusal(
        "context-length", 27, "400 `context_length_exceeded`", 400,
        error("This model's maximum context length is 8192 tokens. However, your messages resulted in 9025 tokens. "
              "Please reduce the length of the messages.", _REQUEST, "context_length_exceeded", "messages")),
    refusal("body-too-large", 28, "413: too many bytes †", 413,
             error("The request body is too large.", _REQUEST, "request_too_large")),
    refusal(
        "content-policy", 32, "400 `content_policy_violation`, as OpenAI sends it for images †", 400,
        error("Your request was rejected as a result of our safety system.", _REQUEST, "content_policy_violation")),
    refusal(
        "invalid-prompt", 32, "400 `invalid_prompt`: the prompt was flagged, as OpenAI's newer models do it", 400,
        error("Invalid prompt: your prompt was flagged as potentially violating our usage policy. Please try again "
              "with a different prompt.", _REQUEST, "invalid_prompt")),
)  # fmt: skip

_SERVER = (
    refusal("timeout", 4, "408 †", 408, error("Request timed out.", _REQUEST)),
    refusal("conflict", 4, "409: a lock †", 409, error("The resource is locked by another request.", _REQUEST)),
    refusal(
        "overloaded", 13, "503 `server_is_overloaded`", 503,
        error("Our servers are currently overloaded. Please try again later.", "service_unavailable_error",
              "server_is_overloaded")),
    refusal(
        "internal", 14, "500 `server_error`", 500,
        error("The server had an error while processing your request. Sorry about that!", "server_error")),
    refusal("upstream-timeout", 15, "504 with a JSON body †", 504,
             error("The upstream provider timed out.", "timeout", "upstream_timeout")),
)  # fmt: skip

COMPATIBLE: tuple[Row, ...] = (
    refusal("loading", 13, '503 "Loading model", as llama.cpp sends it while it starts', 503,
             {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}),
    refusal("capacity-groq", 13, "498 `capacity_exceeded`, as Groq sends it for its flex tier †", 498,
             _groq("Flex tier capacity exceeded.", "capacity_exceeded", "capacity_exceeded")),
    refusal("internal-vllm", 14, "500 as plain text, as an ASGI server sends it", 500, "Internal Server Error", _TEXT),
    refusal("error-200", 34, "200, but the JSON body is an error, streamed or not", 200,
             {"error": {"message": "Provider returned error", "code": 502,
                        "metadata": {"provider_name": "Simulated"}}}),
    refusal(
        "rate-limit-azure", 5, '429 as Azure OpenAI sends it: `code` "429", `retry-after` and `retry-after-ms`', 429,
        {"error": {"code": "429", "message": "Requests to the ChatCompletions_Create Operation under Azure OpenAI API "
                   "version 2024-10-21 have exceeded call rate limit of your current OpenAI S0 pricing tier. "
                   "Please retry after {retry} seconds."}},
        {**_RETRY_AFTER, "retry-after-ms": "{retry}000"}, retry=20.0),
    refusal(
        "rate-limit-openrouter", 5, "429 as OpenRouter sends it: numeric `code`, `x-ratelimit-reset` in Unix ms", 429,
        {"error": {"message": "Rate limit exceeded: limit_rpm/{model}. Please retry shortly.", "code": 429,
                   "metadata": {"headers": {"X-RateLimit-Limit": "20", "X-RateLimit-Remaining": "0",
                                            "X-RateLimit-Reset": "1767225600000"}, "provider_name": None}},
         "user_id": "user_simulated"},
        {"x-ratelimit-limit": "20", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1767225600000"}),
    refusal(
        "rate-limit-day", 7, "429 tokens per day as Groq sends it: the reset is hours away", 429,
        _groq("Rate limit reached for model `{model}` in organization `org_simulated` service tier `on_demand` on "
              "tokens per day (TPD): Limit 100000, Used 99990, Requested 500. Please try again in 7h12m0s.",
              "tokens", _RATE_CODE),
        {"retry-after": "25920", "x-ratelimit-limit-requests": "1000", "x-ratelimit-remaining-requests": "900",
         "x-ratelimit-reset-requests": "24m28.8s"}),
    refusal(
        "request-too-large-groq", 9, "the same as Groq sends it: 413", 413,
        _groq("Request too large for model `{model}` in organization `org_simulated` service tier `on_demand` on "
              "tokens per minute (TPM): Limit 6000, Requested 7042, please reduce your message size and try again.",
              "tokens", _RATE_CODE)),
    refusal(
        "payment-required", 11, "402 as OpenRouter and DeepSeek send it: no credit left", 402,
        {"error": {"message": "Insufficient credits. Add more credits and retry the request.", "code": 402}}),
    refusal(
        "invalid-key-openrouter", 17, "401 with a numeric `code` and no `type`, as OpenRouter sends it", 401,
        {"error": {"message": "User not found.", "code": 401}}),
    refusal("invalid-key-mistral", 17, "401 with `detail` alone, as Mistral sends it", 401,
             {"detail": "Invalid API Key"}),
    refusal("invalid-key-vllm", 17, "401 with a bare string as `error`, as vLLM sends it †", 401,
             {"error": "Unauthorized"}),
    refusal(
        "not-found-vllm", 23, '404 as vLLM sends it: `object` "error", no `error`', 404,
        {"object": "error", "message": "The model `{model}` does not exist.", "type": "NotFoundError", "param": None,
         "code": 404}),
    refusal(
        "not-found-azure", 23, "404 `DeploymentNotFound`, as Azure sends it", 404,
        {"error": {"type": _REQUEST, "code": "DeploymentNotFound", "message": "The API deployment for this resource "
                   "does not exist. If you created the deployment within the last 5 minutes, please wait a moment and "
                   "try again."}}),
    refusal("malformed-xai", 25, "400 with strings as `code` and `error`, as xAI sends it", 400,
             {"code": "Client specified an invalid argument",
              "error": "Model {model} does not support parameter reasoningEffort."}),
    refusal(
        "unprocessable", 25, "422 with FastAPI's `detail` list, as self-hosted servers send it †", 422,
        {"detail": [{"type": "string_type", "loc": ["body", "tool_choice"], "msg": "Input should be a valid string",
                     "input": {"type": "function"}}]}),
    refusal(
        "context-length-llamacpp", 27, "400 `exceed_context_size_error` with both sizes, as llama.cpp sends it", 400,
        {"error": {"code": 400, "message": "request (4476 tokens) exceeds the available context size (4096 tokens), "
                   "try increasing it", "type": "exceed_context_size_error", "n_prompt_tokens": 4476, "n_ctx": 4096}}),
    refusal(
        "context-length-vllm", 27, "400 as vLLM sends it: type `BadRequestError`, no code to tell it by", 400,
        error("This model's maximum context length is 8192 tokens. However, you requested 9025 tokens (8925 in the "
              "messages, 100 in the completion). Please reduce the length of the messages or completion.",
              "BadRequestError", 400)),
    refusal(
        "content-policy-azure", 32, "400 `content_filter` with `innererror`, as Azure sends it", 400,
        {"error": {"message": "The response was filtered due to the prompt triggering Azure OpenAI's content "
                   "management policy. Please modify your prompt and retry.", "type": None, "param": "prompt",
                   "code": "content_filter", "status": 400, "innererror": {
                       "code": "ResponsibleAIPolicyViolation", "content_filter_result": {
                           "hate": {"filtered": False, "severity": "safe"},
                           "violence": {"filtered": True, "severity": "high"}}}}}),
    refusal("upstream-error", 14, '502 "Provider returned error" with the raw error inside, as OpenRouter sends it',
             502, {"error": {"message": "Provider returned error", "code": 502,
                             "metadata": {"provider_name": "Simulated", "raw": "upstream connect error"}}}),
    refusal("overloaded-529", 13, "529: overload, as some compatible providers number it †", 529,
             error("Overloaded", "overloaded_error")),
    refusal(
        "no-prefill", 29, "400 to a trailing assistant turn; answers others, and goes on where asked in words", 400,
        {"error": {"code": 400, "message": "Assistant response prefill is incompatible with enable_thinking.",
                   "type": _REQUEST}}),
)  # fmt: skip
"""What compatible servers send otherwise than OpenAI does; in `openai-chat` alone."""

ANYWHERE: tuple[Row, ...] = (
    refusal("body-too-large-html", 28, "413 as a page of nginx, as a proxy before the provider sends it", 413,
             _page(413, "Request Entity Too Large", "nginx"), _HTML),
    refusal("html-502", 16, "502 as a page of nginx", 502, _page(502, "Bad Gateway", "nginx"), _HTML),
    refusal("html-503", 16, "503 as a page of a CDN", 503, _page(503, "Service Temporarily Unavailable", "cloudflare"),
             {**_HTML, "server": "cloudflare", "cf-ray": "8f0000000000dead-AMS"}),
    refusal("html-504", 16, "504 as a page of nginx", 504, _page(504, "Gateway Time-out", "nginx"), _HTML),
    refusal("html-200", 16, "200, but a page: somebody's login form", 200,
             "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Sign in to continue</body></html>\n",
             _HTML),
    refusal("html-403", 16, "403 as a page: blocked by the CDN before the provider", 403,
             _page(403, "Forbidden", "cloudflare"), {**_HTML, "server": "cloudflare"}),
    refusal("redirect", None, "302 to another address", 302, "", {**_TEXT, "location": "http://127.0.0.1:9/elsewhere"}),
    refusal("unknown-error", 53, "418 with a JSON body that no provider is known to send", 418,
             {"fault": {"what": "teapot", "why": ["short", "stout"]}}),
    refusal("null-body", 53, "500 with `null` as its body", 500, "null"),
    refusal("empty-body", 53, "500 with no body at all", 500, ""),
)  # fmt: skip
"""What comes from a server or proxy before the provider: the same in all dialects."""

OPENAI: tuple[Row, ...] = (*_RATE, *_MONEY, *_ACCESS, *_REQUESTS, *_SERVER)
