"""The page docs/reference/losses.md: what each dialect can carry of each other; a test fails when it is not current.

No outcome is written by hand: every probe of `probes.py` goes through the source's own encoder and decoder, which shows
whether the source can say it at all, and then to the target, whose losses are what the page says.
`python -m understudy.dialects.reference > docs/reference/losses.md` brings it up to date.
"""

from __future__ import annotations

import sys
import textwrap
from collections import defaultdict
from typing import NamedTuple

import msgspec

from understudy import dialects
from understudy.canon import Answer, Loss, Request
from understudy.dialects.probes import ANSWERS, HELLO, MODELS, REQUESTS, SAID, Probe
from understudy.dialects.wire import Malformed

_INTRODUCTION = """\
# What a translation loses

Made by `python -m understudy.dialects.reference` by really translating one small request or answer for each feature:
change the dialect, not this page.

A target of a client's own dialect gets the client's bytes, and nothing is lost. For any other the request is
translated, and so is the answer on its way back. What did not fit is named in `x-understudy-losses`; with
`strict = true`, a call that a target's dialect cannot carry whole does not go there.

- **exact**: nothing is said about it, since there is nothing to say.
- **approximated**: it goes in another form, or as the nearest thing that there is.
- **lost**: it, or a part of it, does not arrive.
- **metadata**: the id or the time of an answer, where the client's dialect has no field for it. Neither says anything
  of what was asked or answered, and no client of that dialect looks for it: it is left out, and not announced.

A feature counts only for the dialects that can say it. Fields that only one dialect knows are lost in every other, each
by its name.

What a target takes may depend on the model. Here it is:

{models}
"""


ALIKE = {
    *(("developer message", name) for name in ("anthropic-messages", "bedrock-converse", "cohere-chat", "ollama")),
    ("image, by address", "gemini"),
    ("tool choice: none", "openai-completions"),
    ("reasoning off", "openai-responses"),
}
"""Features that a target takes whole without giving them back as they were: a developer's message is a system prompt, a
picture's address tells no type, where there are no tools none is chosen, and an effort of none is no reasoning."""


METADATA = ("id of the answer", "time of the answer")
"""Marks of an answer that are no part of it. Named in `x-understudy-losses`, they would stand there at every answer to
an Anthropic or Bedrock client, and hide what matters."""


class Outcome(NamedTuple):
    """What becomes of a feature: `exact`, `approximated`, `lost` or `metadata`, and why it is not exact."""

    kind: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.kind}: {self.why}" if self.why else self.kind


Found = dict[str, dict[str, Outcome]]
"""By feature, by source."""


def outcome(probe: Probe, source: str, target: str) -> Outcome | None:
    """What becomes of a feature on its way; None if the source cannot say it."""
    with_it, without = _said(probe, source, probe.fields), _said(probe, source, {})
    if with_it is None or not _same(probe.look(with_it), probe.look(_canonical(probe, source, probe.fields))):
        return None
    known = set() if without is None else {loss.field for loss in _losses(without, target)}
    losses = [loss for loss in _losses(with_it, target) if loss.field not in known]
    if not losses:
        if arrives(probe, with_it, target):
            return Outcome("exact")
        if probe.name in METADATA:
            return Outcome("metadata", "no field here, and not announced")
        return Outcome("lost", "no field here; unannounced")
    kind = "lost" if any(loss.kind == "dropped" for loss in losses) else "approximated"
    # The name of a provider's own tool stands before some reasons: it is each provider's own, and no reason.
    whys = (loss.why[max(0, loss.why.find("a tool that another")) :] for loss in losses)
    return Outcome(kind, "; ".join(dict.fromkeys(whys)))


def arrives(probe: Probe, message: Request | Answer, target: str) -> bool:
    """Whether the target's own decoder gives the feature back, or is known to mean the same (`ALIKE`)."""
    other = dialects.get(target)
    wanted = probe.look(_canonical(probe, message.dialect, probe.fields))
    if isinstance(message, Answer):
        return bool(probe.look(other.decode_answer(other.encode_answer(message)[0])) == wanted)
    body, _ = other.encode_request(msgspec.structs.replace(message, model=MODELS[target]))
    return (probe.name, target) in ALIKE or bool(probe.look(other.decode_request(body)) == wanted)


