"""Files and batches through the gateway: whose they are, and what ids that are none do."""

import base64
import json

import pytest

from tests.gateway.sockets import Line, Provider, answer
from tests.running import Running
from understudy.gateway.routing import link

CONFIG = """
[server]
max_body = 65536
[providers.one]
dialect = "openai-chat"
base_url = "{a}"
api_key = "first-key"
[providers.two]
dialect = "openai-responses"
base_url = "{b}"
[providers.claude]
dialect = "anthropic-messages"
base_url = "{root}"
[routes.fast]
targets = ["claude/ok"]
"""
ANTHROPIC = {"anthropic-version": "2023-06-01"}
TO_ONE = {"x-understudy-provider": "one"}


@pytest.fixture(scope="module")
def running():
    with Running(CONFIG) as running:
        yield running


def upload(running, content=b"hello", headers=None, **fields):
    data = {"purpose": "batch", **fields}
    return running.http.post("/v1/files", files={"file": ("a.jsonl", content)}, data=data, headers=headers)


def refused(response, status, *words):
    assert response.status_code == status, response.text
    message = response.json()["error"]["message"]
    assert all(word in message for word in words), message


def forged(provider, known):
    packed = base64.urlsafe_b64encode(known.encode()).rstrip(b"=").decode()
    return f"understudy.{provider}.~{packed}"


# -- which provider


def test_an_upload_goes_to_the_provider_that_the_header_names_and_its_id_says_so(running):
    made = upload(running, b"content", TO_ONE)
    assert made.status_code == 200
    assert made.json()["id"].startswith("understudy.one.file-")
    assert made.headers["x-understudy-target"] == "one/files"
    got = running.http.get(f"/v1/files/{made.json()['id']}/content")
    assert got.content == b"content"
    assert got.headers["content-length"] == "7"


def test_a_form_field_names_the_provider_and_does_not_reach_it(running):
    made = upload(running, b"content", understudy_provider="two")
    assert made.json()["id"].startswith("understudy.two.file-")
    sent = running.b.requests[-1]
    assert b"understudy_provider" not in sent.body
    assert b"content" in sent.body


def test_an_upload_that_could_go_to_several_is_refused_with_their_names(running):
    refused(upload(running), 400, "one, two", "x-understudy-provider")


def test_a_header_and_a_field_that_differ_on_ids_are_refused(running):
    made = upload(running, b"x", TO_ONE).json()["id"]
    refused(running.http.get(f"/v1/files/{made}", headers={"x-understudy-provider": "two"}), 400, "one", "two")


@pytest.mark.parametrize("name", ["nobody", "local", "", "../one"])
def test_a_provider_that_is_not_here_is_refused_with_those_that_are(running, name):
    refused(upload(running, headers={"x-understudy-provider": name}), 400, "one, two")


def test_a_provider_of_another_dialect_is_refused(running):
    refused(upload(running, headers={"x-understudy-provider": "claude"}), 400, "anthropic-messages")


def test_the_only_provider_of_the_dialect_needs_no_name(running):
    made = running.http.post("/v1/files", files={"file": ("a.txt", b"x")}, headers=ANTHROPIC)
    assert made.json()["id"].startswith("understudy.claude.file_")


def test_a_gateway_without_a_provider_that_holds_files_says_so():
    with Running('[providers.claude]\ndialect = "anthropic-messages"\nbase_url = "{root}"') as running:
        response = upload(running)
    refused(response, 501, "openai-chat")
    assert response.json()["error"]["code"] == "not_supported"


# -- files


def test_lists_are_read_page_by_page_with_ids_of_ours(running):
    named = {upload(running, b"x", TO_ONE).json()["id"] for _ in range(3)}
    first = running.http.get("/v1/files?limit=2", headers=TO_ONE).json()
    assert {entry["id"] for entry in first["data"]} < named
    # The cursor says which provider is asked.
    rest = running.http.get(f"/v1/files?limit=2&after={first['last_id']}").json()
    assert rest["data"][0]["id"] in named - {entry["id"] for entry in first["data"]}
    assert "understudy" not in running.a.requests[-1].path


