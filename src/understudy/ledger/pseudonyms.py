"""Pseudonyms that who has the key can turn back into what they stand for.

AES-SIV (RFC 5297): the same value under the same key always gives the same pseudonym, so that two exchanges of one
person can be joined without knowing the person; nothing but the key holder can read or forge one. That sameness is
also what it gives away, which is why it is optional and numbers are the default. The kind is authenticated along.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import re

_WRITTEN = re.compile(r"\[([a-z][a-z0-9-]{0,30}):~([A-Za-z0-9_-]{24,8192})\]")
_SHORTEST = 32


class PseudonymError(ValueError):
    """The key cannot be used."""


class Pseudonyms:
    """`key` is any secret of 32 bytes or more: `openssl rand -hex 32`."""

    def __init__(self, key: str) -> None:
        if len(key.encode()) < _SHORTEST:
            raise PseudonymError(
                f"The key for pseudonyms has fewer than {_SHORTEST} characters. Make one: openssl rand -hex 32."
            )
        if importlib.util.find_spec("cryptography") is None:
            raise PseudonymError(
                "Pseudonyms need a package that is not installed: pip install 'understudy[redaction]'."
            )
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415  an extra
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV  # noqa: PLC0415

        self._cipher = AESSIV(hashlib.sha512(b"understudy pseudonyms\0" + key.encode()).digest())
        self._invalid = InvalidTag

    def of(self, kind: str, value: str) -> str:
        """What is written in the place of `value`."""
        sealed = self._cipher.encrypt(value.encode("utf-8", "surrogatepass"), [kind.encode()])
        return f"[{kind}:~{base64.urlsafe_b64encode(sealed).decode().rstrip('=')}]"

    def value(self, kind: str, sealed: str) -> str | None:
        """What a pseudonym stands for; None if this key did not write it."""
        try:
            data = base64.b64decode(sealed + "=" * (-len(sealed) % 4), altchars=b"-_", validate=True)
            value = self._cipher.decrypt(data, [kind.encode()])
        except (ValueError, self._invalid):
            return None
        return value.decode("utf-8", "surrogatepass")

    def restored(self, text: str, *, as_json: bool = False) -> str:
        """`text` with every pseudonym of this key turned back. `as_json`: what they stand in is JSON, and stays so."""

        def back(match: re.Match[str]) -> str:
            value = self.value(match[1], match[2])
            if value is None:
                return match[0]
            return json.dumps(value, ensure_ascii=False)[1:-1] if as_json else value

        return _WRITTEN.sub(back, text)

    def own(self, text: str) -> list[tuple[int, int]]:
        """Where pseudonyms of this key stand."""
        return [match.span() for match in _WRITTEN.finditer(text) if self.value(match[1], match[2]) is not None]
