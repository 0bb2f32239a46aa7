"""A gateway with a ledger in which something happened, and keys of every role."""

import contextlib

from tests.running import TWO, Running
from understudy import ledger
from understudy.access import Budget, Limit
from understudy.access.store import Store
from understudy.canon import Loss
from understudy.gateway import measuring, recording
from understudy.gateway.settings import Ledger
from understudy.ledger import Attempt, Body, Cost, Exchange, Feedback, Seam, Tokens

ADMIN = {"authorization": "Bearer boss"}
NOW = 1_800_000_000.0
ROLES = ("admin", "operator", "auditor", "user")
EXCHANGES = 12

ROUTES = """
[routes.r]
targets = ["first/internal", "second/ok"]
store = "bodies"
"""


def record(number):
    """An exchange in which much happened. Number 0 is the oldest; every third one failed."""
    failed = number % 3 == 2
    return Exchange(
        f"ex_{number:08x}", NOW + 600 * number, f"route-{number % 2}", "openai-chat", "gpt-5",
        "failed" if failed else "answered", status=503 if failed else 200, stream=number % 2 == 0,
        target="openai/gpt-5", key=f"key_{number % 2}", session="s1", task="summary", end_user=f"u{number % 4}",
        tags=("blue", "red"), tokens=Tokens(100, 20, 10, 5, 7), cost=None if failed else Cost(0.25, "2026-11-01"),
        first_content=0.5, total=1.5, seams=(Seam(120, 1, "prefill"),),
        attempts=(
            Attempt("openai/gpt-5", 0.0, 0.4, 0.1, 0.2, None, "fail_over", "overloaded", "head", 529,
                    "overloaded_error", "Overloaded", 2.5, "req_1", 1, losses=(Loss("tools[0]", "unknown"),)),
            Attempt("anthropic/opus", 0.5, 1.5, 0.6, 0.7, 0.9, "answered", way="prefill", tokens=Tokens(1, 2),
                    cost=Cost(0.25, "2026-11-01")),
        ),
        bodies=(Body("request", b'{"messages": "Hi"}', "application/json"), Body("answer", b"\0\xff", "audio/wav")),
    )  # fmt: skip


@contextlib.contextmanager
def filled(folder, url=None):
    """Such a gateway; `gateway.keys` are the headers of a key for each role."""
    values = Ledger(url=url or f"{folder}/ledger.sqlite")
    place = recording.place(values, {"XDG_DATA_HOME": str(folder)})
    kept = recording.opened(values, place)
    for number in range(EXCHANGES):
        kept.put(record(number))
        kept.put(Feedback(f"fb_{number:08x}", f"ex_{number:08x}", NOW + number, None, 0.5, "good", "Fine.", "Paris."))
    kept.put(ledger.Event("ev_1", NOW, "cooldown", "ex_00000000", "openai/gpt-5", '{"seconds": 30}'))
    kept.put(ledger.Audit("au_1", NOW, "command line", "purge", "exchanges", detail='{"deleted": {}}'))
    store = Store(folder / "keys.sqlite")
    secrets = {
        role: store.create(role, role=role, limits=(Limit("requests", 1000, "second"),),
                           budgets=(Budget("tokens", 10**9, "day"),))[1].reveal()
        for role in ROLES
    }  # fmt: skip
    config = f'[server]\nkeys = ["client"]\nadmin_keys = ["boss"]\nkey_store = "{folder}/keys.sqlite"\n' + TWO + ROUTES
    with Running(config) as gateway:
        gateway.kept, gateway.store = kept, store
        gateway.keys = {role: {"authorization": f"Bearer {secret}"} for role, secret in secrets.items()}
        gateway.call(lambda: setattr(gateway.gateway, "recorder", recording.Recorder(kept, values)))
        gateway.call(lambda: measuring.measure(gateway.gateway, {}))
        gateway.written = lambda: gateway.until(lambda: (state := kept.state()).queued == 0 and not state.spooled)
        assert gateway.written()
        yield gateway
    state = kept.stop()
    store.close()
    assert (state.lost, state.error) == ({}, None)