def test_a_query_may_name_the_provider_and_neither_that_nor_a_key_is_passed_on(running):
    made = upload(running, b"x", TO_ONE).json()["id"]
    listed = running.http.get("/v1/files?understudy_provider=one&key=secret&purpose=batch&limit=1").json()
    assert [entry["id"] for entry in listed["data"]] == [made]
    assert running.a.requests[-1].path == "/v1/files?purpose=batch&limit=1"


@pytest.mark.parametrize("cursor", ["file-1", "", "understudy.two.file-1"])
def test_a_page_after_a_file_of_nobody_or_of_another_is_refused(running, cursor):
    refused(running.http.get(f"/v1/files?after={cursor}", headers=TO_ONE), 400, "")


def test_a_deleted_file_is_gone_and_the_providers_word_for_that_is_passed_on(running):
    made = upload(running, b"x", TO_ONE).json()["id"]
    gone = running.http.delete(f"/v1/files/{made}").json()
    assert gone == {"id": made, "object": "file", "deleted": True}
    refused(running.http.get(f"/v1/files/{made}"), 404, "No such object")


def test_the_providers_key_is_sent_and_the_clients_is_not(running):
    upload(running, b"x", {**TO_ONE, "authorization": "Bearer of-the-client"})
    assert running.a.requests[-1].headers["authorization"] == "Bearer ***"


def test_an_upload_above_the_bound_is_refused(running):
    refused(upload(running, b"x" * 70000, TO_ONE), 413, "server.max_body")


def test_a_body_that_is_no_form_is_refused(running):
    response = running.http.post("/v1/files", json={"file": "x"}, headers=TO_ONE)
    refused(response, 415, "multipart/form-data")


@pytest.mark.parametrize(
    ("kind", "words"),
    [("multipart/form-data; boundary=wrong", "boundary"), ("multipart/form-data", "boundary")],
)
def test_a_wrong_boundary_is_refused_before_anything_is_sent(running, kind, words):
    body = b'--b0\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--b0--\r\n'
    before = len(running.a.requests)
    response = running.http.post("/v1/files", content=body, headers={"content-type": kind, **TO_ONE})
    refused(response, 400, words)
    assert len(running.a.requests) == before


def test_two_fields_that_name_a_provider_are_refused(running):
    part = b'--b0\r\nContent-Disposition: form-data; name="understudy_provider"\r\n\r\none\r\n'
    head = {"content-type": "multipart/form-data; boundary=b0"}
    refused(running.http.post("/v1/files", content=part + part + b"--b0--\r\n", headers=head), 400, "twice")


# -- ids that are none


@pytest.mark.parametrize(
    "name",
    [
        "file-abc",
        "understudy.one",
        "understudy.one.",
        "understudy..file-1",
        "understudy.one.~!!",
        "understudy.one.~Zm9v",
    ],
)
def test_an_id_that_this_gateway_did_not_give_is_refused(running, name):
    before = len(running.a.requests)
    refused(running.http.get(f"/v1/files/{name}"), 400, "no id of this gateway")
    assert len(running.a.requests) == before


@pytest.mark.parametrize("known", ["..", ".", "../models", "a/b", "a?b=c", "a#b", "a\\b", "a%2fb", "a\r\nx: y", "\0"])
def test_no_forged_id_leads_to_another_path(running, known):
    before = len(running.a.requests)
    refused(running.http.get(f"/v1/files/{forged('one', known)}"), 400, "id")
    refused(running.http.delete(f"/v1/files/{forged('one', known)}"), 400, "id")
    assert len(running.a.requests) == before


def test_escapes_in_a_path_lead_nowhere_else(running):
    with Line(running.url) as line:
        for path in (
            b"/v1/files/%2e%2e%2fmodels",
            b"/v1/files/understudy.one.x%2f..%2fmodels",
            b"/v1/files/../files/x",
        ):
            line.send(b"GET %b HTTP/1.1\r\nhost: x\r\n\r\n" % path)
            assert line.response()[0] in {400, 404}
        line.send(b"GET /v1/fil%65s HTTP/1.1\r\nhost: x\r\nx-understudy-provider: one\r\n\r\n")
        assert line.response()[0] == 200


def test_an_id_of_a_provider_that_is_gone_is_not_found(running):
    response = running.http.get("/v1/files/understudy.elsewhere.file-1")
    refused(response, 404, "elsewhere", "not configured")
    assert response.json()["error"]["code"] == "not_found"


