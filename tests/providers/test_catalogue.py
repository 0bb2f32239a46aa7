import datetime as dt
import fnmatch
import itertools
import re
import textwrap
from urllib.parse import urlsplit

import msgspec
import pytest
from google import genai
from google.auth.credentials import AnonymousCredentials

from understudy import dialects
from understudy.providers import auth, catalogue, signing
from understudy.providers.catalogue import CatalogueError, Provider

ROWS = catalogue.load()

ASKED_FOR = {
    "openai", "azure", "mistral", "groq", "together", "fireworks", "deepseek", "openrouter", "xai", "cerebras",
    "perplexity", "nvidia", "huggingface", "moonshot", "zhipu", "dashscope", "vllm", "sglang", "llama-cpp", "ollama",
    "lm-studio", "local",
}  # fmt: skip

every_row = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())

ROW = """
    [made-up]
    title = "Made Up"
    dialect = "openai-chat"
    auth = "bearer"
    sources = [{ url = "https://made-up.example/docs", date = 2026-01-02, what = "everything" }]
    """


def parsed(text: str) -> Provider:
    (row,) = catalogue.parse(textwrap.dedent(text), "some.toml").values()
    return row


def refusal(text: str) -> str:
    with pytest.raises(CatalogueError) as caught:
        catalogue.parse(textwrap.dedent(text), "some.toml")
    return str(caught.value)


def test_every_provider_that_was_asked_for_is_there():
    assert not ASKED_FOR - set(ROWS)


@every_row
def test_a_name_is_its_key_and_can_stand_before_the_slash_of_a_target(row):
    assert ROWS[row.name] is row
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", row.name)
    assert row.title.strip()


@every_row
def test_a_row_speaks_a_dialect_and_uses_a_scheme_that_exist(row):
    assert row.dialect in catalogue.DIALECTS
    assert row.auth in {*auth.SCHEMES, *signing.SIGNERS}
    assert row.signed is None or row.signed in signing.SIGNERS


VARIABLES = {
    "AZURE_OPENAI_ENDPOINT": "https://made-up.openai.azure.com/",
    "AWS_REGION": "eu-west-1",
    "GOOGLE_CLOUD_PROJECT": "made-up",
    "GOOGLE_CLOUD_LOCATION": "europe-west1",
}


def test_every_dialect_may_be_a_providers():
    assert set(catalogue.DIALECTS) == set(dialects.DIALECTS)


@every_row
def test_a_base_url_is_https_unless_the_server_is_on_this_machine(row):
    if row.base_url is None:
        assert row.name == "local"
        return
    base = catalogue.resolve_base_url(row, VARIABLES)
    assert base is not None
    url = urlsplit(base)
    assert url.hostname
    assert (url.query, url.fragment, url.username) == ("", "", None)
    assert not base.endswith("/")
    assert "//" not in url.path
    if catalogue.is_local(row):
        assert (url.scheme, url.hostname, url.port) == ("http", "127.0.0.1", row.port)
    else:
        assert (url.scheme, url.port) == ("https", None)


@every_row
def test_variables_are_named_as_environments_name_them(row):
    placeholders = [name for names in re.findall(r"\{(.*?)\}", row.base_url or "") for name in names.split(",")]
    for name in (*row.env, *placeholders):
        assert re.fullmatch(r"[A-Z][A-Z0-9_]*", name), name


@every_row
def test_a_hosted_provider_says_where_its_key_is(row):
    assert row.env or row.signed or catalogue.is_local(row)
    assert not (row.env and row.auth == "none")


@every_row
def test_a_listing_is_a_path_below_the_base_url(row):
    assert row.listing is None or re.fullmatch(r"(/[a-z0-9-]+)+(\?[A-Za-z_]+=\d+)?", row.listing)


@every_row
def test_every_row_has_its_sources_with_a_date_that_has_been(row):
    assert row.sources
    for source in row.sources:
        assert source.url.startswith("https://")
        assert urlsplit(source.url).hostname
        assert dt.date(2024, 1, 1) <= source.date <= dt.datetime.now(dt.UTC).date()
        assert source.what.strip()


@every_row
def test_no_capability_is_claimed_twice_or_both_ways(row):
    claims = (*row.can, *row.cannot)
    assert len(claims) == len(set(claims))


@every_row
def test_reasoning_text_only_comes_from_who_can_reason(row):
    assert row.reasoning_field is None or "reasoning" in row.can


@every_row
def test_a_second_base_url_is_only_for_continuing(row):
    assert (row.continues_base_url is not None) == (row.continues == "prefix-beta")
    assert row.continues_base_url is None or row.continues_base_url.startswith("https://")


