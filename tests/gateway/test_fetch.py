import asyncio
import base64
import contextlib
import ssl

import pytest
import trustme

from understudy import clock
from understudy.canon import Audio, File, Image, Inline, Message, Request, Stored, Text, ToolResult, Url
from understudy.dialects import DIALECTS
from understudy.gateway import fetch
from understudy.gateway.fetch import FetchError, Limits, inline, needs_inline
from understudy.gateway.fetched import UnwantedError, forbidden, media_type_of, readable

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"
JPEG = b"\xff\xd8\xff\xe0pixels"
PDF = b"%PDF-1.7 words"
LOCAL = Limits(allow_private=True)


def page(body=PNG, kind="image/png", status="200 OK", more=""):
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def moved(where):
    return page(b"", status="302 Found", more=f"location: {where}\r\nset-cookie: a=b\r\n")


class Host:
    """Answers each path with its page; keeps the heads that came, and how many were open at once."""

    def __init__(self, pages, context=None):
        self.pages, self.context, self.heads = pages, context, []
        self.gate = None
        self.open = self.most = 0
        self.entered = asyncio.Event()

    async def _serve(self, reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            self.open += 1
            self.most = max(self.most, self.open)
            self.entered.set()
            if self.gate is not None:
                await self.gate.wait()
            self.open -= 1
            writer.write(self.pages.get(head.split()[1], page(b"no", "text/plain", "404 Not Found")))
            await writer.drain()
        writer.close()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.context)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_raised):
        self._server.close()


def asking(*parts):
    return Request("openai-chat", "m", (Message("user", parts),))


def pictures(*urls):
    return asking(*(Image(Url(url)) for url in urls))


def sources(request):
    return [part.source for part in request.messages[0].parts]


def answers(*addresses):
    """A resolver that gives the same addresses for every name, and remembers what it was asked."""

    async def resolve(host, port):
        resolve.asked.append(host)
        return list(addresses)

    resolve.asked = []
    return resolve


def sent(data, kind):
    return Inline(base64.b64encode(data).decode(), kind)


async def why_not(request, **settings):
    """Why the only item could not be fetched; it has kept its URL."""
    got, losses = await inline(request, **settings)
    assert got == request
    assert [loss.field for loss in losses] == ["messages[0].parts[0].source"]
    return losses[0].why


def test_bytes_take_the_place_of_urls_wherever_they_stand():
    async def main():
        async with Host({"/p": page(), "/d": page(PDF, "application/pdf"), "/a": page(b"ID3x", "audio/mpeg")}) as host:
            inner = ToolResult("c", (Text("see"), Image(Url(host.url + "/p"), "high")))
            kept = (Image(Stored("f")), Image(Inline("aa")), Text("hi"))
            parts = (*kept, File(Url(host.url + "/d"), filename="x.pdf"), inner, Audio(Url(host.url + "/a")))
            got, losses = await inline(asking(*parts), limits=LOCAL)
            assert losses == ()
            assert got.messages[0].parts == (
                *kept,
                File(sent(PDF, "application/pdf"), filename="x.pdf"),
                ToolResult("c", (Text("see"), Image(sent(PNG, "image/png"), "high"))),
                Audio(sent(b"ID3x", "audio/mpeg")),
            )

    asyncio.run(main())


def test_a_large_one_comes_whole():
    body = PNG + bytes(range(256)) * 5000

    async def main():
        async with Host({"/p": page(body)}) as host:
            got, losses = await inline(pictures(host.url + "/p"), limits=LOCAL)
            assert (sources(got), losses) == ([sent(body, "image/png")], ())

    asyncio.run(main())


def test_a_request_without_urls_is_the_same_object():
    request = asking(Text("hi"), Image(Inline("aa")))
    assert asyncio.run(inline(request)) == (request, ())
    assert asyncio.run(inline(request))[0] is request


def test_only_what_is_wanted_is_fetched_and_the_same_url_once():
    async def main():
        async with Host({"/p": page()}) as host:
            request = pictures(host.url + "/p", host.url + "/q", host.url + "/p")
            got, losses = await inline(request, lambda part: part.source.url.endswith("/p"), limits=LOCAL)
            assert losses == ()
            assert sources(got) == [sent(PNG, "image/png"), Url(host.url + "/q"), sent(PNG, "image/png")]
            assert len(host.heads) == 1

    asyncio.run(main())


