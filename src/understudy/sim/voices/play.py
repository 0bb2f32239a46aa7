"""A behaviour played in a voice, and an error told in one."""

from __future__ import annotations

from understudy.sim import wire
from understudy.sim.asked import Refused
from understudy.sim.behaviour import Behaviour, Call
from understudy.sim.voices.voice import Trouble, Voice
from understudy.sim.wire import Script


def refusal(voice: Voice, trouble: Trouble) -> bytes:
    """An error as a whole answer, in the voice's shape."""
    status, body, headers = voice.refuse(trouble)
    after = {"retry-after": trouble.retry} if trouble.retry else {}
    return wire.refuse(status, body, {**after, **headers})


def play(voice: Voice, behaviour: Behaviour, call: Call) -> Script:
    """What `behaviour` does in this voice. Raises `Refused` when the voice has no such behaviour."""
    if not behaviour.shown_in(voice.name):
        named = ", ".join(sorted(behaviour.dialects))
        message = f"The behaviour `{behaviour.name}` is not to be had in {voice.name}; it is in: {named}."
        raise Refused(message, "model", "invalid_value")
    return behaviour.script(voice, call)
