"""How a provider is told that the last turn of a request is its own and unfinished.

The turn stands last among the messages either way; some providers want a word more, or else they begin a new one. The
catalogue's `continues` says which (sources in its rows).
"""

from __future__ import annotations

from understudy.dialects.wire import dump, parse
from understudy.providers.catalogue import Continuation


def handed_over(body: bytes, how: Continuation) -> bytes:
    """An `openai-chat` request that ends with an assistant turn, as the provider wants it in order to go on."""
    if how == "prefill":
        return body
    request = parse(body)
    if how == "continue_final_message":
        request |= {"continue_final_message": True, "add_generation_prompt": False}
    else:
        request["messages"][-1]["partial" if how == "partial" else "prefix"] = True
    return dump(request)