def test_the_connection_goes_to_the_address_that_was_checked_and_the_name_is_asked_once():
    async def main():
        async with Host({"/p?x=1": page()}) as host:
            resolve = answers("127.0.0.1")
            request = pictures(f"http://images.example:{host.port}/p?x=1")
            got, _ = await inline(request, limits=LOCAL, resolve=resolve)
            assert sources(got) == [sent(PNG, "image/png")]
            assert resolve.asked == ["images.example"]
            assert f"host: images.example:{host.port}\r\n" in host.heads[0].lower()

    asyncio.run(main())


def test_tls_checks_the_name_and_not_the_address():
    async def main():
        authority = trustme.CA()
        there, here = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.issue_cert("images.example").configure_cert(there)
        authority.configure_trust(here)
        settings = {"limits": LOCAL, "resolve": answers("127.0.0.1"), "trust": lambda: here}
        async with Host({"/p": page()}, there) as host:
            got, losses = await inline(pictures(f"https://images.example:{host.port}/p"), **settings)
            assert (sources(got), losses) == ([sent(PNG, "image/png")], ())
            why = await why_not(pictures(f"https://other.example:{host.port}/p"), **settings)
            assert "certificate" in why.lower()

    asyncio.run(main())


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1",
     "fd00:ec2::254", "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe",
     "64:ff9b::127.0.0.1", "64:ff9b:1::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "::127.0.0.1", "2001:db8::1",
     "2001:0:4136:e378:8000:63bf:3fff:fdd2", "nonsense"],
)  # fmt: skip
def test_no_address_inside_is_ever_reached(address):
    assert forbidden(address) is not None

    async def main():
        why = await why_not(pictures("http://images.example/p"), resolve=answers(address))
        assert "where nothing is fetched from" in why
        # one bad address among good ones is enough
        why = await why_not(pictures("http://images.example/p"), resolve=answers("93.184.215.14", address))
        assert "where nothing is fetched from" in why

    asyncio.run(main())


@pytest.mark.parametrize(
    "address",
    ["93.184.215.14", "8.8.8.8", "2606:2800:21f:cb07::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1"],
)
def test_public_addresses_are_allowed(address):
    assert forbidden(address) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "localhost"])
def test_this_machine_is_refused_however_it_is_written(host):
    async def main():
        async with Host({"/p": page()}) as there:
            why = await why_not(pictures(f"http://{host}:{there.port}/p"))
            assert "where nothing is fetched from" in why or "does not resolve" in why or "makes no sense" in why
            assert there.heads == []

    asyncio.run(main())


def test_redirects_are_followed_without_cookies():
    async def main():
        async with Host({"/1": moved("/2"), "/2": moved("3"), "/3": moved("/p"), "/p": page()}) as host:
            got, losses = await inline(pictures(host.url + "/1"), limits=LOCAL)
            assert (sources(got), losses) == ([sent(PNG, "image/png")], ())
            assert not any("cookie" in head.lower() for head in host.heads)
            host.pages["/0"] = moved("/1")
            assert "redirects more than 3 times" in await why_not(pictures(host.url + "/0"), limits=LOCAL)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("http://inside.example/", "an address of a private network"),
        ("http://169.254.169.254/latest/meta-data", "a link-local address"),
        ("file:///etc/passwd", "only http and https"),
        ("http://a:b@outside.example/", "credentials"),
    ],
)
def test_a_redirect_to_where_nothing_is_fetched_from_is_refused(monkeypatch, where, why):
    real = forbidden
    monkeypatch.setattr(fetch, "forbidden", lambda address: None if address == "127.0.0.1" else real(address))

    async def resolve(host, port):
        return {"outside.example": ["127.0.0.1"], "inside.example": ["10.0.0.1"]}.get(host, [host])

    async def main():
        async with Host({"/p": moved(where)}) as host:
            request = pictures(f"http://outside.example:{host.port}/p")
            assert why in await why_not(request, resolve=resolve)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://images.example/p", "only http and https"),
        ("gs://bucket/p", "only http and https"),
        ("file:///etc/passwd", "only http and https"),
        ("http://", "only http and https"),
        ("p.png", "only http and https"),
        ("http://user:pass@images.example/p", "credentials"),
        ("http://images.example:port/p", "makes no sense"),
        ("http://a\x00b/p", "makes no sense"),
    ],
)
def test_a_url_that_is_no_plain_web_address_is_refused(url, why):
    async def main():
        said = await why_not(pictures(url), resolve=answers("127.0.0.1"), limits=LOCAL)
        assert why in said
        assert "pass@" not in said

    asyncio.run(main())


