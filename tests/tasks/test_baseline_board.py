"""The board: files and measurements put together, nothing lost, nothing doubled."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store import baselines
from store.errors import Missing
from store.jobs import ORIGIN, add_event
from store.project import ModelRecord, Project
from tasks.baseline import AD_HOC
from tasks.baseline_board import BoardBehaviour, board, find_pair
from tasks.behaviours import load_behaviours

MODEL = ModelRecord("builtin:none", "r1", "llama", 3, 4, 6, 96, "cpu", "float32")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with Project.create(tmp_path / "project", MODEL, "0.1.0") as made:
        yield made


def add_job(project: Project, **params: Any) -> int:
    sql = (
        "INSERT INTO job (kind, params, params_hash, state, created_at) VALUES ('baseline', ?, 'h', 'succeeded', 'now')"
    )
    return int(project.db.execute(sql, [json.dumps(params)]).lastrowid or 0)


def add_prompt(project: Project, name: str, *content: str | None) -> int:
    sql = "INSERT INTO prompt (behaviour, name, clean, decisive, corrupt, rival) VALUES (?, ?, ?, ?, ?, ?)"
    row = [name.partition("/")[0], name, *content, *[None] * (4 - len(content))]
    return int(project.db.execute(sql, row).lastrowid or 0)


def add_run(project: Project, job: int, prompt: int, variant: str, *scores: float | None) -> int:
    """`scores`: p, rank, logit difference, passed."""
    sql = """INSERT INTO baseline (job_id, prompt_id, variant, p_decisive, rank_decisive, logit_difference, passed,
        tokens, top, continuation, seed) VALUES (?, ?, ?, ?, ?, ?, ?, '[1, 2]', '[[" a", 0.5]]', ' and so on', 7)"""
    return int(project.db.execute(sql, [job, prompt, variant, *scores]).lastrowid or 0)


def named(behaviours: list[BoardBehaviour], name: str) -> BoardBehaviour:
    return next(behaviour for behaviour in behaviours if behaviour.name == name)


def test_given_a_project_in_which_nothing_was_run_when_read_then_every_behaviour_is_there_not_run(
    project: Project,
) -> None:
    behaviours = board(project)
    assert [behaviour.name for behaviour in behaviours] == list(load_behaviours())
    for behaviour in behaviours:
        assert [pair.pair for pair in behaviour.pairs] == list(load_behaviours()[behaviour.name].pairs)
        assert (behaviour.run, behaviour.n_asked, behaviour.lacking) == ((), 0, False)
        asked = load_behaviours()[behaviour.name]
        assert [behaviour.form(pair.pair) for pair in behaviour.pairs] == [asked.form(pair) for pair in asked.pairs]
    assert any(behaviour.chat for behaviour in behaviours)


def test_given_runs_of_a_prompt_when_read_then_the_latest_of_each_variant_counts(project: Project) -> None:
    capital = load_behaviours()["capitals"].pairs[0]
    prompt = add_prompt(project, "capitals/0", capital.clean, capital.decisive, capital.corrupt, capital.rival)
    project.db.execute("UPDATE prompt SET concept = ?", [capital.concept])
    first, second = add_job(project), add_job(project)
    add_run(project, first, prompt, "clean", 0.1, 5, -1.0, 0)
    add_run(project, first, prompt, "corrupt", 0.1, 5, 3.0, 0)
    add_run(project, second, prompt, "clean", 0.4, 3, 1.5, 1)
    capitals = named(board(project), "capitals")
    (pair,) = capitals.run
    assert len(capitals.pairs) == len(load_behaviours()["capitals"].pairs)
    assert (pair.clean.p_decisive, pair.corrupt.logit_difference, pair.record and pair.record.job_id) == (
        0.4,
        3.0,
        second,
    )
    assert pair.passed is False
    assert (capitals.n_passed, capitals.n_asked, capitals.lacking) == (0, 1, True)
    add_run(project, second, prompt, "corrupt", 0.1, 5, -3.0, 1)
    capitals = named(board(project), "capitals")
    assert (capitals.n_passed, capitals.lacking) == (1, False)
    means = capitals.mean
    assert (means["clean"].p_decisive, means["corrupt"].logit_difference) == (0.4, -3.0)


def test_given_prompts_of_ones_own_when_read_then_they_come_first_the_newest_first_and_are_no_behaviour(
    project: Project,
) -> None:
    job = add_job(project, prompt="a")
    for number, text in enumerate(("older", "newer")):
        prompt = add_prompt(project, f"{AD_HOC}/{number}", text)
        add_run(project, job, prompt, "clean", None, None, None, None)
    own = board(project)[0]
    assert (own.name, [pair.pair.clean for pair in own.pairs]) == (AD_HOC, ["newer", "older"])
    assert (own.n_asked, own.lacking, [pair.passed for pair in own.pairs]) == (0, False, [None, None])


def test_given_a_directory_of_ones_own_when_read_then_its_files_are_there_and_what_was_run_survives_them(
    project: Project, tmp_path: Path
) -> None:
    directory = tmp_path / "mine"
    directory.mkdir()
    for name, clean in (("colours", "the sky is"), ("tastes", "sugar is")):
        (directory / f"{name}.toml").write_text(f'title = "T"\n[[pair]]\nclean = "{clean}"\ndecisive = " x"\n')
    job = add_job(project, directory="mine")
    add_event(project.db, job, ORIGIN, str(tmp_path))
    add_run(project, job, add_prompt(project, "colours/0", "the sky was", " x"), "clean", 0.9, 0, None, 1)
    colours, tastes = (named(board(project), name) for name in ("colours", "tastes"))
    assert [(pair.pair.clean, pair.passed) for pair in colours.pairs] == [("the sky is", None), ("the sky was", True)]
    assert (colours.directory, tastes.directory) == (str(directory), str(directory))
    for file in directory.iterdir():
        file.unlink()
    behaviours = board(project)
    assert [pair.pair.clean for pair in named(behaviours, "colours").pairs] == ["the sky was"]
    assert "tastes" not in [behaviour.name for behaviour in behaviours]


def test_given_a_text_when_looked_for_then_the_pair_that_was_run_is_found_by_either_prompt(project: Project) -> None:
    capital = load_behaviours()["capitals"].pairs[0]
    own = add_prompt(project, f"{AD_HOC}/0", capital.clean)
    add_run(project, add_job(project), own, "clean", None, None, None, None)
    behaviours = board(project)
    found = find_pair(behaviours, capital.clean)
    assert found is not None
    assert found[0].name == AD_HOC
    found = find_pair(behaviours, str(capital.corrupt))
    assert found is not None
    assert found[1].pair == capital
    assert find_pair(behaviours, "nobody ever wrote this") is None


def test_given_a_prompt_when_its_readings_are_asked_for_then_they_are_the_rows(project: Project) -> None:
    prompt = add_prompt(project, "mine/3", "a b", " c", "a d", " e")
    job = add_job(project)
    clean = add_run(project, job, prompt, "clean", 0.5, 0, 1.0, 1)
    add_run(project, job, prompt, "corrupt", 0.25, 1, -1.0, 1)
    project.db.execute("INSERT INTO surprise VALUES (?, ?)", [clean, '[["a", null], [" b", 3.5]]'])
    readings = baselines.readings(project.db, prompt)
    assert readings["clean"].surprise == [("a", None), (" b", 3.5)]
    assert readings["corrupt"].surprise is None
    assert (readings["clean"].top, readings["clean"].continuation) == ([(" a", 0.5)], " and so on")
    assert baselines.find(project.db, "mine/3").scores["corrupt"].p_decisive == 0.25
    with pytest.raises(Missing, match="no prompt 'mine/4'"):
        baselines.find(project.db, "mine/4")
