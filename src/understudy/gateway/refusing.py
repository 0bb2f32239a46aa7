"""A request that is answered here, with an error."""

from __future__ import annotations

from understudy import dialects
from understudy.canon import Fault
from understudy.gateway import surface
from understudy.gateway.record import Headers


class RefusedError(Exception):
    """A request that goes nowhere: `status`, and what the error says in the client's dialect."""

    def __init__(self, status: int, code: str, message: str, *, param: str | None = None, **headers: str) -> None:
        self.status, self.code, self.param = status, code, param
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        super().__init__(message)

    def answer(self, dialect: str = surface.CHAT) -> tuple[int, Headers, bytes]:
        """Status, headers and body that tell a client of `dialect`."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        wait = self.headers.get("retry-after")
        fault = Fault(
            status=self.status,
            code=self.code,
            type=kind,
            param=self.param,
            message=str(self),
            retry_after=None if wait is None else float(wait),
        )
        status, headers, body = dialects.get(dialect).encode_fault(fault)
        lines = {**headers, **self.headers}
        return status, [(name.encode(), text.encode("latin-1", "replace")) for name, text in lines.items()], body
