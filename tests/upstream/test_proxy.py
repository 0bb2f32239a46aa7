"""Which proxy, and what is said to it."""

import asyncio
import ssl

import pytest
import trustme

from understudy import clock
from understudy.upstream import Client, Clocks, TransportError, split_url
from understudy.upstream.proxy import absolute, find_proxy

from .scripted import CLOCKS, GET, OK, answering, bench, drain, hops, serving, until

HTTPS = split_url("https://api.example.com/v1")
HTTP = split_url("http://api.example.com:8080/v1")


@pytest.mark.parametrize(
    ("environ", "address", "label"),
    [
        ({}, HTTPS, None),
        ({"HTTPS_PROXY": "http://p:3128"}, HTTPS, "http://p:3128"),
        ({"HTTPS_PROXY": "http://p:3128"}, HTTP, None),
        ({"HTTP_PROXY": "p:3128"}, HTTP, "http://p:3128"),
        ({"ALL_PROXY": "http://all"}, HTTP, "http://all:80"),
        ({"all_proxy": "https://all"}, HTTPS, "https://all:443"),
        ({"HTTPS_PROXY": "http://upper", "https_proxy": "http://lower"}, HTTPS, "http://lower:80"),
        ({"HTTPS_PROXY": "http://u:p@h:1", "ALL_PROXY": "http://x"}, HTTPS, "http://h:1"),
        ({"ALL_PROXY": "http://all"}, split_url("http://127.0.0.1:1"), None),
        ({"ALL_PROXY": "http://all"}, split_url("http://[::1]:1"), None),
        ({"ALL_PROXY": "http://all"}, split_url("http://localhost:1"), None),
        ({"ALL_PROXY": "http://all"}, split_url("http://x.localhost:1"), None),
    ],
)
def test_the_proxy_of_the_environment(environ, address, label):
    proxy = find_proxy(environ, address)
    assert (proxy and proxy.label) == label


@pytest.mark.parametrize(
    ("entry", "url", "direct"),
    [
        ("*", "http://api.example.com", True),
        ("example.com", "http://api.example.com", True),
        (".example.com", "http://api.example.com", True),
        ("*.example.com", "http://api.example.com", True),
        ("API.Example.com", "http://api.example.com", True),
        ("ample.com", "http://api.example.com", False),
        ("other.com, example.com", "http://example.com", True),
        ("other.com example.com", "http://example.com", True),
        ("example.com:80", "http://example.com", True),
        ("example.com:81", "http://example.com", False),
        ("10.0.0.0/8", "http://10.1.2.3", True),
        ("10.0.0.0/8", "http://11.1.2.3", False),
        ("10.0.0.0/8", "http://example.com", False),
        ("10.1.2.3", "http://10.1.2.3", True),
        ("10.1.2.3:80", "http://10.1.2.3", True),
        ("10.1.2.4:80", "http://10.1.2.3", False),
        ("fd00::/8", "http://[fd00::1]", True),
        ("[fd00::1]:80", "http://[fd00::1]", True),
        ("fd00::1", "http://[fd00::1]", True),
        ("example.com", "http://10.1.2.3", False),
        (",", "http://example.com", False),
        (".", "http://example.com", False),
    ],
)
def test_what_no_proxy_lists_goes_direct(entry, url, direct):
    for name in ("NO_PROXY", "no_proxy"):
        found = find_proxy({"ALL_PROXY": "http://proxy", name: entry}, split_url(url))
        assert (found is None) == direct


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("socks5://u:secret@p:1", "a socks5 proxy.*NO_PROXY"),
        ("http://", "correct it"),
        ("http://secret:x@p:0x", "correct"),
    ],
)
def test_a_proxy_that_cannot_be_used_says_what_to_do(run, value, why):
    async def scenario():
        client = Client(environ={"ALL_PROXY": value})
        with pytest.raises(TransportError, match=why) as caught:
            await client.origin("https://api.example.com").send(GET, b"", CLOCKS)
        assert caught.value.kind == "unreachable"
        assert "ALL_PROXY" in caught.value.message
        assert "secret" not in caught.value.message
        await client.close()

    run(scenario())


def test_an_http_target_is_asked_for_in_absolute_form():
    proxy = find_proxy({"HTTP_PROXY": "http://us%40er:pa%3Ass@p"}, HTTP)
    assert absolute(GET, HTTP, proxy) == (
        b"GET http://api.example.com:8080/v1/x HTTP/1.1\r\n"
        b"proxy-authorization: Basic dXNAZXI6cGE6c3M=\r\nhost: test\r\n\r\n"
    )


def test_an_http_target_goes_through_its_proxy(run):
    async def scenario():
        async with bench(answering(OK)) as b:
            client = Client(environ={"HTTP_PROXY": f"http://127.0.0.1:{b.server.port}"})
            origin = client.origin("http://api.example.com/v1")
            assert await drain(await origin.send(GET, b"", CLOCKS)) == b"hello"
            assert b.server.heads[0].startswith(b"GET http://api.example.com/v1/x HTTP/1.1")
            await client.close()

    run(scenario())


