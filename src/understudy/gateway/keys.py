"""Where each SDK puts its API key. All of them count, whatever the path: a key is a key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qs

_HEADERS = (b"x-api-key", b"api-key", b"x-goog-api-key")
_SIGNED = re.compile(rb"AWS4-HMAC-SHA256 Credential=([^/,\s]+)/")
"""An AWS SDK without a bearer token signs; then the access key id is the key, and the secret may be anything. Whoever
can see a bearer token can see this as well, so it is as safe."""


def given(headers: Mapping[bytes, bytes], in_url: str | None = None) -> bytes | None:
    """The key that a request shows: None if it shows none, empty if none can be read. `in_url` is Google's `?key=`."""
    authorization = headers.get(b"authorization")
    if authorization is not None:
        scheme, _, key = authorization.partition(b" ")
        signed = _SIGNED.match(authorization)
        if signed:
            return signed[1]
        if scheme.lower() == b"bearer" and key.strip():
            return key.strip()
    for name in _HEADERS:
        if name in headers:
            return headers[name]
    if in_url is not None:
        return in_url.encode()
    return None if authorization is None else b""


def in_query(query: bytes) -> str | None:
    """The key in a query string, as Google's clients may send it."""
    return parse_qs(query.decode("latin-1")).get("key", [None])[0]