@every_row
def test_models_that_come_with_a_row_are_served_by_it_and_have_a_licence(row):
    for model in row.models:
        assert row.name in catalogue.serving(model.name)
        assert model.licence


def test_local_servers_do_not_share_a_port():
    ports = [port for row in ROWS.values() if row.port and not row.api_of for port in (row.port, *row.other_ports)]
    assert len(ports) == len(set(ports))
    assert all(0 < port < 65536 for port in ports)


def test_no_two_providers_read_the_same_variable():
    names = [name for row in ROWS.values() if not row.api_of for name in row.env]
    assert len(names) == len(set(names))


FURTHER = [row for row in ROWS.values() if row.api_of]
every_further_api = pytest.mark.parametrize("row", FURTHER, ids=[row.name for row in FURTHER])


@every_further_api
def test_a_further_api_of_a_provider_has_its_keys_and_another_dialect(row):
    provider = ROWS[row.api_of]
    assert provider.api_of is None
    assert row.name == f"{provider.name}-{row.dialect.split('-')[row.dialect.startswith('openai')]}"
    assert (row.env, row.port, row.other_ports, row.signed) == (
        provider.env, provider.port, provider.other_ports, None
    )  # fmt: skip
    assert row.dialect != provider.dialect


@every_further_api
def test_a_further_api_claims_and_lists_no_models_so_that_a_bare_name_stays_unambiguous(row):
    assert (row.serves, row.listing, row.models) == ((), None, ())


@every_further_api
def test_a_further_api_of_a_server_here_is_looked_for_where_that_server_is(row):
    here, there = (catalogue.local_base_urls(each) for each in (row, ROWS[row.api_of]))
    assert [url.removesuffix("/v1") for url in here] == [url.removesuffix("/v1") for url in there]


def test_who_offers_anthropics_api_beside_another_is_known():
    names = {row.name for row in ROWS.values() if row.dialect == "anthropic-messages"}
    assert names == {
        "anthropic", "deepseek-anthropic", "moonshot-anthropic", "zhipu-anthropic", "dashscope-anthropic",
        "minimax-anthropic", "xiaomi-anthropic", "stepfun-anthropic", "openrouter-anthropic", "fireworks-anthropic",
        "vllm-anthropic", "sglang-anthropic", "llama-cpp-anthropic", "ollama-anthropic", "lm-studio-anthropic",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("europe-west1", "europe-west1-aiplatform.googleapis.com"),
        ("global", "aiplatform.googleapis.com"),
        ("us", "aiplatform.us.rep.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
    ],
)
def test_vertex_is_asked_where_its_own_sdk_asks_for_a_location(location, host):
    environ = {"GOOGLE_CLOUD_PROJECT": "made-up", "GOOGLE_CLOUD_LOCATION": location}
    base = catalogue.resolve_base_url(ROWS["vertex"], environ)
    assert base == f"https://{host}/v1beta1/projects/made-up/locations/{location}/publishers/google"
    client = genai.Client(vertexai=True, project="made-up", location=location, credentials=AnonymousCredentials())
    assert urlsplit(client._api_client._http_options.base_url).hostname == host


@every_row
def test_base_urls_for_certain_values_are_valid_and_used(row):
    for value, base in row.base_urls.items():
        (first, *_) = re.findall(r"\{(.*?)\}", row.base_url)
        resolved = catalogue.resolve_base_url(row, {**VARIABLES, first: value})
        assert "{" not in resolved
        assert urlsplit(resolved).scheme == "https"
        assert urlsplit(resolved).hostname == urlsplit(base).hostname


