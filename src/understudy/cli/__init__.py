"""The command line: one file per verb, which starts and wires and holds no logic. Nothing imports it.

Verbs import what they need when they run: `understudy --help` must not pay for a server.
"""

from __future__ import annotations

import typer

from understudy.cli import (
    cache,
    check,
    demo,
    events,
    explain,
    export,
    feedback,
    import_,
    init,
    keys,
    log,
    openness,
    pull,
    purge,
    rehearse,
    serve,
    sim,
    suite,
    target,
    targets,
    usage,
)

app = typer.Typer(
    name="understudy",
    help="Keeps an AI product running when the model behind it doesn't.",
    epilog="Example: understudy serve, then point an OpenAI SDK at http://127.0.0.1:4000/v1",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help: Rich would triple the time it takes
    pretty_exceptions_enable=False,
)
for verb in (
    init.init, serve.serve, check.check, explain.explain, targets.targets, events.events, log.log, usage.usage,
    feedback.feedback, export.export, purge.purge, rehearse.rehearse, openness.openness,
    demo.demo, pull.pull, sim.sim,
):  # fmt: skip
    app.command()(verb)
app.command("import")(import_.import_)
app.add_typer(target.app, name="target")
app.add_typer(keys.app, name="keys")
app.add_typer(cache.app, name="cache")
app.add_typer(suite.app, name="suite")


@app.callback(invoke_without_command=True)
def understudy(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Show the version and exit."),
) -> None:
    """Keeps an AI product running when the model behind it doesn't."""
    if version:
        from understudy import __version__

        typer.echo(__version__)
        context.exit()


def main() -> None:
    app(prog_name="understudy")
