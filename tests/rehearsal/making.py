"""Cases as clients make them."""

from understudy.rehearsal.suite import Case

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "default": 1}},
            "required": ["city"],
        },
    },
}


def asked(words="Hello there", **more):
    return {"model": "m", "messages": [{"role": "user", "content": words}], **more}


def answered(words="Good day", *, calls=(), finish="stop"):
    message = {"role": "assistant", "content": words}
    if calls:
        message["tool_calls"] = [
            {"id": f"c{number}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for number, (name, arguments) in enumerate(calls)
        ]
        finish = "tool_calls"
    return {
        "id": "x", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
    }  # fmt: skip


def case(name="a", *, request=None, answer=None, **more):
    return Case(id=name, dialect="openai-chat", request=request or asked(), answer=answer or answered(), **more)
