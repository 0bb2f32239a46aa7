"""`understudy`, unchanged, with a window: the soak run looks in to count tasks, and to see what memory is made of.

Usage: watched.py PORT_FILE [--trace] serve -c FILE. The window's port is written to PORT_FILE. Whoever connects gets
one line of JSON: tasks, objects that the garbage collector knows and, with `--trace`, where memory that is still held
was allocated since the last look.
"""

from __future__ import annotations

import asyncio
import collections
import gc
import json
import sys
import tracemalloc
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import uvloop

from understudy.cli import app

_FRAMES = 12
_PLACES = 25

_before: list[tracemalloc.Snapshot] = []


def seen() -> dict[str, Any]:
    """What there is now. With tracing it takes a second: nothing else happens meanwhile."""
    tasks = asyncio.all_tasks()
    told: dict[str, Any] = {"tasks": len(tasks), "collections": gc.get_count()}
    if tracemalloc.is_tracing():
        gc.collect()
        now = tracemalloc.take_snapshot().filter_traces((tracemalloc.Filter(False, tracemalloc.__file__),))
        told["traced"] = tracemalloc.get_traced_memory()
        told["tasks_by_name"] = collections.Counter(
            getattr(task.get_coro(), "__qualname__", "?") for task in tasks
        ).most_common(10)
        told["objects"] = collections.Counter(type(one).__qualname__ for one in gc.get_objects()).most_common(25)
        if _before:
            grown = now.compare_to(_before[0], "lineno")[:_PLACES]
            told["grown"] = [f"{one.size_diff:+,} bytes, {one.count_diff:+,} blocks: {one.traceback}" for one in grown]
        else:
            _before.append(now)
    return told


def windowed(port_file: Path) -> None:
    """Make the server's loop tell about itself: the one place where everything of it can be seen."""
    run = uvloop.run

    async def tell(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(json.dumps(seen()).encode() + b"\n")
        await writer.drain()
        writer.close()

    def opened(port: int) -> None:
        port_file.write_text(str(port), "utf-8")

    async def beside(main: Coroutine[Any, Any, Any]) -> Any:
        window = await asyncio.start_server(tell, "127.0.0.1", 0)
        opened(window.sockets[0].getsockname()[1])
        async with window:
            return await main

    uvloop.run = lambda main, **options: run(beside(main), **options)


if __name__ == "__main__":
    where, *arguments = sys.argv[1:]
    if arguments[:1] == ["--trace"]:
        arguments = arguments[1:]
        tracemalloc.start(_FRAMES)
    windowed(Path(where))
    app(arguments)
