"""What a call may use before it is made, and what it did use: priced once, unknown never taken for nothing."""

import pytest

from tests.running import Running
from understudy.canon import Usage
from understudy.gateway import operation_table, pricing, surface
from understudy.gateway.call import Call
from understudy.gateway.config import parse
from understudy.gateway.operate import OperationCall
from understudy.gateway.record import Attempt, Exchange
from understudy.gateway.routing import Routing, configured
from understudy.ledger.cost import Prices
from understudy.resilience import Health
from understudy.upstream import Client

CONFIG = """
[providers.dear]
dialect = "openai-chat"
base_url = "http://127.0.0.1:1/v1"
[providers.dear.prices]
input = 10
output = 100
[providers.cheap]
dialect = "openai-chat"
base_url = "http://127.0.0.1:2/v1"
[providers.cheap.prices]
input = 1
output = 2
[providers.cheap.model_prices."special"]
input = 3
output = 4
[providers.rented]
dialect = "openai-chat"
base_url = "http://127.0.0.1:3/v1"
[providers.rented.prices]
hour = 3.6
[providers.unknown]
dialect = "openai-chat"
base_url = "http://127.0.0.1:4/v1"
[routes.r]
targets = ["cheap/m", "unknown/m", "dear/m"]
[routes.by-chance]
targets = ["cheap/m", "unknown/m"]
order = "weighted"
"""


@pytest.fixture(scope="module")
def routing():
    config = parse(CONFIG, "here.toml", {}).config
    client = Client(environ={})
    return Routing(config, [configured(name, values, {}, client, "here") for name, values in config.providers.items()])


@pytest.fixture
def prices(routing):
    return pricing.prices(routing.config)


def exchange(routing, model, body="", **more):
    text = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "{"word " * 100}"}}]{body}}}'.encode()
    return Exchange(Call(text, {}, surface.DOORS["/v1/chat/completions"]), routing.find(model), Health(), **more)


def operation(routing, path, method="POST"):
    found = operation_table.find(path)
    call = OperationCall(b'{"model": "cheap/m", "input": "hi"}', {}, found.methods[method], named=found.named)
    return Exchange(call, routing.find("cheap/m"), Health())


def cost(exchange, prices, answer=100.0):
    return pricing.expected(exchange, prices, answer, in_usd=True).cost


def test_a_model_has_its_own_price_or_its_providers(prices):
    usage = Usage(1_000_000, 0)
    assert [int(prices.charge(name, usage, at=0).usd) for name in ("cheap/m", "cheap/special", "dear/m")] == [1, 3, 10]
    assert prices.charge("unknown/m", usage, at=0) is None


def test_a_call_is_expected_to_cost_what_its_dearest_target_would(routing, prices):
    alone, any_of_three = exchange(routing, "cheap/m"), exchange(routing, "r")
    size = int(any_of_three.call.size())
    assert cost(alone, prices) == int(alone.call.size()) + 200
    assert cost(any_of_three, prices) == 10 * size + 10_000
    assert cost(exchange(routing, "r", ', "max_tokens": 7'), prices) == pytest.approx(10 * size + 700, rel=0.05)


def test_an_unknown_price_is_unknown_where_a_call_may_begin(routing, prices):
    assert cost(exchange(routing, "unknown/m"), prices) is None
    assert cost(exchange(routing, "by-chance"), prices) is None


def test_a_price_per_hour_is_expected_for_some_seconds(routing, prices):
    assert cost(exchange(routing, "rented/m"), prices) == 10_000


def test_who_names_no_bound_takes_the_prompt_from_rate_limits_and_an_answer_from_budgets(routing, prices):
    plain, bounded = exchange(routing, "r"), exchange(routing, "r", ', "max_tokens": 4000')
    size = plain.call.size()
    assert pricing.counted(plain) == size, "as OpenAI counts"
    assert pricing.counted(bounded) == 4000
    assert pricing.expected(plain, prices, 250.0, in_usd=False).tokens == size + 250
    assert pricing.expected(bounded, prices, 250.0, in_usd=False).tokens == bounded.call.size() + 4000
    assert pricing.expected(plain, prices, 250.0, in_usd=False).cost is None, "nobody wants to know"


