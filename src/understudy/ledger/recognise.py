"""What should not be stored, found in a text: e-mail, phone, card, IBAN, IP address, national ids, own patterns.

A recogniser is a pure function from a text to spans; `RECOGNISERS` has them by name, so that each can be switched.
Every one is linear in the text, also where the text was written to hurt: no quantifier stands beside another that
could match the same characters, all that look back or ahead do so a fixed distance, and candidates are looked for by a
fixed string where there is one. Shape alone convicts nothing that has a check digit.

Sources: Luhn ISO/IEC 7812-1; IBAN ISO 13616 and SWIFT's registry (lengths); ISO 7064 (mod 97-10, mod 11,10); and for
each national id the authority that gives it out.
"""

from __future__ import annotations

import importlib.util
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from urllib.parse import quote

Span = tuple[int, int]
Recogniser = Callable[[str], Iterable[Span]]

# --- e-mail ----------------------------------------------------------------------------------------------------------

_LOCAL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}")
_DOMAIN = re.compile(r"(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,63}")


def emails(text: str) -> Iterator[Span]:
    """RFC 5322's unquoted local parts, any script; a domain with a dot."""
    at, end = text.find("@"), 0
    while at >= 0:
        domain = _DOMAIN.match(text, at + 1)
        if domain is not None:
            local = _LOCAL.match(text[max(end, at - 64) : at][::-1])  # backwards from the @, so that it is one step
            if local is not None:
                start = at - len(local[0].rstrip("."))
                if start < at:
                    end = domain.end()
                    yield start, end
        at = text.find("@", at + 1)


# --- phone -----------------------------------------------------------------------------------------------------------

_PHONISH = re.compile(r"[+(\d][\d ./()-]{6,}+")
_PHONES = re.compile(
    r"(?<![\w+])(?<!\d\.)(?:"
    r"(?:\+|00)[1-9](?:[ ./()-]{0,2}\d){6,14}"  # international
    r"|\(\d{3}\) ?\d{3}[ .-]\d{4}|\d{3}([.-])\d{3}\1\d{4}"  # North America
    r"|\(?0[1-9]\d{1,4}\)?(?: ?[/-] ?| )\d{2,4}(?:[ -]?\d){3,8}"  # a trunk 0 and a visible area code
    r")(?![\w])"
)


def phones(text: str) -> Iterator[Span]:
    """Numbers written as such: with + or 00, as in North America, or with a 0 and an area code set apart (E.123)."""
    for run in _PHONISH.finditer(text):
        before = max(0, run.start() - 1)
        for match in _PHONES.finditer(text, before, min(len(text), run.end() + 1)):
            yield match.span()


# --- card, IBAN ------------------------------------------------------------------------------------------------------

_RUNS = re.compile(r"\d{3,}(?:[ -]\d{3,})*")
_DECIMALS = re.compile(r"\d\.\d")
_GROUPS = re.compile(r"\d+")
_ISSUERS = re.compile(r"4|5[0-8]|2[2-7]|3[0-9]|6")
_CARD = range(14, 20)


def cards(text: str) -> Iterator[Span]:
    """14 to 19 digits of a payment network, with Luhn's check digit, in groups or not."""
    for run in _RUNS.finditer(text):
        if run.end() - run.start() < _CARD.start:
            continue
        groups = [group.span() for group in _GROUPS.finditer(text, run.start(), run.end())]
        done = 0
        for first, (start, _) in enumerate(groups):
            if start < done or not _ISSUERS.match(text, start) or _DECIMALS.match(text, max(0, start - 2)):
                continue
            for end in _card_ends(text, groups, first):
                done = end
                yield start, end
                break


def _card_ends(text: str, groups: list[Span], first: int) -> Iterator[int]:
    digits = ""
    for start, end in groups[first : first + 6]:
        digits += text[start : min(end, start + _CARD.stop)]
        if len(digits) >= _CARD.stop:
            return
        if len(digits) >= _CARD.start and luhn(digits):
            yield end


def luhn(digits: str) -> bool:
    total = sum(int(digit) for digit in digits[-1::-2])
    return (total + sum(_DOUBLED[int(digit)] for digit in digits[-2::-2])) % 10 == 0


