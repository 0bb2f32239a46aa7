"""The shapes of the register's files: what is known of a model family and of a licence, and what shows it.

A file lists its sources once; each fact names one of them and quotes it. So "who says so, and when was that read" has
an answer for every fact, which `register.py` enforces. A component that is not in the file is unknown.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Generic, Literal, TypeVar

import msgspec

State = Literal["open", "restricted", "closed", "unknown"]
"""open: published whole, under an open licence. restricted: published, but in part, after consent, or under other or
unread terms. closed: not published. unknown: nobody has verified it yet."""

Kind = Literal["code", "data", "document"]

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9.+-]*$")]
Text = Annotated[str, msgspec.Meta(min_length=1)]
Link = Annotated[str, msgspec.Meta(pattern=r"^https://[^\s]+$")]
Quote = Annotated[str, msgspec.Meta(min_length=1, max_length=700)]
"""A sentence of the source, word for word: short, because these are other people's texts."""

Value = TypeVar("Value")


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page that was read: where it is, and on which day. `note` says how it was read where that is not obvious."""

    link: Link
    read: dt.date
    note: str = ""


class Evidence(msgspec.Struct, frozen=True):
    """What shows a fact: the link, the words, the day. No quote: the page as a whole shows it."""

    link: str
    quote: str
    read: dt.date


class Fact(msgspec.Struct, Generic[Value], frozen=True, forbid_unknown_fields=True):
    """A value, and the source in this file that shows it."""

    value: Value
    source: Text
    quote: Quote | msgspec.UnsetType = msgspec.UNSET


class Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of a family beside its components. `parameters` are its largest model's, `context` in tokens.

    `group` is the company at the top, `jurisdiction` the ISO 3166 code of the maker's seat, `base` the families that
    this one was made from, `gated` whether weights are handed out only after consent, `systemic_risk` whether it is a
    general-purpose model with systemic risk under the EU AI Act, `monetised` whether it is given only against payment.
    """

    maker: Fact[Text]
    group: Fact[Text] | None = None
    jurisdiction: Fact[Annotated[str, msgspec.Meta(pattern="^[A-Z]{2}$")]] | None = None
    released: Fact[dt.date] | None = None
    parameters: Fact[Annotated[int, msgspec.Meta(gt=0)]] | None = None
    context: Fact[Annotated[int, msgspec.Meta(gt=0)]] | None = None
    modality: Fact[Literal["text", "multimodal"]] | None = None
    base: Fact[tuple[Name, ...]] | None = None
    gated: Fact[bool] | None = None
    systemic_risk: Fact[bool] | None = None
    monetised: Fact[bool] | None = None


class Component(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of the seventeen components of a release.

    `licence` is an id of `licences/`, an SPDX id, or "unlicensed" where it was looked for and there is none; without it
    the release's licences hold. `partly` says that only a part is published.
    """

    state: State
    source: Text
    quote: Quote | msgspec.UnsetType = msgspec.UNSET
    licence: Text | None = None
    partly: bool = False


class Licences(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The licences that hold for a whole release: for each kind of component, and for what has no other."""

    distribution: Fact[Text] | None = None
    code: Fact[Text] | None = None
    data: Fact[Text] | None = None
    document: Fact[Text] | None = None


class Family(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model family: a file of `register/`. `names` are globs, lower case, of the names its models go by."""

    id: Name
    title: Text
    names: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1)]
    sources: Annotated[dict[str, Source], msgspec.Meta(min_length=1)]
    facts: Facts
    licences: Licences = Licences()
    components: dict[str, Component] = {}
    weights: dict[str, Fact[Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]]] = {}
    dimensions: dict[str, Fact[Literal["open", "partial", "closed"]]] = {}
    """Dimensions of the European index that are no component: peer-reviewed paper, hardware (`index.py`)."""
    notes: str = ""

    def evidence(self, fact: Fact[Value] | Component) -> Evidence:
        """What shows `fact`, which is one of this family's."""
        return shown_by(self.sources, fact)

    def licence(self, kind: Kind) -> Fact[str] | None:
        """The licence of components of `kind` that name none: the kind's own, else the distribution's."""
        return getattr(self.licences, kind) or self.licences.distribution


class When(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Whom a condition meets: all tests that are set must hold. None set: everybody.

    Amounts are in US dollars, users are those of a month, with affiliates. `above` is "more than", `from` "at least".
    Regions are "EU" or ISO codes of countries. `modality` is the model's.
    """

    commercial: bool | None = None
    monthly_users_above: int | None = None
    annual_revenue_above: int | None = None
    annual_revenue_from: int | None = None
    monthly_revenue_above: int | None = None
    domicile_in: tuple[str, ...] = ()
    users_in: tuple[str, ...] = ()
    hosts: bool | None = None
    distributes: bool | None = None
    trains_on_outputs: bool | None = None
    competes_with: Text | None = None
    modality: Literal["text", "multimodal"] | None = None


Subject = Literal[
    "commercial", "threshold", "competition", "hosting", "outputs", "naming", "notice", "pass-on", "region",
    "field-of-use", "terms-change", "remote", "termination", "registration", "training",
]  # fmt: skip
Effect = Literal["duty", "forbidden", "person", "note"]
"""duty: allowed if `show` is done. forbidden. person: the words need somebody's judgement. note: good to know."""


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One condition of a licence: whom it meets (`when`), what follows (`effect`), where it stands and in which words.

    `show` is the text to show, word for word, `where` the place; `todo` any other thing to do. `measured` is the day on
    which a threshold looks, where it is not "now".
    """

    subject: Subject
    effect: Effect
    clause: Text
    source: Text
    quote: Quote
    when: When = When()
    show: str = ""
    where: str = ""
    todo: str = ""
    measured: dt.date | None = None


class Grants(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a licence lets anybody do, whatever the conditions. None: the text does not say, or was not read."""

    use: bool | None = None
    modify: bool | None = None
    redistribute: bool | None = None


class Licence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A licence, or a provider's terms: a file of `licences/`.

    `spdx` is its SPDX id, or the `LicenseRef-` of the ScanCode list; `aliases` are other names in use, lower case, such
    as the Hugging Face hub's; `digests` are those of its text (`recognise.digest`).
    """

    id: Name
    title: Text
    sources: Annotated[dict[str, Source], msgspec.Meta(min_length=1)]
    grants: Fact[Grants]
    kind: Literal["licence", "terms"] = "licence"
    spdx: str = ""
    aliases: tuple[Text, ...] = ()
    digests: tuple[Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")], ...] = ()
    law: Fact[Text] | None = None
    conditions: tuple[Condition, ...] = ()
    notes: str = ""

    def evidence(self, fact: Fact[Value] | Condition) -> Evidence:
        """What shows `fact`, which is one of this licence's."""
        return shown_by(self.sources, fact)


def shown_by(sources: dict[str, Source], fact: Fact[Value] | Component | Condition) -> Evidence:
    source = sources[fact.source]
    quote = "" if fact.quote is msgspec.UNSET else fact.quote
    return Evidence(source.link, quote, source.read)
