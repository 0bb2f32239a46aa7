"""Usage out of recorded answers, where the folder `shared/material` is beside the checkout."""

import gzip
import json
import re
from pathlib import Path
from urllib.parse import unquote

from understudy import dialects
from understudy.canon import Started, Used
from understudy.dialects.wire import Malformed

MATERIAL = Path(__file__).parents[3] / "shared/material/exchanges.jsonl.gz"

DIALECTS = {
    "openai-chat": "openai-chat",
    "openai-responses": "openai-responses",
    "openai-completions": "openai-completions",
    "anthropic-messages": "anthropic-messages",
    "anthropic-on-vertex": "anthropic-messages",
    "gemini": "gemini",
    "bedrock-converse": "bedrock-converse",
    "cohere-v2-chat": "cohere-chat",
}

PROVIDERS = {
    "openai": "openai", "anthropic": "anthropic", "gemini": "gemini", "google": "gemini", "vertex": "vertex",
    "bedrock": "bedrock", "amazon-bedrock": "bedrock", "azure-openai": "azure", "azure": "azure", "azure-ai": "azure",
    "mistral": "mistral", "groq": "groq", "together": "together", "deepseek": "deepseek", "openrouter": "openrouter",
    "xai": "xai", "cerebras": "cerebras", "perplexity": "perplexity", "moonshotai": "moonshot", "zai": "zhipu",
    "cohere": "cohere",
}  # fmt: skip
"""The recordings' names of those vendors whose prices are listed, and ours."""


def recorded():
    """Provider, model asked for, model that answered, service tier, usage of each recorded answer that has any."""
    with gzip.open(MATERIAL, "rt") as lines:
        for line in lines:
            row = json.loads(line)
            if row["status"] != 200 or row["dialect"] not in DIALECTS or row["vendor"] not in PROVIDERS:
                continue
            try:
                answered_by, tier, usage = _read(dialects.get(DIALECTS[row["dialect"]]), row)
            except Malformed:
                continue
            model = row["model"] or _in_path(row["path"])
            if usage is not None and model:
                yield PROVIDERS[row["vendor"]], model, answered_by, tier, usage


def _in_path(path):
    """Gemini and Bedrock are told the model in the path."""
    found = re.search(r"/models?/([^/]+?)(?::(?:stream)?[gG]enerateContent|:(?:stream)?[rR]awPredict|/)", path + "/")
    return unquote(found[1]) if found else ""


def _read(dialect, row):
    if not row["stream"]:
        answer = dialect.decode_answer(json.dumps(row["body"]).encode())
        return answer.model, answer.service_tier, answer.usage
    answered_by, tier, usage = "", None, None
    decoder = dialect.StreamDecoder()
    for event in decoder.feed((row["body_text"] or "").encode()) + decoder.close():
        if isinstance(event, Started):
            answered_by, tier = event.model, event.service_tier
        elif isinstance(event, Used):
            usage = event.usage
    return answered_by, tier, usage
