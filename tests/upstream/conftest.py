"""Every scenario runs on both event loops."""

import asyncio

import pytest
import uvloop


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    """`run(coroutine)`: like `asyncio.run`, on the loop of this round."""
    return asyncio.run if request.param == "asyncio" else uvloop.run
