"""Open a connection: TCP, then the proxy's tunnel, then TLS; all of it under one clock."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

from understudy import clock
from understudy.upstream.address import Address
from understudy.upstream.connection import Connection, Owner
from understudy.upstream.fault import TransportError
from understudy.upstream.proxy import Proxy, tunnel


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
    """Open a connection to `address`, through `proxy` if there is one. Raises TransportError("unreachable")."""
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
            await loop.create_connection(lambda: connection, host, port, ssl=trust() if tls else None)
    except (OSError, UnicodeError, ValueError) as error:
        raise TransportError("unreachable", f"{owner.label}: {_why(error, host)}") from error
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


def _why(error: Exception, host: str) -> str:
    """A connection error in words: Python's own name neither the host nor the step."""
    if isinstance(error, socket.gaierror):
        return f"the name {host!r} does not resolve ({error.strerror})"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {host!r} is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS with {host!r}: {error.reason or error}"
    return f"cannot connect to {host!r}: {str(error) or type(error).__name__}"
