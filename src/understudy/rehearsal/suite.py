"""A suite: the cases of a rehearsal, frozen in a file that an application can keep beside its code.

JSON lines. The first says what the file is; each other is a case: a request as a client sent it, and the answer that
the user got. People may edit it: the digest is of the cases as they are read, so a verdict always names what it is of,
and an edited file is another suite.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from understudy import dialects
from understudy.canon import Answer, Request
from understudy.dialects import Malformed
from understudy.rehearsal.kinds import facets

T = TypeVar("T")

VERSION = 1

LONGEST = 64 * 1024 * 1024
"""Bytes of a line."""


class SuiteError(Exception):
    """A file that is no suite. `str()` says file, line, what is wrong and what to do."""

    def __init__(self, source: str, line: int | None, what: str, remedy: str) -> None:
        place = source if line is None else f"{source}:{line}"
        super().__init__(f"{place}: {what}\n  {remedy}")


class Case(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One exchange to replay. `request` and `answer` are JSON in the words of `dialect`, as the client had them.

    `gold` is an answer that somebody wrote or corrected, as text: it goes before `answer`. `score` is what a user gave
    the answer, in [0, 1]. `extra` cases were drawn for a rare kind of request, beside the traffic.
    """

    id: str
    dialect: str
    request: dict[str, Any]
    answer: dict[str, Any] | None = None
    gold: str | None = None
    score: float | None = None
    task: str | None = None
    tags: tuple[str, ...] = ()
    target: str | None = None
    model: str | None = None
    tokens: tuple[int | None, int | None] | None = None
    cost_usd: float | None = None
    seconds: float | None = None
    extra: bool = False

    def asked(self) -> Request:
        """The request in canonical form. Raises Malformed."""
        return dialects.get(self.dialect).decode_request(msgspec.json.encode(self.request))

    def answered(self) -> Answer | None:
        """The recorded answer in canonical form, None if there is none. Raises Malformed."""
        if self.answer is None:
            return None
        return dialects.get(self.dialect).decode_answer(msgspec.json.encode(self.answer))


class Suite(msgspec.Struct, frozen=True, kw_only=True):
    """Cases in the random order in which they are replayed. `at` is when they were drawn (Unix seconds).

    `population` is how many exchanges they were drawn from, `mix` the share of each facet in these.
    """

    cases: tuple[Case, ...]
    route: str = ""
    incumbent: str = ""
    seed: int = 0
    at: float = 0.0
    population: int = 0
    mix: dict[str, float] = {}
    edited: bool = False

    @property
    def digest(self) -> str:
        return digest(self.cases)


class _Head(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    understudy_suite: int
    route: str = ""
    incumbent: str = ""
    seed: int = 0
    at: float = 0.0
    population: int = 0
    mix: dict[str, float] = {}
    cases: int | None = None
    digest: str | None = None


def digest(cases: Iterable[Case]) -> str:
    """Of what the cases say, whatever the order of fields or the white space in the file."""
    sha = hashlib.sha256(b"understudy-suite-%d\n" % VERSION)
    for case in cases:
        sha.update(msgspec.json.encode(case, order="deterministic") + b"\n")
    return sha.hexdigest()


def dump(suite: Suite) -> Iterator[bytes]:
    """The lines of the file."""
    head = _Head(
        understudy_suite=VERSION,
        route=suite.route,
        incumbent=suite.incumbent,
        seed=suite.seed,
        at=suite.at,
        population=suite.population,
        mix=suite.mix,
        cases=len(suite.cases),
        digest=suite.digest,
    )
    yield msgspec.json.encode(head) + b"\n"
    for case in suite.cases:
        yield msgspec.json.encode(case) + b"\n"


def load(path: Path) -> Suite:
    """Read and check a suite. Raises SuiteError."""
    source = str(path)
    try:
        with path.open("rb") as file:
            lines = list(_lines(file, source))
    except OSError as error:
        raise SuiteError(source, None, f"cannot be read: {error.strerror}", "Check the path and its rights.") from None
    if not lines:
        raise SuiteError(source, None, "is empty", "A suite has a head and a line for each case.")
    head = _decoded(lines[0], _Head, source, 'The first line is the head: {"understudy_suite": 1}.')
    if head.understudy_suite != VERSION:
        raise SuiteError(
            source, 1, f"is a suite of version {head.understudy_suite}", f"This program reads version {VERSION}."
        )
    cases, seen = [], dict[str, int]()
    for number, line in lines[1:]:
        case = _decoded((number, line), Case, source, "Correct the case, or take its line out.")
        _check(case, source, number)
        if case.id in seen:
            what = f"the id {case.id!r} is that of line {seen[case.id]} already"
            raise SuiteError(source, number, what, "Each case has an id of its own.")
        seen[case.id] = number
        cases.append(case)
    if not cases:
        raise SuiteError(source, None, "has no cases", "Each line after the head is a case.")
    return Suite(
        cases=tuple(cases),
        route=head.route,
        incumbent=head.incumbent,
        seed=head.seed,
        at=head.at,
        population=head.population,
        mix=head.mix,
        edited=head.digest is not None and head.digest != digest(cases),
    )


def mix(requests: Iterable[Request]) -> dict[str, float]:
    """The share of each facet among `requests`."""
    counts: dict[str, int] = {}
    total = 0
    for request in requests:
        total += 1
        for facet in facets(request):
            counts[facet] = counts.get(facet, 0) + 1
    return {facet: count / total for facet, count in sorted(counts.items())}


def _lines(file: Any, source: str) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := file.readline(LONGEST + 1):
        number += 1
        if len(line) > LONGEST:
            raise SuiteError(source, number, f"the line is longer than {LONGEST} bytes", "Take the case out.")
        if line.strip():
            yield number, line


def _decoded(line: tuple[int, bytes], kind: type[T], source: str, remedy: str) -> T:
    try:
        return msgspec.json.decode(line[1], type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SuiteError(source, line[0], f"{error}", remedy) from None


def _check(case: Case, source: str, number: int) -> None:
    try:
        case.asked()
        answer = case.answered()
    except (Malformed, LookupError) as error:
        raise SuiteError(source, number, f"case {case.id!r}: {error}", "Correct the case, or take it out.") from None
    if answer is None and case.gold is None:
        what = f"case {case.id!r} has neither `answer` nor `gold`"
        raise SuiteError(source, number, what, "Add what a good answer is.")
    if case.score is not None and not 0 <= case.score <= 1:
        raise SuiteError(source, number, f"case {case.id!r}: score {case.score} is not between 0 and 1", "Correct it.")
