"""How long each phase of an exchange may take, and the one error that says which phase went wrong."""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal[
    "unreachable",  # DNS, refused, TLS, or the proxy said no: nothing was processed
    "untrusted",  # its certificate is expired, another's, or of nobody we know: nothing was sent
    "exhausted",  # this process has no descriptor, port or memory left: not the provider's fault
    "connect_timeout",  # TCP, proxy and TLS together took longer than `Clocks.connect`
    "stale_connection",  # a reused connection closed before any byte of the answer: nothing was processed
    "first_token_timeout",  # no content within `Clocks.first_token` of sending
    "silence",  # no byte at all for `Clocks.liveness`
    "no_progress",  # bytes, but no content for `Clocks.progress`
    "deadline",  # the caller's own deadline passed
    "cut",  # closed or reset before the answer was whole
    "bad_response",  # not HTTP, beyond a bound, or in an encoding that cannot be undone
    "pool_full",  # no connection free, and no room (or no time left) to wait for one
]


class Clocks(msgspec.Struct, frozen=True):
    """Limits in seconds. A slow provider is caught by these, a slow caller never is."""

    connect: float = 5.0
    """Waiting for a free connection, and again for TCP, proxy and TLS together."""
    first_token: float = 60.0
    """From sending until `Response.progressed` is first called."""
    liveness: float = 60.0
    """Between any two pieces of the answer, once its head has arrived."""
    progress: float = 120.0
    """Between two calls of `Response.progressed`."""


class TransportError(Exception):
    """Why an exchange failed: `kind` for programs, `message` for people.

    `reused`: the connection had served an earlier exchange. `sent`: some of the request may have reached the provider.
    """

    def __init__(self, kind: Kind, message: str, *, reused: bool = False, sent: bool = False) -> None:
        super().__init__(message)
        self.kind: Kind = kind
        self.message = message
        self.reused = reused
        self.sent = sent

    def again(self) -> TransportError:
        """The same, to be raised. An error that is kept would keep every frame that it was raised through."""
        return TransportError(self.kind, self.message, reused=self.reused, sent=self.sent)
