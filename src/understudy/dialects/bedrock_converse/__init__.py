"""Amazon Bedrock's `Converse` and `ConverseStream`, which carry every vendor's models in one form.

`request.py` (with `messages.py`, `tools.py` and, for other dialects' conversations, `fitting.py`), `answer.py` and
`fault.py` translate whole bodies; `framing.py` cuts a binary stream into messages, `stream.py` reads them, `emit.py`
writes them; `blocks.py` holds content blocks. Source: the service model of `bedrock-runtime` (2023-09-30) in botocore,
AWS's page on the event stream encoding, and recorded traffic.
"""

from understudy.dialects.bedrock_converse.answer import decode_answer, encode_answer
from understudy.dialects.bedrock_converse.blocks import NAME
from understudy.dialects.bedrock_converse.emit import StreamEncoder
from understudy.dialects.bedrock_converse.fault import decode_fault, encode_fault
from understudy.dialects.bedrock_converse.request import decode_request, encode_request, with_path
from understudy.dialects.bedrock_converse.stream import StreamDecoder

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
