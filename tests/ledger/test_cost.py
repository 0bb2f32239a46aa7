"""What attempts cost: against the list's own calculation, against price pages by hand, against recorded usage."""

import datetime as dt
import tomllib
import warnings
from decimal import Decimal
from pathlib import Path

import genai_prices
import msgspec
import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import TimeOfDateConstraint
from hypothesis import given, settings
from hypothesis import strategies as st

import understudy
from tests.ledger.recorded_usage import MATERIAL, recorded
from tests.timing import best
from understudy.canon import Usage
from understudy.ledger import cost
from understudy.ledger.cost import OwnPrices, Prices

NOW = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC).timestamp()


def usd(target, usage, **more):
    charge = Prices().charge(target, usage, at=NOW, **more)
    return None if charge is None else charge.usd


# --- by hand, from the providers' pages ------------------------------------------------------------------------------

ANTHROPIC = "https://platform.claude.com/docs/en/about-claude/pricing"
OPENAI = "https://developers.openai.com/api/docs/pricing"
GEMINI = "https://ai.google.dev/gemini-api/docs/pricing"

BY_HAND = {
    # Opus 4.5 per MTok: input 5, writes for 5 minutes 6.25 and for an hour 10, hits 0.50, output 25.
    # 1000 x 5 + 2000 x 0.50 + 4000 x 6.25 + 3000 x 10 + 500 x 25 = 73500 micro-dollars
    "cache writes of both kinds": (
        ANTHROPIC, "anthropic/claude-opus-4-5",
        Usage(10_000, 500, cached_read=2000, cached_write=7000,
              extra={"cache_creation": {"ephemeral_1h_input_tokens": 3000, "ephemeral_5m_input_tokens": 4000}}),
        {}, "0.0735",
    ),
    # Haiku 4.5: input 1, output 5; web search 10 dollars for 1000. 1000 + 200 x 5 + 2 x 10000
    "web searches": (
        ANTHROPIC, "anthropic/claude-haiku-4-5",
        Usage(1000, 200, extra={"server_tool_use": {"web_search_requests": 2}}), {}, "0.022",
    ),
    # Batches at half the price. (1000 x 5 + 100 x 25) / 2
    "a batch": (ANTHROPIC, "anthropic/claude-opus-4-5", Usage(1000, 100), {"batch": True}, "0.00375"),
    # GPT-4o mini: input 0.15, cached 0.075, output 0.60. 600 x 0.15 + 400 x 0.075 + 100 x 0.60
    "cached input": (OPENAI, "openai/gpt-4o-mini", Usage(1000, 100, cached_read=400), {}, "0.00018"),
    "reasoning is part of the output": (
        OPENAI, "openai-responses/gpt-4o-mini", Usage(1000, 100, cached_read=400, reasoning=64), {}, "0.00018",
    ),
    # o3 flex: input 1, output 4
    "a service tier": (OPENAI, "openai/o3", Usage(1000, 100), {"tier": "flex"}, "0.0014"),
    "the standard tier by its name": (OPENAI, "openai/o3", Usage(1000, 100), {"tier": "default"}, "0.0028"),
    # Gemini 2.5 Pro: 1.25 and 10 up to 200k tokens of prompt; 2.50 and 15 for prompts beyond
    "a long prompt, just not": (GEMINI, "gemini/gemini-2.5-pro", Usage(200_000, 1000), {}, "0.26"),
    "a long prompt": (GEMINI, "gemini/gemini-2.5-pro", Usage(200_001, 1000), {}, "0.5150025"),
    # Gemini 2.5 Flash: text 0.30, audio 1.00, output 2.50. 600 x 0.30 + 400 + 10 x 2.50
    "sound": (GEMINI, "gemini/gemini-2.5-flash", Usage(1000, 10, audio_input=400), {}, "0.000605"),
    "sound at the price of text": (
        GEMINI, "gemini/gemini-2.5-pro", Usage(1000, 10, audio_input=400), {}, "0.00135",
    ),
    # Gemini 2.5 Flash: cached text 0.03, cached sound 0.10. 300 x 0.30 + 300 x 1 + 300 x 0.03 + 100 x 0.10 + 10 x 2.50
    "cached sound": (
        GEMINI, "gemini/gemini-2.5-flash",
        Usage(1000, 10, cached_read=400, audio_input=400,
              extra={"cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 300},
                                            {"modality": "AUDIO", "tokenCount": 100}]}),
        {}, "0.000434",
    ),
    # text-embedding-3-small: 0.02
    "an embedding, which has no output": (OPENAI, "openai/text-embedding-3-small", Usage(1000), {}, "0.00002"),
}  # fmt: skip


