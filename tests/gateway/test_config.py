"""Every way to get a configuration wrong: refused with the right line, what is wrong and what to do."""

import pytest

from understudy.gateway import settings
from understudy.gateway.config import ConfigError, listening, load, parse, reveal
from understudy.gateway.lines import locate
from understudy.gateway.settings import BUILT_IN, Defaults
from understudy.local import models

KEYS = {"OPENAI_API_KEY": "sk-made-up-000"}
BOX = '[providers.box]\ndialect = "openai-chat"\nbase_url = "http://127.0.0.1:1/v1"\n'


def refused(text, environ=KEYS):
    with pytest.raises(ConfigError) as caught:
        parse(text, "here.toml", environ)
    error = caught.value
    assert str(error) == f"here.toml:{error.line}: {error.what}\n  {error.remedy}"
    assert error.remedy
    return error


def marked(text):
    """`text` without its mark `<<`, and the number of the line that had it."""
    line = next(number for number, line in enumerate(text.splitlines(), 1) if "<<" in line)
    return text.replace("<<", ""), line


WRONG = {
    # name: (text with << on the line at fault, a piece of what is wrong, a piece of the remedy)
    "unknown section": ("<<[sever]\nport = 1", "sever is not a setting", "Did you mean `server`?"),
    "unknown key at the top": ("<<listen = 1\n[server]", "listen is not a setting", "Settings here"),
    "unknown key of the server": ("[server]\n# port\n<<prot = 1", "server.prot", "Did you mean `port`?"),
    "unknown key of a provider": (BOX + "<<modles = []", "providers.box.modles", "Did you mean `models`?"),
    "unknown key of a route": (
        '[routes.a]\ntargets = ["openai/x"]\n<<retires = 1', "routes.a.retires", "Did you mean `retries`?"),
    "unknown key of the defaults": ("[defaults]\n<<targets = []", "defaults.targets", "Settings here"),
    "hashed users without a key": ('[ledger]\n<<end_users = "hashed"', "no ledger.end_user_key", "openssl rand"),
    "a key for users that is not set": (
        '[ledger]\nend_users = "hashed"\n<<end_user_key = "env:NOWHERE"', "NOWHERE, which is not set", "Set NOWHERE"),
    "a key for users that is guessed": (
        '[ledger]\nend_users = "hashed"\n<<end_user_key = "short"', "fewer than 32", "nobody can guess"),
    "wrong type": ('[server]\nhost = "127.0.0.1"\n<<port = "4000"', "server.port: expected `int`", "Give a value"),
    "wrong type in a list": ('[server]\nkeys = [\n  "a", # one\n<<  3,\n]', "server.keys[1]", "Give a value"),
    "wrong type in headers": (BOX + '[providers.box.headers]\na = "b"\n<<c = 3', "providers.box.headers.c", "Give"),
    "a section that is none": ("<<routes = 3", "routes: expected", "Give a value"),
    "a provider that is none": ('[providers]\n<<box = "x"', "providers.box: expected", "Give a value"),
    "not a port": ("[server]\n<<port = 70000", "65535", "Give a value"),
    "lingering less than nothing": ("[server]\n<<linger = -1", "server.linger", "Give a value"),
    "lingering for ever": ("[server]\n<<linger = inf", "server.linger", "Give a value"),
    "no time": ("[defaults]\n<<deadline = 0", "defaults.deadline", "Give a value"),
    "not a number": ("[defaults]\n<<deadline = nan", "defaults.deadline", "Give a value"),
    "endless": ("[defaults]\n<<first_token_timeout = inf", "first_token_timeout", "Give a value"),
    "too many retries": ('[routes.a]\ntargets = ["openai/x"]\n<<retries = 50', "routes.a.retries", "Give a value"),
    "no targets": ('[routes.b]\ntargets = ["openai/x"]\n[routes.a]\n<<targets = []', "routes.a.targets", "Give"),
    "targets missing": ('[routes.b]\ntargets = ["openai/x"]\n<<[routes.a]\nretries = 1', "routes.a lacks `targets`",
                        "Add it"),
    "not TOML": ("[server]\n<<port == 1", "not valid TOML", "Correct"),
    "not closed": ('[server]\n<<keys = ["a"', "not valid TOML", "Correct"),
    "set twice": ("[server]\nport = 1\n<<port = 2", "not valid TOML", "Correct"),
    "open to the world": ('[server]\n<<host = "0.0.0.0"', "'0.0.0.0' can be reached", "Set server.keys"),
    "an empty key": ('[server]\n<<keys = [" "]', "server.keys[0] is empty", "Give a key"),
    "a key that cannot be sent": ('[server]\n<<keys = ["a\\nb"]', "server.keys[0] cannot stand", "line break"),
    "nothing to be found": ('[redaction]\n<<find = ["emial"]', "redaction.find[0]", "Give a value"),
    "a national id of nowhere": ('[redaction]\n<<national = ["xx"]', "redaction.national[0]", "Give a value"),
    "no setting of redaction": ("[redaction]\n<<scaner = true", "redaction.scaner", "Did you mean `scanner`?"),
    "a pattern that is none": ('[redaction.patterns]\na = "x+"\n<<staff = "("', "redaction.patterns.staff", "staff"),
    "a pattern for everything": ('[redaction.patterns]\n<<staff = "x*"', "redaction.patterns.staff", "empty text"),
    "a pattern's name": ('[redaction.patterns]\n<<email = "x"', "redaction.patterns.email", "built-in"),
    "a pattern that is no text": ('[redaction.patterns]\na = "x"\n<<b = 3', "redaction.patterns.b", "Give a value"),
    "a short key for pseudonyms": ('[redaction]\n<<pseudonym_key = "short"', "redaction.pseudonym_key", "openssl"),
    "a key for pseudonyms that is not set": (
        '[redaction]\n<<pseudonym_key = "env:NOT_SET"', "NOT_SET, which is not set", "Set NOT_SET"),
    "a variable that is not set": ('[server]\nkeys = [\n"a",\n<<"env:NOT_SET",\n]', "NOT_SET, which is not set",
                                   "Set NOT_SET"),
    "a provider's variable": ('[providers.openai]\n<<api_key = "env:NOT_SET"', "variable NOT_SET", "Set NOT_SET"),
    "a header's variable": (BOX + '<<headers = { x-a = "env:NOT_SET" }', "variable NOT_SET", "Set NOT_SET"),
    "a header's line break": (BOX + '<<headers = { x-a = "a\\r\\nx-b: c" }', "line break", "Take it out"),
    "a header's name": (BOX + '[providers.box.headers]\n<<"x a" = "1"', "'x a' is not a header", "Take it out"),
    "a header of ours": (BOX + '[providers.box.headers]\n<<Content-Length = "1"', "'Content-Length' is not", "Take"),
    "forwarding credentials": (BOX + 'forward = [\n"x-a",\n<<"Authorization"]', "'Authorization'", "Take it out"),
    "forwarding cookies": (BOX + '<<forward = ["cookie"]', "'cookie'", "Take it out"),
    "an unknown provider": ('[routes.a]\n<<targets = ["opneai/gpt-5"]', "unknown provider 'opneai'", "`openai`"),
    "an unknown substitute": ('[defaults]\n<<substitutes = ["nobody/x"]', "unknown provider 'nobody'", "Providers"),
    "not in the catalogue": ("<<[providers.opnai]\nmodels = []", "opnai is not in the catalogue", "`openai`"),
    "no base URL": ('<<[providers.mine]\ndialect = "openai-chat"', "has no `base_url`", "Or add `base_url`"),
    "no slash": ('[routes.a]\n<<targets = ["nothing"]', "neither `provider/model` nor another route", "Remove it"),
    "no provider": ('[routes.a]\n<<targets = ["gpt-5"]', "neither", "Did you mean `openai/gpt-5`?"),
    "nearly a route": ('[routes.fast]\ntargets = ["openai/x"]\n[routes.a]\n<<targets = ["fats"]', "neither", "`fast`"),
    "slash without provider": ('[routes.a]\n<<targets = ["/x"]', "neither", "Remove it"),
    "slash without model": ('[routes.a]\n<<targets = ["openai/"]', "neither", "Remove it"),
    "a route to itself": ('[routes.a]\n<<targets = ["a"]', "nor another route", "Remove it"),
    "two in a circle": ('[routes.a]\ntargets = ["b"]\n[routes.b]\n<<targets = ["a"]', "a -> b -> a", "Take one"),
    "three in a circle": (
        '[routes.a]\ntargets = ["openai/x", "b"]\n[routes.b]\ntargets = ["c"]\n[routes.c]\ntargets = [\n<<  "a",\n]',
        "a -> b -> c -> a", "Take one"),
    "no Redis for the cache": ('[cache]\n<<where = "redis"', "there is no server.redis", "Set server.redis"),
    "no room in the cache": ("[cache]\n<<max_bytes = 5000", "holds no answer", "lower cache.largest_body"),
    "unknown key of the cache": ("[cache]\n<<were = 1", "cache.were", "Did you mean `where`?"),
    "no way to keep answers": ('[routes.a]\ntargets = ["openai/x"]\n<<cache = "on"', "routes.a.cache", "Give a value"),
    "answers kept of what is not": (
        '[defaults]\nstore = "none"\n[routes.a]\ntargets = ["openai/x"]\n<<cache = "always"', "routes.a keeps answers",
        "Leave `cache` out"),
    "answers kept of nothing": (
        '[defaults]\nstore = "none"\n<<cache = "always"', "defaults keeps", "Leave `cache` out"),
    "a circle further down": (
        '[routes.a]\ntargets = ["b"]\n[routes.b]\ntargets = ["c"]\n[routes.c]\n<<targets = ["b"]', "b -> c -> b",
        "Take one"),
    "a name with a slash": ('<<[providers."a/b"]\ndialect = "openai-chat"\nbase_url = "http://x"', "slash", "Rename"),
    "an unknown dialect": ('[providers.box]\n<<dialect = "openai"\nbase_url = "http://x"', "'openai' is not a dialect",
                           "`openai-chat`"),
    "an unknown auth": (BOX + '<<auth = "basic"', "'basic' is not a way to send keys", "bearer"),
    "not a URL": ('[providers.box]\ndialect = "openai-chat"\n<<base_url = "127.0.0.1:8000"', "is not http(s)", "https://"),
    "a URL with a password": ('[providers.box]\ndialect = "openai-chat"\n<<base_url = "http://a:hidden@x/v1"',
                              "credentials", "https://"),
    "a URL with a line break": ('[providers.box]\ndialect = "openai-chat"\n<<base_url = "http://x/a b"', "white space",
                                "https://"),
    "a URL with a wild port": ('[providers.box]\ndialect = "openai-chat"\n<<base_url = "http://x:99999"', "port", ""),
    "a provider's key": ('[providers.openai]\n<<api_key = "sk-\\u0007"', "cannot stand in a request", "control"),
    "a provider without key": ("<<[providers.mistral]\nmodels = []", "mistral needs a key", "Set MISTRAL_API_KEY"),
    "a target without key": ('[routes.a]\ntargets = [\n"openai/x",\n<<"deepseek/deepseek-chat"]', "deepseek needs",
                             "Set DEEPSEEK_API_KEY in the environment, or `api_key` in [providers.deepseek]"),
    "a substitute without key": ('[defaults]\n<<substitutes = ["xai/grok-4"]', "xai needs a key", "XAI_API_KEY"),
    "a target without address": ('[routes.a]\n<<targets = ["azure/x"]', "azure needs AZURE_OPENAI_ENDPOINT", "Set"),
    "a price below nothing": (BOX + "<<[providers.box.prices]\ninput = -1\noutput = 2", "`input` is -1", "million"),
    "half a price": (BOX + "<<[providers.box.prices]\ninput = 1", "need `input` and `output`", "`hour`"),
    "unknown key of prices": (BOX + "[providers.box.prices]\n<<inputs = 1", "prices.inputs", "Did you mean `input`?"),
    "a model's price": (
        BOX + '[providers.box.model_prices.a]\nhour = 1\n[providers.box.model_prices."b/c"]\n<<hour = "x"',
        "model_prices.b/c.hour: invalid decimal string", "million"),
    "a key store elsewhere": ('[server]\n<<key_store = "mysql://a:hidden@b/c"', "neither a file's path", "postgresql://"),
    "a key store of no name": ('[server]\n<<key_store = "postgresql://a:hidden@b"', "neither", "host/name"),
    "a key store that is no URL": ('[server]\n<<key_store = "postgresql://[x/c"', "neither", "host/name"),
    "a key store's variable": ('[server]\n<<key_store = "env:NOT_SET"', "NOT_SET, which is not set", "Set NOT_SET"),
    "no patience": ("[server]\n<<redis_patience = 0", "server.redis_patience", "Give a value"),
    "neither open nor closed": ('[server]\n<<redis_gone = "ajar"', "server.redis_gone", "Give a value"),
    "the embedded engine": ("<<[providers.local]\ncooldown = false", "takes no settings but prices",
                            "Leave nothing but prices"),
    "a local model that is not here": ('[routes.a]\n<<targets = ["local/nowhere"]', "not here", "understudy pull"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_refused_with_line_and_remedy(name):
    text, what, remedy = WRONG[name]
    text, line = marked(text)
    error = refused(text)
    assert what in error.what, error
    assert remedy in error.remedy, error
    assert error.line == line, error
    assert "hidden" not in str(error)


def test_the_key_in_a_variable_is_checked_without_being_shown():
    error = refused('[routes.a]\ntargets = ["openai/x"]', {"OPENAI_API_KEY": "sk-made-up\n"})
    assert "OPENAI_API_KEY" in error.what
    assert "line break" in error.remedy
    assert "sk-made-up" not in str(error)
    error = refused('[server]\nkeys = ["env:K"]', {"K": "in-visible\n"})
    assert "in-visible" not in str(error)


def test_a_blank_variable_is_not_set():
    assert "which is not set" in refused('[server]\nkeys = ["env:K"]', {"K": "  "}).what
    assert "needs a key" in refused('[routes.a]\ntargets = ["openai/x"]', {"OPENAI_API_KEY": " "}).what


def test_an_address_in_a_variable_is_checked():
    environ = {"AZURE_OPENAI_ENDPOINT": "my-resource", "AZURE_OPENAI_API_KEY": "k"}
    assert "is not http(s)" in refused('[routes.a]\ntargets = ["azure/x"]', environ).what


FINE = {
    "nothing": "",
    "a key as it stands": '[providers.mistral]\napi_key = "k"',
    "no key wanted": '[providers.mistral]\nauth = "none"\nbase_url = "http://127.0.0.1:1"',
    "a server of one's own without key": BOX,
    "a local server": '[routes.a]\ntargets = ["ollama/llama3"]',
    "a route that keeps a provider's name": '[routes."openai/x"]\ntargets = ["openai/x", "openai/y"]',
    "routes of routes": '[routes]\na.targets = ["b", "c"]\nb.targets = ["c"]\nc.targets = ["openai/x"]',
    "one route that keeps nothing": '[defaults]\ncache = "always"\n[routes.a]\ntargets = ["openai/x"]\nstore = "none"',
    "a substitute that is a route": '[defaults]\nsubstitutes = ["a"]\n[routes.a]\ntargets = ["openai/x"]',
    "a whole number of seconds": "[defaults]\ndeadline = 10",
    "any port": "[server]\nport = 0",
    "the world, with keys": '[server]\nhost = "0.0.0.0"\nkeys = ["k"]',
    "every word there is": '[providers.openai]\nauth = "bearer"\nforward = ["x-a"]\n'
    'headers = { x-b = "env:OPENAI_API_KEY", x-c = "plain" }',
    "one's own server by the engine's name": '[providers.local]\nbase_url = "http://127.0.0.1:1/v1"\n'
    '[routes.a]\ntargets = ["local/any"]',
}  # fmt: skip


@pytest.mark.parametrize("name", FINE)
def test_what_is_right_is_taken(name):
    assert parse(FINE[name], "here.toml", KEYS).source == "here.toml"


def test_a_model_on_this_machine_is_a_target(monkeypatch):
    monkeypatch.setattr(models, "available", lambda: {"tiny": None})
    parse('[routes.a]\ntargets = ["local/tiny"]', "here.toml", {})
    assert "On this machine: tiny." in refused('[routes.a]\ntargets = ["local/other"]').remedy


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback_needs_no_keys(host):
    assert parse(f'[server]\nhost = "{host}"', "f", {}).config.server.host == host


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", "192.168.0.1", "example.com", "localhost.example.com", "10.0.0.1"]
)
def test_any_other_address_needs_keys(host):
    assert refused(f'[server]\nhost = "{host}"').line == 2
    with pytest.raises(ConfigError, match="--host"):
        listening(parse("", "f", {}), host, None)


def test_the_command_line_changes_the_address_and_nothing_else():
    loaded = parse('[server]\nport = 1\nkeys = ["k"]', "f", {})
    changed = listening(loaded, "0.0.0.0", 8080)
    assert (changed.config.server.host, changed.config.server.port) == ("0.0.0.0", 8080)
    assert changed.config.server.keys == ["k"]
    assert listening(loaded, None, None) == loaded


def test_a_missing_file_a_folder_and_other_bytes_are_told_apart(tmp_path):
    with pytest.raises(ConfigError, match=r"missing\.toml: cannot be read: No such file"):
        load(tmp_path / "missing.toml", {})
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path, {})
    file = tmp_path / "a.toml"
    file.write_bytes(b"# caf\xe9\n")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        load(file, {})
    file.write_bytes(b"\xef\xbb\xbf[server]\r\nport = 1\r\n")
    assert load(file, {}).config.server.port == 1, "Windows' editors begin with a mark"


