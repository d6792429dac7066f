"""A model in bfloat16, as a GPU node holds it: every graph task runs, and says how far its rows are from closing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from store.project import Project
from tasks.context import Context
from tasks.model.sources import describe_model, load_model
from tests.tasks.graph_project import CORRUPT, PROMPT, run
from tests.tiny import FAMILIES, save_tiny


@pytest.fixture(params=FAMILIES)
def context(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Context]:
    """A project on a tiny bfloat16 model."""
    model = load_model(str(save_tiny(request.param, tmp_path / "model")), "cpu", "bfloat16")
    with Project.create(tmp_path / "project", describe_model(model, "cpu", "bfloat16"), "test") as project:
        yield Context(project)


def test_given_a_bfloat16_model_when_a_prompt_is_traced_and_validated_then_rounding_is_reported(
    context: Context,
) -> None:
    traced = run(context, "trace", prompt=PROMPT, dictionary="neurons", max_nodes=40)
    assert traced["attributed_features"] == 40 and traced["kept_nodes"] > len(traced["tokens"])
    assert 1e-5 < traced["closing_error"] < 0.2
    validated = run(context, "validate", graph=traced["graph"], from_=CORRUPT)
    numbers = [(node["predicted_effect"], node["measured_effect"]) for node in validated["nodes"]]
    assert numbers and all(None not in pair and any(pair) for pair in numbers)
    changed = run(context, "intervene", prompt=PROMPT, ablate=("L0/3@-1", "L1/*@2"), max_new_tokens=2)
    assert changed["kl"] > 0
