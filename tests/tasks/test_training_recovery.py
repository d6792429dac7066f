"""CE recovered of a training that is under way: measured, kept with the job, and drawn."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store import job_curves, jobs
from store.errors import BadInput
from store.project import Project
from tests.tasks import sae_project
from workbench.tui.render.job_list import job_curves as drawn_curves

SMALL: dict[str, Any] = {"features": 32, "l0": 4, "batch_size": 64, "layers": "2", "recovery_tokens": 60, "epochs": 4}


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A project on the tiny Llama."""
    with sae_project.create(tmp_path / "project") as made:
        yield made


def captured(project: Project) -> int:
    """The number of a small capture of one layer."""
    number: int = sae_project.run(project, "capture", layers="2", tokens=900, dtype="float32")["capture"]
    return number


@pytest.mark.parametrize("source", ["stream", "capture"])
def test_training_measures_ce_recovered_on_the_way_and_it_is_drawn_while_it_runs(project: Project, source: str) -> None:
    read = {"capture": captured(project)} if source == "capture" else {"tokens": 900}
    document = sae_project.run(project, "train", **SMALL | read)
    [layer] = document["layers"]
    recovered = layer["curve"]["ce_recovered"]
    assert len(layer["ce_curve"]) == len([each for each in recovered if each is not None]) >= 1
    assert layer["ce_curve"][-1][0] == layer["tokens"]
    later = sae_project.run(project, "evaluate", tokens=60, window=80)
    assert layer["ce_curve"][-1][1] == pytest.approx(later["layers"][0]["ce_recovered"], abs=1e-3)
    job_id = project.db.execute("SELECT max(id) FROM job WHERE kind = 'train'").fetchone()[0]
    events = [event for _, event in jobs.events(project.db, job_id)]
    assert job_curves.curves(events)["layer 2"]["ce_recovered"] == recovered
    [drawn] = drawn_curves(events, 80)
    assert all(name in drawn.plain for name in ("loss", "FVU", "L0", "dead", "CE rec."))


def test_ce_recovered_of_a_capture_is_refused_once_its_text_has_changed(project: Project) -> None:
    number = captured(project)
    text = project.directory.parent / "corpus.jsonl"
    text.write_text(text.read_text().replace('"text": "', '"text": "Now '))
    with pytest.raises(BadInput, match="has changed"):
        sae_project.run(project, "train", capture=number, **SMALL)