def test_what_is_expected_of_answers_is_learnt_from_the_latest():
    lengths = pricing.Lengths()
    assert lengths.mean("k") == pricing.ANSWER
    for _ in range(60):
        lengths.learn("k", 20)
    assert 20 <= lengths.mean("k") < 22
    assert lengths.mean("other") == pricing.ANSWER


@pytest.mark.parametrize(
    ("asked", "tokens", "known"),
    [
        ("GET /v1/files", 0, True),
        ("DELETE /v1/files/file-1", 0, True),
        ("POST /v1/batches/batch-1/cancel", 0, True),
        ("POST /v1/embeddings", 8.75, True),
        ("POST /v1/batches", 8.75, False),
        ("POST /v1/images/generations", 8.75, False),
    ],
)
def test_what_is_no_chat_takes_what_it_uses(routing, prices, asked, tokens, known):
    method, path = asked.split()
    one = operation(routing, path, method)
    assert pricing.counted(one) == tokens
    assert (cost(one, prices) is not None) == known
    assert (cost(one, prices) == 0) == (tokens == 0)


# -- afterwards ------------------------------------------------------------------------------------------------------


def tried(exchange, target, usage=None, *, answered=True, answer=None):
    attempt = Attempt(next(one for one in exchange.route.targets if one.name == target))
    attempt.usage, attempt.answer, attempt.ended = usage, answer, attempt.started + 2.0
    attempt.first_content = attempt.started + 1.0 if answered else None
    exchange.attempts.append(attempt)
    return attempt


def test_all_attempts_that_may_be_billed_count(routing, prices):
    one = exchange(routing, "r")
    tried(one, "cheap/m", Usage(10, 5))
    tried(one, "dear/m", answered=False)
    tried(one, "dear/m", Usage(100, 50))
    pricing.note(one, prices)
    assert pricing.used(one) == (165, 20 + 6000)


def test_what_one_attempt_cost_unknown_makes_all_of_it_unknown(routing, prices):
    one = exchange(routing, "r")
    tried(one, "cheap/m", Usage(10, 5))
    tried(one, "unknown/m", Usage(10, 5))
    pricing.note(one, prices)
    assert pricing.used(one) == (30, None)


def test_an_answer_of_which_nobody_tells_the_length_is_unknown_and_not_short(routing, prices):
    one = exchange(routing, "r")
    tried(one, "cheap/m")
    pricing.note(one, prices)
    assert pricing.used(one) == (None, None)
    whole = exchange(routing, "r")
    tried(whole, "cheap/m", answer=b'{"choices": [], "text": "%b"}' % (b"x" * 400))
    pricing.note(whole, prices)
    tokens, usd = pricing.used(whole)
    assert tokens > 200
    assert usd > 0


def test_a_mistake_in_prices_is_logged_and_costs_no_answer(routing, caplog):
    class Broken(Prices):
        def charge(self, *_args, **_more):
            raise ZeroDivisionError

    one = exchange(routing, "r")
    tried(one, "cheap/m", Usage(10, 5))
    pricing.note(one, Broken())
    assert "could not be priced" in caplog.text
    assert pricing.used(one) == (15, None)


def test_each_attempt_is_priced_once_whoever_wants_to_know(tmp_path):
    from understudy.access import Budget
    from understudy.access.store import Store
    from understudy.gateway.measuring import measure

    store = Store(tmp_path / "k.sqlite")
    secret = store.create("k", budgets=(Budget("usd", 10**9, "day", unknown="allow"),))[1].reveal()
    store.close()
    asked = []
    text = f'[server]\nkey_store = "{tmp_path / "k.sqlite"}"\n'
    text += '[providers.first]\ndialect = "openai-chat"\nbase_url = "{a}"\n[routes.r]\ntargets = ["first/ok"]\n'
    with Running(text) as gateway:
        gateway.call(lambda: measure(gateway.gateway, {}))
        known = gateway.gateway.prices
        real = known.charge
        known.charge = lambda *args, **more: asked.append(more) or real(*args, **more)
        gateway.exchange(gateway.chat("r", headers={"authorization": f"Bearer {secret}"}))
    assert [more["seconds"] is not None for more in asked] == [True, True]
    assert [more["seconds"] for more in asked].count(10.0) == 1, "once as expected, once as it was"
