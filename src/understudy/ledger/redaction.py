"""Redaction: what is personal or secret is taken out of a record before it is stored anywhere.

In its place stands `[email:1]`: kind and number, the same for the same value throughout one exchange, so that a
conversation stays readable; or, with a key, a pseudonym that its holder can turn back (`pseudonyms.py`). What is not
found stays as it was, to the byte: bodies are not parsed and written anew, but cut into JSON strings and what stands
between them, which works just as well for a stream, or a body that was cut. Names of fields are kept, except for
secrets in them.

An answer that came as a stream has a word's parts in several events. So strings of the same name are also read as one
text, and what is found across them is put in the place of its first part.

Where a text cannot be searched in reasonable time nothing of it is kept (`UnsearchableError`): what nobody looked at is
not stored. `record_redaction.py` does all this to whole records.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from understudy import clock
from understudy.ledger import credentials, pieces
from understudy.ledger.pseudonyms import Pseudonyms
from understudy.ledger.recognise import NATIONAL, RECOGNISERS, Recogniser, literals, own_pattern
from understudy.ledger.settings import Redaction

_PASSES = 6
"""How often a text is searched again, since what was taken out may have hidden something beside it."""

_SHORTEST_GAP = len("1.1.1.1")
"""Characters between two strings that may hold something. Most gaps are a comma, and there are many."""

_SHORTEST = 4
"""Characters of a password, at least: less is a word like `none`."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_FEWEST = 6
_OF_DIGITS = frozenset([*NATIONAL.values(), *(RECOGNISERS[name] for name in ("iban", "card", "phone"))])
"""Recognisers of what has that many digits at least, close together. Much that is said has not."""

_DIGITS = re.compile(rf"\d(?:[^\d\0]{{0,9}}\d){{{_FEWEST - 1}}}")
"""Nine at most between two of them: an IBAN in groups has letters there."""

_REMEMBERED = 10_000
"""Names that are known to hold no secret."""

_SHORT = 100
"""Characters of a field's name that is remembered."""

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_NUMERIC = re.compile(r"[-+.\deE]*")
_WIDEST = 400
"""Characters of a number on either side of what was found in it."""

_CUT = re.compile(r"\\?[^\s\"\\]{0,512}\Z")


class BadSettingsError(ValueError):
    """What is to be redacted cannot be."""


class UnsearchableError(Exception):
    """A text took too long, or would not come to rest."""