def test_the_query_of_a_url_is_never_shown():
    async def main():
        async with Host({}) as host:
            said = await why_not(pictures(f"{host.url}/p?signature=secret#secret"), limits=LOCAL)
            assert said == f"{host.url}/p could not be fetched: the server answers 404"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (page(b"<html>", "image/png"), "its bytes are something else"),
        (page(PDF, "image/png"), "its bytes are application/pdf"),
        (page(PNG, "text/html"), "its bytes are image/png"),
        (page(b"a,b", "text/csv"), "it is text/csv, where image/* was expected"),
        (page(b"{}", "application/json"), "only images, sounds, PDF and texts"),
        (page(b"what", "application/octet-stream"), "neither its server nor its bytes"),
        (page(b"", "image/png"), "it is empty"),
        (page(more="content-encoding: gzip\r\n"), "compressed"),
        (page(status="500 Oops"), "answers 500"),
        (page(b"", status="302 Found"), "redirects to nowhere"),
        (moved("http://a:port/"), "redirects to nonsense"),
        (page()[:-3], "it broke off"),
        (b"nonsense\r\n\r\n", "no answer from"),
        (b"", "no answer from"),
    ],
)
def test_an_answer_that_is_not_what_was_asked_for_is_refused(answer, why):
    async def main():
        async with Host({"/p": answer}) as host:
            assert why in await why_not(pictures(host.url + "/p"), limits=LOCAL)

    asyncio.run(main())


def test_the_bytes_decide_the_format_when_the_server_does_not_know_it():
    assert media_type_of("application/octet-stream", PNG) == "image/png"
    assert media_type_of("", PDF) == "application/pdf"
    assert media_type_of("image/png", JPEG) == "image/jpeg"
    assert media_type_of("IMAGE/JPG; q=1", JPEG) == "image/jpeg"
    assert media_type_of("image/svg+xml", b"<svg/>") == "image/svg+xml"
    assert media_type_of("audio/x-wav", b"RIFF\0\0\0\0WAVE") == "audio/wav"
    assert media_type_of("image/png", b"RIFF\0\0\0\0WEBP") == "image/webp"
    assert media_type_of("image/heic", b"\0\0\0\x18ftypheic") == "image/heic"
    assert media_type_of("audio/mpeg", b"\xff\xfb\x90") == "audio/mpeg"


def test_texts_come_as_utf8_and_have_to_be_texts():
    assert readable("text/plain", "text/plain; charset=ISO-8859-1", b"caf\xe9") == "café".encode()
    assert readable("text/plain", 'text/plain; charset="utf-16"', "é".encode("utf-16")) == "é".encode()
    assert readable("image/png", "image/png", PNG) == PNG
    for said, data in (("", b"\xff"), ("; charset=rot13", b"a"), ("; charset=punycode", b"a"), ("", b"a\0b")):
        with pytest.raises(UnwantedError):
            readable("text/plain", "text/plain" + said, data)


@pytest.mark.parametrize("chunked", [False, True])
def test_what_is_too_long_is_refused_alone_and_together(chunked):
    body = PNG + b"x" * 86
    answer = page(body)
    if chunked:
        answer = (
            b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ntransfer-encoding: chunked\r\n\r\n64\r\n"
            + body
            + b"\r\n0\r\n\r\n"
        )

    async def main():
        async with Host({f"/{n}": answer for n in range(3)}) as host:
            limits = Limits(item=99, allow_private=True)
            assert "longer than the 99 bytes" in await why_not(pictures(host.url + "/0"), limits=limits)
            limits = Limits(item=100, total=250, at_once=1, allow_private=True)
            got, losses = await inline(pictures(*(f"{host.url}/{n}" for n in range(3))), limits=limits)
            assert [type(source) for source in sources(got)] == [Inline, Inline, Url]
            assert "longer than 250 bytes" in losses[0].why

    asyncio.run(main())