@pytest.mark.parametrize("case", BY_HAND)
def test_a_figure_is_the_one_that_the_price_page_gives(case):
    _, target, usage, more, expected = BY_HAND[case]
    assert usd(target, usage, **more) == Decimal(expected)


def test_a_figure_says_whose_price_it_is_and_of_which_version():
    charge = Prices().charge("openai/gpt-4o", Usage(10, 10), at=NOW)
    assert charge.price_version == f"genai-prices {genai_prices.__version__}"
    assert not charge.estimated
    assert Prices().charge("openai/gpt-4o", Usage(10, 10, estimated=True), at=NOW).estimated


def test_a_fraction_of_a_micro_dollar_counts_as_a_whole_one():
    charge = Prices().charge("openai/gpt-4o-mini", Usage(1, 0), at=NOW)
    assert charge.usd == Decimal("0.00000015")
    assert charge.micro == 1
    assert Prices().charge("openai/gpt-4o-mini", Usage(20, 0), at=NOW).micro == 3


# --- unknown is never 0 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "usage"),
    [
        ("openai/gpt-4o", None),
        ("openai/gpt-4o", Usage()),
        ("openai/gpt-4o", Usage(10)),
        ("openai/gpt-4o", Usage(None, 10)),
        ("openai/no-such-model", Usage(10, 10)),
        ("nobody/gpt-4o", Usage(10, 10)),
        ("local/smollm2-135m", Usage(10, 10)),
        ("openai/", Usage(10, 10)),
        ("openai", Usage(10, 10)),
        ("huggingface/openai/gpt-oss-120b", Usage(10, 10)),
        ("openai/gpt-4o", Usage(10, 10, cached_read=11)),
        ("openai/gpt-4o", Usage(-1, 10)),
        ("openai/text-embedding-3-small", Usage(10, 10)),
        ("anthropic/claude-haiku-4-5", Usage(10, 10, extra={"speed": "fast"})),
        ("gemini/gemini-2.5-flash", Usage(100, 10, audio_input=90, cached_read=50)),
        ("openai/gpt-4o-audio-preview", Usage(100, 10, audio_input=90)),
        ("openai/gpt-4o-audio-preview", Usage(100, 10, audio_output=5)),
        ("bedrock/amazon.nova-lite-v1:0", Usage(10, 10, extra={"server_tool_use": {"web_search_requests": 1}})),
    ],
)
def test_what_is_not_known_is_no_figure_at_all(target, usage):
    assert Prices().charge(target, usage, at=NOW) is None


@pytest.mark.parametrize(
    ("target", "more"),
    [
        ("bedrock/amazon.nova-lite-v1:0", {"batch": True}),
        ("mistral/mistral-large-latest", {"tier": "priority"}),
        ("vertex/claude-haiku-4-5", {"tier": "flex"}),
    ],
)
def test_a_batch_or_tier_without_a_price_in_the_list_does_not_cost_the_standard_price(target, more):
    assert usd(target, Usage(10, 10)) is not None
    assert usd(target, Usage(10, 10), **more) is None


def test_nothing_used_costs_nothing_where_the_price_is_known():
    assert usd("openai/gpt-4o", Usage(0, 0)) == 0


def test_a_deployment_is_priced_by_the_model_that_answered():
    assert usd("azure/my-deployment", Usage(1000, 100)) is None
    assert usd("azure/my-deployment", Usage(1000, 100), answered_by="gpt-4o") == Decimal("0.0035")


def test_a_routers_model_is_priced_by_who_serves_it():
    assert usd("huggingface/openai/gpt-oss-120b:groq", Usage(1_000_000, 0)) == usd(
        "groq/openai/gpt-oss-120b", Usage(1_000_000, 0)
    )


# --- what providers say themselves -----------------------------------------------------------------------------------


def test_what_the_provider_charged_beats_every_list():
    charge = Prices().charge(
        "openrouter/openai/gpt-4o", Usage(10, 10, extra={"cost": 0.00014, "is_byok": False}), at=NOW
    )
    assert (charge.usd, charge.source) == (Decimal("0.00014"), "provider")


def test_a_call_on_ones_own_key_costs_what_is_paid_elsewhere_too():
    extra = {"cost": 0.0001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.002}}
    assert usd("openrouter/openai/gpt-4o", Usage(10, 10, extra=extra)) == Decimal("0.0021")
    del extra["cost_details"]
    charge = Prices().charge("openrouter/openai/gpt-4o", Usage(10, 10, extra=extra), at=NOW)
    assert charge.source == "genai-prices"


def test_ticks_are_ten_thousand_millionths_of_a_dollar():
    assert usd("xai/grok-4", Usage(10, 10, extra={"cost_in_usd_ticks": 37_756_000})) == Decimal("0.0037756")


