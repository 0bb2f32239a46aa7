"""OpenAI's legacy Completions (`/v1/completions`), and the many servers that still speak it.

Text in, text out: all else (settings, finish, usage, faults, the way a stream ends) is as in Chat Completions, so that
dialect's code does it, on bodies whose one difference `prompt.py` and `answer.py` translate. `request.py`, `answer.py`
and `stream.py` are for whole bodies and streams. Source: `CreateCompletionRequest` and `CreateCompletionResponse` of
OpenAI's OpenAPI document, and recorded traffic.
"""

from understudy.dialects.openai_chat.fault import decode_fault, encode_fault
from understudy.dialects.openai_completions.answer import NAME, decode_answer, encode_answer
from understudy.dialects.openai_completions.request import decode_request, encode_request
from understudy.dialects.openai_completions.stream import StreamDecoder, StreamEncoder

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
