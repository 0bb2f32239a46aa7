"""Secrets in a text: keys, tokens, passwords, private keys.

Two detectors. `known` is built in: the forms of credentials that people hand to language models most, each with a
prefix or a mark of its own that its issuer documents. `Scanner` is MongoDB's Kingfisher, hundreds of rules kept up by
others (extra `redaction`): it scans in the same process, its engine is linear in the text, and it asks nobody. Why this
one: docs/dependencies.md.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterable, Iterator

Span = tuple[int, int]

_FORMS: tuple[tuple[str, str], ...] = (
    ("sk-", r"sk-[A-Za-z0-9_-]{16,400}"),  # OpenAI, Anthropic, OpenRouter, DeepSeek, Moonshot, …
    ("AIza", r"AIza[A-Za-z0-9_-]{35}"),  # Google
    ("ya29.", r"ya29\.[A-Za-z0-9_-]{20,400}"),  # Google OAuth
    ("GOCSPX-", r"GOCSPX-[A-Za-z0-9_-]{28}"),
    ("gsk_", r"gsk_[A-Za-z0-9]{20,120}"),  # Groq
    ("xai-", r"xai-[A-Za-z0-9]{20,120}"),
    ("pplx-", r"pplx-[A-Za-z0-9]{20,120}"),
    ("hf_", r"hf_[A-Za-z0-9]{20,120}"),
    ("r8_", r"r8_[A-Za-z0-9]{20,120}"),  # Replicate
    ("nvapi-", r"nvapi-[A-Za-z0-9_-]{20,120}"),
    ("csk-", r"csk-[A-Za-z0-9]{20,120}"),  # Cerebras
    ("understudy-", r"understudy-[A-Za-z0-9]{49}"),  # our own virtual keys
    ("AKIA", r"AKIA[A-Z0-9]{16}"),  # AWS
    ("ASIA", r"ASIA[A-Z0-9]{16}"),
    ("ghp_", r"ghp_[A-Za-z0-9]{36,255}"),  # GitHub
    ("gho_", r"gho_[A-Za-z0-9]{36,255}"),
    ("ghu_", r"ghu_[A-Za-z0-9]{36,255}"),
    ("ghs_", r"ghs_[A-Za-z0-9]{36,255}"),
    ("ghr_", r"ghr_[A-Za-z0-9]{36,255}"),
    ("github_pat_", r"github_pat_[A-Za-z0-9_]{22,255}"),
    ("glpat-", r"glpat-[A-Za-z0-9_.-]{20,120}"),  # GitLab
    ("xox", r"xox[abeoprs]-[A-Za-z0-9-]{10,250}"),  # Slack
    ("xapp-", r"xapp-[A-Za-z0-9-]{10,250}"),
    ("hooks.slack.com/", r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_-]{20,200}"),
    ("_live_", r"(?:sk|rk|pk)_live_[A-Za-z0-9]{16,250}"),  # Stripe
    ("_test_", r"(?:sk|rk)_test_[A-Za-z0-9]{16,250}"),
    ("whsec_", r"whsec_[A-Za-z0-9+/]{20,120}"),
    ("npm_", r"npm_[A-Za-z0-9]{36}"),
    ("pypi-", r"pypi-[A-Za-z0-9_-]{50,400}"),
    ("SG.", r"SG\.[A-Za-z0-9_-]{16,40}\.[A-Za-z0-9_-]{16,80}"),  # SendGrid
    ("dop_v1_", r"dop_v1_[a-f0-9]{64}"),  # DigitalOcean
    ("shpat_", r"shpat_[a-fA-F0-9]{32}"),  # Shopify
    ("dckr_pat_", r"dckr_pat_[A-Za-z0-9_-]{20,60}"),
    ("hvs.", r"hvs\.[A-Za-z0-9_-]{24,300}"),  # Vault
    ("eyJ", r"eyJ[A-Za-z0-9_-]{8,4000}\.[A-Za-z0-9_-]{8,8000}(?:\.[A-Za-z0-9_-]{0,4000}){0,3}"),  # JWT, RFC 7519
)

_KNOWN = tuple((mark, {"_live_": 2, "_test_": 2}.get(mark, 0), re.compile(form)) for mark, form in _FORMS)
"""A mark, how far before it the form begins, and the form."""

_URL = re.compile(r"://[^\s/@:\"'<>\\\x00\x01]{0,128}:([^\s/@\"'<>\\\x00\x01]{1,256})@")
_BEARER = re.compile(r"(?:bearer|basic|token)[ \t]{1,4}([A-Za-z0-9._~+/=-]{16,4000})", re.IGNORECASE)
_SCHEMES = ("bearer", "basic", "token")
_NAMES = (
    r"(?:pass(?:word|wd|phrase)|passwort|kennwort|pwd|client[_-]?secret|secret[_-]?(?:access[_-]?)?key|secret"
    r"|api[_-]?key|access[_-]?key|access[_-]?token|refresh[_-]?token|auth[_-]?token|private[_-]?key"
    r"|connection[_-]?string|account[_-]?key)"
)
_ASSIGNED = re.compile(
    rf"{_NAMES}[\"']?[ \t]{{0,4}}(?:=|:|:=|=>)[ \t]{{0,4}}[\"']?([^\s\"',;\x00\x01]{{6,512}})", re.IGNORECASE
)
_STEMS = (
    "pass",
    "kennwort",
    "pwd",
    "secret",
    "api",
    "access",
    "refresh",
    "auth",
    "private",
    "connection",
    "account",
    "client",
)
"""How the names begin, to look for before anything else."""

NAMED = re.compile(rf"(?:.{{0,40}}[_.-])?{_NAMES}|authorization|x-api-key|cookie|set-cookie", re.IGNORECASE)
"""Names of fields whose value is a secret whatever it looks like."""

_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|(?=\x00)")


def known(text: str) -> Iterator[Span]:
    """Credentials of the forms listed here. Linear: forms are bounded, and tried only where their mark stands."""
    for mark, before, form in _KNOWN:
        if mark not in text:
            continue  # as most are not: cheaper than to begin a search
        for match in _at(text, text, (mark,), form, before):
            if any(one.isdigit() for one in match[0]):  # `sk-learn-pipeline-steps` is no key
                yield match.span()
    if "PRIVATE KEY" in text:
        yield from _private_keys(text)
    if "://" in text and "@" in text:
        yield from (match.span(1) for match in _URL.finditer(text))
    lower = text.lower()
    if len(lower) != len(text):  # İ becomes two characters, and nothing would stand where it did
        lower = text.translate(_LOWER)
    for match in _at(text, lower, _SCHEMES, _BEARER):
        if any(one.isdigit() for one in match[1]):
            yield match.span(1)
    yield from (match.span(1) for match in _at(text, lower, _STEMS, _ASSIGNED))


_LOWER = {ord(one): one.lower() for one in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


def _at(
    text: str, sought: str, marks: Iterable[str], form: re.Pattern[str], before: int = 0
) -> Iterator[re.Match[str]]:
    """Matches of `form` that begin at a mark, or so far before it, and not within a word."""
    for mark in marks:
        place = sought.find(mark)
        while place >= 0:
            start = place - before
            match = None
            if start == 0 or (start > 0 and not text[start - 1].isalnum()):
                match = form.match(text, start)
            if match is not None:
                yield match
            place = sought.find(mark, place + 1 if match is None else max(place + 1, match.end()))


def _private_keys(text: str) -> Iterator[Span]:
    """From BEGIN to END; one without an end goes on to the end of the text, or to where another text begins (NUL)."""
    begin = _BEGIN.search(text)
    while begin is not None:
        end = _END.search(text, begin.end())
        if end is None:
            yield begin.start(), len(text)
            return
        yield begin.start(), end.end()
        begin = _BEGIN.search(text, end.end())


class NoScannerError(Exception):
    """The further detector was asked for, and is not installed."""


def require_scanner() -> None:
    """Raises NoScannerError where the further detector is not installed."""
    if importlib.util.find_spec("kingfisher_sdk") is None:
        raise NoScannerError("The further detector of secrets is not installed: pip install 'understudy[redaction]'.")


def scanner(patience: float = 5.0, cache: str | None = None) -> Callable[[str], Iterator[Span]]:
    """Kingfisher as a detector. Compiling its rules takes seconds, once: they are kept in `cache`.

    What it gives raises TimeoutError when a text takes longer than `patience` seconds.
    """
    from kingfisher_sdk import Rules, Scanner  # noqa: PLC0415  an extra

    scan = Scanner(Rules() if cache is None else Rules(cache_dir=cache))

    def found(text: str) -> Iterator[Span]:
        encoded = text.encode("utf-8", "replace")
        for finding in scan.scan(encoded, timeout=patience):
            if not finding.visible:
                continue
            place = finding.location
            start, end = place["start_offset"], place["end_offset"]
            begin = len(encoded[:start].decode("utf-8", "ignore"))
            yield begin, begin + len(encoded[start:end].decode("utf-8", "ignore"))

    return found
