"""Hundreds of clients on real sockets, cheap enough for one thread: each sends the same bytes over and over."""

import asyncio
import json
import time
from urllib.parse import urlsplit


async def _client(url, request, more, pause, answers):
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        while more(answers):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head[9:12])
            fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
            body = await reader.readexactly(int(fields[b"content-length"]))
            answers.append((status, json.loads(body)))
            await asyncio.sleep(pause if status != 200 else 0)
    finally:
        writer.close()


async def _all(urls, request, clients, more, pause):
    answers = []
    crowd = [_client(urls[n % len(urls)], request, more, pause, answers) for n in range(clients)]
    await asyncio.gather(*crowd)
    return answers


def crowd(urls, key, body, enough, *, clients=500, seconds=3.0, pause=0.4):
    """What `clients` at `urls` were answered: pairs of status and body. Who is refused takes breath for `pause`.

    They go on for `seconds` at least, and until what they were answered is `enough` or a minute is over.
    """
    began = time.monotonic()

    def more(answers):
        passed = time.monotonic() - began
        return passed < seconds or (passed < 60 and not enough(answers))

    text = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(text)}\r\n\r\n"
    return asyncio.run(_all(urls, head.encode() + text, clients, more, pause))
