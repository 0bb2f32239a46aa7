"""From the configuration's `[redaction]` to what the ledger's process and the log take out of what they write.

The gateway's own keys, and those it shows to providers, are known: they are taken out wherever they stand, whatever
they look like.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from understudy import ledger
from understudy.gateway import settings
from understudy.gateway.config import reveal
from understudy.gateway.lines import Steps
from understudy.gateway.routing import SHORTEST_SECRET, Provider, Routing
from understudy.ledger.pseudonyms import PseudonymError, Pseudonyms
from understudy.ledger.redaction import BadSettingsError, Redactor, UnsearchableError

RULES = "ledger-rules"
"""The folder for the further detector's rules, beside the ledger."""


def meant(
    values: settings.Redaction, environ: Mapping[str, str], cache: Path, literals: tuple[str, ...] = ()
) -> ledger.Redaction | None:
    """What is to be redacted; None if nothing is. `cache` is a folder for the further detector's rules.

    `literals` are secrets that are known, as `secrets` has them.
    """
    if not values.on:
        return None
    return ledger.Redaction(
        find=values.find,
        national=values.national,
        patterns=values.patterns,
        literals=literals,
        key=None if values.pseudonym_key is None else reveal(values.pseudonym_key, environ),
        # Where bodies are kept it is there, or `config.py` would have refused to start.
        scanner=values.scanner and importlib.util.find_spec("kingfisher_sdk") is not None,
        cache=str(cache),
    )


def mistake(values: settings.Redaction, environ: Mapping[str, str]) -> tuple[Steps, str] | None:
    """The setting that cannot be used, and why; None if all can."""
    for name, pattern in values.patterns.items():
        try:
            Redactor(ledger.Redaction(patterns={name: pattern}))
        except BadSettingsError as error:
            return ("patterns", name), str(error)
    if values.pseudonym_key is not None:
        try:
            Pseudonyms(reveal(values.pseudonym_key, environ))
        except PseudonymError as error:
            return ("pseudonym_key",), str(error)
    return None


def secrets(routing: Routing, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The keys and passwords that the gateway knows, but for those that are too short to be told from words."""
    config = routing.config
    found = [reveal(key, environ) for key in (*config.server.keys, *config.server.admin_keys)]
    found += [urlsplit(reveal(url, environ)).password or "" for url in (config.server.redis or "", config.ledger.url)]
    for provider in routing.providers.values():
        found += _of(provider)
    return tuple(dict.fromkeys(secret for secret in found if len(secret) >= SHORTEST_SECRET))


def _of(provider: Provider) -> Iterator[str]:
    for one in (provider, *provider.with_other_keys):
        yield from one.secrets


class Formatter(logging.Formatter):
    """Takes secrets and personal data out of the log: a mistake of ours may quote the request that it failed at.

    But for addresses and long numbers, which a log is read for.
    """

    def __init__(self, form: str, literals: tuple[str, ...]) -> None:
        super().__init__(form)
        self._redactor = Redactor(ledger.Redaction(find=("secret", "iban", "card", "email"), literals=literals))

    def format(self, record: logging.LogRecord) -> str:
        """A line, or several with a traceback."""
        try:
            return self._redactor.text(super().format(record))
        except UnsearchableError:
            return f"{record.levelname} {record.name}: a message that cannot be searched for secrets is left out"