class Pipe(asyncio.Protocol):
    """The far side of a tunnel."""

    def __init__(self, wire):
        self.wire = wire

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.wire.transport.write(data)

    def connection_lost(self, exc):
        self.wire.transport.close()


def tunnelling(port):
    """A proxy that joins every CONNECT with the server on `port`."""

    async def greet(wire):
        await until(lambda: b"\r\n\r\n" in wire.received)
        wire.server.heads.append(wire.received)
        loop = asyncio.get_running_loop()
        onward, _ = await loop.create_connection(lambda: Pipe(wire), "127.0.0.1", port)
        wire.data_received = onward.write
        wire.transport.set_protocol(Onward(wire, onward))
        wire.transport.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

    return greet


class Onward(asyncio.Protocol):
    def __init__(self, wire, onward):
        self.wire, self.onward = wire, onward

    def data_received(self, data):
        self.onward.write(data)

    def connection_lost(self, exc):
        self.onward.abort()
        self.wire.connection_lost(exc)


@pytest.fixture(scope="module")
def ca():
    return trustme.CA()


def contexts(ca, *names):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names).configure_cert(server)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ca.configure_trust(client)
    return server, client


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_https_target_goes_through_a_tunnel(run, ca, scheme):
    async def scenario():
        server_tls, client_tls = contexts(ca, "api.example.com", "127.0.0.1")
        async with (
            serving(answering(OK), ssl=server_tls) as server,
            serving(None, tunnelling(server.port), ssl=server_tls if scheme == "https" else None) as proxy,
        ):
            client = Client(
                environ={"HTTPS_PROXY": f"{scheme}://user:pass@127.0.0.1:{proxy.port}"}, ssl_context=client_tls
            )
            origin = client.origin("https://api.example.com/v1")
            for turn in range(2):
                response = await origin.send(GET, b"", CLOCKS)
                assert await drain(response) == b"hello"
                assert response.reused == bool(turn)
            (asked,) = proxy.heads
            assert asked == (
                b"CONNECT api.example.com:443 HTTP/1.1\r\nhost: api.example.com:443\r\n"
                b"proxy-authorization: Basic dXNlcjpwYXNz\r\n\r\n"
            )
            assert server.heads[0] == GET[:-4]
            await client.close()
            assert client.open_connections == 0

    run(scenario())


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\nx: pass\r\n\r\n", "407 Proxy Auth.*check user and password"),
        (b"HTTP/1.1 503 pass\r\n\r\n", "503 Service Unavailable"),
        (b"HTTP/1.1 799 pass\r\n\r\n", "refused api.example.com:443: 799"),
        (b"SSH-2.0\r\n\r\n", "did not answer CONNECT with HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nsurplus", "did not answer CONNECT with HTTP"),
        (b"x" * 20000, "did not answer CONNECT with HTTP"),
        (b"", "closed the connection"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "'api.example.com'"),
    ],
)
def test_a_tunnel_refused_is_unreachable_and_names_no_password(run, ca, answer, why):
    async def greet(wire):
        await until(lambda: wire.received)
        await wire.send(answer)
        wire.close()

    async def scenario():
        _, client_tls = contexts(ca, "api.example.com")
        async with serving(None, greet) as proxy:
            environ = {"HTTPS_PROXY": f"http://user:pass@127.0.0.1:{proxy.port}"}
            client = Client(environ=environ, ssl_context=client_tls)
            with pytest.raises(TransportError, match=why) as caught:
                await client.origin("https://api.example.com").send(GET, b"", CLOCKS)
            assert caught.value.kind == "unreachable"
            assert f"127.0.0.1:{proxy.port}" in caught.value.message
            assert "pass@" not in caught.value.message
            assert "user:" not in caught.value.message
            await client.close()
            assert client.open_connections == 0

    run(scenario())


@pytest.mark.parametrize("stage", ["tunnel", "tls"])
def test_a_proxy_that_hangs_runs_into_the_connect_clock(run, ca, stage):
    async def greet(wire):
        await until(lambda: wire.received)
        if stage == "tls":
            await wire.send(b"HTTP/1.1 200 OK\r\n\r\n")

    async def scenario():
        _, client_tls = contexts(ca, "api.example.com")
        with clock.frozen() as time:
            async with serving(None, greet) as proxy:
                client = Client(environ={"ALL_PROXY": f"127.0.0.1:{proxy.port}"}, ssl_context=client_tls)
                origin = client.origin("https://api.example.com")
                task = asyncio.ensure_future(origin.send(GET, b"", Clocks(connect=3)))
                size = 400 if stage == "tls" else 10
                await until(lambda: proxy.wires and len(proxy.wires[0].received) > size)
                await hops()
                time.advance(3)
                with pytest.raises(TransportError, match="no connection within 3 s") as caught:
                    await task
                assert caught.value.kind == "connect_timeout"
                await until(lambda: proxy.wires[0].lost)
                assert client.open_connections == 0
                await client.close()

    run(scenario())
