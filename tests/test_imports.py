"""The import rule of docs/design.md, enforced: a newcomer can trust the table."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src/understudy"

ALLOWED = {
    "canon": set(),
    "clock": set(),
    "dialects": {"canon"},
    "operations": {"canon", "dialects"},
    "providers": {"canon", "dialects", "clock"},
    "upstream": {"clock"},
    "resilience": {"canon", "clock"},
    "ledger": {"canon", "clock"},
    "moving": {"canon", "clock", "dialects", "ledger"},
    "telemetry": {"canon", "clock"},
    "access": {"canon", "clock"},
    "cache": {"canon", "clock"},
    "openness": set(),
    "local": {"canon", "providers", "clock"},
    "sim": {"canon", "dialects", "clock"},
    "gateway": {
        "access",
        "cache",
        "ledger",
        "telemetry",
        "canon",
        "clock",
        "dialects",
        "providers",
        "upstream",
        "resilience",
        "local",
        "operations",
    },
    "rehearsal": {"canon", "clock", "dialects", "ledger"},
    "inprocess": {"gateway"},
}
"""What each part may import besides itself. `cli` may import everything, and nothing imports it."""


def imported(path: Path) -> set[str]:
    """The parts of understudy that a module imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide what is imported"
            names = (
                [f"{node.module}.{alias.name}" for alias in node.names]
                if node.module == "understudy"
                else [node.module]
            )
        found |= {
            name.split(".")[1] for name in names if name.startswith("understudy.") and name != "understudy.__version__"
        }
    return found


PARTS = sorted(path.stem for path in SOURCE.iterdir() if not path.name.startswith("_") and path.suffix in ("", ".py"))


@pytest.mark.parametrize("part", [part for part in PARTS if part != "cli"])
def test_each_part_imports_only_what_the_design_allows(part):
    modules = sorted((SOURCE / part).rglob("*.py")) or [SOURCE / f"{part}.py"]
    for module in modules:
        extra = imported(module) - {part} - ALLOWED[part]
        assert not extra, f"{module.relative_to(SOURCE)} imports {', '.join(sorted(extra))}; see docs/design.md"


def test_the_rule_bites(tmp_path):
    module = tmp_path / "bad.py"
    module.write_text("def f():\n    from understudy.gateway import app\n    import understudy.cli.serve\n")
    assert imported(module) == {"gateway", "cli"}


def test_no_provider_name_in_the_vocabulary():
    words = ("openai", "anthropic", "gemini", "cohere", "bedrock", "mistral")
    for module in (SOURCE / "canon").glob("*.py"):
        text = module.read_text().lower()
        assert not [word for word in words if word in text], module
