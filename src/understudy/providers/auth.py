"""How a key is sent. A scheme is one function from a key to header pairs; rows of the catalogue name it.

Keys arrive from environments and files, where a stray line break is common. A line break inside a header would let a
key write headers of its own, so a key that cannot stand in a header is refused here, before it gets near a connection.
No message of this module contains any part of a key.
"""

from __future__ import annotations

from collections.abc import Callable

Headers = tuple[tuple[bytes, bytes], ...]
"""Pairs of a lower-case name and a value, as they go on the wire."""

Scheme = Callable[[str], Headers]


class AuthError(ValueError):
    """A key that cannot be sent, or a scheme that nobody knows. `str()` says what to do and never shows a key."""


def bearer(key: str) -> Headers:
    """`Authorization: Bearer <key>` (RFC 6750, section 2.1), as nearly every provider has it."""
    return ((b"authorization", b"Bearer " + key.encode("latin-1")),)


def api_key(key: str) -> Headers:
    """`api-key: <key>`, as Azure has it for keys; its Entra tokens go as bearer."""
    return ((b"api-key", key.encode("latin-1")),)


def x_api_key(key: str) -> Headers:
    """`x-api-key: <key>`, as Anthropic has it."""
    return ((b"x-api-key", key.encode("latin-1")),)


def x_goog_api_key(key: str) -> Headers:
    """`x-goog-api-key: <key>`, as the Gemini API has it."""
    return ((b"x-goog-api-key", key.encode("latin-1")),)


def none(key: str) -> Headers:  # noqa: ARG001 - every scheme takes the key, also the one that sends nothing
    """Nothing at all, for servers that ask for no key."""
    return ()


SCHEMES: dict[str, Scheme] = {
    "bearer": bearer,
    "api-key": api_key,
    "x-api-key": x_api_key,
    "x-goog-api-key": x_goog_api_key,
    "none": none,
}


def headers(scheme: str, key: str) -> Headers:
    """The header pairs that carry `key`.

    Raises AuthError if `scheme` is not one of SCHEMES, or if `key` is one that no header can carry: empty, with
    white space around it, with control characters in it, or with characters outside Latin-1.
    """
    send = SCHEMES.get(scheme)
    if send is None:
        raise AuthError(f"There is no auth scheme {scheme!r}. Use one of: {', '.join(sorted(SCHEMES))}.")
    if send is not none:
        _check(key)
    return send(key)


def _check(key: str) -> None:
    if not key.strip():
        raise AuthError("The API key is empty. Set it to the key that the provider gave you.")
    for position, character in enumerate(key, 1):
        code = ord(character)
        if code < 0x20 or 0x7F <= code < 0xA0:
            kind = "a line break" if character in "\r\n" else "a control character"
        elif code > 0xFF:
            kind = "a character that no HTTP header can carry"
        else:
            continue
        raise AuthError(f"The API key has {kind} at position {position} of {len(key)}. Copy it again, without it.")
    if key != key.strip():
        raise AuthError("The API key has white space around it. Copy it again, without it.")
