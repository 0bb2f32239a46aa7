"""When a stream of legacy completions is whole, worked out from its bytes without any code of the package."""

import json


def openai_completions_whole(prefix: bytes) -> bool:
    """Every choice that a whole event began has a finish reason."""
    reasons: dict[int, object] = {}
    text = prefix.decode("utf-8-sig", "ignore").replace("\r\n", "\n").replace("\r", "\n")
    for block in text.split("\n\n"):
        data = "\n".join(line.removeprefix("data:") for line in block.split("\n") if line.startswith("data:"))
        try:
            chunk = json.loads(data)
        except ValueError:
            continue
        for choice in chunk.get("choices") or []:
            if isinstance(choice.get("text"), str):
                reasons[choice["index"]] = choice.get("finish_reason") or reasons.get(choice["index"])
    return bool(reasons) and all(reasons.values())
