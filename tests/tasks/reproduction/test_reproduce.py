"""Planted circuits: what is true of a model is found, what is not is said not to be, and stops are survived."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from store import jobs
from store.errors import BadInput, Cancelled
from store.project import Project
from tasks.context import Context
from tasks.execute import execute
from tasks.reproduce import Params
from tests.tasks.reproduction import planted

NO_CONTROL = 1e-4


def reproduced(context: Context, directory: str, *names: str, **options: Any) -> dict[str, Any]:
    few = {"draws": 3, "validated": 0} | options
    return execute("reproduce", Params(behaviours=names, directory=directory, **few), context)


def by_claim(behaviour: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["claim"]: each for each in behaviour["hypotheses"]}


@pytest.fixture(scope="module")
def two_hop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    with planted.planted_project(tmp_path_factory.mktemp("two_hop"), two_hop=True, operation=True) as project:
        yield Context(project)


@pytest.fixture(scope="module")
def lookup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    with planted.planted_project(tmp_path_factory.mktemp("lookup"), two_hop=False) as project:
        yield Context(project)


@pytest.fixture(scope="module")
def found(two_hop: Context, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    directory = planted.write_behaviour(tmp_path_factory.mktemp("sets"), "concept", "swap", "answer", "operation")
    (behaviour,) = reproduced(two_hop, directory, validated=1, max_tests=6)["behaviours"]
    return dict(behaviour)


def test_given_a_planted_two_hop_circuit_when_reproduced_then_it_is_supported_by_every_true_hypothesis(
    found: dict[str, Any],
) -> None:
    assert (found["verdict"], found["accuracy"]) == ("supported", 1.0)
    for claim in ("concept", "swap", "answer"):
        tested = by_claim(found)[claim]
        assert tested["outcome"] == "supported", tested["because"]
        assert tested["value"] == pytest.approx(1.0, abs=0.02)
        assert max(tested["controls"]) < 0.1
        assert all(pair["flipped"] for pair in tested["evidence"]["pairs"])


def test_given_a_planted_operation_when_what_recurs_is_removed_then_held_out_answers_are_lost(
    found: dict[str, Any],
) -> None:
    tested = by_claim(found)["operation"]
    assert tested["outcome"] == "supported"
    assert tested["evidence"]["features"] == [f"L0/{planted.OPERATION}@-1"]
    assert max(tested["controls"]) < NO_CONTROL < tested["value"]


def test_given_the_circuit_when_traced_then_the_state_neuron_is_among_the_kept_and_predictions_hold(
    two_hop: Context, found: dict[str, Any]
) -> None:
    from store import graphs

    first = found["graphs"][0]["graph"]
    kept = {(n.layer, n.feature, n.position) for n in graphs.nodes(two_hop.project.db, first) if n.kind == "feature"}
    assert (0, list(planted.STATES).index("texas"), 3) in kept
    (validation,) = found["validations"]
    assert validation["graph"] == first
    assert validation["verdicts"]["contradicted"] == 0
    assert len(found["graphs"]) == 4 and found["recurrence"]["by_offset"]["features"]


def test_given_a_model_that_looks_answers_up_when_a_state_between_is_claimed_then_it_is_not_supported(
    lookup: Context, tmp_path: Path
) -> None:
    directory = planted.write_behaviour(tmp_path / "sets", "concept", "swap", "operation")
    (behaviour,) = reproduced(lookup, directory)["behaviours"]
    assert behaviour["accuracy"] == 1.0
    assert behaviour["verdict"] == "not supported"
    concept = by_claim(behaviour)["concept"]
    assert concept["evidence"]["pairs"][0]["features"] > 0  # the state's neuron fires; nothing reads it
    assert concept["value"] == pytest.approx(0.0, abs=0.05)


def test_given_a_false_and_a_true_hypothesis_when_reproduced_then_the_verdict_is_partly(
    two_hop: Context, tmp_path: Path
) -> None:
    directory = planted.write_behaviour(tmp_path / "sets", "swap", "early")
    (behaviour,) = reproduced(two_hop, directory)["behaviours"]
    outcomes = {claim: each["outcome"] for claim, each in by_claim(behaviour).items()}
    assert outcomes == {"swap": "supported", "early": "not supported"}
    assert behaviour["verdict"] == "partly"


def test_given_a_behaviour_that_the_model_lacks_when_reproduced_then_nothing_is_traced(
    two_hop: Context, tmp_path: Path
) -> None:
    before = two_hop.project.db.table("graph").count
    directory = planted.write_behaviour(tmp_path / "sets", "swap", name="lacking", swapped_answers=True)
    (behaviour,) = reproduced(two_hop, directory)["behaviours"]
    assert behaviour["verdict"] == "model can't"
    assert "0 of 4 pairs" in behaviour["because"]
    assert (behaviour["graphs"], behaviour["hypotheses"]) == ([], [])
    assert two_hop.project.db.table("graph").count == before


def test_given_a_set_that_was_stopped_when_run_again_then_what_was_done_is_not_done_again(
    tmp_path: Path,
) -> None:
    with planted.planted_project(tmp_path, two_hop=True) as project:
        sets = tmp_path / "sets"
        planted.write_behaviour(sets, "swap", name="first")
        directory = planted.write_behaviour(sets, "early", name="second")

        class Stopping(Context):
            """A context that is asked to stop as soon as the second behaviour is begun."""

            def check(self) -> None:
                if any(job.params.get("behaviours") == ["second"] for job in jobs.listing(project.db)):
                    self.cancelled.set()
                super().check()

        with pytest.raises(Cancelled):
            reproduced(Stopping(project), directory)
        done = _succeeded(project)
        document = reproduced(Context(project), directory)
        assert [each["name"] for each in document["behaviours"]] == ["first", "second"]
        assert document["behaviours"][0]["job"] in {job.id for job in done if job.kind == "reproduce"}
        before = len(_succeeded(project))
        again = reproduced(Context(project), directory)
        assert len(_succeeded(project)) == before + 1
        assert again["behaviours"] == document["behaviours"]
        planted.write_behaviour(sets, "swap", name="second")
        changed = reproduced(Context(project), directory)
        assert [each["verdict"] for each in changed["behaviours"]] == ["supported", "supported"]


def _succeeded(project: Project) -> list[jobs.Job]:
    return [job for job in jobs.listing(project.db) if job.state == "succeeded"]


def test_given_ones_own_pair_of_unequal_length_when_reproduced_then_refused_before_anything_runs(
    two_hop: Context, tmp_path: Path
) -> None:
    directory = planted.write_behaviour(tmp_path / "sets", "swap")
    file = Path(directory) / "states.toml"
    file.write_text(file.read_text().replace("the capital near oakland is", "the capital near near oakland is"))
    before = two_hop.project.db.table("baseline").count
    with pytest.raises(BadInput, match=r"states\.toml, pair 0: the prompts are 5 and 6 tokens long"):
        reproduced(two_hop, directory)
    assert two_hop.project.db.table("baseline").count == before
