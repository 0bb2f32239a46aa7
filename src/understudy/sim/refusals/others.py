"""The errors of Cohere (`{"message"}`), Ollama (`{"error": "text"}`), Bedrock (a header says which), and Responses.

From Cohere's page on errors, Ollama's source and public bug reports, the service model in botocore and Bedrock's page
on error codes, and recorded traffic.
"""

from __future__ import annotations

from understudy.sim.refusals.row import Row, likewise, refusal
from understudy.sim.wire import Headers, error

_UPGRADE = "https://ollama.com/upgrade"


def _cohere(name: str, status: int, message: str, kind: str | None = None, headers: Headers | None = None) -> Row:
    return likewise(name, status, {"message": message, **({"error_type": kind} if kind else {})}, headers or {})


_PAST_LIMIT = "You are past the per minute request limit, please wait and try again later."

COHERE: tuple[Row, ...] = (
    _cohere("rate-limit", 429, _PAST_LIMIT, headers={"retry-after": "{retry}"}),
    _cohere("rate-limit-bare", 429, _PAST_LIMIT),
    _cohere("rate-limit-tokens", 429, "trial token rate limit exceeded, limit is 100000 tokens per minute"),
    refusal(
        "trial-cap", 8, "the month's calls of a trial key are used up", 429,
        {"message": "You are using a Trial key, which is limited to 1000 API calls / month. You can continue to use "
         "the Trial key for free or upgrade to a Production key with higher rate limits."}),
    _cohere("payment-required", 402, "Please add or update your payment method at https://dashboard.cohere.com/billing"),
    _cohere("invalid-key", 401, "invalid api token"),
    refusal("blocked-text", 32, "498: the text has something of the deny list in it", 498, {"message": "unsafe text"}),
    _cohere("not-found", 404, "model '{model}' not found, make sure the correct model ID was used and that you have "
            "access to the model."),
    _cohere("retired", 400, "model '{model}' was removed on September 15, 2025. See "
            "https://docs.cohere.com/docs/models for models that are available."),
    refusal("parameter-retired", 24, "400: a parameter that the API no longer has", 400,
            {"message": "parameter 'connectors' was removed on September 15, 2025."}),
    _cohere("malformed", 400, "invalid request: message must be at least 1 token long or tool results must be "
            "specified."),
    _cohere("unprocessable", 422, "invalid type: parameter messages is of type object but should be of type array."),
    _cohere("context-length", 400, "too many tokens: size limit exceeded by 11326 tokens. Try using shorter or fewer "
            "inputs.", "TOO_MANY_TOKENS"),
    _cohere("overloaded", 503, "The service is overloaded, please try again later."),
    _cohere("internal", 500, "internal server error, this has been reported to our developers."),
    _cohere("upstream-timeout", 504, "timeout, please try again."),
)  # fmt: skip

OLLAMA: tuple[Row, ...] = (
    likewise("rate-limit", 429, {"error": "too many concurrent requests"}),
    likewise("trial-cap", 429, {"error": f"you have reached your session usage limit, upgrade for higher limits: "
                                f"{_UPGRADE}"}),
    likewise("overloaded", 503, {"error": "server busy, please try again.  maximum pending requests exceeded"}),
    likewise("internal", 500, {"error": "model runner has unexpectedly stopped, this may be due to resource limitations"
                               " or an internal error, check ollama server logs for details"}),
    likewise("invalid-key", 401, {"error": "unauthorized"}),
    likewise("no-access", 403, {"error": f"this model requires a subscription, upgrade for access: {_UPGRADE}"}),
    likewise("not-found", 404, {"error": "model '{model}' not found"}),
    likewise("unsupported-parameter", 400, {"error": "registry.ollama.ai/library/{model} does not support tools"}),
    likewise("malformed", 400, {"error": "invalid character 'x' looking for beginning of value"}),
    likewise("context-length", 400, {"error": "prompt too long; exceeded max context length by 4096 tokens"}),
)  # fmt: skip


def _aws(name: str, status: int, kind: str, message: str) -> Row:
    return likewise(name, status, {"message": message}, {"x-amzn-errortype": kind})


_INVALID = "ValidationException"
_DAY = "Too many tokens per day, please wait before trying again."

BEDROCK: tuple[Row, ...] = (
    _aws("rate-limit", 429, "ThrottlingException", "Too many requests, please wait before trying again."),
    _aws("rate-limit-tokens", 429, "ThrottlingException", "Too many tokens, please wait before trying again."),
    _aws("daily-quota", 429, "ThrottlingException", _DAY),
    _aws("overloaded", 503, "ServiceUnavailableException", "Bedrock is unable to process your request."),
    _aws("loading", 429, "ModelNotReadyException", "Model is not ready for inference. Wait and try again."),
    _aws("internal", 500, "InternalServerException", "The system encountered an unexpected error during processing."),
    _aws("upstream-error", 424, "ModelErrorException", "The model failed while it processed the request."),
    _aws("upstream-timeout", 408, "ModelTimeoutException", "Model has timed out in processing the request."),
    _aws("invalid-key", 403, "UnrecognizedClientException", "The security token included in the request is invalid."),
    _aws("no-access", 403, "AccessDeniedException", "You don't have access to the model with the specified model ID."),
    _aws("not-found", 404, "ResourceNotFoundException", "Could not resolve the foundation model from {model}."),
    _aws("malformed", 400, _INVALID, "A conversation must start with a user message."),
    _aws("context-length", 400, _INVALID, "Input is too long for requested model."),
    _aws("no-prefill", 400, _INVALID, "The model returned the following errors: This model does not support assistant "
         "message prefill. The conversation must end with a user message."),
)  # fmt: skip

RESPONSES: tuple[Row, ...] = (
    likewise("foreign-reasoning", 400, error(
        "The encrypted content c2lt...ZWQ= could not be verified.", "invalid_request_error",
        "invalid_encrypted_content")),
    refusal(
        "remote-state", 31, "400 `previous_response_not_found`: the state is another account's, or gone", 400,
        error("Previous response with id 'resp_simulated' not found.", "invalid_request_error",
              "previous_response_not_found", "previous_response_id")),
)  # fmt: skip