def test_at_most_four_at_once_and_sixteen_in_all():
    async def main():
        async with Host({f"/{n}": page() for n in range(20)}) as host:
            host.gate = asyncio.Event()
            going = asyncio.ensure_future(inline(pictures(*(f"{host.url}/{n}" for n in range(20))), limits=LOCAL))
            while host.open < 4:
                host.entered.clear()
                await host.entered.wait()
            host.gate.set()
            _, losses = await going
            assert host.most == 4
            assert len(host.heads) == 16
            assert [loss.field for loss in losses] == [f"messages[0].parts[{n}].source" for n in range(16, 20)]
            assert "beyond the 16 items" in losses[0].why

    asyncio.run(main())


def test_all_of_it_takes_ten_seconds_at_most():
    async def main():
        with clock.frozen() as time:
            async with Host({"/q": page()}) as host:
                done, _ = await inline(pictures(host.url + "/q"), limits=LOCAL)
                assert isinstance(sources(done)[0], Inline)
                host.entered.clear()
                host.gate = asyncio.Event()
                going = asyncio.ensure_future(inline(pictures(host.url + "/p"), limits=LOCAL))
                await host.entered.wait()
                time.advance(9.9)
                assert not going.done()
                time.advance(0.2)
                _, losses = await going
                assert "it had not come within 10 s" in losses[0].why
                host.gate.set()

    asyncio.run(main())


def test_a_caller_that_gives_up_leaves_nothing_running():
    async def main():
        async with Host({}) as host:
            host.gate = asyncio.Event()
            going = asyncio.ensure_future(inline(pictures(host.url + "/p"), limits=LOCAL))
            await host.entered.wait()
            going.cancel()
            with pytest.raises(asyncio.CancelledError):
                await going
            host.gate.set()
            names = {task.get_coro().__qualname__ for task in asyncio.all_tasks()}
            assert not any("_Fetching" in name for name in names)

    asyncio.run(main())


def test_strict_raises_instead_of_losing():
    async def main():
        async with Host({"/p": page()}) as host:
            with pytest.raises(FetchError) as raised:
                await inline(pictures(host.url + "/p", host.url + "/q?key=1"), limits=LOCAL, strict=True)
            assert (raised.value.url, raised.value.why) == (host.url + "/q", "the server answers 404")

    asyncio.run(main())


def test_the_next_address_is_tried_when_one_does_not_answer():
    async def main():
        async with Host({"/p": page()}) as host:
            request = pictures(f"http://images.example:{host.port}/p")
            got, _ = await inline(request, limits=LOCAL, resolve=answers("127.0.0.2", "127.0.0.1"))
            assert sources(got) == [sent(PNG, "image/png")]

    asyncio.run(main())


def test_a_name_that_does_not_resolve_says_so():
    async def resolve(host, port):
        raise OSError("no such name")

    async def main():
        for how in (resolve, answers()):
            assert "'images.example' does not resolve" in await why_not(
                pictures("http://images.example/p"), resolve=how
            )

    asyncio.run(main())


def test_certificates_that_cannot_be_read_are_no_crash():
    def trust():
        raise OSError("SSL_CERT_FILE=/none does not exist")

    async def main():
        why = await why_not(pictures("https://a.example/p"), resolve=answers("127.0.0.1"), limits=LOCAL, trust=trust)
        assert "certificates" in why
        assert "/none" not in why

    asyncio.run(main())


def test_every_dialect_says_what_it_takes_only_as_bytes():
    web, googles = Url("https://a.example/x"), Url("gs://bucket/x")
    picture, sound, document = Image(web), Audio(web), File(web)

    def needs(name):
        wanted = needs_inline(name) or (lambda part: False)
        return [wanted(part) for part in (picture, sound, document)]

    assert set(fetch._NEEDS) <= set(DIALECTS)
    assert needs("bedrock-converse") == [True, True, True]
    assert needs("ollama") == [True, False, False]
    assert needs("gemini") == [True, True, True]
    assert not needs_inline("gemini")(Image(googles))
    assert needs("openai-chat") == [False, True, True]
    assert needs("cohere-chat") == [False, False, True]
    assert needs("anthropic-messages") == [False, False, True]
    assert not needs_inline("anthropic-messages")(File(Url("https://a.example/x.PDF?y=1")))
    assert not needs_inline("anthropic-messages")(File(Url("https://a.example/x", "application/pdf")))
    assert needs_inline("openai-responses") is None
