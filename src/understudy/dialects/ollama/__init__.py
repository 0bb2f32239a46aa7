"""Ollama's own API: `/api/chat`, and `/api/generate` where a body shows that it is for it.

`request.py` (with `messages.py`), `answer.py` and `fault.py` translate whole bodies, `stream.py` reads a stream of JSON
lines, `emit.py` writes one. A request to `/api/generate` is known by its `prompt` (and no `messages`); `is_generate`
tells, and its answer is written by `encode_answer(answer, generate=True)` or by `StreamEncoder(request)`. For clients
of other dialects what is sent is always for `/api/chat`. Source: `api/types.go` of Ollama, its API documentation,
recorded traffic.
"""

from understudy.dialects.ollama.answer import decode_answer, encode_answer
from understudy.dialects.ollama.emit import StreamEncoder
from understudy.dialects.ollama.fault import decode_fault, encode_fault
from understudy.dialects.ollama.messages import NAME
from understudy.dialects.ollama.request import decode_request, encode_request, is_generate
from understudy.dialects.ollama.stream import StreamDecoder

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
    "is_generate",
]
