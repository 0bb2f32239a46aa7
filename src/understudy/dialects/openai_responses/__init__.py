"""OpenAI's Responses API, and the servers that speak it (Azure, xAI, OpenRouter, Open Responses).

`request.py` (with `messages.py` and `tools.py`), `answer.py` and `fault.py` translate whole bodies, `stream.py` (with
`shape.py`) reads a stream, `emit.py` writes one; `items.py` and `parts.py` hold what they share. Source: OpenAI's
OpenAPI document, the Open Responses specification, recorded traffic.
"""

from understudy.dialects.openai_responses.answer import decode_answer, encode_answer
from understudy.dialects.openai_responses.emit import StreamEncoder
from understudy.dialects.openai_responses.fault import decode_fault, encode_fault
from understudy.dialects.openai_responses.parts import NAME
from understudy.dialects.openai_responses.request import decode_request, encode_request
from understudy.dialects.openai_responses.stream import StreamDecoder

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
