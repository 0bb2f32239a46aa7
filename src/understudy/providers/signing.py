"""Credentials that are not a fixed key: tokens that run out, signatures over each request.

A signer is asked for header pairs just before a call goes out. Each scheme is a thin wrap of the vendor's own library,
imported only when a provider uses it: `google-auth`, `botocore`, `azure-identity`. They are extras of the package.
Sources: google.auth's user guide, botocore's `SigV4Auth`, azure-identity's `ClientSecretCredential` and default chain.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from understudy import clock
from understudy.providers.auth import AuthError, Headers, bearer

_EARLY = 120.0
"""Seconds before its end at which a token is renewed."""

_GOOGLE_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_AZURE_SCOPE = "https://cognitiveservices.azure.com/.default"


Signer = Callable[[str, str, Sequence[tuple[bytes, bytes]], bytes], Awaitable[Headers]]
"""From a request's method, URL, headers (lower-case names) and body to the header pairs that carry the credentials.

Raises AuthError, with a remedy, when there are no valid ones.
"""


class _Token:
    """A bearer token that is fetched in a thread and kept until shortly before it runs out.

    `fetch` gives the token and its end in Unix seconds. Calls that come meanwhile wait for the same one.
    """

    def __init__(self, fetch: Callable[[], tuple[str, float]]) -> None:
        self._fetch = fetch
        self._token = ""
        self._until = 0.0
        self._fetching: asyncio.Task[tuple[str, float]] | None = None

    async def __call__(self, *_request: object) -> Headers:
        if self._until - _EARLY <= clock.wall():
            if self._fetching is None:
                self._fetching = asyncio.create_task(asyncio.to_thread(self._fetch))
                self._fetching.add_done_callback(self._fetched)
            await asyncio.shield(self._fetching)
        return bearer(self._token)

    def _fetched(self, fetching: asyncio.Task[tuple[str, float]]) -> None:
        """Keep the token, also when nobody waits for it any more; a failure is nobody else's."""
        self._fetching = None
        if not fetching.cancelled() and fetching.exception() is None:
            self._token, self._until = fetching.result()


def google(environ: Mapping[str, str]) -> Signer:
    """Google Cloud: a service account's file ($GOOGLE_APPLICATION_CREDENTIALS), else the application default."""
    known: list[Any] = []

    def fetch() -> tuple[str, float]:
        try:
            import google.auth  # noqa: PLC0415  only who uses it pays for it
            import google.auth.exceptions  # noqa: PLC0415
            import google.auth.transport.requests  # noqa: PLC0415
            import google.oauth2.service_account  # noqa: PLC0415
        except ImportError as error:
            raise _lacking("google-auth", "google") from error
        try:
            if not known:
                path, scopes = environ.get("GOOGLE_APPLICATION_CREDENTIALS"), [_GOOGLE_SCOPE]
                account: Any = google.oauth2.service_account.Credentials
                if path and _is_service_account(path):
                    known.append(account.from_service_account_file(path, scopes=scopes))
                else:
                    known.append(google.auth.default(scopes=scopes)[0])
            known[0].refresh(google.auth.transport.requests.Request())
        except (google.auth.exceptions.GoogleAuthError, OSError, ValueError) as error:
            remedy = "Set GOOGLE_APPLICATION_CREDENTIALS to a service account's file that is valid."
            raise AuthError(f"Google gave no token ({type(error).__name__}). {remedy}") from error
        expiry = known[0].expiry  # naive, in UTC
        until = expiry.replace(tzinfo=dt.UTC).timestamp() if expiry is not None else clock.wall() + 2 * _EARLY
        return known[0].token, until

    return _Token(fetch)


def _is_service_account(path: str) -> bool:
    found = msgspec.json.decode(Path(path).read_bytes())
    return isinstance(found, dict) and found.get("type") == "service_account"