_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)

_IBAN_LENGTHS = {
    country: int(length)
    for length, countries in {
        "15": "NO", "16": "BE", "18": "DK FI FK FO GL NL SD", "19": "MK SI", "20": "AT BA EE KZ LT LU MN XK",
        "21": "CH HR LI LV", "22": "BG BH CR DE GB GE IE ME RS VA", "23": "AE GI IL IQ OM SO TL",
        "24": "AD CZ ES MD PK RO SA SE SK TN VG", "25": "LY PT ST", "26": "IS TR", "27": "BI DJ FR GR IT MC MR SM",
        "28": "AL AZ BY CY DO GT HN HU LB NI PL SV", "29": "BR EG PS QA UA", "30": "JO KW MU YE", "31": "MT SC",
        "32": "LC", "33": "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip
_IBANS = re.compile(r"\d(?<=[A-Za-z]{2}\d)\d(?= ?[A-Za-z0-9])")


def ibans(text: str) -> Iterator[Span]:
    done = 0
    for head in _IBANS.finditer(text):
        start = head.start() - 2
        length = _IBAN_LENGTHS.get(text[start : start + 2].upper())
        if length is None or start < done or (start and text[start - 1].isalnum()):
            continue
        end = _after(text, start, length)
        if end is not None and _mod_97(text[start:end].replace(" ", "")):
            done = end
            yield start, end


def _after(text: str, start: int, count: int) -> int | None:
    """Where `count` letters and digits from `start` end, single spaces between them; None if a word goes on there."""
    place = start
    while count:
        if place >= len(text):
            return None
        if text[place] != " ":
            if not text[place].isalnum():
                return None
            count -= 1
        place += 1
    return None if place < len(text) and text[place].isalnum() else place


def _mod_97(iban: str) -> bool:
    turned = iban[4:] + iban[:4]
    return turned.isascii() and int("".join(str(int(one, 36)) for one in turned)) % 97 == 1


# --- IP addresses ----------------------------------------------------------------------------------------------------

_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_V4 = re.compile(rf"(?:{_OCTET}\.){{3}}{_OCTET}(?!\w|\.\d)")
_V4_DOT = re.compile(r"\.\d{1,3}\.\d{1,3}\.\d")
_V6 = re.compile(r"[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:(?<=:)\d{1,3}(?:\.\d{1,3}){3})?(?![\w:]|\.\d)")
_V6_COLON = re.compile(r":[0-9A-Fa-f]{0,4}:")
_WORD = re.compile(r"\w{0,5}")


def ips(text: str) -> Iterator[Span]:
    for start in _starts(text, _V4_DOT):
        match = _V4.match(text, start)
        if match is not None:
            yield match.span()
    for start in _starts(text, _V6_COLON):
        match = _V6.match(text, start)
        if match is not None and len(match[0]) > len("::1") and any(one.isdigit() for one in match[0]):
            try:
                ipaddress.IPv6Address(match[0])
            except ValueError:
                continue
            yield match.span()


def _starts(text: str, mark: re.Pattern[str]) -> Iterator[int]:
    """Where a word begins that ends at a mark, if nothing of its kind stands before it."""
    for match in mark.finditer(text):
        word = _WORD.match(text[max(0, match.start() - 5) : match.start()][::-1])
        start = match.start() - len(word[0]) if word is not None else match.start()
        if start == 0 or text[start - 1] not in ".:":
            yield start


# --- national ids ----------------------------------------------------------------------------------------------------


def _checked(pattern: str, check: Callable[[str], bool]) -> Recogniser:
    """Spans of `pattern` whose letters and digits pass `check`."""
    compiled = re.compile(pattern)

    def found(text: str) -> Iterator[Span]:
        for match in compiled.finditer(text):
            if check("".join(one for one in match[0] if one.isalnum()).upper()):
                yield match.span()

    return found


def _weighted(digits: str, weights: Iterable[int]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=False))


def _es_dni(value: str) -> bool:
    number = value[:-1].translate(str.maketrans("XYZ", "012"))
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23] == value[-1]


