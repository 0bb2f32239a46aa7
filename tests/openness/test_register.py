"""The register: every fact has a page and a day, every file fits the published schema, names lead to families."""

import datetime as dt
import json
import re
import tomllib
from pathlib import Path

import jsonschema
import pytest

from understudy.openness import register as module
from understudy.openness.facts import Family, Licence
from understudy.openness.reference import folder, register_json
from understudy.openness.register import RegisterError, parse, read, register

ROOT = Path(__file__).parent.parent.parent
FILES = {kind: sorted((folder() / kind).glob("*.toml")) for kind in ("register", "licences")}
SCHEMAS = {"register": "openness-family.schema.json", "licences": "openness-licence.schema.json"}

FAMILY = """
id = "tiny"
title = "Tiny"
names = ["tiny*"]
[sources.card]
link = "https://example.org/card"
read = 2026-01-02
[facts]
maker = { value = "Somebody", source = "card", quote = "by Somebody" }
"""
LICENCE = """
id = "own-1"
title = "Own Licence"
grants = { value = { use = true }, source = "text", quote = "You may use it." }
[sources.text]
link = "https://example.org/licence"
read = 2026-01-02
"""


def plain(value):
    """As JSON has it: dates are texts."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return value.isoformat() if isinstance(value, dt.date) else value


def lay(tmp_path, family=FAMILY, licence=LICENCE, **more):
    for name, text in {"tiny": family, **more}.items():
        (tmp_path / "register").mkdir(exist_ok=True)
        (tmp_path / "register" / f"{name}.toml").write_text(text)
    (tmp_path / "licences").mkdir(exist_ok=True)
    (tmp_path / "licences" / "own-1.toml").write_text(licence)
    return tmp_path


def test_the_register_holds_what_was_promised():
    known = register()
    assert len(known.families) >= 40
    for name in (
        "gpt",
        "claude",
        "gemini",
        "grok",
        "llama-2",
        "llama-3",
        "llama-3.1",
        "llama-3.2",
        "llama-3.3",
        "llama-4",
        "gemma-3",
        "qwen-2.5",
        "deepseek-v3",
        "mistral-7b",
        "mixtral-8x7b",
        "phi-4",
        "olmo-2",
        "pythia",
        "amber",
        "smollm-3",
        "granite-4",
        "falcon-2",
        "command-a",
        "kimi-k2",
        "glm-4.5",
        "gpt-oss",
        "nemotron-3-nano",
        "jamba-1.6",
        "starcoder2",
        "bloom",
    ):
        assert name in known.families
    for name in (
        "apache-2.0",
        "mit",
        "cc-by-nc-4.0",
        "llama-1",
        "llama-2",
        "llama-3",
        "llama-3.1",
        "llama-3.2",
        "llama-3.3",
        "llama-4",
        "gemma-2025-03",
        "deepseek-1.0",
        "tongyi-qianwen-2023",
        "qwen-2024",
        "qwen-research-2024",
        "exaone-1.1-nc",
        "mrl-0.1",
        "mnpl-0.1",
        "kimi-k2-modified-mit",
        "nvidia-open-model-2025-04",
        "falcon-2-11b",
        "bigcode-openrail-m-1",
        "stability-community-2024",
        "hyperclova-x-seed-2025",
        "hunyuan-3d-2.0",
        "lfm-1.0",
    ):
        assert name in known.licences


def test_what_the_package_loads_is_what_the_files_say():
    assert (folder() / module.COMPILED).read_text() == register_json(), "run `make docs`"
    assert register() == read(folder())


@pytest.mark.parametrize(
    "path", [*FILES["register"], *FILES["licences"]], ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_every_file_fits_the_published_schema(path):
    schema = json.loads((ROOT / "docs/reference" / SCHEMAS[path.parent.name]).read_text())
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    validator.validate(plain(tomllib.loads(path.read_text())))


@pytest.mark.parametrize(
    "path", [*FILES["register"], *FILES["licences"]], ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_every_source_is_a_page_that_was_read_on_a_day_that_has_been(path):
    for source in parse(path.read_text(), Family if path.parent.name == "register" else Licence).sources.values():
        assert re.match(r"https://[a-z0-9.-]+/", source.link)
        assert dt.date(2024, 1, 1) <= source.read <= dt.date(2026, 12, 31)


def test_no_licence_text_is_copied_whole():
    assert max(path.stat().st_size for path in FILES["licences"]) < 8_000


def test_a_name_belongs_to_one_family():
    names = [name for family in register().families.values() for name in family.names]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("meta-llama/Llama-3.3-70B-Instruct", "llama-3.3"),
        ("groq/llama-3.3-70b-versatile", "llama-3.3"),
        ("ollama/llama3.3:70b", "llama-3.3"),
        ("bedrock/us.meta.llama3-3-70b-instruct-v1:0", "llama-3.3"),
        ("openrouter/meta-llama/llama-3.3-70b-instruct:free", "llama-3.3"),
        ("meta-llama/Llama-3.2-11B-Vision-Instruct", "llama-3.2-vision"),
        ("meta-llama/Llama-3.2-3B-Instruct", "llama-3.2"),
        ("meta-llama/Meta-Llama-3-8B", "llama-3"),
        ("Qwen/Qwen2.5-7B-Instruct", "qwen-2.5"),
        ("Qwen/Qwen2.5-72B-Instruct", "qwen-2.5-72b"),
        ("ollama/qwen2.5:3b", "qwen-2.5-3b"),
        ("openai/gpt-5", "gpt"),
        ("gpt-4o-mini", "gpt"),
        ("groq/openai/gpt-oss-120b", "gpt-oss"),
        ("azure/gpt-oss-120b", "gpt-oss"),
        ("anthropic/claude-sonnet-4-5", "claude"),
        ("bedrock/anthropic.claude-3-haiku-20240307-v1:0", "claude"),
        ("gemini/gemini-2.5-pro", "gemini"),
        ("local/smollm2-135m", "smollm-2"),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-70B", "deepseek-r1-distill-llama-70b"),
        ("deepseek-ai/DeepSeek-R1", "deepseek-r1"),
        ("ollama/deepseek-r1:32b", "deepseek-r1-distill-qwen"),
        ("mistral/open-mixtral-8x22b", "mixtral-8x22b"),
        ("google/gemma-3-27b-it", "gemma-3"),
        ("EleutherAI/pythia-12b", "pythia"),
        ("llama-3.3", "llama-3.3"),
    ],
)
def test_a_model_is_found_by_the_names_it_goes_by(name, family):
    found = register().find(name)
    assert found is not None
    assert found.id == family


@pytest.mark.parametrize("name", ["", "somebody/something", "llamas-are-nice", "openai", "xllama-3.3-70b"])
def test_a_model_that_nobody_registered_is_not_found(name):
    assert register().find(name) is None


def test_an_unknown_name_gets_the_nearest_ids():
    assert "llama-3.3" in register().nearest("someone/llama-3.3x")


def test_a_sound_folder_is_read(tmp_path):
    known = read(lay(tmp_path))
    assert known.families["tiny"].evidence(known.families["tiny"].facts.maker).quote == "by Somebody"
    assert known.licences["own-1"].evidence(known.licences["own-1"].grants).read == dt.date(2026, 1, 2)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ((', source = "card", quote = "by Somebody"', ""), "source"),
        (('source = "card"', 'source = "blog"'), "maker names the source 'blog', which is not in"),
        (("read = 2026-01-02\n", ""), "read"),
        (('link = "https://example.org/card"', 'link = "example.org"'), "link"),
        (('id = "tiny"', 'id = "other"'), "name the file after the id"),
        (('names = ["tiny*"]', 'names = ["Tiny*"]'), "not lower case"),
        (('names = ["tiny*"]', "names = []"), "names"),
        (('title = "Tiny"', "title = 1"), "title"),
        (('title = "Tiny"', 'titel = "Tiny"'), "titel"),
        (
            ("[facts]", '[sources.extra]\nlink = "https://example.org/x"\nread = 2026-01-02\n[facts]'),
            "nothing names the sources extra",
        ),
        (("[facts]", '[components.weights]\nstate = "closed"\nsource = "card"\n[facts]'), "no such component"),
        (("[facts]", '[components.parameters]\nstate = "ajar"\nsource = "card"\n[facts]'), "ajar"),
        (("[facts]", '[components.parameters]\nstate = "closed"\n[facts]'), "source"),
        (
            ("[facts]", '[components.parameters]\nstate = "open"\nsource = "card"\n[facts]'),
            "called open, but its licence is unlicensed",
        ),
        (
            (
                "[facts]",
                '[components.parameters]\nstate = "open"\nsource = "card"\nlicence = "mit"\npartly = true\n[facts]',
            ),
            "or only a part",
        ),
        (
            ("[facts]", '[components.parameters]\nstate = "restricted"\nsource = "card"\nlicence = "mit"\n[facts]'),
            "published whole under mit",
        ),
        (
            ("[facts]", '[licences]\ndistribution = { value = "nobodys-1", source = "card" }\n[facts]'),
            "'nobodys-1' has no file",
        ),
        (
            ("[facts]", '[facts]\nbase = { value = ["giant"], source = "card" }'),
            "the base 'giant' is not in the register",
        ),
        (("[facts]", '[facts]\nbase = { value = ["tiny"], source = "card" }'), "circle: tiny -> tiny"),
        (("[facts]", '[weights]\n"a.gguf" = { value = "12", source = "card" }\n[facts]'), "weights"),
        (("by Somebody", "x" * 701), "quote"),
        (("[facts]", "[facts"), "tiny.toml"),
    ],
)
def test_a_family_that_does_not_hold_is_refused_with_file_and_reason(tmp_path, change, says):
    assert change[0] in FAMILY
    with pytest.raises(RegisterError, match=re.escape(says)) as caught:
        read(lay(tmp_path, FAMILY.replace(*change)))
    assert "register/tiny.toml" in str(caught.value)


CONDITION = '\n[[conditions]]\nsubject = "naming"\neffect = "duty"\nclause = "1"\nsource = "text"\nquote = "Name us."\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (LICENCE + CONDITION, "a duty without `show` or `todo`"),
        (LICENCE + CONDITION + 'show = "Us"\n', "`show` but no `where`"),
        (LICENCE + CONDITION.replace('source = "text"', 'source = "blog"'), "conditions[0] names the source 'blog'"),
        (LICENCE + CONDITION.replace('quote = "Name us."\n', ""), "quote"),
        (LICENCE + CONDITION + 'todo = "do"\nwhen = { users = 3 }\n', "users"),
        (LICENCE.replace('source = "text"', 'source = "blog"'), "grants names the source 'blog'"),
    ],
)
def test_a_licence_that_does_not_hold_is_refused_with_file_and_reason(tmp_path, text, says):
    with pytest.raises(RegisterError, match=re.escape(says)) as caught:
        read(lay(tmp_path, licence=text))
    assert "licences/own-1.toml" in str(caught.value)


def test_a_longer_circle_of_bases_is_refused(tmp_path):
    first = FAMILY.replace("[facts]", '[facts]\nbase = { value = ["other"], source = "card" }')
    second = first.replace('"other"', '"tiny"').replace('id = "tiny"', 'id = "other"')
    with pytest.raises(RegisterError, match="circle: other -> tiny -> other"):
        read(lay(tmp_path, first, other=second))
