"""Cohere's Chat API, version 2 (`/v2/chat`).

`request.py` (with `messages.py` for its own conversations and `history.py` for those of other dialects), `answer.py`
(with `usage.py`) and `fault.py` translate whole bodies, `stream.py` reads a stream, `emit.py` writes one; `parts.py`
holds what they share. Source: the types of Cohere's own SDK, its API reference, and recorded traffic.
"""

from understudy.dialects.cohere_chat.answer import decode_answer, encode_answer
from understudy.dialects.cohere_chat.emit import StreamEncoder
from understudy.dialects.cohere_chat.fault import decode_fault, encode_fault
from understudy.dialects.cohere_chat.parts import NAME
from understudy.dialects.cohere_chat.request import decode_request, encode_request
from understudy.dialects.cohere_chat.stream import StreamDecoder

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