def _fr_nir(value: str) -> bool:
    number = value[:13].replace("2A", "19").replace("2B", "18")
    return number.isdigit() and value[13:].isdigit() and 97 - int(number) % 97 == int(value[13:])


def _de_idnr(value: str) -> bool:
    """ISO 7064 mod 11,10; of the first ten digits one comes two or three times."""
    if not 8 <= len(set(value[:10])) <= 9:
        return False
    product = 10
    for digit in value[:10]:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == int(value[10])


def _br_cpf(value: str) -> bool:
    if len(set(value)) == 1:
        return False
    first = _weighted(value[:9], range(10, 1, -1)) * 10 % 11 % 10
    second = _weighted(value[:10], range(11, 1, -1)) * 10 % 11 % 10
    return value[9:] == f"{first}{second}"


_IT_ODD = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)


def _it_codice(value: str) -> bool:
    total = 0
    for place, one in enumerate(value[:15]):
        number = int(one) if one.isdigit() else ord(one) - ord("A")
        total += number if place % 2 else _IT_ODD[number]
    return chr(ord("A") + total % 26) == value[15]


NATIONAL: Mapping[str, Recogniser] = {
    "us-ssn": _checked(r"\d(?<![\w-].)\d\d(?<!000)(?<!666)(?<!9..)-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])", lambda _: True),
    "uk-nino": _checked(
        r"[A-CEGHJ-PR-TW-Z](?<!\w.)[A-CEGHJ-NPR-TW-Z](?<!BG)(?<!GB)(?<!KN)(?<!NK)(?<!NT)(?<!TN)(?<!ZZ)"
        r" ?\d{2} ?\d{2} ?\d{2} ?[A-D](?!\w)",
        lambda _: True,
    ),
    "es-dni": _checked(r"[XYZ\d](?<!\w.)(?:(?<=[XYZ])-)?\d{7}-?[A-HJ-NP-TV-Z](?!\w)", _es_dni),
    "fr-nir": _checked(
        r"[12](?<!\w.) ?\d{2} ?(?:0[1-9]|1[0-2]|[2-9]\d) ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}(?!\w)", _fr_nir
    ),
    "it-codice-fiscale": _checked(r"[A-Z](?<!\w.)[A-Z]{5}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z](?!\w)", _it_codice),
    "br-cpf": _checked(r"\d(?<![\w.-].)\d\d\.\d{3}\.\d{3}-\d{2}(?![\w-])", _br_cpf),
    "de-idnr": _checked(r"[1-9](?<![\w.-].)\d ?\d{3} ?\d{3} ?\d{3}(?![\w-])", _de_idnr),
    "nl-bsn": _checked(
        r"\d(?<![\w.-].)\d{8}(?![\w-])", lambda value: _weighted(value, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0
    ),
    "pl-pesel": _checked(
        r"\d(?<![\w.-].)\d{3}[0-3]\d{6}(?![\w-])",
        lambda value: _weighted(value, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0,
    ),
}

RECOGNISERS: Mapping[str, Recogniser] = {"iban": ibans, "card": cards, "email": emails, "phone": phones, "ip": ips}


# --- the owner's own -------------------------------------------------------------------------------------------------


def literals(values: Sequence[str]) -> Recogniser:
    """Known secrets, as they are and as they stand in a URL."""
    sought = sorted({form for value in values if value for form in (value, quote(value, safe=""))})

    def found(text: str) -> Iterator[Span]:
        for value in sought:
            place = text.find(value)
            while place >= 0:
                yield place, place + len(value)
                place = text.find(value, place + len(value))

    return found


def own_pattern(pattern: str) -> Recogniser:
    """A regular expression of the owner's, in RE2's syntax: linear whatever it says. Raises ValueError."""
    if importlib.util.find_spec("re2") is None:
        raise ValueError("it needs a package that is not installed: pip install 'understudy[redaction]'.")
    import re2  # noqa: PLC0415  an extra

    try:
        compiled = re2.compile(pattern)
    except re2.error as error:
        raise ValueError(str(error)) from error
    if compiled.search("") is not None:
        raise ValueError("it matches the empty text, so it would match everywhere.")
    return lambda text: (match.span() for match in compiled.finditer(text))