@pytest.mark.parametrize(
    ("environ", "region"),
    [
        ({"AWS_REGION": "eu-west-1"}, "eu-west-1"),
        ({"AWS_DEFAULT_REGION": "us-east-1"}, "us-east-1"),
        ({"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "us-east-1"}, "eu-west-1"),
        ({"AWS_REGION": " ", "AWS_DEFAULT_REGION": "us-east-1"}, "us-east-1"),
    ],
)
def test_bedrock_needs_a_region_by_either_of_its_names_and_nothing_else(environ, region):
    base = catalogue.resolve_base_url(ROWS["bedrock"], environ)
    assert base == f"https://bedrock-runtime.{region}.amazonaws.com"
    assert catalogue.resolve_base_url(ROWS["bedrock"], {}) is None


NAMES = [
    "gpt-5", "gpt-5.6-sol", "gpt-4o-mini", "gpt-3.5-turbo", "o1", "o3-mini", "o4-mini-2025-04-16",
    "chatgpt-4o-latest", "codex-mini-latest", "mistral-small-latest", "ministral-8b-latest",
    "magistral-medium-latest", "codestral-latest", "devstral-medium-2507", "pixtral-12b",
    "voxtral-small-latest", "deepseek-chat", "deepseek-reasoner", "deepseek-v4-pro", "grok-4",
    "grok-code-fast-1", "sonar", "sonar-reasoning-pro", "sonar-deep-research", "kimi-k2.5",
    "kimi-k2-thinking", "moonshot-v1-8k", "glm-4.6", "glm-4.5-air", "qwen-plus", "qwen-vl-max", "qwen3-max",
    "qwen3.8-max", "qwen3-coder-plus", "smollm2-135m",
]  # fmt: skip


@pytest.mark.parametrize("model", NAMES)
def test_a_vendors_own_model_belongs_to_one_provider(model):
    assert len(catalogue.serving(model)) == 1


@pytest.mark.parametrize(
    "model",
    [
        "gpt-oss-120b",
        "llama-3.3-70b-versatile",
        "meta-llama/Llama-3.1-8B",
        "deepseek-r1:latest",
        "qwen3",
        "openai/gpt-5",
        "",
    ],
)
def test_a_model_that_many_host_belongs_to_none(model):
    assert catalogue.serving(model) == ()


def test_globs_of_different_vendors_never_meet():
    globs = [(row.name, pattern) for row in ROWS.values() for pattern in row.serves]
    for (name, one), (other, two) in itertools.combinations(globs, 2):
        if name != other:
            # A glob's own text, with its wildcards filled in, is the likeliest name to fall into another's net.
            for text, pattern in ((one, two), (two, one)):
                filled = re.sub(r"\[.*?\]", "3", text).replace("*", "x")
                assert not fnmatch.fnmatchcase(filled, pattern), (name, one, other, two)


@every_row
def test_models_that_think_long_are_the_providers_own(row):
    for pattern in row.thinks_long:
        example = re.sub(r"\[(.).*?\]", r"\1", pattern).replace("*", "")
        assert catalogue.serving(example) == (row.api_of or row.name,)


def test_who_continues_a_started_turn_is_as_documented():
    continues = {row.name: row.continues for row in ROWS.values() if row.continues}
    assert continues == {
        "anthropic": "prefill",
        "bedrock": "prefill",
        "mistral": "prefix",
        "deepseek": "prefix-beta",
        "moonshot": "partial",
        "dashscope": "partial",
        "vllm": "continue_final_message",
        "sglang": "continue_final_message",
        "llama-cpp": "prefill",
        "local": "prefill",
    }


@pytest.mark.parametrize(
    ("provider", "model", "takes"),
    [
        ("anthropic", "claude-haiku-4-5", True),
        ("anthropic", "claude-haiku-4-5-20251001", True),
        ("anthropic", "claude-opus-4-20250514", True),
        ("anthropic", "claude-3-5-sonnet-20241022", True),
        ("anthropic", "claude-opus-4-6", False),
        ("anthropic", "claude-sonnet-5", False),
        ("bedrock", "us.anthropic.claude-3-5-haiku-20241022-v1:0", True),
        ("bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0", True),
        ("bedrock", "us.anthropic.claude-opus-4-6-v1", False),
        ("bedrock", "us.amazon.nova-2-lite-v1:0", False),
    ],
)
def test_a_started_turn_is_a_matter_of_the_model(provider, model, takes):
    assert any(fnmatch.fnmatchcase(model, pattern) for pattern in ROWS[provider].continues_models) is takes


def test_the_catalogue_is_read_once():
    assert catalogue.load() is catalogue.load()


def test_a_row_may_be_no_more_than_the_necessary():
    row = parsed(ROW)
    assert (row.name, row.base_url, row.env, row.serves) == ("made-up", None, (), ())
    assert row.sources[0].date == dt.date(2026, 1, 2)


def test_a_row_cannot_be_changed():
    with pytest.raises(AttributeError):
        parsed(ROW).auth = "none"  # type: ignore[misc]  # what the test is about


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("base_uri = 'https://made-up.example/v1'", ["base_uri"]),
        ("can = ['flying']", ["flying", "can"]),
        ("port = '8000'", ["$.port", "int"]),
        ("continues = 'somehow'", ["somehow", "continues"]),
        ("env = 'MADE_UP_API_KEY'", ["$.env", "array"]),
        ("name = 'another'", ["`name`", "Remove it"]),
        ("models = [{ name = 'm', title = 'M', licence = 'MIT', size = 1 }]", ["size", "models"]),
    ],
)
def test_what_is_no_part_of_a_row_is_refused_with_file_row_key_and_remedy(line, words):
    message = refusal(f"{textwrap.dedent(ROW)}{line}\n")
    for word in ("some.toml", "[made-up]", *words):
        assert word in message
    assert "emove" in message


