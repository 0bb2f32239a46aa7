"""Embeddings: what is asked and answered, whichever dialect says it, and which answers may stand for one another.

Vectors of two models share no space, even where their dimensions agree: a search index filled by one is useless to the
other, and nothing fails visibly. Hence `same_space`, to be asked before failing over. The wire formats are the modules
`embeddings_*.py`, each with `decode_request`, `encode_request`, `decode_answer` and `encode_answer`.
"""

from __future__ import annotations

import base64
import binascii
import math
import struct
from typing import Any, Literal

import msgspec

from understudy.canon import Extra, Loss
from understudy.dialects.wire import Malformed, dump, foreign, restore

Encoding = Literal["float", "base64"]
Purpose = Literal["query", "document", "classification", "clustering"]
Vector = tuple[float, ...]

PLAIN_KINDS = ("float", "base64")
"""Kinds of numbers that say the whole vector; the others are a provider's own rounding of it."""


class Opaque(msgspec.Struct, frozen=True):
    """An input that only its own dialect can say: an image, several parts. `what` is a clause for people."""

    what: str


Input = str | tuple[int, ...] | Opaque


class EmbeddingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`inputs` are texts, lists of tokens, or what cannot be translated. `encoding` is how the client wants vectors.

    `kinds` are Cohere's `embedding_types`. `purpose` is what the vectors are for: some models make others for it.
    """

    model: str
    inputs: tuple[Input, ...]
    dimensions: int | None = None
    encoding: Encoding | None = None
    kinds: tuple[str, ...] = ()
    purpose: Purpose | None = None
    truncate: bool | None = None
    user: str | None = None
    dialect: str = ""
    extra: Extra = msgspec.field(default_factory=dict)


class EmbeddingAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One vector for each input, in their order. `packed` is how many dimensions one number stands for.

    `kinds` are those that the answer has, where a dialect tells them apart; `encodings` how numbers were written.
    """

    model: str
    vectors: tuple[Vector, ...]
    input_tokens: int | None = None
    id: str = ""
    packed: int = 1
    kinds: tuple[str, ...] = ()
    encodings: frozenset[Encoding] = frozenset()
    dialect: str = ""
    extra: Extra = msgspec.field(default_factory=dict)


Losses = tuple[Loss, ...]


# -- what may stand for what -------------------------------------------------------------------------------------------


def same_space(first: str, other: str) -> bool:
    """Whether two models are one by their bare names, whoever provides them (`openai/x`, `x`, `x:latest`)."""
    bare = first.rpartition("/")[2].removesuffix(":latest")
    return bool(bare) and bare == other.rpartition("/")[2].removesuffix(":latest")


def check(request: EmbeddingRequest, answer: EmbeddingAnswer) -> None:
    """Raises `Malformed` if vectors or kinds are missing, or the dimension is not the one asked for, or not one."""
    if len(answer.vectors) != len(request.inputs):
        raise Malformed("vectors", f"are {len(answer.vectors)}, but {len(request.inputs)} inputs were sent")
    missing = set(request.kinds).difference(answer.kinds) if answer.kinds else ()
    if missing and request.dialect == answer.dialect:
        raise Malformed("vectors", f"lack the kinds {', '.join(sorted(missing))}")
    first = len(answer.vectors[0]) * answer.packed if answer.vectors else 0
    wanted = request.dimensions or first
    for at, vector in enumerate(answer.vectors):
        found = len(vector) * answer.packed
        if found != wanted:
            raise Malformed(f"vectors[{at}]", f"has {found} dimensions instead of {wanted}")
        if not found and request.inputs[at] != "":
            raise Malformed(f"vectors[{at}]", "is empty")


# -- what the wire formats share ---------------------------------------------------------------------------------------


def texts(request: EmbeddingRequest) -> list[str]:
    """The inputs for a dialect that has texts only. Raises `Malformed` on others: to leave one out would shift them."""
    found: list[str] = []
    for i, value in enumerate(request.inputs):
        if isinstance(value, Opaque):
            raise Malformed(f"inputs[{i}]", f"is {value.what}, which this provider cannot embed")
        if not isinstance(value, str):
            raise Malformed(f"inputs[{i}]", "is a list of tokens, which this provider cannot take; send text")
        found.append(value)
    rounded = [kind for kind in request.kinds if kind not in PLAIN_KINDS]
    if rounded:
        raise Malformed("kinds", f"of vectors that this provider does not make: {', '.join(rounded)}; ask for float")
    return found


def written(
    out: dict[str, Any], message: EmbeddingRequest | EmbeddingAnswer, name: str, losses: list[Loss]
) -> tuple[bytes, Losses]:
    """`out` as bytes of the dialect `name`, with what only that one knows; a loss for each such field of another's."""
    if message.dialect == name:
        return dump(restore(out, message.extra)), tuple(losses)
    return dump(out), (*foreign(message.extra, ""), *losses)


def unsaid(request: EmbeddingRequest, *fields: str) -> list[Loss]:
    """A loss for each of `fields` that the request has and the dialect has no word for."""
    return [
        Loss(field, f"this dialect has no field for the {field}")
        for field in fields
        if getattr(request, field) is not None
    ]


def given(settings: dict[str, Any]) -> dict[str, Any]:
    """Those of `settings` that say something."""
    return {key: value for key, value in settings.items() if value is not None}


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
    if not isinstance(values, (list, tuple)) or not set(map(type, values)) <= {int, float}:
        raise Malformed(field, "must be an array of numbers")
    try:
        # A sum is not finite if any number is not, and it is an order of magnitude faster than to look at each.
        fine = math.isfinite(sum(values)) or all(map(math.isfinite, values))
    except OverflowError:  # an integer that no float can hold
        fine = False
    if not fine:
        raise Malformed(field, "holds a number that is not finite")
    return tuple(values)
