"""Google's `generateContent` and `streamGenerateContent`, on the Gemini API and on Vertex AI.

`request.py` (with `contents.py`, `config.py`, `tools.py`), `answer.py` (with `grounding.py`, `usage.py`) and `fault.py`
translate whole bodies, `stream.py` reads a stream (with `array.py`), `emit.py` writes one; `parts.py`, `schema.py` and
`spelling.py` hold what they share. Source: the Gemini API's OpenAPI document, its guides where a module says so, and
recorded traffic of both services.
"""

from understudy.dialects.gemini.answer import decode_answer, encode_answer
from understudy.dialects.gemini.emit import StreamEncoder
from understudy.dialects.gemini.fault import decode_fault, encode_fault
from understudy.dialects.gemini.parts import NAME
from understudy.dialects.gemini.request import decode_request, encode_request, with_path
from understudy.dialects.gemini.stream import StreamDecoder

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
    "with_path",
]
