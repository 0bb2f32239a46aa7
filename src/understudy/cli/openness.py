"""`understudy openness`: how open a model is, with evidence, and what its licence asks of this owner."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from understudy.cli.opening import JsonOption, fail

if TYPE_CHECKING:
    from rich.console import Console

    from understudy.openness.conditions import Answer, Owner
    from understudy.openness.facts import Evidence, Family
    from understudy.openness.proposal import Proposal
    from understudy.openness.register import Register


def openness(
    model: Annotated[
        str | None, typer.Argument(help="A model's name: a hub's id, a target, an alias; or a folder, or a GGUF file.")
    ] = None,
    *,
    fetch: Annotated[
        str | None, typer.Option("--fetch", metavar="hf:ORG/NAME", help="Read its page on the Hugging Face hub.")
    ] = None,
    owner: Annotated[
        Path | None, typer.Option("--owner", help="A TOML file with an [owner] table: who you are, as licences ask.")
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="List what the register knows.")] = False,
    mot: Annotated[bool, typer.Option("--mot", help="Print the model as a file of the Model Openness Tool.")] = False,
    json: JsonOption = False,  # Typer's flags are booleans
) -> None:
    """Say how open a model is and what its licence asks of you, each fact with its source. No legal advice.

    Exit code: 0 it is known, 1 it is not, or could not be read, 2 the command is wrong.

    Example: understudy openness meta-llama/Llama-3.3-70B-Instruct --owner understudy.toml
    """
    from understudy.openness.register import register

    known = register()
    if sum(one is not None for one in (model, fetch)) + listing != 1:
        fail("name one model, or --fetch hf:ORG/NAME, or --list")
    if listing:
        _list(known, json=json)
    elif fetch is not None:
        _show_proposal(_fetched(fetch, known), json=json)
    elif (path := Path(str(model))).is_dir() or path.suffix.lower() == ".gguf":
        _show_proposal(_read(path, known), json=json)
    else:
        _show_model(str(model), _owner(owner), known, mot=mot, json=json)


def _owner(path: Path | None) -> Owner:
    import tomllib

    import msgspec

    from understudy.openness.conditions import Owner

    if path is None:
        return Owner()
    try:
        return msgspec.convert(tomllib.loads(path.read_text("utf-8")).get("owner", {}), Owner)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        fail(f"{path} cannot be read: {error}")
    except msgspec.ValidationError as error:
        fail(f"{path}, [owner]: {error}")


def _fetched(name: str, known: Register) -> Proposal:
    from understudy.openness import hub
    from understudy.openness.proposal import propose

    if not name.startswith(hub.PREFIX):
        fail(f"--fetch takes {hub.PREFIX}ORG/NAME, a model on the Hugging Face hub; got {name!r}")
    try:
        found = hub.chain(name.removeprefix(hub.PREFIX), known)
    except hub.HubError as error:
        fail(str(error), 1)
    return propose(found[0], known, found[1:])


def _read(path: Path, known: Register) -> Proposal:
    from understudy.openness import folder
    from understudy.openness.proposal import propose

    try:
        return propose(folder.read(path), known)
    except folder.FolderError as error:
        fail(str(error), 1)


def _list(known: Register, *, json: bool) -> None:
    from understudy.openness import assess, framework

    rows: list[dict[str, Any]] = []
    for family in known.families.values():
        found = assess.assess(family, known)
        rows.append(
            {
                "id": family.id,
                "title": family.title,
                "maker": family.facts.maker.value,
                "jurisdiction": family.facts.jurisdiction.value if family.facts.jurisdiction else None,
                "licence": found.licence or None,
                "class": framework.TITLES[found.grade],
                "class_at_best": framework.TITLES[found.best_grade],
                "open_source": found.definition.meets,
                "exempt": found.exemption.meets,
            }
        )
    if json:
        _print_json(rows)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table()
    table.add_column("id", no_wrap=True)  # a name cut short cannot be asked for
    for title in ("licence", "class", "OSI", "EU"):
        table.add_column(title, overflow="fold")
    for row in rows:
        best = f", at best {row['class_at_best'].split(',')[0]}" if row["class_at_best"] != row["class"] else ""
        licence = row["licence"] or "unknown"
        table.add_row(row["id"], licence, f"{row['class'].split(',')[0]}{best}", row["open_source"], row["exempt"])
    Console().print(table)


def _show_model(name: str, owner: Owner, known: Register, *, mot: bool, json: bool) -> None:
    family = known.find(name)
    if family is None:
        near = known.nearest(name)
        hint = f"; is it one of {', '.join(near)}?" if near else "."
        fail(
            f"the register does not know {name!r}{hint} `understudy openness --list` shows what it knows, "
            "`--fetch hf:ORG/NAME` reads a page of the Hugging Face hub",
            1,
        )
    if mot:
        from understudy.openness import exchange

        typer.echo(exchange.write(family), nl=False)
        return
    from understudy.openness import assess

    answer = assess.answer(family, known, owner)
    if json:
        _print_json({"family": family, "openness": assess.assess(family, known), "licence": answer, "owner": owner})
        return
    _show_family(family, answer, known)


def _show_family(family: Family, answer: Answer, known: Register) -> None:
    from rich.console import Console

    from understudy.openness import assess, framework
    from understudy.openness.components import COMPONENTS

    console = Console(soft_wrap=True)
    found = assess.assess(family, known)
    console.print(f"{family.title}, by {family.facts.maker.value}", style="bold", markup=False)
    if len(found.lineage) > 1:
        console.print(f"made from: {' <- '.join(found.lineage)}", markup=False)
    verdict = found.framework
    missing = ", ".join(_words(one) for one in verdict.missing_for_next)
    best = f", at best {framework.TITLES[found.best_grade]}" if found.best_grade != found.grade else ""
    console.print(f"{verdict.rules}: {framework.TITLES[found.grade]}{best}", markup=False)
    console.print(f"  missing or unknown for the next class: {missing or '-'}", markup=False)
    for judged in (found.definition, found.exemption):
        console.print(f"{judged.rules}: {judged.meets}", markup=False)
        for part in judged.parts:
            if part.meets != "yes":
                console.print(f"  {part.requirement}: {part.meets}, {part.why}", markup=False)
    for caveat in (found.exemption.lifts, *found.exemption.caveats):
        if found.exemption.meets != "no":
            console.print(f"  {caveat}", markup=False)
    for conflict in found.conflicts:
        console.print(f"conflict: {conflict.why}", markup=False)
    for name, spec in COMPONENTS.items():
        component = family.components.get(name)
        if component is None:
            console.print(f"{spec.title}: unknown", markup=False)
            continue
        general = family.licence(spec.kind)
        licence = component.licence or (general.value if general else "unlicensed")
        under = f", {licence}" if component.state in {"open", "restricted"} else ""
        partly = ", in part" if component.partly else ""
        console.print(f"{spec.title}: {component.state}{partly}{under}", markup=False)
        console.print(f"  {_shown(family.evidence(component))}", markup=False, style="dim")
    _show_answer(answer, found.licence, console)


def _show_answer(answer: Answer, licence: str, console: Console) -> None:
    words = {"duties": "allowed with duties", "person": "needs a person"}
    console.print(
        f"licence {licence or 'unknown'}: {words.get(answer.outcome, answer.outcome)}", style="bold", markup=False
    )
    for finding in answer.findings:
        console.print(f"  {finding.effect}: {finding.says}", markup=False)
        if finding.evidence is not None:
            console.print(f"    clause {finding.clause}: {_shown(finding.evidence)}", markup=False, style="dim")


def _show_proposal(proposal: Proposal, *, json: bool) -> None:
    if json:
        _print_json(proposal)
        return
    from rich.console import Console

    console = Console(soft_wrap=True)
    found = proposal.found
    console.print(f"{_plain(found.name)}, read at {_plain(found.source)}", style="bold", markup=False)
    console.print(f"in the register: {proposal.register or 'no'}", markup=False)
    options = " or ".join(" and ".join(option) for option in proposal.licences)
    console.print(f"licence: {_plain(options) or 'unknown'}", markup=False)
    for claim in found.claims:
        console.print(f"  {claim.fact}: {_plain(claim.says)} ({_plain(claim.where)})", markup=False)
    if found.gated is not None:
        console.print(f"  gated: {'yes' if found.gated else 'no'}", markup=False)
    digests = sum(file.sha256 is not None for file in found.files)
    console.print(f"  files: {len(found.files)}, {digests} with a digest", markup=False)
    for base, family in proposal.bases.items():
        console.print(f"  base: {_plain(base)} ({family or 'not in the register'})", markup=False)
    for conflict in proposal.conflicts:
        console.print(f"conflict: {_plain(conflict)}", markup=False)
    for problem in proposal.problems:
        console.print(f"problem: {_plain(problem)}", markup=False)


def _shown(evidence: Evidence) -> str:
    quote = f"“{evidence.quote}” " if evidence.quote else ""
    return f"{quote}{evidence.link} (read {evidence.read})"


def _words(component: str) -> str:
    from understudy.openness.components import COMPONENTS

    return COMPONENTS[component].title.lower()


def _plain(text: str) -> str:
    """What a stranger wrote, as one line without control characters."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _print_json(value: Any) -> None:
    import msgspec

    typer.echo(msgspec.json.format(msgspec.json.encode(value)).decode())
