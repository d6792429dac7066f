"""Stored interventions: the list, one whole, and when an earlier result still stands."""

import json
from pathlib import Path
from typing import Any

import pytest

from store import graphs, interventions, jobs
from store.errors import Missing
from store.project import Project


def insert(project: Project, edits: list[str], change: float | None, **asked: Any) -> int:
    """A stored intervention with its job; the job's id."""
    job_id = jobs.start(project.db, "intervene", json.dumps({"prompt": "p", "ablate": edits} | asked), "key")
    how = {"edits": [f"ablate {edit}" for edit in edits], "dictionary": "toy", "graph": None, "sweep": None} | asked
    outcome = {"delta_logit_difference": change, "predicted_delta": None, "kl": 0.5}
    with project.transaction():
        project.db.execute(
            "INSERT INTO intervention (job_id, prompt, edits, baseline, outcome) VALUES (?, 'p', ?, '{}', ?)",
            [job_id, json.dumps(how), json.dumps(outcome)],
        )
        jobs.succeed(project.db, job_id, {"edits": how["edits"]}, 1, 1)
    return job_id


def one_byte(path: Path) -> None:
    path.write_bytes(b"g")


def graph(project: Project) -> int:
    """A graph without anything in it but its id."""
    job_id = jobs.start(project.db, "trace", "{}", "key")
    file = project.record_file(project.files.write("graphs", "g.safetensors", one_byte))
    project.db.execute(
        "INSERT INTO graph (job_id, prompt, tokens, dictionary, targets, rule, file_id, closing_error,"
        " replacement_score, completeness_score, summary) VALUES (?, 'p', '[]', 'toy', '[]', '', ?, 0, 0, 0, '{}')",
        [job_id, file],
    )
    return 1


def test_given_interventions_when_listed_then_the_newest_is_first_with_its_change(project: Project) -> None:
    insert(project, ["L1/2@3"], -0.5)
    insert(project, ["L1/2", "texas"], None, graph=4, sweep="0..1/3")
    newest, oldest = interventions.listing(project.db)
    assert (oldest.edits, oldest.change, oldest.kl, oldest.dictionary) == (("ablate L1/2@3",), -0.5, 0.5, "toy")
    assert (newest.graph, newest.sweep, newest.change) == (4, "0..1/3", None)
    assert interventions.listing(project.db, 1) == [newest]
    assert interventions.find(project.db, oldest.id) == oldest
    params, document = interventions.document(project.db, oldest)
    assert params["ablate"] == ["L1/2@3"] and document["edits"] == ["ablate L1/2@3"]


def test_given_no_such_intervention_when_asked_for_then_one_line_says_so(project: Project) -> None:
    with pytest.raises(Missing, match="no intervention 7 in this project"):
        interventions.find(project.db, 7)


@pytest.mark.parametrize(
    ("written", "stands_after"), [("texas", False), ("texas=0.5", False), ('"L1/2"', False), ("L1/3@0", True)]
)
def test_given_an_edit_of_a_supernode_when_its_members_change_then_the_result_no_longer_stands(
    project: Project, written: str, stands_after: bool
) -> None:
    number = graph(project)
    for name in ("texas", "L1/2", "other"):
        graphs.set_supernode(project.db, number, name, [1, 2])
    job_id = insert(project, [written], 1.0, graph=number)
    graphs.set_supernode(project.db, number, "other", [5])
    assert jobs.still_stands(project.db, job_id)
    for name in ("texas", "L1/2"):
        graphs.set_supernode(project.db, number, name, [1])
    assert jobs.still_stands(project.db, job_id) == stands_after
