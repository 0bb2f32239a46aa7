"""Licences are known by their words, their names and their SPDX ids: exactly, never by a part."""

import pytest

from understudy.openness import recognise
from understudy.openness.recognise import ExpressionError, by_expression, by_name, by_text, changed, digest
from understudy.openness.register import register

KNOWN = register()
MIT = """MIT License

Copyright (c) 2023 Somebody

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""


def test_a_text_is_recognised_whoever_holds_it_and_however_it_is_laid():
    assert by_text(MIT, KNOWN).id == "mit"
    assert (
        by_text(MIT.replace("2023 Somebody", "2026 Another").replace("\n", "\r\n").replace('"', "“"), KNOWN).id == "mit"
    )
    assert by_text("---\nkey: mit\n---\n" + MIT, KNOWN).id == "mit"


def test_our_own_licence_file_is_recognised(request):
    assert by_text((request.config.rootpath / "LICENSE").read_text(), KNOWN).id == "apache-2.0"


def test_a_changed_text_is_recognised_as_changed():
    other = MIT.replace("without restriction", "with restrictions")
    assert by_text(other, KNOWN) is None
    assert changed(KNOWN.licences["mit"], other) is True
    assert changed(KNOWN.licences["mit"], MIT) is False
    assert changed(KNOWN.licences["qwen-2024"], MIT) is None


def test_a_text_of_any_length_is_bounded():
    assert by_text("word " * recognise.LONGEST_TEXT, KNOWN) is None


def test_digests_are_one_licences_each():
    found = [one for licence in KNOWN.licences.values() for one in licence.digests]
    assert len(found) == len(set(found))
    assert len(digest("")) == 64


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("llama3.3", "llama-3.3"),
        ("llama3.1", "llama-3.1"),
        ("llama3", "llama-3"),
        ("gemma", "gemma-2025-03"),
        ("MIT", "mit"),
        ("apache-2.0", "apache-2.0"),
        ("cc-by-nc-4.0", "cc-by-nc-4.0"),
        ("mrl", "mrl-0.1"),
        ("lfm1.0", "lfm-1.0"),
        ("bigscience-bloom-rail-1.0", "bigscience-rail-1.0"),
        ("qwen-research", "qwen-research-2024"),
        ("LicenseRef-scancode-llama-3.1-license-2024", "llama-3.1"),
        (" Apache License 2.0 ", "apache-2.0"),
    ],
)
def test_a_name_is_recognised_exactly(name, found):
    assert by_name(name, KNOWN).id == found


@pytest.mark.parametrize("name", ["", "llama", "llama 3.", "open", "other"])
def test_a_part_of_a_name_is_no_name(name):
    assert by_name(name, KNOWN) is None


def test_names_are_one_licences_each():
    names = [
        name
        for one in KNOWN.licences.values()
        for name in (one.id, *one.aliases, *([one.spdx.lower()] if one.spdx else []))
    ]
    doubled = {name for name in names if names.count(name) > 1}
    assert doubled <= {one.spdx.lower() for one in KNOWN.licences.values()}, "only an id may be its own SPDX id"


@pytest.mark.parametrize(
    ("expression", "options"),
    [
        ("MIT", {("mit",)}),
        ("Apache-2.0 OR MIT", {("apache-2.0",), ("mit",)}),
        ("Apache-2.0 AND MIT", {("apache-2.0", "mit")}),
        ("(MIT OR GPL-3.0-only) AND CC-BY-4.0", {("cc-by-4.0", "mit"), ("GPL-3.0-only", "cc-by-4.0")}),
        ("LicenseRef-scancode-llama-2-license-2023", {("llama-2",)}),
        ("0BSD", {("0BSD",)}),
    ],
)
def test_expressions_come_to_alternatives(expression, options):
    assert {tuple(sorted(option)) for option in by_expression(expression, KNOWN)} == options


@pytest.mark.parametrize(
    "expression",
    [
        "MIT OR",
        "(",
        "some words",
        "MIT AND OR",
        "x" * 501,
        " ",
        " AND ".join(
            f"({a} OR {b})"
            for a, b in [
                ("MIT", "ISC"),
                ("0BSD", "Zlib"),
                ("PSF-2.0", "BSL-1.0"),
                ("MPL-2.0", "EPL-2.0"),
                ("NCSA", "X11"),
                ("AFL-3.0", "OSL-3.0"),
            ]
        ),
    ],
)
def test_what_is_no_expression_is_refused_with_words(expression):
    with pytest.raises(ExpressionError, match=r"."):
        by_expression(expression, KNOWN)
