"""Signers against the vendors' own libraries: botocore signs again and must agree; Google's token comes from a stub."""

import asyncio
import threading

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.exceptions
import pytest

from understudy import clock
from understudy.providers import signing
from understudy.providers.auth import AuthError

AWS = {"AWS_ACCESS_KEY_ID": "AKIDMADEUP", "AWS_SECRET_ACCESS_KEY": "made-up-secret"}
URL = "https://bedrock-runtime.eu-west-1.amazonaws.com/model/a.b-v1%3A0/converse"


def ask(signer, url=URL, body=b"{}"):
    return dict(asyncio.run(signer("POST", url, ((b"content-type", b"application/json"),), body)))


def test_a_signature_is_what_botocore_makes_of_the_same_request():
    pairs = ask(signing.SIGNERS["sigv4"]({**AWS, "AWS_SESSION_TOKEN": "made-up-token", "AWS_REGION": "us-east-1"}))
    assert pairs[b"x-amz-security-token"] == b"made-up-token"
    headers = {"content-type": "application/json"}
    request = botocore.awsrequest.AWSRequest(method="POST", url=URL, data=b"{}", headers=headers)
    credentials = botocore.credentials.Credentials("AKIDMADEUP", "made-up-secret", "made-up-token")
    again = botocore.auth.SigV4Auth(credentials, "bedrock", "eu-west-1")
    request.context["timestamp"] = pairs[b"x-amz-date"].decode()
    request.headers["X-Amz-Date"] = request.context["timestamp"]
    request.headers["X-Amz-Security-Token"] = "made-up-token"
    canonical = again.canonical_request(request)
    signature = again.signature(again.string_to_sign(request, canonical), request)
    assert pairs[b"authorization"].decode().endswith(f"Signature={signature}")
    assert b"made-up-secret" not in b"".join(pairs.values())


def test_a_region_that_nobody_named_is_asked_for():
    with pytest.raises(AuthError, match="AWS_REGION"):
        ask(signing.SIGNERS["sigv4"](AWS), "http://127.0.0.1:1/model/x/converse")


def test_a_google_file_that_is_no_service_account_is_an_error_that_says_what_to_set(tmp_path):
    path = tmp_path / "key.json"
    path.write_text('{"type": "service_account", "private_key": "made-up-secret"}')
    signer = signing.SIGNERS["google"]({"GOOGLE_APPLICATION_CREDENTIALS": str(path)})
    with pytest.raises(AuthError, match="GOOGLE_APPLICATION_CREDENTIALS") as caught:
        ask(signer)
    assert "made-up-secret" not in str(caught.value)


def test_a_token_is_kept_until_shortly_before_its_end():
    with clock.frozen() as time:
        fetched = []

        def fetch():
            fetched.append(f"token-{len(fetched)}")
            return fetched[-1], time.now + 3600

        signer = signing._Token(fetch)
        assert ask(signer) == {b"authorization": b"Bearer token-0"}
        time.advance(3000)
        assert ask(signer) == {b"authorization": b"Bearer token-0"}
        time.advance(500)
        assert ask(signer) == {b"authorization": b"Bearer token-1"}


def test_calls_that_come_together_share_one_fetch():
    fetched = []

    def fetch():
        fetched.append(1)
        return "token", clock.wall() + 3600

    async def many():
        signer = signing._Token(fetch)
        return await asyncio.gather(*(signer("POST", URL, (), b"") for _ in range(5)))

    assert asyncio.run(many()) == [((b"authorization", b"Bearer token"),)] * 5
    assert fetched == [1]


def test_a_failed_fetch_is_tried_again():
    answers = [AuthError("no token"), ("token", clock.wall() + 3600)]

    def fetch():
        answer = answers.pop(0)
        if isinstance(answer, AuthError):
            raise answer
        return answer

    signer = signing._Token(fetch)
    with pytest.raises(AuthError):
        ask(signer)
    assert ask(signer) == {b"authorization": b"Bearer token"}


def test_a_token_that_nobody_waited_for_is_no_worse_than_another():
    released = threading.Event()
    with clock.frozen() as time:
        fetched = []

        def fetch():
            released.wait(10)
            fetched.append(f"token-{len(fetched)}")
            return fetched[-1], time.now + 3600

        async def leave_and_return():
            signer = signing._Token(fetch)
            left = asyncio.ensure_future(signer("POST", URL, (), b""))
            await asyncio.sleep(0)
            left.cancel()
            await asyncio.wait((left,))
            released.set()
            await signer._fetching
            first = await signer("POST", URL, (), b"")
            time.advance(7200)
            return first, await signer("POST", URL, (), b"")

        first, second = asyncio.run(leave_and_return())
    assert first == ((b"authorization", b"Bearer token-0"),)
    assert second == ((b"authorization", b"Bearer token-1"),)


@pytest.mark.parametrize(
    "error",
    [
        botocore.exceptions.ClientError(
            {"Error": {"Code": "AccessDenied", "Message": "arn:made-up-secret"}}, "AssumeRole"
        ),
        botocore.exceptions.NoCredentialsError(),
        RuntimeError("Credentials were refreshed, but the refreshed credentials are still expired."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_credentials_that_aws_refuses_are_an_error_that_says_what_to_set(error):
    class Refused:
        def get_frozen_credentials(self):
            raise error

    signer = signing.SIGNERS["sigv4"](AWS)
    signer._credentials = Refused()
    with pytest.raises(AuthError, match="AWS_ACCESS_KEY_ID") as caught:
        ask(signer)
    assert "made-up-secret" not in str(caught.value)


def test_a_library_that_is_not_there_is_named_with_its_extra(monkeypatch):
    for scheme, library, extra in (
        ("sigv4", "botocore", "aws"),
        ("google", "google", "google"),
        ("azure-ad", "azure", "azure"),
    ):
        with monkeypatch.context() as patch:
            patch.setitem(__import__("sys").modules, library, None)
            with pytest.raises(AuthError, match=rf"understudy\[{extra}\]"):
                ask(signing.SIGNERS[scheme](AWS))
