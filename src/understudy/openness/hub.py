"""Reads a model's page on the Hugging Face hub: card metadata, gate, base models, files with digests, licence text.

Through huggingface_hub, which knows the hub's addresses, tokens and errors. Its `model_info` reads an answer of any
length and trusts the types in it; here the same question is asked with the library's own session and headers, and the
answer is bounded and taken field by field: a page is written by anybody. Bases are followed up, a few and no circle.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import httpx2
import msgspec
from huggingface_hub import constants, get_session
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # exported, but lazily
    build_hf_headers,
    hf_raise_for_status,
    validate_repo_id,
)

from understudy import __version__
from understudy.openness import cards
from understudy.openness.proposal import Claim, File, Found
from understudy.openness.recognise import LONGEST_TEXT
from understudy.openness.register import Register

# Otherwise every request first asks the public hub for a list of programs to tell it who is calling.
constants.HF_HUB_DISABLE_TELEMETRY = True

PREFIX = "hf:"
TIMEOUT = 30.0
"""Seconds for an answer."""

LONGEST_ANSWER = 32 * 1024 * 1024
"""Bytes of an answer; a page with 10,000 files has some 3 MB."""

MOST_FILES = 10_000
MOST_BASES = 8
"""Base models that are followed up."""

_TEXTS = frozenset({"LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENSE.TXT"})


class HubError(Exception):
    """The page was not read. The message says why and what to do."""


def read(repo: str, *, revision: str = "main", endpoint: str | None = None, token: str | None = None) -> Found:
    """What the hub says of `repo` (`owner/name`).

    Errors:
        HubError: there is no such page, it is not shown to us, or the hub does not answer as it should.
    """
    hub = (endpoint or constants.ENDPOINT).rstrip("/")
    with _explained(repo, hub):
        validate_repo_id(repo)
        path = f"{hub}/api/models/{repo}/revision/{quote(revision, safe='')}"
        answer = _get(path, token, {"blobs": "true"}, LONGEST_ANSWER)
        try:
            page = msgspec.json.decode(answer)
        except msgspec.DecodeError as error:
            raise HubError(f"{hub} sent no JSON when asked for {repo}: {error}") from error
        if not isinstance(page, dict):
            raise HubError(f"{hub} sent no page when asked for {repo}")
        found = _page(page, repo, hub)
        return _with_text(found, repo, hub, token)


def chain(repo: str, register: Register, *, endpoint: str | None = None, token: str | None = None) -> list[Found]:
    """`repo`, and its bases that the register does not know, nearest first. A base that cannot be read is a problem.

    Errors:
        HubError: `repo` itself was not read.
    """
    found = [read(repo, endpoint=endpoint, token=token)]
    seen = {repo.lower(), found[0].name.lower()}
    waiting = list(found[0].bases)
    problems: list[str] = []
    while waiting and len(found) <= MOST_BASES:
        base = waiting.pop(0)
        if base.lower() in seen:
            problems.append(f"the lineage runs in a circle at {base}")
            continue
        seen.add(base.lower())
        if register.find(base) is not None:
            continue
        try:
            one = read(base, endpoint=endpoint, token=token)
        except HubError as error:
            problems.append(f"the base {base} was not read: {error}")
            continue
        found.append(one)
        waiting += one.bases
    if waiting:
        problems.append(f"more than {MOST_BASES} bases; {len(waiting)} were not followed up")
    found[0] = msgspec.structs.replace(found[0], problems=(*found[0].problems, *problems))
    return found


def _get(url: str, token: str | None, params: Mapping[str, str], longest: int) -> bytes:
    """The body of an answer, at most `longest` bytes, following the hub's own redirects (a renamed model)."""
    headers = build_hf_headers(token=token, library_name="understudy", library_version=__version__)
    stream = get_session().stream("GET", url, headers=headers, params=params, timeout=TIMEOUT, follow_redirects=True)
    with stream as response:
        if response.is_error:
            response.read()
        hf_raise_for_status(response)
        body = bytearray()
        for piece in response.iter_bytes():
            body += piece
            if len(body) > longest:
                raise HubError(f"{url} sends more than {longest:,} bytes; that is no page of a model")
    return bytes(body)