class Numbers:
    """Which number stands for which value. One for each exchange."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str], int] = {}
        self._last: dict[str, int] = {}

    def of(self, kind: str, value: str) -> str:
        number = self._numbers.get((kind, value))
        if number is None:
            number = self._numbers[kind, value] = self._last[kind] = self._last.get(kind, 0) + 1
        return f"[{kind}:{number}]"

    def taken(self, kind: str, number: int) -> None:
        """The text has this one already, for something that was taken out earlier."""
        self._last[kind] = max(number, self._last.get(kind, 0))


class Redactor:
    """Finds what `settings` say. Made once; each exchange has numbers of its own."""

    def __init__(self, settings: Redaction | None = None) -> None:
        settings = settings or Redaction()
        self._pseudonyms = Pseudonyms(settings.key) if settings.key is not None else None
        self._patience, self._until = settings.patience, 0.0
        self._clean: set[str] = set()
        self._clean_fields: set[str] = set()
        kinds: list[tuple[str, Recogniser]] = []  # the first of overlapping ones gives the name
        if settings.literals:
            kinds.append(("secret", literals(settings.literals)))
        if "secret" in settings.find:
            kinds.append(("secret", credentials.known))
        kinds += _own(settings)
        kinds += [(name, _known(name, RECOGNISERS, "find")) for name in settings.find if name != "secret"]
        kinds += [("id", _known(name, NATIONAL, "national")) for name in settings.national]
        self._quick = self._kinds = kinds
        self._lacking = settings if settings.scanner else None
        if settings.scanner:
            credentials.require_scanner()
        names = "|".join(re.escape(name) for name in sorted({kind for kind, _ in kinds} | {"secret"}))
        self._written = re.compile(rf"\[({names}):(\d{{1,6}})\]")
        self._named = "secret" in settings.find

    def text(self, text: str, numbers: Numbers | None = None, *, quick: bool = False) -> str:
        """`text` without what is not to be stored. `quick`: without the further detector. Raises UnsearchableError."""
        numbers, kinds = numbers or Numbers(), self._quick if quick else self._thorough()
        return self._settled(text, lambda text: self._once([text], kinds, numbers)[0])

    def body(self, data: bytes, numbers: Numbers | None = None, *, cut: bool = False, quick: bool = False) -> bytes:
        """A body, of whatever kind. `cut`: it ends anywhere, so its last word may be part of something.

        `quick`: without the further detector. Raises UnsearchableError.
        """
        numbers, kinds = numbers or Numbers(), self._quick if quick else self._thorough()
        encoding = "utf-8"
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError as error:
            if cut and error.start >= len(data) - 3:
                data = data[: error.start]
            else:
                encoding = "latin-1"  # not text, or not only: what is readable of it is searched
            text = data.decode(encoding)
        whole = _CUT.sub("", text) if cut else text
        if pieces.is_json(whole):
            redacted = self._settled(whole, lambda text: self._json(text, kinds, numbers, encoding))
        else:
            redacted = self._settled(whole, lambda text: self._once([text], kinds, numbers)[0])
        return data if redacted == text else redacted.encode(encoding)

    def names(self, texts: Iterable[str | None], numbers: Numbers) -> dict[str, str]:
        """Those of `texts` that hold a secret, and what they are without it. Nothing but secrets is looked for.

        For names that somebody chose, of models, sessions, tags, fields: most of them come again and again, and one
        that was once found clean is not searched anew.
        """
        fresh = [text for text in dict.fromkeys(texts) if text and text not in self._clean]
        if not fresh:
            return {}
        secrets = _secrets(self._quick)
        self._until = clock.monotonic() + self._patience
        after = self._once(fresh, secrets, numbers)
        changed = {text for text, new in zip(fresh, after, strict=True) if text != new}
        self._remember(self._clean, [text for text in fresh if text not in changed])
        return {
            text: self._settled(text, lambda text: self._once([text], secrets, numbers)[0])
            for text in fresh
            if text in changed
        }

    @staticmethod
    def _remember(known: set[str], texts: Sequence[str]) -> None:
        if len(known) + len(texts) > _REMEMBERED:
            known.clear()
        known.update(texts[:_REMEMBERED])

    def _thorough(self) -> Sequence[tuple[str, Recogniser]]:
        """All recognisers. The further detector begins now: it takes seconds and 55 MiB, and many never need it."""
        if self._lacking is not None:
            further = credentials.scanner(self._lacking.patience, self._lacking.cache)
            self._kinds, self._lacking = [("secret", further), *self._quick], None
        return self._kinds

    # --- how ---------------------------------------------------------------------------------------------------------

    def _settled(self, text: str, once: Callable[[str], str]) -> str:
        self._until = clock.monotonic() + self._patience
        for _ in range(_PASSES):
            after = once(text)
            if after == text:
                return text
            text = after
        raise UnsearchableError

    def _json(self, text: str, kinds: Sequence[tuple[str, Recogniser]], numbers: Numbers, encoding: str) -> str:
        """Strings, names and gaps apart, so that nothing runs from one into another."""
        found = list(pieces.cut(text, shortest=_SHORTEST_GAP))
        values = [piece for piece in found if piece.kind == "value"]
        names = [piece for piece in found if piece.kind == "name" and piece.text not in self._clean_fields]
        gaps = [piece for piece in found if piece.kind == "gap"]
        named = [self._named and credentials.NAMED.fullmatch(piece.name) is not None for piece in values]
        after = [
            *self._once([piece.text for piece in values], kinds, numbers, named, pieces.streams(text, values)),
            *self._once([piece.text for piece in names], _secrets(kinds), numbers),
            *self._once([piece.text for piece in gaps], kinds, numbers, quote=True),
        ]
        changed = [pair for pair in zip([*values, *names, *gaps], after, strict=True) if pair[0].text != pair[1]]
        if not changed:
            self._remember(self._clean_fields, [piece.text for piece in names if len(piece.text) <= _SHORT])
            return text
        out, place = [], 0
        for piece, new in sorted(changed, key=lambda pair: pair[0].start):
            out += [text[place : piece.start], new if piece.raw else _quoted(new, encoding)]
            place = piece.end
        return "".join([*out, text[place:]])

    def _once(
        self,
        texts: Sequence[str],
        kinds: Sequence[tuple[str, Recogniser]],
        numbers: Numbers,
        named: Sequence[bool] = (),
        streams: Sequence[Sequence[int]] = (),
        *,
        quote: bool = False,
    ) -> list[str]:
        """Each of `texts` with what was found replaced. `streams` are the numbers of those that also read as one."""
        if not texts or not kinds:
            return list(texts)
        secret = [
            number
            for number, is_named in enumerate(named)
            if is_named and len(texts[number]) >= _SHORTEST and not self._written.fullmatch(texts[number])
        ]
        apart = self._found("\0".join(texts), kinds, numbers)
        if not (apart or secret or streams):
            return list(texts)
        layout = _Layout(texts, streams)
        found = [layout.moved(span) for span in apart] if streams else apart
        if streams:
            found += self._found(layout.text, kinds, numbers)
        found += [(layout.places[number], layout.places[number] + len(texts[number]), 0) for number in secret]
        if not found:
            return list(texts)
        if quote:
            found = [(*_number_around(layout.text, start, end), rank) for start, end, rank in found]
        cuts: list[tuple[int, int, str]] = []
        for start, end, rank in _merged(found):
            kind, value = kinds[rank][0], layout.text[start:end]
            written = self._pseudonyms.of(kind, value) if self._pseudonyms is not None else numbers.of(kind, value)
            # What takes the place of a number of the document must be a value too.
            cuts.append((start, end, f'"{written}"' if quote and _NUMBER.fullmatch(value) else written))
        return layout.without(cuts)

    def _found(
        self, text: str, kinds: Sequence[tuple[str, Recogniser]], numbers: Numbers
    ) -> list[tuple[int, int, int]]:
        """Start, end and number of the kind. Nothing is found in what redaction wrote itself, nor across a NUL."""
        masked = self._masked(text, numbers)
        found = []
        few = _DIGITS.search(masked) is None
        try:
            for rank, (_, recogniser) in enumerate(kinds):
                if few and recogniser in _OF_DIGITS:
                    continue
                if clock.monotonic() > self._until:
                    raise UnsearchableError
                for start, end in recogniser(masked):
                    stop = masked.find("\0", start, end)
                    found.append((start, end if stop < 0 else stop, rank))
        except TimeoutError as error:
            raise UnsearchableError from error
        return [one for one in found if one[0] < one[1]]

    def _masked(self, text: str, numbers: Numbers) -> str:
        def mask(match: re.Match[str]) -> str:
            numbers.taken(match[1], int(match[2]))
            return "\1" * len(match[0])

        text = self._written.sub(mask, text)
        if self._pseudonyms is not None and ":~" in text:
            out, place = [], 0
            for start, end in self._pseudonyms.own(text):
                out += [text[place:start], "\1" * (end - start)]
                place = end
            text = "".join([*out, text[place:]])
        return text


class _Layout:
    """Texts one after the other: those of a stream joined, all others a NUL apart. `places` is where each begins."""

    def __init__(self, texts: Sequence[str], streams: Sequence[Sequence[int]]) -> None:
        grouped = {number for stream in streams for number in stream}
        groups = [*streams, *([number] for number in range(len(texts)) if number not in grouped)]
        self.texts = texts
        self.places = [0] * len(texts)
        self._order: list[int] = []
        place = 0
        for group in groups:
            for number in group:
                self.places[number] = place
                self._order.append(number)
                place += len(texts[number])
            place += 1
        self.text = "\0".join("".join(texts[number] for number in group) for group in groups)
        self._starts: list[int] = []
        place = 0
        for text in texts if streams else ():
            self._starts.append(place)
            place += len(text) + 1

    def moved(self, span: tuple[int, int, int]) -> tuple[int, int, int]:
        """From where it stands among texts that are all a NUL apart."""
        start, end, rank = span
        number = bisect_right(self._starts, start) - 1
        move = self.places[number] - self._starts[number]
        return start + move, end + move, rank

    def without(self, cuts: Sequence[tuple[int, int, str]]) -> list[str]:
        """The texts with each cut replaced, where it begins; what of it is in later texts goes. In order, apart."""
        after = list(self.texts)
        at = 0
        for number in self._order:
            begin, end = self.places[number], self.places[number] + len(self.texts[number])
            while at < len(cuts) and cuts[at][1] <= begin:
                at += 1
            out, place, one = [], begin, at
            while one < len(cuts) and cuts[one][0] < end:
                start, stop, written = cuts[one]
                out += [self.text[place : max(start, begin)], written if start >= begin else ""]
                place = min(stop, end)
                one += 1
            if one > at:
                after[number] = "".join([*out, self.text[place:end]])
        return after


def _merged(found: list[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
    """Overlapping ones as one, under the name of the kind that comes first."""
    found.sort()
    start, end, rank = found[0]
    for begin, stop, kind in found[1:]:
        if begin < end:
            end, rank = max(end, stop), min(rank, kind)
        else:
            yield start, end, rank
            start, end, rank = begin, stop, kind
    yield start, end, rank


def _number_around(text: str, start: int, end: int) -> tuple[int, int]:
    """The whole of a JSON number that has a find in it; the find itself where there is none."""
    before = _NUMERIC.match(text[max(0, start - _WIDEST) : start][::-1])
    after = _NUMERIC.match(text, end, end + _WIDEST)
    begin = start - (before.end() if before is not None else 0)
    stop = after.end() if after is not None else end
    return (begin, stop) if _NUMBER.fullmatch(text, begin, stop) else (start, end)


def _quoted(text: str, encoding: str) -> str:
    written = json.dumps(text, ensure_ascii=False)
    try:
        written.encode(encoding)
    except UnicodeEncodeError:  # half a surrogate pair, or a character that only an escape can say here
        return json.dumps(text)
    return written


def _known(name: str, table: Mapping[str, Recogniser], setting: str) -> Recogniser:
    if name not in table:
        raise BadSettingsError(f"`{setting}` has {name!r}, which nobody knows. Known: {', '.join(sorted(table))}.")
    return table[name]


def _secrets(kinds: Sequence[tuple[str, Recogniser]]) -> list[tuple[str, Recogniser]]:
    return [kind for kind in kinds if kind[0] == "secret"]


def _own(settings: Redaction) -> list[tuple[str, Recogniser]]:
    """The owner's patterns, by names that no other kind has."""
    own = []
    for name, pattern in settings.patterns.items():
        if not _NAME.fullmatch(name) or name in ("secret", "id", *RECOGNISERS):
            raise BadSettingsError(
                f"A pattern is named {name!r}. A name is a-z, 0-9, -, and not one of the built-in kinds."
            )
        try:
            own.append((name, own_pattern(pattern)))
        except ValueError as error:
            raise BadSettingsError(f"The pattern {name!r} cannot be used: {error}") from error
    return own
