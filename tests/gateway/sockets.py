"""A gateway's two ends, down to the byte: a client that sends what no library would, a provider that records all."""

import contextlib
import socket
import socketserver
import threading
from urllib.parse import urlsplit

ANSWER = (
    b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"Fine."},"finish_reason":"stop"}]}'
)


def answer(status=b"200 OK", headers=b"", body=ANSWER, kind=b"application/json"):
    head = b"HTTP/1.1 %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n%b\r\n" % (status, kind, len(body), headers)
    return head + body


class Provider:
    """Answers each request with `reply` (bytes, or a function that gets the connection's socket); keeps what came."""

    def __init__(self, reply=None):
        self.reply = answer() if reply is None else reply
        self.requests = []
        provider = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                with contextlib.suppress(ConnectionError, TimeoutError):
                    while (request := _read(self.rfile)) is not None:
                        provider.requests.append(request)
                        if callable(provider.reply):
                            provider.reply(self.connection)
                            return
                        self.wfile.write(provider.reply)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def calls(self):
        """(head, body) of each chat completion asked for."""
        return [(head, body) for head, body in self.requests if head.startswith(b"POST ")]

    def headers(self):
        """The header lines of the latest call, in order."""
        return self.calls[-1][0].split(b"\r\n")[1:]

    def __enter__(self):
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_raised):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _read(stream):
    """One request, (head, body), or None at the end."""
    lines, length = [], 0
    while (line := stream.readline().rstrip(b"\r\n")) or not lines:
        if not line:
            return None
        lines.append(line)
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return b"\r\n".join(lines), stream.read(length)


class Line:
    """A client's connection."""

    def __init__(self, url, *, receive_buffer=None):
        parts = urlsplit(url)
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(10)
        self._held = b""
        try:
            self.socket.connect((parts.hostname, parts.port))
        except OSError:
            self.socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_raised):
        self.socket.close()

    def send(self, *pieces):
        for piece in pieces:
            self.socket.sendall(piece)

    def post(self, body, headers=b"", path=b"/v1/chat/completions"):
        head = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%b\r\n"
        self.send(head % (path, len(body), headers), body)

    def until(self, mark):
        """Everything up to and with `mark`."""
        while mark not in self._held:
            piece = self.socket.recv(65536)
            assert piece, f"closed after {self._held[-300:]!r}"
            self._held += piece
        end = self._held.index(mark) + len(mark)
        found, self._held = self._held[:end], self._held[end:]
        return found

    def response(self, *, head_only=False):
        """One response with a length: (status, head, body)."""
        head = self.until(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        length = int(lengths[0].split(b":")[1]) if lengths and not head_only else 0
        while len(self._held) < length:
            piece = self.socket.recv(65536)
            assert piece, "closed in the body"
            self._held += piece
        body, self._held = self._held[:length], self._held[length:]
        return int(head.split()[1]), head, body

    def rest(self):
        """Everything until the other side closes."""
        found, self._held = self._held, b""
        while piece := self.socket.recv(65536):
            found += piece
        return found
