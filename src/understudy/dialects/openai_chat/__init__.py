"""OpenAI's Chat Completions, and the many servers that speak it. The pattern for every other dialect.

`request.py` (with `messages.py`), `answer.py` and `fault.py` translate whole bodies, `stream.py` reads a stream,
`emit.py` writes one; `parts.py` holds what they share. Source: OpenAI's OpenAPI document, recorded traffic of two
dozen compatible servers, and their documentation where a module says so.
"""

from understudy.dialects.openai_chat.answer import decode_answer, encode_answer
from understudy.dialects.openai_chat.emit import StreamEncoder
from understudy.dialects.openai_chat.fault import decode_fault, encode_fault
from understudy.dialects.openai_chat.parts import NAME
from understudy.dialects.openai_chat.request import decode_request, encode_request
from understudy.dialects.openai_chat.stream import StreamDecoder

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