@pytest.mark.parametrize("cost_told", ["0.1", None, True, -1, {}, [], float("nan"), float("inf")])
def test_a_senseless_word_of_the_provider_is_not_believed(cost_told):
    charge = Prices().charge("openrouter/openai/gpt-4o", Usage(10, 10, extra={"cost": cost_told}), at=NOW)
    assert charge.source == "genai-prices"


ODD = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just(10**4000)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["ephemeral_1h_input_tokens", "total_cost", "modality", "tokenCount", "web_search_requests"]
            ),
            inner,
        )
    ),
    max_leaves=5,
)
FIELDS = ["cost", "is_byok", "cost_details", "cost_in_usd_ticks", "speed", "cache_creation", "server_tool_use"]


@settings(deadline=None)  # the first price reads the list
@given(
    st.sampled_from(
        [
            "openrouter/openai/gpt-4o",
            "xai/grok-4",
            "perplexity/sonar",
            "anthropic/claude-opus-4-5",
            "gemini/gemini-2.5-flash",
        ]
    ),
    st.dictionaries(st.sampled_from([*FIELDS, "cacheTokensDetails"]), ODD),
    st.integers(),
)
def test_whatever_a_provider_sends_is_a_figure_or_none_but_never_an_error(target, extra, count):
    charge = Prices().charge(target, Usage(count, 10, cached_read=5, audio_input=3, extra=extra), at=NOW)
    assert charge is None or (charge.usd.is_finite() and charge.usd >= 0 and charge.micro >= 0)


# --- the owner's prices ----------------------------------------------------------------------------------------------


def test_own_prices_are_per_million_tokens():
    prices = Prices({"box": OwnPrices(input=Decimal("0.10"), output=Decimal("0.40"), cached_read=Decimal("0.01"))})
    charge = prices.charge("box/llama", Usage(1000, 100, cached_read=500, cached_write=100), at=NOW)
    assert charge.usd == Decimal("0.000095")  # 400 x 0.10 + 500 x 0.01 + 100 x 0.10 + 100 x 0.40
    assert charge.source == "configuration"
    assert prices.charge("box/llama", None, at=NOW) is None
    assert prices.charge("box/llama", Usage(10, None), at=NOW) is None
    assert prices.charge("box/llama", Usage(10, 1, cached_read=11), at=NOW) is None


def test_own_prices_per_hour_are_shared_by_the_calls_that_run_together():
    prices = Prices({"box": OwnPrices(hour=Decimal("3.60"), parallel=4)})
    assert prices.charge("box/llama", None, at=NOW, seconds=20).usd == Decimal("0.005")
    assert prices.charge("box/llama", Usage(10, 10), at=NOW) is None


def test_a_targets_own_price_beats_its_providers_and_the_list():
    prices = Prices(
        {
            "openai": OwnPrices(input=Decimal(1), output=Decimal(1)),
            "openai/gpt-4o": OwnPrices(input=Decimal(2), output=Decimal(2)),
        }
    )
    assert prices.charge("openai/gpt-4o", Usage(1_000_000, 0), at=NOW).usd == 2
    assert prices.charge("openai/o3", Usage(1_000_000, 0), at=NOW).usd == 1


def test_the_version_of_own_prices_changes_with_them():
    one, other = (OwnPrices(input=Decimal(value), output=Decimal(1)) for value in ("0.1", "0.2"))
    assert one.version != other.version
    assert one.version == OwnPrices(input=Decimal("0.1"), output=Decimal(1)).version


@pytest.mark.parametrize(
    "written",
    ["input = 0.1", "hour = -1", "input = nan\noutput = 1", "hour = 1\nparallel = 0", "hour = 1\nhours = 2"],
)  # fmt: skip
def test_own_prices_that_mean_nothing_are_refused(written):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(tomllib.loads(written), OwnPrices)


def test_own_prices_are_exact_as_they_are_written():
    assert msgspec.convert(tomllib.loads("input = 0.1\noutput = 0.7"), OwnPrices).output == Decimal("0.7")


# --- the list --------------------------------------------------------------------------------------------------------


def test_every_provider_of_the_catalogue_is_priced_or_said_not_to_be():
    catalogue = tomllib.loads((Path(understudy.__file__).parent / "providers/catalogue.toml").read_text())
    data = cost.data()
    assert catalogue.keys() == data.listed.keys() | data.routed.keys() | data.unlisted.names | data.own.names


def test_every_listed_provider_is_in_the_price_list():
    ids = {provider.id for provider in get_snapshot().providers}
    assert set(cost.data().listed.values()) <= ids
    for pattern in cost.data().routed.values():
        assert [name for name in ids if name.startswith(pattern.format(""))]


def test_no_price_changes_within_a_minute():
    for provider in get_snapshot().providers:
        for model in provider.models:
            for price in model.prices if isinstance(model.prices, list) else ():
                if isinstance(price.constraint, TimeOfDateConstraint):
                    assert price.constraint.start_time.second == price.constraint.end_time.second == 0


