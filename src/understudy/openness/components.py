"""The seventeen components of the Model Openness Framework: kind, class that needs it, and the tool's words for it.

Source: Model Openness Framework 1.0 of 2024-12-15, in the form of its tool (lfai/model_openness_tool,
web/modules/mof/config/install/mof.settings.yml, read 2026-11-25). Names are the tool's: files are exchanged with them.
"""

from __future__ import annotations

from typing import NamedTuple

from understudy.openness.facts import Kind


class Spec(NamedTuple):
    """`title` is the tool's name for it; `rank` the class that asks for it (3 Open Model, 2 Tooling, 1 Science)."""

    title: str
    kind: Kind
    rank: int
    required: bool = True


COMPONENTS: dict[str, Spec] = {
    "architecture": Spec("Model architecture", "code", 3),
    "parameters": Spec("Model parameters (Final)", "data", 3),
    "evaluation_results": Spec("Evaluation results", "document", 3),
    "model_card": Spec("Model card", "document", 3),
    "data_card": Spec("Data card", "document", 3),
    "technical_report": Spec("Technical report", "document", 3),
    "sample_outputs": Spec("Sample model outputs", "document", 3, required=False),
    "training_code": Spec("Training code", "code", 2),
    "inference_code": Spec("Inference code", "code", 2),
    "evaluation_code": Spec("Evaluation code", "code", 2),
    "evaluation_data": Spec("Evaluation data", "data", 2),
    "supporting_libraries": Spec("Supporting libraries and tools", "code", 2, required=False),
    "datasets": Spec("Datasets", "data", 1),
    "preprocessing_code": Spec("Data preprocessing code", "code", 1),
    "intermediate_parameters": Spec("Model parameters (Intermediate)", "data", 1),
    "research_paper": Spec("Research paper", "document", 1),
    "model_metadata": Spec("Model metadata", "data", 1, required=False),
}
"""By the register's name."""

NAMED = {spec.title: name for name, spec in COMPONENTS.items()}
"""The register's name, by the tool's."""
