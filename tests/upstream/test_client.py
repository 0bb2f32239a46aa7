from understudy import upstream
from understudy.upstream import Client

from .scripted import CLOCKS, GET, OK, answering, bench, drain


def test_the_public_names():
    assert upstream.__all__ == ["Address", "Client", "Clocks", "Origin", "Response", "TransportError", "split_url"]


def test_an_origin_is_shared_by_all_its_paths():
    client = Client(environ={})
    first = client.origin("https://api.example.com/v1")
    assert client.origin("https://API.example.com:443/v2") is first
    assert client.origin("http://api.example.com/v1") is not first


def test_exchanges_share_one_client(run):
    async def scenario():
        async with bench(answering(OK)) as b:
            assert await drain(await b.origin.send(GET, b"", CLOCKS)) == b"hello"
            assert (b.client.open_connections, b.client.idle_connections) == (1, 1)

    run(scenario())
