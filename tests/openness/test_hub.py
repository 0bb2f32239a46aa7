"""A model's page on the Hugging Face hub, read from a hub of the tests' own on loopback that speaks its API."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants

from understudy.openness import hub as module
from understudy.openness.hub import HubError, chain, read
from understudy.openness.proposal import propose
from understudy.openness.register import register

SHA = "0123456789abcdef0123456789abcdef01234567"
DIGEST = "ab" * 32


def page(name, card=None, **more):
    siblings = [
        {"rfilename": "README.md", "size": 10, "blobId": "0" * 40},
        {"rfilename": "model.safetensors", "size": 99, "lfs": {"sha256": DIGEST, "size": 99, "pointerSize": 134}},
    ]
    return {
        "id": name,
        "sha": SHA,
        "gated": False,
        "private": False,
        "siblings": siblings,
        "tags": [],
        "safetensors": {"parameters": {"BF16": 7}, "total": 7},
        "cardData": card,
        **more,
    }


class Hub:
    """What the hub holds: pages by name, renamed names, names that it refuses with status and code, files' bytes."""

    def __init__(self):
        self.pages, self.renamed, self.refused, self.files, self.raw = {}, {}, {}, {}, {}
        self.asked = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"hub": self}))
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def add(self, name, card=None, **more):
        self.pages[name] = page(name, card, **more)

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append((path, dict(self.headers)))
        if not path.startswith("/api/models/"):
            name = path.strip("/").partition("/resolve/")[0]
            body = self.hub.files.get(name)
            return self.answer(404 if body is None else 200, body or b"", code="EntryNotFound")
        name = path.removeprefix("/api/models/").partition("/revision/")[0]
        if name in self.hub.refused:
            status, code = self.hub.refused[name]
            return self.answer(status, b"{}", code=code)
        if name in self.hub.renamed:
            self.send_response(307)
            self.send_header("Location", path.replace(name, self.hub.renamed[name]))
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if name in self.hub.raw:
            return self.answer(200, self.hub.raw[name])
        if name not in self.hub.pages:
            return self.answer(404, b"{}", code="RepoNotFound")
        return self.answer(200, json.dumps(self.hub.pages[name]).encode())

    def answer(self, status, body, code=None):
        self.send_response(status)
        if code and status >= 400:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True  # the reader had enough


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    made = Hub()
    monkeypatch.setattr(constants, "ENDPOINT", made.url)
    yield made
    made.close()


def test_a_page_is_read_card_gate_files_and_digests(hub):
    hub.add(
        "org/model",
        {"license": "apache-2.0", "base_model": ["Qwen/Qwen2.5-7B"], "datasets": ["org/data"]},
        gated="manual",
    )
    found = read("org/model", token="secret")
    assert (found.name, found.licence, found.gated, found.parameters, found.revision) == (
        "org/model",
        "apache-2.0",
        True,
        7,
        SHA,
    )
    assert (found.bases, found.datasets) == (("Qwen/Qwen2.5-7B",), ("org/data",))
    assert [(one.name, one.size, one.sha256) for one in found.files][1] == ("model.safetensors", 99, DIGEST)
    assert found.claims[0].where == f"{hub.url}/org/model, `license`"
    assert hub.asked[0][1]["authorization"] == "Bearer secret"
    assert not found.problems
    assert "secret" not in repr(found)


def test_the_licences_text_is_read_where_it_lies_beside_the_model(hub, request):
    hub.add("org/model", {"license": "other"})
    hub.pages["org/model"]["siblings"].append({"rfilename": "LICENSE", "size": 11})
    hub.files["org/model"] = (request.config.rootpath / "LICENSE").read_bytes()
    assert propose(read("org/model"), register()).licences == (("apache-2.0",),)
    hub.pages["org/model"]["cardData"] = {"license": "mit"}
    assert "the text beside it is the Apache License 2.0" in propose(read("org/model"), register()).conflicts[0]
    hub.files["org/model"] = b"Some other words"
    assert "it was changed, or is another" in propose(read("org/model"), register()).conflicts[0]
    del hub.files["org/model"]
    assert "LICENSE was not read" in read("org/model").problems[0]


def test_a_renamed_model_is_found_under_its_new_name(hub):
    hub.renamed["old/model"] = "new/model"
    hub.add("new/model", {"license": "mit"})
    found = read("old/model")
    assert found.name == "new/model"
    assert found.claims[0].where == "the hub calls old/model so now"


