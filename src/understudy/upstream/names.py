"""Where a name leads: looked up for every new connection, so that a provider that moves is found where it is now.

A thread for each name that is being asked for, whoever waits for it. The loop's own way would let a name whose servers
do not answer hold up all others: libuv looks up two names at a time in the whole process, and a dead one takes its
place for ten seconds or more, whether anybody still waits or not.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
import ssl
import threading
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

P = TypeVar("P", bound=asyncio.BaseProtocol)
Found = asyncio.Future[list[str]]

_asked: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Found]] = weakref.WeakKeyDictionary()
"""The names that are being asked for, in each loop."""


async def connected(
    factory: Callable[[], P], host: str, port: int, context: ssl.SSLContext | None
) -> tuple[asyncio.Transport, P]:
    """A connection to the first of `host`'s addresses that takes it; with TLS, given a `context`. Raises OSError."""
    loop = asyncio.get_running_loop()
    addresses = [host] if _numeric(host) else await _addresses(host, port)
    name = host if context is not None else None
    errors: list[OSError] = []
    for address in addresses:
        try:
            return await loop.create_connection(factory, address, port, ssl=context, server_hostname=name)
        except ssl.SSLError:
            raise  # somebody is there
        except OSError as error:
            errors.append(error)
    # Where one kind of address is not in use on this machine, the other kind's failure is the one that matters.
    raise next((error for error in errors if error.errno != errno.EADDRNOTAVAIL), errors[0])


def _numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def _addresses(host: str, port: int) -> list[str]:
    """The addresses of `host`, at least one. Raises OSError, UnicodeError."""
    loop = asyncio.get_running_loop()
    asked = _asked.setdefault(loop, {})
    found = asked.get(host)
    if found is None:
        found = asked[host] = loop.create_future()
        found.add_done_callback(lambda done: (asked.pop(host), done.exception()))  # there may be nobody left to see it
        try:
            threading.Thread(target=_ask, args=(host, port, loop, found), daemon=True, name="lookup").start()
        except RuntimeError:
            found.set_exception(OSError(errno.ENOMEM, "no thread can be started to look the name up"))
    return list(await asyncio.shield(found))


def _ask(host: str, port: int, loop: asyncio.AbstractEventLoop, found: Found) -> None:
    """Ask the system, which may take its time; in a thread."""
    settle: Callable[[Any], None] = found.set_result
    answer: Any
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        answer = list(dict.fromkeys(str(info[4][0]) for info in infos))
    except (OSError, UnicodeError) as error:
        settle, answer = found.set_exception, error
    with contextlib.suppress(RuntimeError):  # the loop has closed meanwhile
        loop.call_soon_threadsafe(settle, answer)
