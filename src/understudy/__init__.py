"""Understudy keeps an AI product running when the model behind it doesn't."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from understudy.inprocess import InProcess

__version__ = "0.1.0"


def transport(config: str | os.PathLike[str] | None = None) -> InProcess:
    """An httpx transport that runs the gateway in this process: `httpx.Client(transport=understudy.transport())`.

    The client may be httpx's or httpx2's, synchronous or not, and an SDK's `http_client`; any host name will do, as in
    `base_url="http://understudy/v1"`. `config` is the path of an understudy.toml; None looks where `understudy serve`
    looks. Raises ConfigError.
    """
    from understudy.inprocess import InProcess  # noqa: PLC0415  # `import understudy` must not pay for the gateway

    return InProcess(config)
