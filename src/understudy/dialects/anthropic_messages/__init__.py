"""Anthropic's Messages API, and the servers that offer it beside their own.

`request.py` (with `messages.py`, `tools.py`, `thinking.py`), `answer.py` and `fault.py` translate whole bodies,
`stream.py` reads a stream, `emit.py` writes one; `parts.py` holds the content blocks that they share. `history.py`
turns another dialect's conversation into one that Anthropic takes. Source: Anthropic's OpenAPI document, its Python
SDK, and recorded traffic.
"""

from understudy.dialects.anthropic_messages.answer import decode_answer, encode_answer
from understudy.dialects.anthropic_messages.emit import StreamEncoder
from understudy.dialects.anthropic_messages.fault import decode_fault, encode_fault
from understudy.dialects.anthropic_messages.parts import NAME
from understudy.dialects.anthropic_messages.request import decode_request, encode_request
from understudy.dialects.anthropic_messages.stream import StreamDecoder

__all__ = [
    "NAME",
    "StreamDecoder",
    "StreamEncoder",
    "decode_answer",
    "decode_fault",
    "decode_request",
    "encode_answer",
    "encode_fault",
    "encode_request",
]