def test_a_missing_field_is_named():
    assert "dialect" in refusal("[made-up]\ntitle = 'x'\nauth = 'none'\nsources = []\n")


def test_what_is_not_toml_is_refused_with_its_line():
    message = refusal("[made-up]\ntitle = \n")
    assert "some.toml" in message
    assert "line 2" in message


def test_a_value_outside_every_table_is_refused():
    message = refusal("title = 'Made Up'\n")
    assert "some.toml" in message
    assert "`title`" in message


def test_a_base_url_takes_the_values_of_its_variables():
    azure = ROWS["azure"]
    for endpoint in ("https://x.openai.azure.com", "https://x.openai.azure.com/", " https://x.openai.azure.com/ "):
        assert (
            catalogue.resolve_base_url(azure, {"AZURE_OPENAI_ENDPOINT": endpoint})
            == "https://x.openai.azure.com/openai/v1"
        )


@pytest.mark.parametrize("environ", [{}, {"AZURE_OPENAI_ENDPOINT": ""}, {"AZURE_OPENAI_ENDPOINT": "  "}])
def test_a_base_url_with_an_unset_variable_is_none(environ):
    assert catalogue.resolve_base_url(ROWS["azure"], environ) is None


def test_a_value_with_braces_is_not_expanded_again():
    environ = {"AZURE_OPENAI_ENDPOINT": "https://{HOME}.example", "HOME": "/root"}
    assert catalogue.resolve_base_url(ROWS["azure"], environ) == "https://{HOME}.example/openai/v1"


def test_a_base_url_without_variables_is_as_it_stands_and_the_embedded_engine_has_none():
    assert catalogue.resolve_base_url(ROWS["openai"], {}) == "https://api.openai.com/v1"
    assert catalogue.resolve_base_url(ROWS["local"], {}) is None


def test_the_first_variable_that_is_set_holds_the_key():
    row = ROWS["deepinfra"]
    assert catalogue.find_key(row, {"DEEPINFRA_API_KEY": "two"}) == ("DEEPINFRA_API_KEY", "two")
    assert catalogue.find_key(row, {"DEEPINFRA_API_KEY": "two", "DEEPINFRA_TOKEN": "one"}) == ("DEEPINFRA_TOKEN", "one")
    assert catalogue.find_key(row, {"DEEPINFRA_API_KEY": "two", "DEEPINFRA_TOKEN": " "}) == ("DEEPINFRA_API_KEY", "two")


def test_no_variable_no_key():
    assert catalogue.find_key(ROWS["openai"], {"ANOTHER_API_KEY": "x"}) is None
    assert catalogue.find_key(ROWS["ollama"], {"OLLAMA_API_KEY": "x"}) is None


def test_local_is_what_runs_on_this_machine():
    local = {name for name, row in ROWS.items() if catalogue.is_local(row)}
    servers = {"vllm", "sglang", "llama-cpp", "ollama", "lm-studio"}
    assert local == {*servers, *(f"{name}-anthropic" for name in servers), "local"}


def test_a_local_server_is_looked_for_at_its_former_ports_too():
    assert catalogue.local_base_urls(ROWS["llama-cpp"]) == ("http://127.0.0.1:9931/v1", "http://127.0.0.1:8080/v1")
    assert catalogue.local_base_urls(ROWS["vllm"]) == ("http://127.0.0.1:8000/v1",)
    assert catalogue.local_base_urls(ROWS["openai"]) == ()
    assert catalogue.local_base_urls(ROWS["local"]) == ()


def test_a_capability_is_known_denied_or_unknown():
    groq = ROWS["groq"]
    assert catalogue.capability(groq, "tools") is True
    assert catalogue.capability(groq, "logprobs") is False
    assert catalogue.capability(groq, "audio") is None


def test_the_names_of_capabilities_are_those_that_the_file_explains():
    head = catalogue.importlib.resources.files("understudy.providers").joinpath(catalogue.FILE).read_text("utf-8")
    explained = head[: head.index("\n[")]
    for name in catalogue.Capability.__args__:
        assert name in explained
    for field in msgspec.structs.fields(Provider):
        assert field.name == "name" or field.name in explained
