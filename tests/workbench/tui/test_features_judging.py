"""The features pane asks judges: which features, which judge, what the worker is asked to do; and the report."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from store import labels
from store.errors import BadInput
from store.features import find
from store.project import Project
from tasks.label import Params
from tests.workbench.tui.app_project import SET
from tests.workbench.tui.features_steps import features_pane, heard, opened, run, typed
from tests.workbench.tui.screen_text import until
from workbench.tui.messages import Asked
from workbench.tui.panes.features.judging import judge_params

ADDRESS = "http://127.0.0.1:9/v1"


def asked_params(asked: Asked) -> Params:
    """What the worker is asked, as the task takes it."""
    assert asked.kind == "label"
    return Params.model_validate(dict(asked.params))


async def answered(pilot: Pilot[int], choice: int, judge: str) -> Asked:
    """Take the offer of that number, and that judge."""
    await pilot.press("l")
    await until(pilot, "What is a judge to do?")
    await pilot.press(*["down"] * choice, "enter")
    await until(pilot, "Which judge?")
    pilot.app.screen.query_one("Input").value = judge  # type: ignore[attr-defined]
    await pilot.press("enter")
    asked: Asked = await heard(pilot, Asked)
    return asked


def test_given_a_feature_when_a_judge_is_asked_then_the_worker_gets_it_with_the_judge(project_directory: Path) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await opened(pilot)
        params = asked_params(await answered(pilot, 0, f"{ADDRESS} some/model"))
        assert (params.features, params.dictionary, params.again) == (("L0/0",), SET, True)
        assert (params.judge, params.judge_model) == (ADDRESS, "some/model")
        assert features_pane(pilot.app).state()["judge"] == f"{ADDRESS} some/model"  # type: ignore[arg-type]

    run(project_directory, steps)


def test_given_a_search_when_its_list_is_judged_then_what_is_active_and_has_no_label_is_asked_for(
    project_directory: Path,
) -> None:
    with Project.open(project_directory, write=True, work=False) as project, project.transaction():
        project.db.execute("UPDATE feature SET maximum = 0 WHERE id = ?", [find(project.db, "L1/5").id])
        labels.set_label(project.db, find(project.db, "L1/7").id, "known")

    async def steps(pilot: Pilot[int]) -> None:
        await opened(pilot)
        await typed(pilot, "layer:1", "64 features")
        await pilot.press("enter")
        await until(pilot, f"{SET} L1/0")
        params = asked_params(await answered(pilot, 1, ""))
        assert set(params.features) <= {f"L1/{feature}" for feature in range(64)} - {"L1/5", "L1/7"}
        assert len(params.features) == params.limit
        assert (params.judge, params.again) == ("", False)

    run(project_directory, steps)


def test_given_a_label_when_a_judge_is_asked_then_it_can_be_scored_as_it_is(project_directory: Path) -> None:
    with Project.open(project_directory, write=True, work=False) as project, project.transaction():
        labels.set_label(project.db, find(project.db, "L0/0").id, "by hand")

    async def steps(pilot: Pilot[int]) -> None:
        await opened(pilot)
        await until(pilot, "not scored")
        params = asked_params(await answered(pilot, 1, ""))
        assert (params.features, params.score_only) == (("L0/0",), True)

    run(project_directory, steps)


def test_given_an_address_that_is_none_when_answered_then_a_line_says_so_and_nothing_is_asked(
    project_directory: Path,
) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await opened(pilot)
        await pilot.press("l")
        await until(pilot, "What is a judge to do?")
        await pilot.press("enter")
        await until(pilot, "Which judge?")
        pilot.app.screen.query_one("Input").value = "https://user:secret@host/v1"  # type: ignore[attr-defined]
        await pilot.press("enter")
        await until(pilot, "holds more than a place")
        await pilot.press("escape")

    app = run(project_directory, steps)
    assert not [each for each in app.heard if isinstance(each, Asked)]


@pytest.mark.parametrize(
    ("answer", "params"),
    [("", {}), ("  ", {}), (ADDRESS, {"judge": ADDRESS, "judge_model": ""}),
     (f" {ADDRESS}/   a b ", {"judge": ADDRESS, "judge_model": "a b"})],
)  # fmt: skip
def test_given_an_answer_when_read_then_it_is_an_address_and_a_model(answer: str, params: dict[str, str]) -> None:
    assert judge_params(answer) == params


def test_given_no_address_when_read_then_it_is_refused() -> None:
    with pytest.raises(BadInput):
        judge_params("gpt")


def test_given_no_report_when_asked_for_then_the_worker_makes_one(
    project_directory: Path, in_project: Callable[[str], Any]
) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await opened(pilot)
        await pilot.press("r")
        asked: Asked = await heard(pilot, Asked)
        assert (asked.kind, asked.params) == ("feature-quality", {"dictionary": SET})

    run(project_directory, steps)
