"""Do two answers want the same tools run, with the same arguments?

Calls may come in any order, as parallel calls do: each call of the reference is paired with the call of the candidate
that fits best. Arguments are compared as values, not as text: order of keys, white space and `1` for `1.0` do not
count. An argument that is left out counts as its default where the tool's schema gives one. A text that is a sentence
is compared as one; an identifier is right or wrong.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

from understudy.canon import Answer, Request, ToolCall
from understudy.rehearsal.scores import words
from understudy.rehearsal.scores.scored import Scored

_EXACT = 6
"""Calls up to which every pairing is tried; beyond, the best pair is taken first."""

_KIND = 0.5
"""What a right value of a wrong type is worth: `"5"` for `5`."""

_MISSING = object()


def tools(request: Request, reference: Answer, candidate: Answer) -> Scored | None:
    """Agreement on tools, None where neither calls any. A call too many counts as a call that is missing."""
    wanted, found = calls(reference), calls(candidate)
    if not wanted and not found:
        return None
    if not wanted:
        return Scored(0.0, f"calls {_names(found)}, the reference calls nothing")
    if not found:
        return Scored(0.0, f"calls nothing, the reference calls {_names(wanted)}")
    schemas = {tool.name: tool.parameters or {} for tool in request.tools}
    table = [[_alike(one, other, schemas.get(one.name, {})) for other in found] for one in wanted]
    pairs = _paired(table)
    total = sum(table[row][column][0] for row, column in pairs)
    reasons = [table[row][column][1] for row, column in pairs if table[row][column][1]]
    missing = [wanted[row] for row in set(range(len(wanted))) - {row for row, _ in pairs}]
    more = [found[column] for column in set(range(len(found))) - {column for _, column in pairs}]
    if missing:
        reasons.append(f"does not call {_names(missing)}")
    if more:
        reasons.append(f"also calls {_names(more)}")
    return Scored(total / max(len(wanted), len(found)), "; ".join(reasons))


def calls(answer: Answer) -> list[ToolCall]:
    """What the first choice wants run. What the provider runs itself is not the application's."""
    parts = answer.choices[0].parts if answer.choices else ()
    return [part for part in parts if isinstance(part, ToolCall) and part.kind != "hosted"]


def agreement(wanted: Any, found: Any, schema: Mapping[str, Any] | None = None, path: str = "") -> tuple[float, str]:
    """How alike two JSON values are, in [0, 1], and the first thing that differs. `schema` is the wanted one's."""
    schema = schema if isinstance(schema, Mapping) else {}
    here = path or "the value"
    if found is _MISSING:
        return 0.0, f"{here} is missing"
    if wanted is _MISSING:
        return 0.0, f"{here} is not in the reference"
    if isinstance(wanted, dict) and isinstance(found, dict):
        return _objects(wanted, found, schema, path)
    if isinstance(wanted, list) and isinstance(found, list):
        return _lists(wanted, found, schema, path)
    if isinstance(wanted, bool) or isinstance(found, bool):
        same = wanted is found
        return (1.0, "") if same else (_loosely(wanted, found), f"{here} is {_short(found)}, not {_short(wanted)}")
    if isinstance(wanted, int | float) and isinstance(found, int | float):
        same = wanted == found or abs(wanted - found) <= 1e-9 * max(abs(wanted), abs(found))
        return (1.0, "") if same else (0.0, f"{here} is {_short(found)}, not {_short(wanted)}")
    if isinstance(wanted, str) and isinstance(found, str):
        return _strings(wanted, found, here)
    if wanted is None and found is None:
        return 1.0, ""
    value = _loosely(wanted, found)
    return value, f"{here} is {_short(found)}, not {_short(wanted)}" + (" (another type)" if value else "")


def _alike(wanted: ToolCall, found: ToolCall, schema: Mapping[str, Any]) -> tuple[float, str]:
    if wanted.name != found.name:
        return 0.0, f"calls {found.name}, not {wanted.name}"
    if wanted.kind == "custom":
        return _strings(wanted.arguments, found.arguments, f"the input of {wanted.name}")
    try:
        left, right = json.loads(wanted.arguments or "{}"), json.loads(found.arguments or "{}")
    except (ValueError, RecursionError):
        same = wanted.arguments == found.arguments
        return (1.0, "") if same else (0.0, f"the arguments of {wanted.name} are not JSON")
    value, why = agreement(left, right, schema)
    # The right tool with wrong arguments is worth something, but little: what it does is something else.
    return value, f"{wanted.name}: {why}" if why else ""


