"""What tests of operations beside chat share: simulated providers of every dialect that has them, and routes."""

import base64
import json
import struct

from tests.gateway.sockets import Provider, answer

KEY = "gateway-key"
DIALECTS = {"openai-chat": "/v1", "openai-responses": "/v1", "cohere-chat": "", "gemini": "", "ollama": ""}
VERTEX = "/v1beta1/projects/p/locations/l/publishers/google"
PROVIDERS = [*DIALECTS, "cloud"]


def provider(name, dialect, base):
    return f'[providers.{name}]\ndialect = "{dialect}"\nbase_url = "{base}"\napi_key = "x"\ncooldown = false\n'


def config():
    text = f'[server]\nkeys = ["{KEY}"]\n[defaults]\nretries = 0\nanswer_timeout = 5\n'
    for dialect, base in DIALECTS.items():
        text += provider(dialect, dialect, "{root}" + base) + provider(f"other-{dialect}", dialect, "{other}" + base)
        text += f'[routes.moves-{dialect}]\ntargets = ["first/m", "other-{dialect}/m"]\n'
    text += provider("cloud", "gemini", "{root}" + VERTEX)
    text += provider("first", "openai-chat", "{a}")
    text += provider("anthropic", "anthropic-messages", "{root}")
    return (
        text
        + """
[routes.quick]
targets = ["first/m", "other-gemini/m"]
answer_timeout = 1
[routes.no-vectors]
targets = ["anthropic/m"]
[routes.half]
targets = ["anthropic/m", "other-cohere-chat/m"]
[routes.weighted]
targets = ["anthropic/m", "first/m", "other-openai-chat/n", "other-gemini/m"]
order = "weighted"
weights = [1, 2, 3, 4]
[routes.spaces]
targets = ["first/m", "other-openai-chat/n"]
[routes.any-space]
targets = ["first/m", "other-openai-chat/n"]
other_vector_space = true
[routes.strict]
targets = ["cohere-chat/e"]
strict = true
[routes.moderates]
targets = ["first/m", "anthropic/m", "other-openai-chat/n"]
"""
    )


def post(gateway, path, body, **headers):
    return gateway.http.post(path, json=body, headers={"authorization": f"Bearer {KEY}", **headers})


def floats(text):
    data = base64.b64decode(text)
    return list(struct.unpack(f"<{len(data) // 4}f", data))


def told(body):
    return answer(body=json.dumps(body).encode())


def single(reply, dialect="openai-chat", base="{url}", route=""):
    """A gateway with one provider that answers `reply`, and that provider."""
    provider_ = Provider(reply)
    return provider_, provider("one", dialect, base.replace("{url}", provider_.url)) + (
        "[defaults]\nretries = 0\nanswer_timeout = 5\n" + route
    )


def data(*vectors, **more):
    entries = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
    return {"object": "list", "data": entries, "model": "x", "usage": {"prompt_tokens": 1, "total_tokens": 1}, **more}