def test_an_id_that_anthropic_holds_is_not_asked_of_an_openai_provider(running):
    refused(running.http.get("/v1/files/understudy.claude.file_1"), 400, "anthropic-messages")


# -- batches


def test_a_batch_goes_where_its_file_is_and_all_its_ids_are_ours(running):
    line = b'{"custom_id":"1","method":"POST","url":"/v1/chat/completions","body":{"model":"ok"}}\n'
    held = upload(running, line, understudy_provider="two").json()["id"]
    asked = {"input_file_id": held, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    made = running.http.post("/v1/batches", json={**asked, "metadata": {"id": "mine"}}).json()
    assert made["id"].startswith("understudy.two.batch_")
    assert made["input_file_id"] == held
    assert made["metadata"] == {"id": "mine"}
    done = running.http.get(f"/v1/batches/{made['id']}").json()
    output = running.http.get(f"/v1/files/{done['output_file_id']}/content")
    assert output.json()["custom_id"] == "1"
    listed = running.http.get("/v1/batches", headers={"x-understudy-provider": "two"}).json()
    assert [entry["output_file_id"] for entry in listed["data"]] == [done["output_file_id"]]
    assert running.http.post(f"/v1/batches/{made['id']}/cancel", json={}).json()["id"] == made["id"]


def test_a_batch_sent_to_another_provider_than_its_files_is_refused(running):
    held = upload(running, b"{}", TO_ONE).json()["id"]
    asked = {"input_file_id": held, "endpoint": "/v1/embeddings", "completion_window": "24h"}
    refused(running.http.post("/v1/batches", json={**asked, "understudy_provider": "two"}), 400, "one", "two")
    refused(running.http.post("/v1/batches", json={**asked, "input_file_id": "file-abc"}), 400, "no id of this gateway")
    refused(running.http.post("/v1/batches", json=[asked], headers=TO_ONE), 400, "JSON object")


def test_anthropics_batch_names_models_as_this_gateway_does_and_its_results_come_through_it(running):
    one = {"custom_id": "1", "params": {"model": "fast", "max_tokens": 1, "messages": []}}
    made = running.http.post("/v1/messages/batches", json={"requests": [one]}, headers=ANTHROPIC).json()
    assert running.a.requests[-1].json()["requests"][0]["params"]["model"] == "ok"
    done = running.http.get(f"/v1/messages/batches/{made['id']}", headers=ANTHROPIC).json()
    assert done["results_url"] == f"/v1/messages/batches/{made['id']}/results"
    results = running.http.get(done["results_url"], headers=ANTHROPIC)
    assert results.json()["result"]["type"] == "succeeded"


def test_a_batch_with_a_model_of_another_provider_is_refused_in_anthropics_words(running):
    one = {"custom_id": "1", "params": {"model": "one/ok", "max_tokens": 1, "messages": []}}
    response = running.http.post("/v1/messages/batches", json={"requests": [one]}, headers=ANTHROPIC)
    assert response.status_code == 400
    assert response.json()["type"] == "error"
    assert "requests[0].params.model" in response.json()["error"]["message"]


# -- what is not served, and what breaks


@pytest.mark.parametrize("path", ["/upload/v1beta/files", "/v1beta/files/abc", "/v1beta/batches", "/v1/uploads"])
def test_what_is_not_passed_on_is_a_501_that_says_what_is(running, path):
    response = running.http.post(path, json={})
    refused(response, 501, "files")


def hostile(reply):
    provider = Provider(reply)
    config = f'[providers.bad]\ndialect = "openai-chat"\nbase_url = "{provider.url}"\n[defaults]\nretries = 0'
    return provider, Running(config)


@pytest.mark.parametrize("body", [b"[]", b"not json", b"", b'{"id":"' + b"x" * 600 + b'"}'])
def test_an_answer_that_is_none_is_one_clear_error(body):
    provider, running = hostile(answer(body=body))
    with provider, running:
        refused(running.http.get("/v1/files/understudy.bad.file-1"), 502, "bad/files")


@pytest.mark.parametrize(
    "body",
    [b'{"data":5,"results_url":"x"}', b'{"data":{"a":1}}', b'{"data":[1,null,{"results_url":"x"}]}', b'{"id":5}'],
)
def test_an_odd_answer_is_passed_on_without_a_crash(body):
    with Provider(answer(body=body)) as provider:
        address = provider.url.removesuffix("/v1")
        with Running(f'[providers.odd]\ndialect = "anthropic-messages"\nbase_url = "{address}"') as running:
            response = running.http.get("/v1/messages/batches", headers=ANTHROPIC)
    assert response.status_code == 200
    assert response.json().keys() == json.loads(body).keys()


def test_an_answer_longer_than_the_bound_is_one_clear_error():
    huge = 65 * 1024 * 1024
    provider, running = hostile(
        lambda line: line.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % huge + b" " * huge)
    )
    with provider, running:
        refused(running.http.get("/v1/files/understudy.bad.file-1"), 502, "bad/files")