def _objects(wanted: dict[str, Any], found: dict[str, Any], schema: Mapping[str, Any], path: str) -> tuple[float, str]:
    properties = schema.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    names = list(dict.fromkeys([*wanted, *found]))
    if not names:
        return 1.0, ""
    total, reason, counted = 0.0, "", 0
    for name in names:
        own = properties.get(name)
        own = own if isinstance(own, Mapping) else {}
        default = own.get("default", _MISSING)
        left, right = wanted.get(name, default), found.get(name, default)
        if left is right is _MISSING or (left is None and right is _MISSING) or (left is _MISSING and right is None):
            continue  # null and nothing are the same to nearly every tool
        counted += 1
        value, why = agreement(left, right, own, f"{path}.{name}" if path else name)
        total += value
        reason = reason or why
    return (total / counted, reason) if counted else (1.0, "")


def _lists(wanted: Sequence[Any], found: Sequence[Any], schema: Mapping[str, Any], path: str) -> tuple[float, str]:
    if not wanted and not found:
        return 1.0, ""
    items = schema.get("items")
    items = items if isinstance(items, Mapping) else {}
    here = path or "the list"
    if schema.get("uniqueItems") is True:
        left = list(found)
        same = 0
        for item in wanted:
            match = next((other for other in left if agreement(item, other, items)[0] == 1.0), _MISSING)
            if match is not _MISSING:
                left.remove(match)
                same += 1
        value = same / max(len(wanted), len(found))
        return value, "" if value == 1.0 else f"{here} has other members"
    total, reason = 0.0, ""
    for index, (one, other) in enumerate(zip(wanted, found, strict=False)):
        value, why = agreement(one, other, items, f"{path}[{index}]")
        total += value
        reason = reason or why
    if len(wanted) != len(found):
        reason = reason or f"{here} has {len(found)} members, not {len(wanted)}"
    return total / max(len(wanted), len(found)), reason


def _strings(wanted: str, found: str, here: str) -> tuple[float, str]:
    if wanted == found:
        return 1.0, ""
    why = f"{here} is {_short(found)}, not {_short(wanted)}"
    if words.plain(wanted) == words.plain(found):
        return 0.95, f"{why} (written otherwise)"
    if " " in wanted.strip() and " " in found.strip():
        return words.similarity(wanted, found), why
    return 0.0, why


def _loosely(wanted: Any, found: Any) -> float:
    """The same value in another type is a near miss: many tools take it."""
    if isinstance(wanted, dict | list) or isinstance(found, dict | list):
        return _KIND if [wanted] == found or wanted == [found] else 0.0
    return _KIND if str(wanted).casefold() == str(found).casefold() else 0.0


def _paired(table: Sequence[Sequence[tuple[float, str]]]) -> list[tuple[int, int]]:
    """Which call of the candidate stands for which of the reference, so that the sum is largest."""
    rows, columns = len(table), len(table[0])
    if max(rows, columns) <= _EXACT:
        if rows <= columns:
            options = [list(enumerate(chosen)) for chosen in permutations(range(columns), rows)]
        else:
            options = [[(row, column) for column, row in enumerate(chosen)]
                       for chosen in permutations(range(rows), columns)]  # fmt: skip
        return max(options, key=lambda pairs: sum(table[row][column][0] for row, column in pairs))
    ranked = sorted(
        ((table[row][column][0], row, column) for row in range(rows) for column in range(columns)),
        key=lambda entry: (-entry[0], entry[1], entry[2]),
    )
    pairs: list[tuple[int, int]] = []
    used: tuple[set[int], set[int]] = (set(), set())
    for _, row, column in ranked:
        if row not in used[0] and column not in used[1]:
            pairs.append((row, column))
            used[0].add(row)
            used[1].add(column)
    return pairs


def _names(found: Sequence[ToolCall]) -> str:
    return ", ".join(call.name[:60] for call in found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")


def _short(value: Any) -> str:
    shown = json.dumps(value, ensure_ascii=False, default=str)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