def test_no_file_is_a_configuration():
    assert load(None, {}).config == settings.Config()


def test_every_default_of_a_route_is_built_in():
    assert set(BUILT_IN) == set(Defaults.__struct_fields__) - {"substitutes"}


def test_every_setting_is_described():
    for kind in (settings.Server, settings.Provider, settings.Defaults, settings.Route):
        for name, annotation in kind.__annotations__.items():
            assert "description=" in str(annotation), name


def test_a_secret_stands_in_its_variable_or_for_itself():
    assert reveal("env:A", {"A": "x"}) == "x"
    assert reveal("env:A", {}) == ""
    assert reveal("x", {}) == "x"


WHERE = {
    "dotted": ("server.host = 'a'\n<<server.port = 1", ("server", "port")),
    "dotted with spaces": ("server . host = 'a'\n<<server . port = 1", ("server", "port")),
    "quoted with dots": ('[routes."gpt-4"]\nretries = 1\n<<[routes."gpt-4.1"]\nretries = 2', ("routes", "gpt-4.1")),
    "quoted key": ('[routes]\n"a".x = 1\n<<"b.c".x = 1', ("routes", "b.c", "x")),
    "inline": ("[providers]\na = { x = 1 }\n<<b = { x = 1, y = 2 }", ("providers", "b", "y")),
    "in a comment": ("[server]\n# port = 1\n  # [server]\n<<port = 2", ("server", "port")),
    "in a text": ('[server]\nhost = """\n[server]\nport = 1\n"""\n<<port = 2', ("server", "port")),
    "list": ('[a]\nb = [ # ]\n  "x=1", # y\n\n<<  "[c]",\n  "d" ]\ne = 1', ("a", "b", 1)),
    "list, last item": ("[a]\nb = [\n  1,\n<<  2 ]", ("a", "b", 1)),
    "list in one line": ("[a]\n<<b = [1, 2, 3]", ("a", "b", 2)),
    "list in a table": ("a = { b = [\n1,\n<<2,\n3 ] }", ("a", "b", 1)),
    "header spread out": ('[ a ]\n<<[ a . "b c" ]\nx = 1', ("a", "b c")),
    "a default": ("[other]\n<<[server]\n\nport = 1", ("server", "host")),
    "brackets in a name": ('[routes."a[1]"]\nx = 1\n<<y = 2', ("routes", "a[1]", "y")),
    "old line ends": ("[server]\r\nhost = 'a'\r\n<<port = 1\r\n", ("server", "port")),
    "line separators in a text": ('[server]\nhost = "a\u2028b"\n<<port = 1', ("server", "port")),
}  # fmt: skip


