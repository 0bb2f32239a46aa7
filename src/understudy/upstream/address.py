"""Where a base URL points: the part that chooses a connection, and the part that goes into the request line."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit

PORTS = {"http": 80, "https": 443}


class Address(NamedTuple):
    """A base URL taken apart. `path` has no trailing slash, so `path + "/models"` is a request target."""

    scheme: str
    host: str  # lower-case, IPv6 without brackets
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The value of the `host` header: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def label(self) -> str:
        """How messages name it, with the port always."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def split_url(base_url: str) -> Address:
    """Take a base URL apart: `split_url("https://api.example.com/v1/").path == "/v1"`. ValueError if it is not one."""
    parts = urlsplit(base_url)
    if parts.scheme not in PORTS or not parts.hostname:
        raise ValueError(
            f"base URL {parts._replace(netloc=parts.hostname or '').geturl()!r} is not http(s)://host/path"
        )
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError(f"base URL of {parts.hostname!r} must hold no credentials, query or fragment")
    try:
        port = parts.port
    except ValueError:
        raise ValueError(f"base URL of {parts.hostname!r} has a port that is not 1 to 65535") from None
    return Address(parts.scheme, parts.hostname, port or PORTS[parts.scheme], parts.path.rstrip("/"))