@pytest.mark.parametrize(
    ("changes", "licences", "problem"),
    [
        ({"cardData": None}, (), "no card metadata"),
        ({"cardData": {"license": "other"}}, (), "without a name or a link"),
        ({"cardData": {"license": "other", "license_name": "llama3.3"}}, (("llama-3.3",),), ""),
        (
            {"cardData": {"license": "other", "license_name": "strange", "license_link": "https://x"}},
            (),
            "nobody has read",
        ),
        ({"cardData": {"license": ["mit", "apache-2.0"]}}, (("apache-2.0", "mit"),), ""),
        ({"cardData": {"license": {"a": 1}}}, (), "no short text"),
        (
            {"cardData": "text", "siblings": "none", "safetensors": [1], "gated": 7, "sha": 3, "id": 5},
            (),
            "no card metadata",
        ),
        (
            {
                "cardData": {"license": "mit"},
                "siblings": [3, {}, {"rfilename": 1}, {"rfilename": "a", "size": "b", "lfs": 5}],
                "safetensors": {"total": "many"},
            },
            (("mit",),),
            "",
        ),
    ],
)
def test_missing_and_odd_fields_are_told_and_the_rest_is_read(hub, changes, licences, problem):
    hub.pages["org/model"] = page("org/model") | changes
    proposal = propose(read("org/model"), register())
    assert tuple(tuple(sorted(option)) for option in proposal.licences) == licences
    assert problem in " ".join(proposal.problems)


def test_more_files_than_are_read_are_told(hub, monkeypatch):
    monkeypatch.setattr(module, "MOST_FILES", 1)
    hub.add("org/model", {"license": "mit"})
    found = read("org/model")
    assert len(found.files) == 1
    assert "lists 2 files; the first 1 are read" in found.problems[0]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"<html>", "sent no JSON"),
        (b"[1]", "sent no page"),
        (b'{"id": "' + b"x" * 5000 + b'"}', "more than 1,000 bytes"),
    ],
)
def test_an_answer_that_is_no_page_or_too_long_is_refused(hub, monkeypatch, body, says):
    monkeypatch.setattr(module, "LONGEST_ANSWER", 1000)
    hub.raw["org/model"] = body
    with pytest.raises(HubError, match=says):
        read("org/model")


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (403, "GatedRepo", "is gated: accept its conditions"),
        (404, "RepoNotFound", "has no model org/model"),
        (401, "RepoNotFound", "give a token in HF_TOKEN"),
        (404, "RevisionNotFound", "no such revision"),
        (500, None, "answered 500"),
        (429, None, "answered 429"),
    ],
)
def test_a_refusal_says_what_to_do(hub, status, code, says):
    hub.refused["org/model"] = (status, code)
    with pytest.raises(HubError, match=says):
        read("org/model")


def test_a_name_that_is_none_is_refused_before_anybody_is_asked(hub):
    with pytest.raises(HubError, match="owner/name"):
        read("../../etc/passwd")
    assert not hub.asked


def test_a_hub_that_is_not_there_or_switched_off_is_told(hub, monkeypatch):
    hub.close()
    with pytest.raises(HubError, match="cannot be reached"):
        read("org/model")
    monkeypatch.setattr(hub, "close", lambda: None)


def test_offline_mode_is_told(hub, monkeypatch):
    from huggingface_hub.errors import OfflineModeIsEnabled

    def off(*_, **__):
        raise OfflineModeIsEnabled("off")

    monkeypatch.setattr(module, "_get", off)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE"):
        read("org/model")


def test_bases_are_followed_up_until_the_register_knows_them(hub):
    hub.add("org/model", {"license": "mit", "base_model": "org/middle"})
    hub.add("org/middle", {"license": "apache-2.0", "base_model": "meta-llama/Llama-3.1-8B"})
    found = chain("org/model", register())
    assert [one.name for one in found] == ["org/model", "org/middle"]
    proposal = propose(found[0], register(), found[1:])
    assert proposal.conflicts == (
        (
            "it says mit, but its base meta-llama/Llama-3.1-8B is under the Llama 3.1 Community License Agreement, "
            "which still holds"
        ),
    )
    assert not any("Llama-3.1" in path for path, _ in hub.asked)


def test_a_lineage_in_a_circle_ends(hub):
    hub.add("org/model", {"license": "mit", "base_model": "org/other"})
    hub.add("org/other", {"license": "mit", "base_model": "org/model"})
    found = chain("org/model", register())
    assert len(found) == 2
    assert "circle at org/model" in found[0].problems[0]


def test_a_base_that_cannot_be_read_is_a_problem_not_an_error(hub):
    hub.add("org/model", {"license": "mit", "base_model": "org/gone"})
    found = chain("org/model", register())
    assert "the base org/gone was not read" in found[0].problems[0]


def test_a_lineage_without_end_is_not_followed_for_ever(hub):
    for number in range(20):
        hub.add(f"org/model-{number}", {"license": "mit", "base_model": f"org/model-{number + 1}"})
    found = chain("org/model-0", register())
    assert len(found) == module.MOST_BASES + 1
    assert "were not followed up" in found[0].problems[-1]
