"""Fetching a GGUF file from the Hugging Face hub.

huggingface_hub knows the hub: its API, endpoints, tokens, errors, retries. Its `hf_hub_download` is not used, because
since version 2 it starts a broken download from the beginning and trusts what arrived if only the length is right. Here
the bytes are kept as `<sha256>.partial`, go on from there next time, and get a model's name only once they have
the size and the SHA-256 that the hub states for them. Plain HTTP, which every hub and mirror serves; no xet needed.
"""

from __future__ import annotations

import contextlib
import fcntl
import fnmatch
import functools
import hashlib
import re
import shutil
from collections.abc import Callable, Iterator
from io import BufferedRandom
from pathlib import Path
from typing import Any, cast

import httpx2
import msgspec
from huggingface_hub import HfApi, constants, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import http_get
from huggingface_hub.hf_api import ModelInfo, RepoSibling
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # exported, but lazily

from understudy import __version__
from understudy.local.models import LocalModel, ModelMissingError, Origin, available, find, folder, place, safe_name

# Otherwise every request first asks the public hub for a list of programs to tell it who is calling.
constants.HF_HUB_DISABLE_TELEMETRY = True

Progress = Callable[[int, int], None]
"""Called with the bytes that are there and the bytes there will be."""

API_TIMEOUT = 30.0
"""Seconds that the hub has for a question about a repo."""

_PART = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)


class PullError(Exception):
    """The model was not fetched. The message says why and what to do."""


def pull(
    repo: str,
    file: str | None = None,
    *,
    revision: str = "main",
    endpoint: str | None = None,
    token: str | None = None,
    progress: Progress = lambda _done, _total: None,
) -> LocalModel:
    """Fetch a model's GGUF file into the models folder, going on where an earlier pull stopped.

    `repo` is `owner/name`; `file` a path in it or a pattern such as `*Q4_K_M*`, needless when there is only one GGUF
    file. `revision` is a branch, tag or commit. `endpoint` and `token` default to what the hub's own tools use
    (`HF_ENDPOINT`, `HF_TOKEN`, `hf auth login`); the token is used and forgotten. The name of a model that needs no
    download gives that model.

    Errors:
        PullError: nothing was added to the folder, save for the partial file that the next pull goes on with.
    """
    if "/" not in repo:
        with _named():
            return find(repo)
    hub = (endpoint or constants.ENDPOINT).rstrip("/")
    with _explained(repo, revision, hub):
        info = HfApi(endpoint=hub, token=token).model_info(
            repo, revision=revision, timeout=API_TIMEOUT, files_metadata=True
        )
    origin = _origin(repo, info, _choose(repo, info, file))
    target = place(origin)
    if _have(target, origin):
        progress(origin.size, origin.size)
    else:
        with _folder_usable(), _partial(origin) as (path, partial):
            with _explained(repo, revision, hub):
                _download(hub, origin, token, partial, progress)
            _verify(origin, path, partial)
            # The note first: without its model it means nothing, while a model without it has an unknown licence.
            _write_note(target, origin)
            path.replace(target)
    return available()[safe_name(target.stem)]


@contextlib.contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except ModelMissingError as error:
        raise PullError(str(error)) from error


def _choose(repo: str, info: ModelInfo, wanted: str | None) -> RepoSibling:
    """The one file that is meant, or an error that shows the choice."""
    files = {file.rfilename: file for file in info.siblings or () if file.rfilename.lower().endswith(".gguf")}
    if wanted in files:
        matching = [wanted]
    elif wanted is not None:
        matching = [name for name in files if fnmatch.fnmatchcase(name.lower(), wanted.lower())]
    else:  # a projector for images goes with a model, it is none
        matching = [name for name in files if not Path(name).name.lower().startswith("mmproj")]
    if matching and all(_PART.search(name) for name in matching):
        raise PullError(
            f"{matching[0]} of {repo} is one of several parts of a model; only models in a single file can be pulled: "
            "choose a smaller quantisation, or merge the parts with llama.cpp's gguf-split and put the file "
            f"into {folder()}"
        )
    if len(matching) == 1:
        return files[matching[0]]
    if not files:
        raise PullError(f"{repo} holds no GGUF file; models converted to GGUF usually lie in a repo named so: …-GGUF")
    choice = "\n".join(f"  {name}" for name in sorted(matching or files) if not _PART.search(name))
    problem = "more than one GGUF file that could be meant" if matching else f"no GGUF file that matches {wanted!r}"
    raise PullError(f"{repo} has {problem}; name one of these, by path or pattern:\n{choice}")


def _origin(repo: str, info: ModelInfo, file: RepoSibling) -> Origin:
    if file.lfs is None or info.sha is None:
        raise PullError(f"the hub states no checksum for {file.rfilename} of {repo}, so the file could not be verified")
    if file.lfs.size > constants.MAX_HTTP_DOWNLOAD_SIZE:
        raise PullError(f"{file.rfilename} of {repo} is larger than the 50 GB that the hub serves in one piece")
    card = info.card_data
    licence = None if card is None else card.get("license")
    if licence == "other" and card is not None:
        licence = card.get("license_name") or licence
    return Origin(
        repo=repo,
        revision=info.sha,
        file=file.rfilename,
        sha256=file.lfs.sha256,
        size=file.lfs.size,
        licence=", ".join(licence) if isinstance(licence, list) else licence,
    )