MODELS = sorted(
    (ours, model.id)
    for ours, name in cost.data().listed.items()
    for provider in get_snapshot().providers
    if provider.id == name
    for model in provider.models
)


@given(st.data())
def test_a_figure_is_the_lists_own(data):
    ours, model = data.draw(st.sampled_from(MODELS))
    count = st.integers(0, 400_000)
    read, write, audio, plain, out, thought = (data.draw(count) for _ in range(6))
    if audio:
        read = write = 0  # the list wants sound that was cached counted apart, which no provider tells us
    usage = Usage(
        plain + read + write + audio,
        out + thought,
        cached_read=read,
        cached_write=write,
        reasoning=thought,
        audio_input=audio,
    )
    tier = data.draw(st.sampled_from([None, "flex", "priority"]))
    charge = Prices().charge(f"{ours}/{model}", usage, at=NOW, tier=tier)
    if tier is not None and tier not in _tiers(ours, model):
        assert charge is None, "the standard price is not that of a tier"
    if charge is not None:
        assert charge.usd == _listed(cost.data().listed[ours], model, usage, tier)


def _tiers(ours, model):
    """The tiers of a model that the list has prices for."""
    (listed,) = [one for provider in get_snapshot().providers if provider.id == cost.data().listed[ours]
                 for one in provider.models if one.id == model]  # fmt: skip
    return {variant.when.get("service_tier") for variant in listed.price_variants or ()}


def _listed(provider, model, usage, tier):
    counts = {
        "input_tokens": usage.input, "output_tokens": usage.output, "cache_read_tokens": usage.cached_read or 0,
        "cache_write_tokens": usage.cached_write or 0, "output_reasoning_tokens": usage.reasoning or 0,
        "input_audio_tokens": usage.audio_input or 0, "output_audio_tokens": usage.audio_output or 0,
    }  # fmt: skip
    if counts["cache_read_tokens"] and counts["input_audio_tokens"]:
        counts["cache_audio_read_tokens"] = cost._cached_sound(usage) or 0
    one_hour = usage.extra.get("cache_creation")
    if isinstance(one_hour, dict) and one_hour.get("ephemeral_1h_input_tokens"):
        counts["cache_write_1h_tokens"] = one_hour["ephemeral_1h_input_tokens"]
    searches = usage.extra.get("server_tool_use")
    if isinstance(searches, dict) and searches.get("web_search_requests"):
        counts["web_searches"] = searches["web_search_requests"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return genai_prices.calc_price(
            genai_prices.Usage(**counts), model, provider_id=provider,
            genai_request_timestamp=dt.datetime.fromtimestamp(NOW, dt.UTC),
            price_context={"service_tier": tier} if tier else None,
        ).total_price  # fmt: skip


def test_asking_for_ever_new_models_remembers_only_so_many():
    prices = Prices()
    for number in range(3 * cost._KEPT):
        prices._cards[("x", str(number), None, False, None)] = None
        if number % 64 == 0:
            prices.charge(f"nobody/{number}", Usage(1, 1), at=NOW)
    assert len(prices._cards) <= cost._KEPT + 64


def test_a_price_is_looked_up_in_less_than_twenty_microseconds():
    prices = Prices()
    usage = Usage(10_000, 500, cached_read=2000, cached_write=7000)
    taken = best(lambda: prices.charge("anthropic/claude-opus-4-5", usage, at=NOW))
    assert taken is None or taken < 20e-6


# --- recorded --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not MATERIAL.exists(), reason="shared/material is not beside the checkout")
def test_every_recorded_answer_of_a_listed_model_has_the_price_that_the_list_gives():
    prices, priced, unknown = Prices(), 0, set()
    for provider, model, answered_by, tier, usage in recorded():
        charge = prices.charge(f"{provider}/{model}", usage, at=NOW, answered_by=answered_by, tier=tier)
        if charge is not None:
            priced += 1
            if charge.source == "provider":
                continue
            asked = model if cost._model(provider, model) else answered_by
            known = tier if tier in cost._TIERS else None
            assert charge.usd == _listed(cost.data().listed[provider], asked, usage, known), (provider, model, usage)
        elif usage.input is not None and usage.output is not None:
            unknown.add((provider, model))
            if usage.audio_input or usage.audio_output or (usage.cached_read or 0) > usage.input:
                continue  # sound without a price in the list, or figures that contradict each other
            known = cost._model(provider, model)
            prices_now = vars(known[1].get_prices(dt.datetime.fromtimestamp(NOW, dt.UTC))) if known else {}
            assert not prices_now, f"{provider}/{model} is listed and has no price for {usage}"
    assert priced > 5000
    assert len(unknown) < 40, unknown
