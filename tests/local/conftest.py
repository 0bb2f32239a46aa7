"""A Hugging Face hub on loopback, as far as a download asks for one, and the models folder it fills."""

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import huggingface_hub
import pytest
from huggingface_hub import constants, file_download

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "owner/tiny-GGUF"


class Hub:
    """What the hub holds, how it misbehaves, and what it was asked. Every list and number may be changed by a test."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"tiny.Q4_K_M.gguf": b"GGUF" + bytes(range(256)) * 40}
        self.stated: dict[str, str] = {}  # checksums that are not the true ones
        self.card: dict[str, object] | None = {"license": "apache-2.0"}
        self.lfs = True
        self.refuse_api: tuple[int, str] | None = None  # status and X-Error-Code
        self.refuse_file: tuple[int, str] | None = None
        self.cut_after: list[int] = []  # for each of the next downloads: break off after so many bytes
        self.no_ranges = False
        self.elsewhere = False  # redirect downloads to another host, as the hub does to its CDN
        self.asked: list[tuple[str, dict[str, str]]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"hub": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def downloads(self) -> list[dict[str, str]]:
        """The headers of each request for a file's bytes."""
        return [headers for path, headers in self.asked if not path.startswith("/api/")]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def info(self) -> dict[str, object]:
        siblings = []
        for name, content in self.files.items():
            checksum = self.stated.get(name, hashlib.sha256(content).hexdigest())
            file: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": "0" * 40}
            if self.lfs:
                file["lfs"] = {"sha256": checksum, "size": len(content), "pointerSize": 134}
            siblings.append(file)
        return {"id": REPO, "sha": COMMIT, "siblings": siblings, "cardData": self.card, "private": False, "tags": []}


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append((path, {name.lower(): value for name, value in self.headers.items()}))
        if path.startswith("/api/"):
            self.api(path)
        elif self.hub.refuse_file is not None:
            self.refuse(*self.hub.refuse_file)
        elif self.hub.elsewhere and path.startswith(f"/{REPO}"):
            self.send_response(302)
            self.send_header("Location", f"http://localhost:{self.hub.port}/cdn/{path.rpartition('/')[2]}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.content(self.hub.files[path.partition(f"{COMMIT}/")[2] or path.removeprefix("/cdn/")])

    def api(self, path: str) -> None:
        if self.hub.refuse_api is not None:
            self.refuse(*self.hub.refuse_api)
        elif not path.startswith(f"/api/models/{REPO}/revision/"):
            self.refuse(404, "RepoNotFound")
        elif not path.endswith(("/main", COMMIT)):
            self.refuse(404, "RevisionNotFound")
        else:
            body = json.dumps(self.hub.info()).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def content(self, whole: bytes) -> None:
        wanted = None if self.hub.no_ranges else self.headers["Range"]
        start = 0 if wanted is None else int(wanted.removeprefix("bytes=").partition("-")[0])
        self.send_response(200 if wanted is None else 206)
        if wanted is not None:
            self.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
        self.send_header("Content-Length", str(len(whole) - start))
        self.end_headers()
        if self.hub.cut_after:
            self.wfile.write(whole[start : start + self.hub.cut_after.pop(0)])
            self.close_connection = True
        else:
            self.wfile.write(whole[start:])


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty models folder, not made yet."""
    chosen = tmp_path / "models"
    monkeypatch.setenv("UNDERSTUDY_MODELS", str(chosen))
    return chosen


@pytest.fixture
def hub(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with one repo, and a client library that knows no token and does not wait between its retries."""
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(file_download, "time", SimpleNamespace(sleep=lambda _seconds: None))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    huggingface_hub.close_session()
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)  # what a cut may cost
    running = Hub()
    # No test gets out, not even one that asks the hub's own address by mistake.
    monkeypatch.setattr(constants, "ENDPOINT", running.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", running.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    yield running
    huggingface_hub.close_session()
    running.close()