def test_a_refused_key_is_told_in_our_words():
    secret = b'{"error":{"message":"Incorrect API key provided: sk-secret.","type":"x","code":"invalid_api_key"}}'
    provider, running = hostile(answer(b"401 Unauthorized", body=secret))
    with provider, running:
        response = running.http.get("/v1/files/understudy.bad.file-1")
    refused(response, response.status_code, "bad/files")
    assert "sk-secret" not in response.text


@pytest.mark.parametrize(
    "framing", [b"content-length: 100\r\n\r\nhalf", b"transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"]
)
def test_a_download_that_breaks_off_never_looks_finished(framing):
    provider, running = hostile(
        lambda line: line.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n" + framing)
    )
    with provider, running, Line(running.url) as line:
        line.send(b"GET /v1/files/understudy.bad.file-1/content HTTP/1.1\r\nhost: x\r\n\r\n")
        head = line.until(b"\r\n\r\n")
        rest = line.rest()
        assert head.startswith(b"HTTP/1.1 200")
        assert b"half" in rest
        assert not rest.endswith(b"0\r\n\r\n")
        assert b"content-length: 100" in head.lower() or b"chunked" in head.lower()
        assert running.until(lambda: running.exchanges and running.exchanges[-1].outcome == "broken")


# -- calls that name a file


CALLS = {
    "/v1/chat/completions": lambda name: {
        "messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": name}}]}]
    },
    "/v1/responses": lambda name: {
        "input": [{"role": "user", "content": [{"type": "input_file", "file_id": name}]}], "store": False,
    },
}  # fmt: skip


@pytest.mark.parametrize("path", CALLS)
@pytest.mark.parametrize("provider", ["one", "two"])
def test_a_file_in_a_call_reaches_its_provider_under_the_providers_own_id(running, path, provider):
    made = upload(running, b"x", {"x-understudy-provider": provider}).json()["id"]
    response = running.http.post(path, json={"model": f"{provider}/ok", **CALLS[path](made)})
    assert response.status_code == 200, response.text
    sent = (running.a if provider == "one" else running.b).requests[-1]
    assert b'"file_id":"file-' in sent.body
    assert b"understudy" not in sent.body


@pytest.mark.parametrize("path", CALLS)
def test_a_file_in_a_call_keeps_it_from_a_provider_that_does_not_hold_the_file(path):
    config = CONFIG + '[routes.r]\ntargets = ["one/overloaded", "claude/ok", "two/ok"]\n[defaults]\nretries = 0'
    with Running(config) as running:
        made = upload(running, b"x", {"x-understudy-provider": "two"}).json()["id"]
        response = running.http.post(path, json={"model": "r", **CALLS[path](made)})
        assert response.headers["x-understudy-target"] == "two/ok"
        assert response.headers["x-understudy-attempts"] == "3"
        assert all(request.path.endswith("/models") for request in running.a.requests)
        response = running.http.post(path, json={"model": "one/ok", **CALLS[path](made)})
    refused(response, 400, "provider two holds")


def test_words_that_look_like_an_id_are_the_clients_own(running):
    made = upload(running, b"x", TO_ONE).json()["id"]
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": f'{{"file_id":"{made}"}}'}}
    messages = [{"role": "user", "content": f"What is {made}?"}, {"role": "assistant", "tool_calls": [call]}]
    messages.append({"role": "tool", "tool_call_id": "c", "content": "none"})
    running.http.post("/v1/chat/completions", json={"model": "two/ok", "messages": messages})
    assert running.b.requests[-1].body.count(made.encode()) == 2


