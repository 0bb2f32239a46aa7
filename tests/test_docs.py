"""What the docs say is so: generated pages are current, and nothing that a user meets is missing from them."""

import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

from understudy.gateway import counting, models, routing, surface
from understudy.gateway.administration import table as administration
from understudy.resilience import table

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs/reference"

spec = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
generate = importlib.util.module_from_spec(spec)
spec.loader.exec_module(generate)

SOURCES = {path: path.read_text() for path in (ROOT / "src").rglob("*.py")}
PROSE = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


@pytest.mark.parametrize("name", generate.PAGES)
def test_generated_pages_are_current(name):
    assert (REFERENCE / name).read_text() == generate.PAGES[name](), "run `make docs`"


def test_every_response_header_is_documented():
    page = (REFERENCE / "http.md").read_text()
    ours = {name for text in SOURCES.values() for name in re.findall(r'b"(x-understudy-[a-z]+)"', text)}
    assert len(ours) >= 3
    assert not [name for name in ours if f"`{name}`" not in page]


def test_every_path_is_documented():
    page = (REFERENCE / "http.md").read_text()
    paths = re.findall(r'"(/[a-z0-9/]+)": \{"', SOURCES[ROOT / "src/understudy/gateway/app.py"])
    paths += [*surface.DOORS, *models.LISTS, *counting.PATHS]
    assert "/v1/chat/completions" in paths
    assert "/healthz" in paths
    assert not [path for path in paths if f" {path}`" not in page]


def test_every_operation_of_the_admin_api_is_documented():
    page = (REFERENCE / "admin-api.md").read_text()
    assert not [one.name for one in administration.ENDPOINTS if f"\n## `{one.method} {one.path}`\n" not in page]


def test_every_error_code_is_documented():
    page = (REFERENCE / "http.md").read_text()
    codes = {code for text in SOURCES.values() for code in re.findall(r'RefusedError\(\s*\d+,\s*"(\w+)"', text)}
    assert len(codes) > 8
    assert not [code for code in codes if f"`{code}`" not in page]


def test_every_forwarded_header_is_documented():
    page = (REFERENCE / "http.md").read_text()
    names = routing.FORWARDED.union(*surface.FORWARDED.values())
    assert not [name for name in names if f"`{name.decode()}`" not in page]


def test_every_kind_of_fault_is_used_or_recognised():
    signs = {sign.kind for sign in table().signs} | set(table().status.values())
    text = "".join(SOURCES.values())
    assert not [kind for kind in table().kinds if kind not in signs and f'"{kind}"' not in text]


def test_every_dependency_has_its_reason():
    page = (ROOT / "docs/dependencies.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    names = [re.split(r"[>=<\[]", line)[0] for line in wanted]
    assert not [name for name in names if f"`{name}`" not in page]


def test_lock_files_hold_hashes_and_no_addresses():
    for lock in ROOT.glob("requirements*.lock"):
        text = lock.read_text()
        assert "--hash=sha256:" in text
        assert "://" not in text, lock


def test_links_between_pages_lead_somewhere():
    for page in PROSE:
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.relative_to(ROOT)} links to {link}"


def test_every_design_folder_exists_and_every_folder_is_in_the_design():
    page = (ROOT / "docs/design.md").read_text()
    named = set(re.findall(r"^\| `([a-z_]+)[/.]", page, re.MULTILINE))
    there = {path.stem for path in (ROOT / "src/understudy").iterdir() if not path.name.startswith(("_", "py."))}
    assert named == there


def test_the_readme_shows_what_the_demo_prints():
    picture = (ROOT / "docs/pictures/demo.svg").read_text()
    for words in ("Understudy", "local/smollm2-135m", "simulated", "first&#160;token", "HTTP&#160;503"):
        assert words in picture
    assert not re.search(r"url\(['\"]?http|@font-face|href=|<image|<script", picture), "a picture fetches nothing"
    assert "docs/pictures/demo.svg" in (ROOT / "README.md").read_text()
