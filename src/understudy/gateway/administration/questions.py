"""What is asked of the admin API: query strings, parts of paths, bodies. The OpenAPI document says what stands here.

What is not given is UNSET, never None: a query string has no null.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Number = Annotated[int, Meta(ge=0, lt=10**18, description="The number of an event; those after it are shown.")]


class Events(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    since: Number = 0