def _canonical(probe: Probe, source: str, fields: dict[str, object]) -> Request | Answer:
    base: Request | Answer = SAID if probe.answer else HELLO
    return msgspec.structs.replace(base, dialect=source, **{**probe.given, **fields})


def _said(probe: Probe, source: str, fields: dict[str, object]) -> Request | Answer | None:
    """The message as the source's own client would send it and its decoder read it."""
    message, own = _canonical(probe, source, fields), dialects.get(source)
    try:
        if isinstance(message, Request):
            return own.decode_request(own.encode_request(message)[0])
        return own.decode_answer(own.encode_answer(message)[0])
    except Malformed:
        return None


def _losses(message: Request | Answer, target: str) -> tuple[Loss, ...]:
    other = dialects.get(target)
    if isinstance(message, Request):
        return other.encode_request(msgspec.structs.replace(message, model=MODELS[target]))[1]
    return other.encode_answer(message)[1]


def _same(found: object, wanted: object) -> bool:
    return found == wanted and wanted not in (None, (), [], {})


def find(probes: tuple[Probe, ...], target: str) -> Found:
    """The outcome of every probe at a target, from every source that can say it."""
    out: Found = {}
    for probe in probes:
        sources = {name: outcome(probe, name, target) for name in dialects.DIALECTS if name != target}
        out[probe.name] = {name: said for name, said in sources.items() if said is not None}
    return out


# --- the page --------------------------------------------------------------------------------------------------------


def render() -> str:
    """The page as Markdown, ending with a line break."""
    requests = {name: find(REQUESTS, name) for name in dialects.DIALECTS}
    answers = {name: find(ANSWERS, name) for name in dialects.DIALECTS}
    models = "\n".join(f"- `{name}`: `{MODELS[name]}`" for name in dialects.DIALECTS)
    lines = [
        _INTRODUCTION.format(models=models),
        "## Counts",
        "",
        "Features exact / approximated / lost, from the dialect of the row to that of the column; metadata apart.",
        "",
        *_counts("request from", requests),
        "",
        *_counts("answer from", answers),
        "",
    ]
    for name in dialects.DIALECTS:
        lines += [f"## {name}", "", *_section("Requests to it", requests[name])]
        lines += _section("Answers for its clients", answers[name])
    return "\n".join(lines)


def _counts(title: str, found: dict[str, Found]) -> list[str]:
    lines = [f"| {title} | " + " | ".join(f"to {name}" for name in found) + " |", "|---" * (len(found) + 1) + "|"]
    for source in found:
        cells = []
        for target, features in found.items():
            kinds = [by_source[source].kind for by_source in features.values() if source in by_source]
            figures = " / ".join(str(kinds.count(kind)) for kind in ("exact", "approximated", "lost"))
            cells.append("" if source == target else figures)
        lines.append(f"| {source} | " + " | ".join(cells) + " |")
    return lines


def _section(title: str, found: Found) -> list[str]:
    exact = [
        name for name, by_source in found.items() if by_source and {o.kind for o in by_source.values()} == {"exact"}
    ]
    rows = [f"| {name} | {_cell(by_source)} |" for name, by_source in found.items() if by_source and name not in exact]
    lines = [*textwrap.wrap(f"**{title}.** Exact: {'; '.join(exact)}.", 120), ""]
    return [*lines, "| feature | what becomes of it |", "|---|---|", *rows, ""] if rows else lines


def _cell(by_source: dict[str, Outcome]) -> str:
    """One outcome; or, where it depends on where it comes from, each with its sources, the commonest without."""
    groups: dict[Outcome, list[str]] = defaultdict(list)
    for source, said in by_source.items():
        groups[said].append(source)
    first, *others = sorted(groups, key=lambda said: -len(groups[said]))
    words = [str(first), *(f"From {', '.join(groups[said])}: {said}" for said in others)]
    return ". ".join(words).replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    sys.stdout.write(render())