def _page(page: Mapping[str, Any], repo: str, hub: str) -> Found:
    name = page["id"] if isinstance(page.get("id"), str) else repo
    source = f"{hub}/{name}"
    claims = [] if name == repo else [Claim("name", name, f"the hub calls {repo} so now")]
    problems: list[str] = []
    gated = page.get("gated")
    found = Found(
        name=name,
        source=source,
        gated=bool(gated) if isinstance(gated, bool | str) else None,
        parameters=_total(page.get("safetensors")),
        revision=page["sha"] if isinstance(page.get("sha"), str) else "",
        files=_files(page.get("siblings"), problems),
        claims=tuple(claims),
        problems=tuple(problems),
    )
    card = page.get("cardData")
    if not isinstance(card, dict):
        return msgspec.structs.replace(found, problems=(*found.problems, "the page has no card metadata"))
    return cards.of_metadata(card, found)


def _total(safetensors: object) -> int | None:
    total = safetensors.get("total") if isinstance(safetensors, dict) else None
    return total if isinstance(total, int) else None


def _files(siblings: object, problems: list[str]) -> tuple[File, ...]:
    if not isinstance(siblings, list):
        return ()
    if len(siblings) > MOST_FILES:
        problems.append(f"the page lists {len(siblings):,} files; the first {MOST_FILES:,} are read")
    found = []
    for one in siblings[:MOST_FILES]:
        if isinstance(one, dict) and isinstance(one.get("rfilename"), str):
            lfs = one.get("lfs")
            checksum = lfs.get("sha256") if isinstance(lfs, dict) else None
            size = one.get("size")
            found.append(
                File(
                    one["rfilename"],
                    size if isinstance(size, int) else None,
                    checksum if isinstance(checksum, str) else None,
                )
            )
    return tuple(found)


def _with_text(found: Found, repo: str, hub: str, token: str | None) -> Found:
    """The licence's text, where it lies beside the model. That it cannot be had is a problem, not an error."""
    name = next((one.name for one in found.files if one.name in _TEXTS), None)
    if name is None:
        return found
    try:
        url = f"{hub}/{repo}/resolve/{quote(found.revision or 'main', safe='')}/{quote(name)}"
        text = _get(url, token, {}, LONGEST_TEXT).decode("utf-8", "replace")
    except (HubError, HfHubHTTPError, httpx2.HTTPError) as error:
        return msgspec.structs.replace(found, problems=(*found.problems, f"{name} was not read: {_first_line(error)}"))
    return msgspec.structs.replace(found, licence_text=text)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0][:200]


@contextlib.contextmanager
def _explained(repo: str, hub: str) -> Iterator[None]:
    """Turn what the library raises into one error that says what to do. The order is from special to general."""
    try:
        yield
    except HFValidationError as error:
        raise HubError(f"{repo!r} is no name of a model: it has the form owner/name") from error
    except GatedRepoError as error:
        raise HubError(
            f"{repo} is gated: accept its conditions at {hub}/{repo}, and give a token in HF_TOKEN"
        ) from error
    except RepositoryNotFoundError as error:
        raise HubError(
            f"{hub} has no model {repo}, or does not show it to us; check the name, or give a token in HF_TOKEN"
        ) from error
    except RevisionNotFoundError as error:
        raise HubError(f"{repo} has no such revision; see {hub}/{repo}") from error
    except HfHubHTTPError as error:
        raise HubError(f"{hub} answered {error.response.status_code} when asked for {repo}; try again later") from error
    except OfflineModeIsEnabled as error:
        raise HubError("the hub's library is set to offline; unset HF_HUB_OFFLINE") from error
    except httpx2.HTTPError as error:
        raise HubError(f"{hub} cannot be reached or broke off ({type(error).__name__}); check the network") from error
