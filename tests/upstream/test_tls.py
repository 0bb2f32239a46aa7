"""Trust, names, and ends that TLS can tell apart."""

import ssl
import sys

import pytest
import trustme
import truststore

from understudy.upstream import Client, TransportError
from understudy.upstream.tls import system_trust

from .scripted import CLOCKS, GET, OK, answering, drain, serving


@pytest.fixture(scope="module")
def ca():
    return trustme.CA()


def server_side(ca, name="localhost"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name).configure_cert(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def trusting(ca, tmp_path):
    file = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(file)
    return {"SSL_CERT_FILE": str(file)}


def test_tls_with_a_certificate_file_of_the_environment(run, ca, tmp_path):
    async def scenario():
        async with serving(answering(OK), ssl=server_side(ca)) as server:
            client = Client(environ=trusting(ca, tmp_path))
            origin = client.origin(f"https://localhost:{server.port}/v1")
            for turn in range(2):
                response = await origin.send(GET, b"", CLOCKS)
                assert await drain(response) == b"hello"
                assert response.reused == bool(turn)
            tls = server.wires[0].transport.get_extra_info("ssl_object")
            assert tls.selected_alpn_protocol() == "http/1.1"
            await client.close()

    run(scenario())


@pytest.mark.parametrize(("trusted", "name"), [(False, "localhost"), (True, "other")])
def test_a_certificate_that_does_not_fit_is_not_trusted_and_nothing_is_sent(run, ca, tmp_path, trusted, name):
    async def scenario():
        async with serving(answering(OK), ssl=server_side(ca, name)) as server:
            client = Client(environ=trusting(ca if trusted else trustme.CA(), tmp_path))
            with pytest.raises(TransportError, match="not trusted") as caught:
                await client.origin(f"https://localhost:{server.port}").send(GET, b"", CLOCKS)
            assert (caught.value.kind, caught.value.sent) == ("untrusted", False)
            assert client.open_connections == 0
            await client.close()

    run(scenario())


def test_no_tls_at_the_other_end_is_unreachable(run, ca, tmp_path):
    async def shout(wire):
        await wire.send(b"220 plain text here\r\n")

    async def scenario():
        async with serving(None, shout) as server:
            client = Client(environ=trusting(ca, tmp_path))
            with pytest.raises(TransportError, match="no TLS with 'localhost'"):
                await client.origin(f"https://localhost:{server.port}").send(GET, b"", CLOCKS)
            await client.close()

    run(scenario())


def test_an_answer_without_length_ends_with_the_closing_of_tls(run, ca, tmp_path):
    """A connection torn down without TLS's own goodbye may have been cut by anyone: that is not an end."""

    async def scenario(how):
        async def answer(wire):
            await wire.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
            getattr(wire, how)()

        async with serving(answer, ssl=server_side(ca)) as server:
            client = Client(environ=trusting(ca, tmp_path))
            try:
                response = await client.origin(f"https://localhost:{server.port}").send(GET, b"", CLOCKS)
                return await drain(response)
            finally:
                await client.close()

    assert run(scenario("close")) == b"hello"
    with pytest.raises(TransportError) as caught:
        run(scenario("reset"))
    assert caught.value.kind == "cut"


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_a_certificate_variable_that_leads_nowhere_is_named(run, name, tmp_path):
    async def scenario():
        client = Client(environ={name: str(tmp_path / "absent")})
        with pytest.raises(TransportError, match=f"{name}=.*does not exist") as caught:
            await client.origin("https://localhost:1").send(GET, b"", CLOCKS)
        assert caught.value.kind == "unreachable"
        await client.close()

    run(scenario())


def test_a_certificate_file_without_certificates_is_named(tmp_path):
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(OSError, match="holds no PEM certificates"):
        system_trust({"SSL_CERT_FILE": str(tmp_path / "empty.pem")})
    assert system_trust({"SSL_CERT_DIR": str(tmp_path)}).cert_store_stats()["x509_ca"] == 0


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_without_variables_the_system_is_trusted(monkeypatch, platform):
    monkeypatch.setattr(sys, "platform", platform)
    context = system_trust({})
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    if platform == "darwin":
        assert isinstance(context, truststore.SSLContext)
