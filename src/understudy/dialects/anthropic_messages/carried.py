"""Reasoning of another provider on its way through a client of this dialect, and back.

A thinking block must be signed, and its signature comes back with the next request. What another provider needs back
(its own signature, its sealed form, ids) travels in ours, behind a mark: Anthropic would refuse it, so it is taken out
again before a request goes there; the provider that it came from gets it as it was.
"""

from __future__ import annotations

import base64
import binascii

import msgspec

from understudy.canon import Reasoning
from understudy.dialects.wire import dump

MARK = "understudy:"
_OURS = ("anthropic-messages/", "anthropic/")


class _Carried(msgspec.Struct, omit_defaults=True):
    origin: str
    text: str = ""
    summary: str | None = None
    signature: str | None = None
    sealed: str | None = None
    id: str | None = None


_DECODER = msgspec.json.Decoder(_Carried)


def is_ours(part: Reasoning, *, own: bool) -> bool:
    """Whether Anthropic itself signed `part`: said by its origin, or, without one, by the dialect that it came in."""
    return part.origin.startswith(_OURS) if part.origin else own


def seal(part: Reasoning, dialect: str) -> str:
    """A signature that carries `part` whole. The text goes along only where the block's own text is the summary."""
    text = part.text if part.summary is not None else ""
    origin = part.origin or dialect
    carried = _Carried(origin, text, part.summary, part.signature, part.sealed, part.id)
    return MARK + base64.b64encode(dump(carried)).decode()


def unseal(text: str, signature: str) -> Reasoning | None:
    """The reasoning in a marked signature; None if it bears no mark, or a broken one."""
    if not signature.startswith(MARK):
        return None
    try:
        found = _DECODER.decode(base64.b64decode(signature[len(MARK) :], validate=True))
    except (msgspec.MsgspecError, binascii.Error, UnicodeDecodeError, ValueError):
        return None
    said = text if found.summary is None else found.text
    return Reasoning(said, found.summary, found.signature, found.sealed, found.id, found.origin)