@pytest.mark.parametrize("name", WHERE)
def test_the_line_is_found_however_it_is_written(name):
    text, path = WHERE[name]
    line = text[: text.index("<<")].count("\n") + 1
    assert locate(text.replace("<<", ""), path) == line


def test_what_is_nowhere_has_no_line():
    assert locate("[a]\n", ("server", "port")) is None
    assert locate("", ("server",)) is None


def test_the_line_is_found_in_a_long_file():
    text = "".join(f'[routes."r{n}"]\ntargets = [\n  "a/b",\n  "c/d",\n]\n' for n in range(500))
    assert locate(text, ("routes", "r417", "targets", 1)) == 417 * 5 + 4


KEEPING = ('[defaults]\nstore = "bodies"', '[routes.a]\ntargets = ["openai/x"]\nstore = "bodies"')


@pytest.mark.parametrize("text", KEEPING)
def test_bodies_are_not_kept_where_secrets_in_them_cannot_be_looked_for(text, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "kingfisher_sdk" else object())
    error = refused(text)
    assert "not installed" in error.what
    assert error.line == len(text.splitlines())
    assert "understudy[redaction]" in error.remedy
    for allowed in (
        "[redaction]\nscanner = false\n" + text, "[redaction]\non = false\n" + text,
        '[ledger]\nurl = "off"\n' + text, text.replace("bodies", "metadata"),
    ):  # fmt: skip
        parse(allowed, "here.toml", KEYS)


def test_patterns_and_pseudonyms_say_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for setting in ('patterns = { a = "x+" }', f'pseudonym_key = "{"k" * 32}"'):
        assert "understudy[redaction]" in refused(f"[redaction]\n{setting}").remedy


def test_the_embedded_engine_takes_prices_and_its_models_are_still_looked_for():
    prices = "[providers.local.prices]\nhour = 0.5\n"
    assert parse(prices + f'[routes.a]\ntargets = ["local/{models.WHEEL_MODEL}"]', "here.toml", {})
    assert "not here" in refused(prices + '[routes.a]\ntargets = ["local/nowhere"]').what


def test_without_its_driver_a_key_store_in_postgresql_is_refused(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    error = refused('[server]\nkey_store = "postgresql://host/name"')
    assert "psycopg" in error.what
    assert "understudy[postgres]" in error.remedy
