"""Open a connection: TCP, then the proxy's tunnel, then TLS; all of it under one clock."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

from understudy import clock
from understudy.upstream.address import Address
from understudy.upstream.connection import Connection, Owner
from understudy.upstream.fault import Kind, TransportError
from understudy.upstream.names import connected
from understudy.upstream.proxy import Proxy, tunnel

_EXHAUSTED = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, socket.EAI_MEMORY}
)
"""What the system says when it is this machine that has no room for one more connection: no descriptor, no memory, no
port of its own (EADDRNOTAVAIL, where none was asked for)."""


async def within(
    seconds: float, opening: Coroutine[Any, Any, Connection], label: str, running: set[asyncio.Task[Connection]]
) -> Connection:
    """Run `opening` for at most `seconds`. Its task is in `running` meanwhile, for a closing client to cancel."""
    task = asyncio.ensure_future(opening)
    running.add(task)
    task.add_done_callback(running.discard)
    expired = False

    def expire() -> None:
        nonlocal expired
        expired = True
        task.cancel()

    timer = clock.call_later(seconds, expire)
    try:
        await asyncio.wait((task,))
    except asyncio.CancelledError:
        task.cancel()
        task.add_done_callback(_discard)
        raise
    finally:
        timer.cancel()
    if task.cancelled():
        why = f"no connection within {seconds:g} s" if expired else "the client was closed"
        raise TransportError("connect_timeout" if expired else "unreachable", f"{label}: {why}")
    return task.result()


def _discard(task: asyncio.Task[Connection]) -> None:
    """Nobody waits any more: close what was opened in the very moment of giving up."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def connect(
    owner: Owner, address: Address, proxy: Proxy | None, trust: Callable[[], ssl.SSLContext]
) -> Connection:
    """Open a connection to `address`, through `proxy` if there is one.

    Raises:
        TransportError: "unreachable", "untrusted" or "exhausted".
    """
    loop = asyncio.get_running_loop()
    connection = Connection(owner, loop)
    secure = address.scheme == "https"
    host, port, tls = address.host, address.port, secure
    if proxy is not None:
        host, port, tls = proxy.host, proxy.port, proxy.scheme == "https"
    try:
        if proxy is not None and secure:
            plain = await tunnel(proxy, address, trust() if tls else None)
            host = address.host
            await _secure(connection, plain, address, trust())
        else:
            await connected(lambda: connection, host, port, trust() if tls else None)
    except (OSError, UnicodeError, ValueError) as error:
        kind, why = _judged(error, host)
        raise TransportError(kind, f"{owner.label}: {why}") from error
    return connection


async def _secure(connection: Connection, plain: asyncio.Transport, address: Address, context: ssl.SSLContext) -> None:
    """TLS inside a tunnel."""
    done = False
    try:
        connection.connection_made(plain)
        loop = asyncio.get_running_loop()
        wrapped = await loop.start_tls(plain, connection, context, server_hostname=address.host)
        if wrapped is None:
            raise ConnectionAbortedError("the tunnel closed during the TLS handshake")
        connection.connection_made(wrapped)
        done = True
    finally:
        if not done:
            plain.abort()


def _judged(error: Exception, host: str) -> tuple[Kind, str]:
    """Whose fault it is, and why in words: Python's own name neither the host nor the step."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "untrusted", f"the certificate of {host!r} is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return "unreachable", f"no TLS with {host!r}: {error.reason or error}"
    if isinstance(error, OSError) and error.errno in _EXHAUSTED:
        return "exhausted", f"no room for a connection to {host!r}: {error.strerror or error}"
    # Without a descriptor the resolver cannot ask, and says that it found nothing, or whatever errno it came upon last.
    if isinstance(error, OSError) and not isinstance(error, ConnectionError | TimeoutError):
        lack = _lack()
        if lack is not None:
            return "exhausted", f"no room to look up {host!r}: {lack.strerror}"
    if isinstance(error, socket.gaierror):
        return "unreachable", f"the name {host!r} does not resolve ({error.strerror})"
    return "unreachable", f"cannot connect to {host!r}: {str(error) or type(error).__name__}"


def _lack() -> OSError | None:
    """What keeps this process from opening a socket at this moment, if anything does."""
    try:
        socket.socket().close()
    except OSError as error:
        return error
    return None
