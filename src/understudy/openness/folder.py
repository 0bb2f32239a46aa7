"""Reads what lies on this machine: a folder with a model and its card, or a GGUF file. Weights are not read."""

from __future__ import annotations

from pathlib import Path

import msgspec

from understudy.openness import cards, gguf
from understudy.openness.proposal import Claim, File, Found
from understudy.openness.recognise import LONGEST_TEXT

_CARD, _CONFIG = "README.md", "config.json"
_TEXTS = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "LICENCE.txt", "COPYING")
MOST_FILES = 2_000


class FolderError(Exception):
    """There is nothing there to read. The message says what was looked for."""


def read(path: Path) -> Found:
    """What a folder, or a GGUF file, says of the model in it.

    Errors:
        FolderError: there is no such thing, or it cannot be read.
    """
    try:
        if path.is_dir():
            return _folder(path)
        return _of_gguf(gguf.read(path), path)
    except gguf.GgufError as error:
        raise FolderError(f"{path}: {error}") from error
    except OSError as error:
        raise FolderError(f"{path} cannot be read: {error.strerror or error}") from error


def _folder(path: Path) -> Found:
    files = sorted(one for one in path.iterdir() if one.is_file())[:MOST_FILES]
    found = Found(
        name=path.resolve().name, source=str(path), files=tuple(File(one.name, one.stat().st_size) for one in files)
    )
    models = [one for one in files if one.suffix.lower() == ".gguf"]
    if models:
        said = _of_gguf(gguf.read(models[0]), models[0])
        found = msgspec.structs.replace(said, name=said.name or found.name, source=found.source, files=found.files)
    if (path / _CARD).is_file():
        found = cards.of_text(_text(path / _CARD), found)
    elif not models:
        found = msgspec.structs.replace(found, problems=(*found.problems, f"there is no {_CARD}"))
    if (path / _CONFIG).is_file():
        found = _with_config(found, _text(path / _CONFIG))
    beside = next((path / name for name in _TEXTS if (path / name).is_file()), None)
    return found if beside is None else msgspec.structs.replace(found, licence_text=_text(beside))


def _text(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(LONGEST_TEXT).decode("utf-8", "replace")


def _with_config(found: Found, text: str) -> Found:
    try:
        context = msgspec.json.decode(text).get("max_position_embeddings")
    except (msgspec.DecodeError, AttributeError):
        return msgspec.structs.replace(found, problems=(*found.problems, f"{_CONFIG} is no JSON object"))
    if not isinstance(context, int) or found.context is not None:
        return found
    claim = Claim("context", str(context), f"{_CONFIG}, max_position_embeddings")
    return msgspec.structs.replace(found, context=context, claims=(*found.claims, claim))


def _of_gguf(said: gguf.Metadata, path: Path) -> Found:
    where = path.name
    bases = tuple(_repository(base.repository) or base.name for base in said.bases if base.repository or base.name)
    fields = {
        "general.name": said.name,
        "general.license": said.licence,
        "general.license.name": said.licence_name,
        "general.license.link": said.licence_link,
        "general.base_model": ", ".join(bases),
        "general.size_label": said.size_label,
        f"{said.architecture}.context_length": "" if said.context is None else str(said.context),
    }
    return Found(
        name=_repository(said.repository) or said.name or path.stem,
        source=str(path),
        licence=said.licence,
        licence_name=said.licence_name,
        licence_link=said.licence_link,
        bases=bases,
        context=said.context,
        files=(File(path.name, said.size),),
        claims=tuple(Claim(field, value, f"{where}, {field}") for field, value in fields.items() if value),
        problems=() if said.licence or said.licence_name else ("the file states no licence",),
    )


def _repository(url: str) -> str:
    """`owner/name` of a link to the Hugging Face hub, else nothing."""
    prefix = "https://huggingface.co/"
    return "/".join(url.removeprefix(prefix).split("/")[:2]) if url.startswith(prefix) else ""
