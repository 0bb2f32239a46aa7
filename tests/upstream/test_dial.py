"""Opening a connection: every way that can fail, and how long it may take."""

import asyncio
import contextlib
import errno
import os
import socket
import sys
import threading

import pytest

from understudy.upstream import Client, Clocks, TransportError, dial

from .scripted import CLOCKS, GET, OK, Server, answering, bench, drain, hops, serving, until

try:
    import resource
except ImportError:  # Windows
    resource = None


def test_nobody_listening_is_unreachable(run):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def scenario():
        client = Client(environ={})
        with pytest.raises(TransportError, match=f"127.0.0.1:{port}: cannot connect") as caught:
            await client.origin(f"http://127.0.0.1:{port}").send(GET, b"", CLOCKS)
        assert (caught.value.kind, caught.value.sent) == ("unreachable", False)
        assert client.open_connections == 0
        await client.close()

    run(scenario())


def unresolved(runner, host):
    async def scenario():
        client = Client(environ={})
        with pytest.raises(TransportError, match=host) as caught:
            await client.origin(f"http://{host}/").send(GET, b"", CLOCKS)
        assert caught.value.kind == "unreachable"
        await client.close()

    runner(scenario())


def test_a_name_that_does_not_resolve_is_unreachable(run, monkeypatch):
    def unknown(*_args, **_kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    unresolved(run, "no-such-host.invalid")


def test_names_that_are_not_answered_hold_up_no_other(run, monkeypatch):
    """The loops' own ways have few threads for this, and each is taken until the system gives up."""
    answered, real, asked = threading.Event(), socket.getaddrinfo, []

    def resolver(host, *rest, **more):
        asked.append(host)
        if host.endswith(".invalid"):
            answered.wait(10)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return real("127.0.0.1", *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolver)

    async def scenario():
        async with serving(answering(OK)) as server:
            client = Client(environ={})
            dead = [client.origin(f"http://dead-{at}.invalid") for at in range(40)]
            waiting = [asyncio.ensure_future(origin.send(GET, b"", CLOCKS)) for origin in dead for _ in range(3)]
            await hops()
            waiting[0].cancel()
            alive = client.origin(f"http://alive.example:{server.port}")
            assert await drain(await alive.send(GET, b"", Clocks(connect=5))) == b"hello"
            answered.set()
            failed = await asyncio.gather(*waiting, return_exceptions=True)
            assert {getattr(error, "kind", "cancelled") for error in failed} == {"unreachable", "cancelled"}
            assert sorted(asked) == sorted({*asked}), "whoever waits for the same name asks once"
            await client.close()

    run(scenario())


@pytest.mark.parametrize("first", ["127.0.0.2", "::1"])
def test_every_address_of_a_name_is_tried(run, monkeypatch, first):
    infos = [(0, socket.SOCK_STREAM, 0, "", (address, 0)) for address in (first, "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: infos)

    async def scenario():
        async with serving(answering(OK)) as server:
            client = Client(environ={})
            origin = client.origin(f"http://several.example:{server.port}")
            assert await drain(await origin.send(GET, b"", CLOCKS)) == b"hello"
            await client.close()
        assert origin.open_connections == 0
        client = Client(environ={})
        with pytest.raises(TransportError) as caught:
            await client.origin(f"http://several.example:{server.port}").send(GET, b"", CLOCKS)
        assert caught.value.kind == "unreachable"
        await client.close()

    run(scenario())


def test_a_name_that_cannot_be_one_is_unreachable(run):
    unresolved(run, "x" * 70 + ".invalid")


def opening(result):
    """A dial that ends when the test says so."""

    async def dial(origin):
        dial.started.set()
        await dial.gate.wait()
        return await result(origin)

    dial.started, dial.gate = asyncio.Event(), asyncio.Event()
    return dial


def test_a_connection_that_takes_too_long_is_a_connect_timeout(run):
    async def scenario():
        async with bench(answering(OK)) as b:
            b.origin._dial = dial = opening(b.origin._dial)
            task = asyncio.ensure_future(b.send(clocks=Clocks(connect=5)))
            await dial.started.wait()
            b.time.advance(5)
            with pytest.raises(TransportError, match="no connection within 5 s") as caught:
                await task
            assert (caught.value.kind, caught.value.sent) == ("connect_timeout", False)
            assert b.origin.open_connections == 0

    run(scenario())


def test_cancelling_while_connecting_frees_the_slot(run):
    async def scenario():
        async with bench(answering(OK), limit=1) as b:
            real = b.origin._dial
            b.origin._dial = dial = opening(real)
            first = asyncio.ensure_future(b.send())
            await dial.started.wait()
            second = asyncio.ensure_future(b.send())
            await hops()
            assert b.origin.waiting == 1
            b.origin._dial = real
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            assert await drain(await second) == b"hello"

    run(scenario())


def test_a_connection_made_in_the_moment_of_giving_up_is_closed(run):
    """The task that opens it may end in the same turn of the loop in which its sender is cancelled."""

    async def scenario():
        async with bench(answering(OK)) as b:
            real = b.origin._dial

            async def stubborn(origin):
                connection = await real(origin)
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    return connection

            b.origin._dial = stubborn
            task = asyncio.ensure_future(b.send())
            await until(lambda: b.server.wires)
            await hops()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: b.server.wires[0].lost)
            assert b.origin.open_connections == 0

    run(scenario())


def test_a_connection_closed_as_soon_as_made_is_unreachable(run):
    async def scenario():
        async with bench(answering(OK)) as b:
            real = b.origin._dial

            async def late(origin):
                connection = await real(origin)
                connection.close()
                return connection

            b.origin._dial = late
            with pytest.raises(TransportError, match="as soon as it was made") as caught:
                await b.send()
            assert caught.value.kind == "unreachable"
            assert b.origin.open_connections == 0

    run(scenario())


@contextlib.contextmanager
def no_descriptors():
    """This process can open nothing more inside."""
    lowest = os.dup(0)
    os.close(lowest)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.skipif(resource is None, reason="limits as POSIX has them")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_no_descriptor_left_is_our_fault_and_not_the_providers(run, host):
    async def scenario():
        async with serving(answering(OK)) as server:
            client = Client(environ={})
            origin = client.origin(f"http://{host}:{server.port}")
            with no_descriptors(), pytest.raises(TransportError, match="no room") as caught:
                await origin.send(GET, b"", CLOCKS)
            assert (caught.value.kind, caught.value.sent) == ("exhausted", False)
            assert client.open_connections == 0
            assert (
                await drain(await client.origin(f"http://127.0.0.1:{server.port}").send(GET, b"", CLOCKS)) == b"hello"
            )
            await client.close()

    run(scenario())


def test_a_resolver_without_a_descriptor_may_say_anything(monkeypatch):
    lack = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    busy = OSError(errno.EBUSY, os.strerror(errno.EBUSY))
    monkeypatch.setattr(dial, "_lack", lambda: lack)
    assert dial._judged(busy, "here")[0] == "exhausted"
    assert dial._judged(ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "here")[0] == "unreachable"
    monkeypatch.setattr(dial, "_lack", lambda: None)
    assert dial._judged(busy, "here")[0] == "unreachable"


@pytest.mark.parametrize("number", [errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL])
def test_what_else_this_machine_can_lack_is_our_fault_too(monkeypatch, number):
    async def lacking(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", lacking)

    async def scenario():
        client = Client(environ={})
        with pytest.raises(TransportError, match=os.strerror(number)) as caught:
            await client.origin("http://127.0.0.1:9").send(GET, b"", CLOCKS)
        assert caught.value.kind == "exhausted"
        await client.close()

    asyncio.run(scenario())


@pytest.mark.skipif(sys.platform != "linux", reason="needs a second loopback address")
def test_a_provider_that_moves_is_found_where_it_is_now(run, monkeypatch):
    """Its kept connections lead to where it was, and nobody answers there any more."""
    where = ["127.0.0.1"]
    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _host, *rest, **more: real(where[0], *rest, **more))

    async def scenario():
        async with serving(answering(OK)) as old:
            new = Server(answering(OK), None, eager=False)
            await new.listen(host="127.0.0.2", port=old.port)
            client = Client(environ={})
            origin = client.origin(f"http://moving.example:{old.port}")
            begun = await asyncio.gather(*(origin.send(GET, b"", CLOCKS) for _ in range(3)))
            assert [await drain(response) for response in begun] == [b"hello"] * 3
            where[0] = "127.0.0.2"
            assert await drain(await origin.send(GET, b"", CLOCKS)) == b"hello"
            assert (origin.idle_connections, new.wires) == (3, []), "connections that work are kept"
            old.answer = None
            with pytest.raises(TransportError) as caught:
                await origin.send(GET, b"", Clocks(first_token=0.05))
            assert (caught.value.kind, origin.idle_connections) == ("first_token_timeout", 0)
            assert await drain(await origin.send(GET, b"", CLOCKS)) == b"hello"
            assert len(new.wires) == 1
            await client.close()
            await new.close()

    run(scenario())
