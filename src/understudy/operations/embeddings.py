"""Embeddings: what is asked and answered, whichever dialect says it, and which answers may stand for one another.

Vectors of two models share no space, even where their dimensions agree: a search index filled by one is useless to the
other, and nothing fails visibly. Hence `same_space`, to be asked before failing over.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from typing import Literal

import msgspec

from understudy.canon import Extra
from understudy.dialects.wire import Malformed

Encoding = Literal["float", "base64"]
Vector = tuple[float, ...]


class EmbeddingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`inputs` are texts or lists of tokens. `encoding` is how the client wants vectors written."""

    model: str
    inputs: tuple[str | tuple[int, ...], ...]
    dimensions: int | None = None
    encoding: Encoding | None = None
    truncate: bool | None = None
    user: str | None = None
    dialect: str = ""
    extra: Extra = msgspec.field(default_factory=dict)


class EmbeddingAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One vector for each input, in their order."""

    model: str
    vectors: tuple[Vector, ...]
    input_tokens: int | None = None
    dialect: str = ""
    extra: Extra = msgspec.field(default_factory=dict)


def same_space(first: str, other: str) -> bool:
    """Whether two models are one by their bare names, whoever provides them (`openai/x`, `x`)."""
    bare = first.rpartition("/")[2]
    return bool(bare) and bare == other.rpartition("/")[2]


def check(request: EmbeddingRequest, answer: EmbeddingAnswer) -> None:
    """Raises `Malformed` if the answer lacks vectors, or they have not the dimension asked for, or not all the same."""
    if len(answer.vectors) != len(request.inputs):
        raise Malformed("vectors", f"are {len(answer.vectors)}, but {len(request.inputs)} inputs were sent")
    wanted = request.dimensions or (len(answer.vectors[0]) if answer.vectors else 0)
    for at, vector in enumerate(answer.vectors):
        if len(vector) != wanted:
            raise Malformed(f"vectors[{at}]", f"has {len(vector)} dimensions instead of {wanted}")


def to_base64(vector: Vector) -> str:
    """Little-endian float32, as the clients that ask for base64 read it. Raises `Malformed` if a number is too big."""
    try:
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    except OverflowError:
        raise Malformed("embedding", "holds a number that float32 cannot") from None


def from_base64(text: str, field: str) -> Vector:
    try:
        data = base64.b64decode(text, validate=True)
        vector = struct.unpack(f"<{len(data) // 4}f", data)
    except (binascii.Error, ValueError, struct.error):
        raise Malformed(field, "is not base64 of float32 numbers") from None
    return finite(vector, field)


def finite(values: object, field: str) -> Vector:
    """A vector of `values`. Raises `Malformed` on what is no list of finite numbers."""
    if not isinstance(values, (list, tuple)) or any(type(value) not in (int, float) for value in values):
        raise Malformed(field, "must be an array of numbers")
    try:
        vector = tuple(float(value) for value in values)
    except OverflowError:
        vector = (math.inf,)
    if not all(map(math.isfinite, vector)):
        raise Malformed(field, "holds a number that is not finite")
    return vector