def azure_ad(environ: Mapping[str, str]) -> Signer:
    """Azure: a client's secret ($AZURE_TENANT_ID, _CLIENT_ID, _CLIENT_SECRET), else azure-identity's default chain."""
    known: list[Any] = []

    def fetch() -> tuple[str, float]:
        try:
            import azure.core.exceptions  # noqa: PLC0415  only who uses it pays for it
            import azure.identity  # noqa: PLC0415
        except ImportError as error:
            raise _lacking("azure-identity", "azure") from error
        names = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")
        try:
            if not known:
                secret = [environ.get(name, "") for name in names]
                whole = all(secret)
                known.append(
                    azure.identity.ClientSecretCredential(*secret) if whole else azure.identity.DefaultAzureCredential()
                )
            found = known[0].get_token(_AZURE_SCOPE)
        except (azure.core.exceptions.AzureError, ValueError) as error:
            remedy = f"Set {', '.join(names)} to a client that may use the resource."
            raise AuthError(f"Azure gave no token ({type(error).__name__}). {remedy}") from error
        return found.token, float(found.expires_on)

    return _Token(fetch)


class _SigV4:
    """AWS Signature Version 4 over each request, for the service `bedrock`."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._credentials: Any = None

    async def __call__(self, method: str, url: str, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> Headers:
        try:
            import botocore.auth  # noqa: PLC0415  only who uses it pays for it
            import botocore.awsrequest  # noqa: PLC0415
            import botocore.exceptions  # noqa: PLC0415
        except ImportError as error:
            raise _lacking("botocore", "aws") from error
        try:
            if self._credentials is None:
                self._credentials = await asyncio.to_thread(self._load)
            # Frozen in a thread: credentials of a role are renewed then, over the network.
            frozen = await asyncio.to_thread(self._credentials.get_frozen_credentials)
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, RuntimeError) as error:
            # RuntimeError: a role's credentials were renewed and are out of date all the same.
            raise AuthError(f"AWS gave no credentials ({type(error).__name__}). {_AWS_REMEDY}") from error
        signed = {name.decode(): value.decode("latin-1") for name, value in headers}
        request = botocore.awsrequest.AWSRequest(method=method, url=url, data=body, headers=signed)
        botocore.auth.SigV4Auth(frozen, "bedrock", self._region(url)).add_auth(request)
        return tuple(
            (name.lower().encode(), str(value).encode("latin-1"))
            for name, value in request.headers.items()
            if name.lower() not in signed
        )

    def _load(self) -> Any:
        import botocore.credentials  # noqa: PLC0415
        import botocore.session  # noqa: PLC0415

        key, secret = self._environ.get("AWS_ACCESS_KEY_ID"), self._environ.get("AWS_SECRET_ACCESS_KEY")
        if key and secret:
            return botocore.credentials.Credentials(key, secret, self._environ.get("AWS_SESSION_TOKEN"))
        found = botocore.session.Session(profile=self._environ.get("AWS_PROFILE")).get_credentials()
        if found is None:
            raise AuthError(f"There are no AWS credentials. {_AWS_REMEDY}")
        return found

    def _region(self, url: str) -> str:
        parts = (urlsplit(url).hostname or "").split(".")
        if len(parts) > 3 and parts[0].startswith("bedrock-runtime"):
            return parts[1]  # whoever names a host of a region means that region
        for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
            if self._environ.get(name):
                return self._environ[name]
        raise AuthError("No AWS region is known. Set AWS_REGION.")


_AWS_REMEDY = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or AWS_BEARER_TOKEN_BEDROCK."

SIGNERS: dict[str, Callable[[Mapping[str, str]], Signer]] = {"google": google, "azure-ad": azure_ad, "sigv4": _SigV4}

_SIGNS: dict[str, tuple[str, ...]] = {
    "google": ("GOOGLE_APPLICATION_CREDENTIALS",),
    "azure-ad": ("AZURE_CLIENT_SECRET",),
    "sigv4": ("AWS_ACCESS_KEY_ID", "AWS_PROFILE"),
}


def available(scheme: str, environ: Mapping[str, str]) -> str | None:
    """The variable that names credentials for `scheme`, if one is set: only then is an unconfigured provider used."""
    return next((name for name in _SIGNS[scheme] if environ.get(name, "").strip()), None)


def _lacking(library: str, extra: str) -> AuthError:
    return AuthError(f"{library} is not installed. Install it with `pip install understudy[{extra}]`.")
