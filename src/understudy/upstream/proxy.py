"""Which proxy to use, if any, and how to ask it: the environment variables that curl and most programs follow.

`HTTPS_PROXY`, `HTTP_PROXY` and `ALL_PROXY` name it (lower case wins, as in curl); `NO_PROXY` lists what goes direct:
`*`, hosts with all their subdomains, `host:port`, addresses and networks (`10.0.0.0/8`). Loopback always goes direct.
https targets get a tunnel (CONNECT), http targets an absolute request target. User and password stay out of messages.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http
import ipaddress
import re
import ssl
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit

from understudy.upstream.address import PORTS, Address
from understudy.upstream.fault import TransportError
from understudy.upstream.names import connected

MAX_ANSWER = 16 * 1024
"""Bytes that a proxy may answer to CONNECT."""


class Proxy(NamedTuple):
    """`authorization` is the whole header line, or b""."""

    scheme: str
    host: str
    port: int
    authorization: bytes

    @property
    def label(self) -> str:
        """How messages name it: without user and password."""
        return Address(self.scheme, self.host, self.port, "").label


def find_proxy(environ: Mapping[str, str], address: Address) -> Proxy | None:
    """The proxy for `address`, or None. ValueError names the variable that cannot be used, and what to do."""
    if _direct(address):
        return None
    bypass = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    if any(_covers(entry, address) for entry in re.split(r"[,\s]+", bypass.strip()) if entry):
        return None
    for name in (f"{address.scheme}_proxy", "all_proxy"):
        for spelled in (name, name.upper()):
            if environ.get(spelled):
                return _parse(spelled, environ[spelled])
    return None


def _parse(name: str, value: str) -> Proxy:
    parts = urlsplit(value if "://" in value else f"http://{value}")
    if parts.scheme not in PORTS:
        raise ValueError(
            f"{name} names a {parts.scheme} proxy, but only http:// and https:// proxies are supported: "
            f"set {name} to one, or list the host in NO_PROXY to go direct"
        )
    port = None
    with contextlib.suppress(ValueError):
        port = parts.port or PORTS[parts.scheme]
    if not parts.hostname or port is None:
        raise ValueError(f"{name} is not http://[user:password@]host[:port]: correct it or unset it")
    authorization = b""
    if parts.username is not None:
        pair = unquote_to_bytes(parts.username) + b":" + unquote_to_bytes(parts.password or "")
        authorization = b"proxy-authorization: Basic " + base64.b64encode(pair) + b"\r\n"
    return Proxy(parts.scheme, parts.hostname, port, authorization)


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _direct(address: Address) -> bool:
    ip = _ip(address.host)
    if ip is not None:
        return ip.is_loopback
    return address.host == "localhost" or address.host.endswith(".localhost")


def _covers(entry: str, address: Address) -> bool:
    """Whether one entry of NO_PROXY means `address`."""
    entry = entry.lower()
    if entry == "*":
        return True
    ip = _ip(address.host)
    if ip is not None:
        with contextlib.suppress(ValueError):
            return ip in ipaddress.ip_network(entry.strip("[]"), strict=False)
    host, colon, port = entry.rpartition(":")
    if colon and port.isdigit() and (":" not in host or host.endswith("]")):
        if int(port) != address.port:
            return False
        entry = host
    entry = entry.strip("[]").removeprefix("*").removeprefix(".")
    if ip is not None:
        return _ip(entry) == ip
    return bool(entry) and (address.host == entry or address.host.endswith("." + entry))


def absolute(head: bytes, address: Address, proxy: Proxy) -> bytes:
    """Rewrite an origin-form head for a proxy: `GET /x` becomes `GET http://host/x`, and its header is added."""
    method, _, rest = head.partition(b" ")
    line, _, headers = rest.partition(b"\r\n")
    return b"%b http://%b%b\r\n%b%b" % (method, address.authority.encode(), line, proxy.authorization, headers)


class _Tunnel(asyncio.Protocol):
    """Waits for a proxy's answer to CONNECT."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._seen = b""

    def data_received(self, data: bytes) -> None:
        self._seen += data
        if not self.answer.done() and (b"\r\n\r\n" in self._seen or len(self._seen) > MAX_ANSWER):
            self.answer.set_result(self._seen)

    def connection_lost(self, _exc: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_result(b"")


async def tunnel(proxy: Proxy, address: Address, context: ssl.SSLContext | None) -> asyncio.Transport:
    """A stream to `address` through `proxy` (with TLS to the proxy if `context`). TransportError if it refuses."""
    transport, waiting = await connected(_Tunnel, proxy.host, proxy.port, context)
    target = Address("", address.host, address.port, "").label.removeprefix("://").encode()
    opened = False
    try:
        transport.write(b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (target, target, proxy.authorization))
        answer = await waiting.answer
        status = re.match(rb"HTTP/1\.[01] (\d{3})\b", answer)
        if status is None or not answer.endswith(b"\r\n\r\n"):
            why = "closed the connection" if not answer else "did not answer CONNECT with HTTP"
            raise TransportError("unreachable", f"proxy {proxy.label} {why} when asked for {target.decode()}")
        code = int(status[1])
        if not 200 <= code < 300:
            raise TransportError("unreachable", f"proxy {proxy.label} refused {target.decode()}: {_phrase(code)}")
        opened = True
    finally:
        if not opened:
            transport.abort()
    return transport


def _phrase(code: int) -> str:
    """A status in our words, not the proxy's, which might repeat what it was sent."""
    try:
        phrase = f"{code} {http.HTTPStatus(code).phrase}"
    except ValueError:
        phrase = str(code)
    return phrase + ("; check user and password in the proxy's URL" if code == 407 else "")
