"""Files and batches with the official SDKs of OpenAI and Anthropic, unchanged but for the base URL."""

import io
import json

import anthropic
import httpx2
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors

from tests.running import Running
from understudy.inprocess import InProcess

KEY = "gateway-key"
CONFIG = f"""
[server]
keys = ["{KEY}"]
[providers.first]
dialect = "openai-chat"
base_url = "{{a}}"
[providers.second]
dialect = "openai-chat"
base_url = "{{b}}"
[providers.claude]
dialect = "anthropic-messages"
base_url = "{{root}}"
[routes.fast]
targets = ["claude/ok"]
"""
TO_FIRST = {"x-understudy-provider": "first"}
LINE = json.dumps({"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "ok"}})


@pytest.fixture(scope="module")
def running():
    with Running(CONFIG) as running:
        yield running


@pytest.fixture(scope="module", params=["http", "in-process"])
def sdk(request, running, tmp_path_factory):
    if request.param == "http":
        with httpx2.Client(trust_env=False, timeout=60) as http:
            yield openai.OpenAI(base_url=f"{running.url}/v1", api_key=KEY, max_retries=0, http_client=http)
        return
    path = tmp_path_factory.mktemp("config") / "understudy.toml"
    text = CONFIG.replace("{a}", running.a.url).replace("{b}", running.b.url).replace("{root}", running.a.root)
    path.write_text(text)
    with InProcess(path, environ={}) as transport, httpx2.Client(transport=transport) as http:
        yield openai.OpenAI(base_url="http://understudy/v1", api_key=KEY, max_retries=0, http_client=http)


@pytest.fixture(scope="module")
def claude(running):
    with httpx2.Client(trust_env=False, timeout=60) as http:
        yield anthropic.Anthropic(base_url=running.url, api_key=KEY, max_retries=0, http_client=http)


def test_a_file_is_uploaded_found_read_and_deleted(sdk):
    made = sdk.files.create(file=("a.jsonl", LINE.encode()), purpose="batch", extra_headers=TO_FIRST)
    assert made.id.startswith("understudy.first.")
    assert sdk.files.retrieve(made.id).filename == "a.jsonl"
    assert sdk.files.content(made.id).text == LINE
    assert sdk.files.wait_for_processing(made.id).status == "processed"
    assert sdk.files.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        sdk.files.retrieve(made.id)


def test_the_body_may_name_the_provider(sdk):
    made = sdk.files.create(file=b"x", purpose="user_data", extra_body={"understudy_provider": "second"})
    assert made.id.startswith("understudy.second.")


def test_pages_are_turned_by_the_sdk(sdk):
    named = {sdk.files.create(file=b"x", purpose="user_data", extra_headers=TO_FIRST).id for _ in range(3)}
    listed = [file.id for file in sdk.files.list(limit=2, extra_headers=TO_FIRST)]
    assert named <= set(listed)
    assert len(listed) == len(set(listed))


def test_a_batch_runs_from_its_file_to_its_results(sdk):
    held = sdk.files.create(file=("a.jsonl", LINE.encode()), purpose="batch", extra_headers=TO_FIRST)
    made = sdk.batches.create(input_file_id=held.id, endpoint="/v1/chat/completions", completion_window="24h")
    assert made.status == "validating"
    done = sdk.batches.retrieve(made.id)
    assert done.status == "completed"
    assert json.loads(sdk.files.content(done.output_file_id).text)["custom_id"] == "1"
    assert made.id in [batch.id for batch in sdk.batches.list(extra_headers=TO_FIRST)]
    assert sdk.batches.cancel(made.id).status == "cancelling"


def test_mistakes_are_the_sdks_own_exceptions(sdk):
    with pytest.raises(openai.BadRequestError, match="first, second"):
        sdk.files.create(file=b"x", purpose="batch")
    with pytest.raises(openai.BadRequestError, match="no id of this gateway"):
        sdk.files.retrieve("file-abc")
    with pytest.raises(openai.NotFoundError, match="not configured here"):
        sdk.batches.retrieve("understudy.gone.batch_1")
    with pytest.raises(openai.AuthenticationError):
        sdk.with_options(api_key="wrong").files.list()


def test_a_file_in_a_call_reaches_the_provider_that_holds_it(sdk, running):
    held = sdk.files.create(file=b"%PDF-", purpose="user_data", extra_headers=TO_FIRST)
    content = [{"type": "file", "file": {"file_id": held.id}}, {"type": "text", "text": "Read it"}]
    sdk.chat.completions.create(model="first/ok", messages=[{"role": "user", "content": content}])
    named = running.a.requests[-1].json()["messages"][0]["content"][0]["file"]["file_id"]
    assert named.startswith("file-")
    with pytest.raises(openai.BadRequestError, match="provider first holds"):
        sdk.chat.completions.create(model="second/ok", messages=[{"role": "user", "content": content}])


def test_an_upload_in_parts_is_refused_clearly(sdk):
    with pytest.raises(openai.APIStatusError, match="/v1/files") as refused:
        sdk.uploads.create(bytes=1, filename="a", mime_type="text/plain", purpose="user_data")
    assert refused.value.status_code == 501
    assert refused.value.code == "not_supported"


def test_anthropics_files_work_as_well(claude):
    made = claude.beta.files.upload(file=("a.txt", b"hello", "text/plain"))
    assert made.id.startswith("understudy.claude.")
    assert claude.beta.files.retrieve_metadata(made.id).filename == "a.txt"
    assert claude.beta.files.download(made.id).read() == b"hello"
    assert made.id in [file.id for file in claude.beta.files.list()]
    assert claude.beta.files.delete(made.id).id == made.id
    with pytest.raises(anthropic.NotFoundError):
        claude.beta.files.retrieve_metadata(made.id)
    with pytest.raises(anthropic.BadRequestError, match="no id of this gateway"):
        claude.beta.files.retrieve_metadata("file_abc")


def test_anthropics_file_reaches_its_provider_in_a_message(claude, running):
    held = claude.beta.files.upload(file=("a.pdf", b"%PDF-", "application/pdf"))
    content = [{"type": "document", "source": {"type": "file", "file_id": held.id}}]
    claude.beta.messages.create(
        model="fast", max_tokens=10, messages=[{"role": "user", "content": content}], betas=["files-api-2025-04-14"]
    )
    sent = running.a.requests[-1]
    assert sent.json()["messages"][0]["content"][0]["source"]["file_id"].startswith("file_")
    assert sent.headers["anthropic-beta"] == "files-api-2025-04-14"


@pytest.mark.parametrize("beta", [False, True])
def test_anthropics_batch_runs_to_its_results(claude, beta):
    batches = claude.beta.messages.batches if beta else claude.messages.batches
    params = {"model": "fast", "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}]}
    made = batches.create(requests=[{"custom_id": "one", "params": params}])
    assert made.processing_status == "in_progress"
    assert batches.retrieve(made.id).processing_status == "ended"
    results = list(batches.results(made.id))
    assert [(result.custom_id, result.result.type) for result in results] == [("one", "succeeded")]
    assert made.id in [batch.id for batch in batches.list()]
    assert batches.cancel(made.id).id == made.id
    assert batches.delete(made.id).id == made.id


def test_geminis_files_are_refused_clearly(running):
    with genai.Client(api_key=KEY, http_options={"base_url": running.url}) as client:
        for ask in (
            lambda: client.files.get(name="files/abc"),
            lambda: client.files.delete(name="files/abc"),
            lambda: list(client.files.list()),
            lambda: client.files.upload(file=io.BytesIO(b"x"), config={"mime_type": "text/plain"}),
            lambda: list(client.batches.list()),
            lambda: client.batches.get(name="batches/abc"),
            lambda: client.batches.create(model="gemini-x", src=[{"contents": "Hi"}]),
        ):
            with pytest.raises(genai_errors.ServerError, match="inlineData") as refused:
                ask()
            assert refused.value.code == 501
