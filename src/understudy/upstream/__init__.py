"""The HTTP/1.1 client of the data path: pools, clocks, back-pressure, TLS and proxies, and nothing else.

Own code, because general clients measured 4 to 20 times slower than a bare `asyncio.Protocol` on httptools, and because
a gateway needs what they do not offer: a clock for each phase of a model's answer, and an exact account of what was
sent before something broke. It knows nothing of models or JSON: the caller prepares head and body, and reads bytes.

    client = Client()
    origin = client.origin("https://api.example.com/v1")
    response = await origin.send(head, body, Clocks())
    while data := await response.read():
        ...

`connection.py` speaks HTTP on one socket, `response.py` is what the caller holds, `pool.py` shares connections,
`dial.py` opens them, to where `names.py` says, through `proxy.py` and `tls.py` where needed;
`encoding.py` undoes compression nobody asked for.
"""

from understudy.upstream.address import Address, split_url
from understudy.upstream.client import Client
from understudy.upstream.fault import Clocks, TransportError
from understudy.upstream.pool import Origin
from understudy.upstream.response import Response

__all__ = ["Address", "Client", "Clocks", "Origin", "Response", "TransportError", "split_url"]
