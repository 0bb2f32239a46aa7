"""Reads YAML that strangers wrote: model cards, files of other tools. Bounded, plain values, no aliases.

YAML's aliases let a kilobyte unfold to gigabytes, and its tags name objects to build. Cards and tool files need none.
"""

from __future__ import annotations

from typing import Any

import yaml

LONGEST = 256 * 1024
"""Bytes. A card with its gate's text has some tens of thousands."""

DEEPEST = 30


class YamlError(ValueError):
    """Not YAML, or more of it than is read. The message says where."""


def load(text: str) -> Any:
    """The document in `text`: mappings, lists, strings, numbers, dates, None.

    Errors:
        YamlError: it is too long, too deep, no YAML, or uses aliases or tags.
    """
    if len(text) > LONGEST:
        raise YamlError(f"{len(text):,} characters of YAML are more than the {LONGEST:,} that are read")
    depth = 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise YamlError(f"line {event.start_mark.line + 1}: aliases are not read")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                raise YamlError(f"line {event.start_mark.line + 1}: nested deeper than {DEEPEST}")
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, YamlError):
            raise
        raise YamlError(f"no YAML: {str(error).replace(chr(10), ' ')[:200]}") from error
