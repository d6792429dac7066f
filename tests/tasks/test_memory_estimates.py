"""Estimates beside real peaks, on the embedded model."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store.job_memory import memory_of
from store.project import Project
from tasks.context import Context
from tasks.execute import execute
from tasks.memory_estimates import FACTOR, estimated_bytes
from tasks.model.language_model import LanguageModel
from tasks.model.sources import describe_model
from tasks.registry import task
from tests.tiny import tiny_language_model

PROMPT = "The capital of France is"
JOBS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("trace", {"prompt": PROMPT, "max_nodes": 60, "max_logits": 2, "batch": 8}),
    ("capture", {"layers": "2-3", "tokens": 6000}),
    ("intervene", {"prompt": PROMPT, "ablate": ("L7/3@2",), "sweep": "-2..2/64", "batch": 64, "max_new_tokens": 1}),
    ("index", {"dictionary": "neurons", "layers": "2", "tokens": 1000}),
)
"""Of some hundreds of MB each: what small ones take is what libraries load at their first use."""

SMALL_BYTES = 100 << 20
"""What docs/worker.md says of small jobs holds below this."""


@pytest.fixture(scope="module")
def context(embedded: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """A project on the embedded model."""
    directory = tmp_path_factory.mktemp("estimates") / "project"
    with Project.create(directory, describe_model(embedded), "0.1.0") as project:
        yield Context(project, _model=embedded)


@pytest.mark.xdist_group("memory estimates")  # one process and this order: whoever is first loads the libraries
@pytest.mark.embedded
@pytest.mark.parametrize(("kind", "options"), JOBS, ids=[f"{kind} {number}" for number, (kind, _) in enumerate(JOBS)])
def test_given_a_job_when_it_has_run_then_its_peak_lies_within_the_factor_of_the_estimate(
    context: Context, kind: str, options: dict[str, Any]
) -> None:
    document = execute(kind, task(kind).params_type(**options), context)
    found = memory_of(context.project.db, document["job"])
    assert found.estimated_bytes is not None
    assert found.peak_bytes is not None
    assert found.peak_bytes / FACTOR <= found.estimated_bytes, found
    if found.peak_bytes > SMALL_BYTES:  # less can come out of what an earlier job gave back
        assert found.estimated_bytes <= found.peak_bytes * FACTOR, found


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("trace", {"behaviour": "capitals"}),
        ("trace", {"prompt": "w1 w2 w3", "dictionary": "unheard of"}),
        ("trace", {"prompt": ""}),
        ("intervene", {"prompt": "w1 w2 w3", "dictionary": "unheard of"}),
        ("intervene", {"graph": 7}),
        ("validate", {"behaviour": "capitals"}),
        ("heads", {"graph": 7, "source": "@1", "target": "logit"}),
        ("index", {"dictionary": "unheard of"}),
        ("index", {"dictionary": "neurons", "capture": 1}),
        ("label", {}),
        ("train", {"capture": 1}),
    ],
)
def test_given_options_that_decide_on_the_way_or_are_bad_when_estimated_then_nothing_is_made_up(
    tmp_path: Path, kind: str, options: dict[str, Any]
) -> None:
    model = tiny_language_model("llama")
    with Project.create(tmp_path / "project", describe_model(model), "0.1.0") as project:
        assert estimated_bytes(kind, task(kind).params_type(**options), project, model) is None
