"""The figures for people: a table for the terminal, the same as Markdown, a picture, and all of it as JSON."""

from __future__ import annotations

from pathlib import Path

import msgspec
from rich import box
from rich.table import Table

import figures as fig
from figures import BARE, DIRECT, GATEWAY, SUBJECTS, Figures, Line

_COLOURS = {DIRECT: "#b8bcc4", BARE: "#6b8fb3", GATEWAY: "#c8553d"}
_TITLE = "Understudy's gateway, a bare relay, and no relay at all"
_HEADS = ("", *SUBJECTS, "ratio", "by round")


def _cells(line: Line) -> tuple[str, ...]:
    ratio = "" if line.ratio is None else f"{line.ratio:.2f}"
    rounds = "" if line.rounds is None else f"{line.rounds[0]:.2f}-{line.rounds[1]:.2f}"
    return (line.label, *line.figures, ratio, rounds)


def where(figures: Figures) -> str:
    """Machine, system and date, in a line."""
    return f"{figures.machine}; {figures.system}; Python {figures.python}; {figures.date}"


def _how(figures: Figures) -> str:
    rounds = "1 round" if figures.rounds == 1 else f"medians of {figures.rounds} interleaved rounds"
    return f"Understudy {figures.version}; {rounds}, {figures.seconds:g} s each; ratio: gateway / bare relay"


def table(figures: Figures) -> Table:
    shown = Table(
        title=_TITLE, caption=f"{where(figures)}\n{_how(figures)}", caption_justify="left", box=box.SIMPLE_HEAD
    )
    for number, head in enumerate(_HEADS):
        shown.add_column(head, justify="right" if number else "left", no_wrap=number > 0)
    for line in fig.lines(figures):
        shown.add_row(*_cells(line))
    return shown


def markdown(figures: Figures) -> str:
    rows = [_HEADS, ("---", *["---:"] * (len(_HEADS) - 1)), *(_cells(line) for line in fig.lines(figures))]
    text = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    notes = "\n".join(f"- {note}" for note in fig.notes(figures))
    errors = "".join(f"- **Error:** {error.splitlines()[0]}\n" for error in figures.errors)
    return f"# {_TITLE}\n\n{where(figures)}.\n{_how(figures)}.\n\n{text}\n\n{notes}\n{errors}"


def write(figures: Figures, folder: Path, copy: Path | None) -> list[Path]:
    """Write latest.json, latest.md and latest.svg to `folder`, and the JSON to `copy`; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"figures": figures, "table": fig.lines(figures), "notes": fig.notes(figures)}
    encoded = msgspec.json.format(msgspec.json.encode(facts)) + b"\n"
    written = [folder / "latest.json", folder / "latest.md", folder / "latest.svg"]
    written[0].write_bytes(encoded)
    written[1].write_text(markdown(figures), "utf-8")
    picture(figures, written[2])
    if copy is not None:
        copy.write_bytes(encoded)
        written.append(copy)
    return written


def picture(figures: Figures, path: Path) -> None:
    """Three panels of rates, one of added latency; as SVG with its text as text."""
    import matplotlib as mpl  # noqa: PLC0415  # slow to import, and not needed until all is measured
    from matplotlib.figure import Figure  # noqa: PLC0415  # likewise

    with mpl.rc_context({"svg.fonttype": "none", "axes.spines.top": False, "axes.spines.right": False}):
        canvas = Figure(figsize=(11, 7.5), layout="constrained")
        canvas.suptitle(f"{_TITLE}\n", fontsize=14, fontweight="bold")
        canvas.supxlabel(f"{where(figures)}\n{_how(figures)}", fontsize=8, color="#555555")
        panels = canvas.subplots(2, 2)
        labels = {measure.key: measure.label for measure in fig.measures(figures.streams)}
        units = {"requests": "answers per second", "burst": "events per second", "paced": "events per second"}
        for axes, (key, unit) in zip(panels.flat, units.items(), strict=False):
            rates = [fig.rate(figures, key, subject) for subject in SUBJECTS]
            bars = axes.bar(SUBJECTS, rates, color=[_COLOURS[subject] for subject in SUBJECTS])
            axes.bar_label(bars, [f"{value:,.0f}" for value in rates], padding=2)
            share = f": gateway {rates[2] / rates[1]:.2f} of the bare relay" if rates[1] else ""
            axes.set_title(f"{labels[key].capitalize()}{share}", loc="left", fontsize=10)
            axes.set_ylabel(unit)
            axes.yaxis.set_major_formatter("{x:,.0f}")
            axes.margins(y=0.12)
        axes = panels[1][1]
        asked = [("sequential", 1, "p50"), ("sequential", 1, "p99")]
        asked += [("requests", fig.CONNECTIONS, which) for which in ("p50", "p99")]
        for number, subject in enumerate((BARE, GATEWAY)):
            values = [fig.added(figures, key, subject, which) or 0.0 for key, _, which in asked]
            places = [place + 0.4 * number - 0.2 for place in range(len(asked))]
            bars = axes.bar(places, values, 0.38, color=_COLOURS[subject], label=subject)
            axes.bar_label(bars, [f"{value:.3g}" for value in values], padding=2, fontsize=8)
        ticks = [f"{which}, {count}" for _, count, which in asked]
        axes.set_xticks(range(len(asked)), ticks)
        axes.set_title("Latency added to direct access", loc="left", fontsize=10)
        axes.set_ylabel("milliseconds")
        axes.set_xlabel("percentile, connections open")
        axes.margins(y=0.12)
        axes.legend(frameon=False)
        canvas.savefig(path, format="svg")
