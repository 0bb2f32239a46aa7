"""Writes the generated pages of docs/reference. `make docs` runs it; tests/test_docs.py checks that it was run."""

from pathlib import Path

from understudy.cli import reference as commands
from understudy.dialects import reference as losses
from understudy.gateway import reference as configuration
from understudy.gateway.administration import reference as administration
from understudy.openness import reference as openness
from understudy.providers import reference as providers
from understudy.resilience import reference as faults
from understudy.sim import reference as sim

PAGES = {
    "admin-api.md": administration.render,
    "commands.md": commands.render,
    "configuration.md": configuration.render,
    "faults.md": faults.render,
    "losses.md": losses.render,
    "openness.md": openness.render,
    "openness-family.schema.json": openness.family_schema,
    "openness-licence.schema.json": openness.licence_schema,
    "providers.md": providers.render,
    "sim.md": sim.render,
}

if __name__ == "__main__":
    (openness.folder() / openness.COMPILED).write_text(openness.register_json(), "utf-8")  # the package loads it
    for name, render in PAGES.items():
        (Path(__file__).parent / "reference" / name).write_text(render(), "utf-8")
