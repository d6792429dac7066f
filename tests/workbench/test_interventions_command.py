"""`workbench interventions`: the list and one again, as text and as JSON."""

import json
from pathlib import Path

import pytest

from store.project import ModelRecord, Project
from tasks.intervene import Params
from tests.workbench.command_line import workbench
from tests.workbench.tui.console import PROMPT, document, insert_run

MODEL = ModelRecord("builtin:none", "r1", "llama", 3, 4, 6, 96, "cpu", "float32")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one stored intervention of fixed numbers."""
    Project.create(tmp_path / "project", MODEL, "0.1.0").close()
    params = Params(prompt=PROMPT, dictionary="neurons", ablate=("L0/12@10",))
    insert_run(tmp_path / "project", params, document(["ablate L0/12@10"], -0.546, -0.525))
    return tmp_path / "project"


def test_given_a_stored_intervention_when_listed_then_its_change_stands_beside_the_first_order(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = workbench(capsys, "--project", str(project), "interventions", "list")
    assert (ran.exit_code, ran.err) == (0, "")
    assert "−0.546" in ran.out and "−0.525" in ran.out and "L0/12@10" in ran.out
    ran = workbench(capsys, "--project", str(project), "interventions", "list", "--json")
    (record,) = json.loads(ran.out)["interventions"]
    assert (record["id"], record["change"], record["edits"]) == (1, -0.546, ["ablate L0/12@10"])


def test_given_a_stored_intervention_when_shown_then_it_is_printed_as_it_was_and_no_control_character_passes(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = workbench(capsys, "--project", str(project), "interventions", "show", "1")
    assert (ran.exit_code, ran.err) == (0, "")
    assert "KL(before‖after)" in ran.out and "[/INST]" in ran.out
    assert "\x1b" not in ran.out and "\u202e" not in ran.out
    ran = workbench(capsys, "--project", str(project), "interventions", "show", "1", "--json")
    assert json.loads(ran.out)["delta_logit_difference"] == -0.546


def test_given_no_such_intervention_when_shown_then_one_line_says_so(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = workbench(capsys, "--project", str(project), "interventions", "show", "9")
    assert (ran.exit_code, ran.out) == (3, "")
    assert ran.err.startswith("workbench: no intervention 9 in this project; ")