def test_two_apis_of_one_account_hold_the_same_files():
    with Running(environ={"OPENAI_API_KEY": "k"}) as running:
        # Pointed at the simulated provider only now: their own addresses are what makes them one account.
        def point():
            for name in ("openai", "openai-responses"):
                provider = running.gateway.routing.providers[name]
                provider.link = link(running.a.url, provider.dialect, running.gateway.transport, ())

        running.call(point)
        made = upload(running).json()["id"]
        assert made.startswith("understudy.openai.file-")
        named = upload(running, headers={"x-understudy-provider": "openai-responses"}).json()["id"]
        assert named.startswith("understudy.openai.file-")
        for model in ("openai/ok", "openai-responses/ok"):
            for path, call in CALLS.items():
                response = running.http.post(path, json={"model": model, **call(made)})
                assert response.status_code == 200, response.text
                assert b'"file_id":"file-' in running.a.requests[-1].body
                assert "source" not in response.headers.get("x-understudy-losses", "")


def test_the_tokens_of_a_file_are_counted_by_its_provider(running):
    made = running.http.post("/v1/files", files={"file": ("a.txt", b"x")}, headers=ANTHROPIC).json()["id"]
    content = [{"type": "document", "source": {"type": "file", "file_id": made}}]
    body = {"model": "fast", "messages": [{"role": "user", "content": content}]}
    running.http.post("/v1/messages/count_tokens", json=body, headers=ANTHROPIC)
    assert b'"file_id":"file_' in running.a.requests[-1].body


TWO_CLAUDES = """
[providers.left]
dialect = "anthropic-messages"
base_url = "{root}"
[providers.right]
dialect = "anthropic-messages"
base_url = "{root}"
[routes.fast]
targets = ["right/ok"]
"""


def test_anthropics_batch_goes_where_its_first_model_is():
    def batch(*models, **more):
        requests = [{"custom_id": str(i), "params": {"model": m}} for i, m in enumerate(models)]
        return running.http.post("/v1/messages/batches", json={"requests": requests, **more}, headers=ANTHROPIC)

    with Running(TWO_CLAUDES) as running:
        assert batch("fast", "right/other").json()["id"].startswith("understudy.right.")
        sent = [one["params"]["model"] for one in running.a.requests[-1].json()["requests"]]
        assert sent == ["ok", "other"]
        assert batch("claude-unheard-of", understudy_provider="left").json()["id"].startswith("understudy.left.")
        assert running.a.requests[-1].json()["requests"][0]["params"]["model"] == "claude-unheard-of"
        for refusal in (batch("claude-unheard-of"), batch(), batch("fast", understudy_provider=1)):
            refused(refusal, 400, "understudy_provider")
        refused(batch("fast", "left/ok"), 400, "requests[1].params.model")


def test_a_file_that_the_targets_dialect_has_no_place_for_is_refused_and_not_dropped(running):
    made = upload(running, b"x", TO_ONE).json()["id"]
    picture = [{"role": "user", "content": [{"type": "input_image", "file_id": made}]}]
    result = [
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_file", "file_id": made}]},
    ]
    for items in (picture, result):
        response = running.http.post("/v1/responses", json={"model": "one/ok", "input": items, "store": False})
        refused(response, 400, "openai-chat has not")
        response = running.http.post("/v1/responses", json={"model": "two/ok", "input": items, "store": False})
        refused(response, 400, "provider one holds")
    held = running.http.post("/v1/files", files={"file": ("a.txt", b"x")}, headers=ANTHROPIC).json()["id"]
    response = running.http.post("/v1/chat/completions", json={"model": "fast", **CALLS["/v1/chat/completions"](held)})
    refused(response, 400, "anthropic-messages has not")


def test_a_picture_that_is_held_reaches_its_provider(running):
    made = upload(running, b"x", {"x-understudy-provider": "two"}).json()["id"]
    items = [{"role": "user", "content": [{"type": "input_image", "file_id": made}]}]
    response = running.http.post("/v1/responses", json={"model": "two/ok", "input": items, "store": False})
    assert response.status_code == 200
    assert b'"file_id":"file-' in running.b.requests[-1].body
