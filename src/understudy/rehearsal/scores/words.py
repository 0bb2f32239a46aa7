"""The words of an answer, and how alike two texts are.

`similarity` is chrF (Popović, WMT 2015): the F-score of character n-grams up to six, white space left out, recall
weighing as twice precision; as in sacreBLEU's default, against which it is tested. It needs no model, no language and
no tokeniser, and says little about meaning: where a route for embeddings is named, that is asked instead.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from understudy.canon import Answer, Audio, Refusal, Text

_ORDERS = range(1, 7)
_BETA = 2.0
_LONGEST = 20_000
"""Characters that are compared."""

_SPACE = re.compile(r"\s+")
_EDGES = " \t\n.,;:!?\"'`*()[]{}“”‘’«»。，！？"


def text(answer: Answer) -> str:
    """The words of the first choice: what a user reads. Reasoning is not; a refusal is."""
    parts = answer.choices[0].parts if answer.choices else ()
    words = []
    for part in parts:
        if isinstance(part, Text | Refusal):
            words.append(part.text)
        elif isinstance(part, Audio) and part.transcript:
            words.append(part.transcript)
    return "".join(words)


def plain(words: str) -> str:
    """Case, white space, width of characters and marks at either end do not count."""
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", words).casefold()).strip(_EDGES)


def similarity(reference: str, candidate: str) -> float:
    """ChrF of two texts, in [0, 1]. Two empty ones are alike."""
    reference, candidate = _SPACE.sub("", reference)[:_LONGEST], _SPACE.sub("", candidate)[:_LONGEST]
    if reference == candidate:
        return 1.0
    precisions = recalls = 0.0
    orders = 0
    for order in _ORDERS:
        wanted, found = _grams(reference, order), _grams(candidate, order)
        if not wanted or not found:
            continue
        same = sum((wanted & found).values())
        precisions += same / sum(found.values())
        recalls += same / sum(wanted.values())
        orders += 1
    if not orders or not precisions + recalls:
        return 0.0
    precision, recall = precisions / orders, recalls / orders
    weight = _BETA**2
    return (1 + weight) * precision * recall / (weight * precision + recall)


def _grams(words: str, order: int) -> Counter[str]:
    return Counter([words[start : start + order] for start in range(len(words) - order + 1)])
