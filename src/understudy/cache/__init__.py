"""Answers that were given before, for calls that are exactly the same.

Nothing in here is ever in the way of a call: a store that is slow, locked, full, broken or gone is a miss. `key.py`
says what "the same" means, `control.py` what a client may ask of a cache, `front.py` is what calls talk to; `file.py`
and `shared.py` are the two places where answers are kept. See docs/decisions/0017-exact-cache.md.
"""

from understudy.cache.control import Asked, asked, forbidden
from understudy.cache.entry import Entry, Rules, Slot, StoreError
from understudy.cache.front import Cache, Store
from understudy.cache.key import NotExactError, canonical, digest

__all__ = [
    "Asked",
    "Cache",
    "Entry",
    "NotExactError",
    "Rules",
    "Slot",
    "Store",
    "StoreError",
    "asked",
    "canonical",
    "digest",
    "forbidden",
]