def _have(target: Path, origin: Origin) -> bool:
    note = next((model.origin for model in available().values() if model.path == target), None)
    return note is not None and note.sha256 == origin.sha256


@contextlib.contextmanager
def _folder_usable() -> Iterator[None]:
    try:
        folder().mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise PullError(f"{folder()} cannot be written ({error}); UNDERSTUDY_MODELS names another folder") from error


@contextlib.contextmanager
def _partial(origin: Origin) -> Iterator[tuple[Path, BufferedRandom]]:
    """The bytes that are there already, open at their end and locked: two pulls would write over each other."""
    path = folder() / f"{origin.sha256}.partial"
    path.touch()
    with path.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PullError(f"{origin.file} of {origin.repo} is being pulled by another process already") from error
        if file.seek(0, 2) > origin.size:
            file.truncate(0)
        file.seek(0, 2)
        missing = origin.size - file.tell()
        free = shutil.disk_usage(folder()).free
        if missing > free:
            raise PullError(
                f"{folder()} has {free:,} bytes free and {origin.file} needs {missing:,} more; "
                "make room, or name another folder in UNDERSTUDY_MODELS"
            )
        yield path, file


class _Bar:
    """What `http_get` wants of a progress bar: it is made with tqdm's arguments, entered, and told of new bytes."""

    def __init__(self, progress: Progress, size: int, *, initial: int = 0, **_look: object) -> None:
        self._progress = progress
        self._size = size
        self._done = initial

    def __enter__(self) -> _Bar:
        self.update(0)
        return self

    def __exit__(self, *_error: object) -> None:
        return None

    def update(self, more: int) -> None:
        self._done += more
        self._progress(self._done, self._size)


def _download(hub: str, origin: Origin, token: str | None, partial: BufferedRandom, progress: Progress) -> None:
    """Write what is missing. The library drops the token when the hub sends us on to another host."""
    http_get(
        hf_hub_url(origin.repo, origin.file, revision=origin.revision, endpoint=hub),
        partial,
        resume_size=partial.tell(),
        expected_size=origin.size,
        headers=build_hf_headers(token=token, library_name="understudy", library_version=__version__),
        displayed_filename=origin.file,
        # Typed as a class, called like any callable, which the library allows for expressly.
        tqdm_class=cast("Any", functools.partial(_Bar, progress, origin.size)),
    )
    partial.flush()


def _verify(origin: Origin, path: Path, partial: BufferedRandom) -> None:
    partial.seek(0)
    found = hashlib.file_digest(partial, "sha256").hexdigest()
    if found != origin.sha256:
        path.unlink()
        raise PullError(
            f"{origin.file} of {origin.repo} arrived damaged: its SHA-256 is {found}, the hub states {origin.sha256}; "
            "the file was removed, pull again"
        )


def _write_note(target: Path, origin: Origin) -> None:
    fresh = target.with_suffix(".json.new")
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(origin), indent=2) + b"\n")
    fresh.replace(target.with_suffix(".json"))


@contextlib.contextmanager
def _explained(repo: str, revision: str, hub: str) -> Iterator[None]:
    """Turn what the library raises into one error that says what to do. The order is from special to general."""
    try:
        yield
    except HFValidationError as error:
        raise PullError(f"{repo!r} is no name of a repo: it has the form owner/name") from error
    except GatedRepoError as error:
        raise PullError(
            f"{repo} is gated: sign in at {hub}/{repo}, accept its conditions, and give a token of that account "
            "in HF_TOKEN"
        ) from error
    except RepositoryNotFoundError as error:
        raise PullError(
            f"{hub} has no repo {repo}, or does not show it to us; check the name, and if it is private give a token "
            "in HF_TOKEN"
        ) from error
    except (RevisionNotFoundError, RemoteEntryNotFoundError) as error:
        raise PullError(f"{repo} has no revision {revision!r}, or the file is gone; see {hub}/{repo}") from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        remedy = "check the token in HF_TOKEN" if status in {401, 403} else "try again later"
        raise PullError(f"{hub} answered {status} when asked for {repo}; {remedy}") from error
    except OfflineModeIsEnabled as error:
        raise PullError("the hub's library is set to offline; unset HF_HUB_OFFLINE to pull") from error
    except httpx2.HTTPError as error:
        raise PullError(
            f"{hub} cannot be reached or broke off ({type(error).__name__}: {error}); "
            "check the network and pull again: it goes on where it stopped"
        ) from error
    except OSError as error:
        if error.errno is not None:  # the disk's
            raise
        raise PullError(f"{hub} sent another number of bytes of {repo} than it states; pull again") from error
