"""`workbench features`: found, read, labelled, starred, compared, as text and as JSON."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.tasks import feature_project
from tests.workbench.command_line import Ran, workbench

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The made-up project."""
    feature_project.create(tmp_path / "project")
    return tmp_path / "project"


def features(capsys: Capture, project: Path, *words: str) -> Ran:
    """`workbench features WORDS` in the project."""
    return workbench(capsys, "--project", str(project), "features", *words)


def document(capsys: Capture, project: Path, *words: str) -> Any:
    """The one document that a command prints."""
    ran = features(capsys, project, *words, "--json")
    assert (ran.exit_code, ran.err) == (0, "")
    return json.loads(ran.out)


def names(found: Any) -> list[str]:
    return [each["feature"] for each in found["features"]]


def test_given_filters_when_searched_then_options_and_filters_mean_the_same(project: Path, capsys: Capture) -> None:
    by_filter = document(capsys, project, "search", "word3 layer:1 set:made")
    by_option = document(capsys, project, "search", "word3", "--layer", "1", "--dictionary", "made")
    assert names(by_filter) == names(by_option)
    assert sorted(names(by_filter)) == ["L1/1", "L1/2", "L1/3"]
    rarest = document(capsys, project, "search", "layer:0", "--sort", "rarity", "--limit", "3")
    assert names(rarest) == ["L0/0", "L0/1", "L0/2"]
    assert all(each["score"] is None for each in rarest["features"])


def test_given_a_bad_filter_when_searched_then_one_line_says_so(project: Path, capsys: Capture) -> None:
    ran = features(capsys, project, "search", "colour:red")
    assert (ran.exit_code, ran.out) == (2, "")
    assert ran.err.startswith("workbench: there is no filter colour:; the filters are layer: ")


def test_given_a_label_and_a_star_when_given_then_card_and_search_say_them(project: Path, capsys: Capture) -> None:
    assert document(capsys, project, "label", "L1/4", "capital\ncities")["label"] == "capital cities"
    assert document(capsys, project, "label", "L1/4", "cities")["labels"][1]["label"] == "capital cities"
    assert document(capsys, project, "star", "L1/4")["starred"] is True
    assert names(document(capsys, project, "search", "star: label:cities")) == ["L1/4"]
    card = features(capsys, project, "show", "L1/4").out
    assert card.startswith("★ made L1/4\ncities  (person, ")
    assert "before: capital cities" in card
    assert document(capsys, project, "star", "L1/4", "--remove")["starred"] is False
    assert names(document(capsys, project, "search", "star:")) == []


def test_given_a_label_that_is_too_long_then_nothing_is_written(project: Path, capsys: Capture) -> None:
    ran = features(capsys, project, "label", "L1/4", "x" * 201)
    assert (ran.exit_code, ran.err) == (2, "workbench: a label of 201 characters; give at most 200\n")
    assert names(document(capsys, project, "search", "label:*")) == []


def test_given_two_graphs_when_contrasted_then_rows_say_what_each_does_there(project: Path, capsys: Capture) -> None:
    found = document(capsys, project, "contrast", "1", "2")
    values = [each["activation"] for each in found["features"]]
    assert values
    assert values == sorted(values, reverse=True)
    assert found["features"] == document(capsys, project, "search", "in:1 not-in:2")["features"]
    assert "active at" in features(capsys, project, "contrast", "1", "2").out.splitlines()[0]
    assert features(capsys, project, "contrast", "1", "9").err.startswith("workbench: no graph 9")


def test_given_a_feature_when_its_neighbours_are_asked_then_the_nearest_is_first(
    project: Path, capsys: Capture
) -> None:
    found = document(capsys, project, "neighbours", "L1/2", "--limit", "2")
    assert found["by_decoder"][0]["feature"] == "L1/5"
    assert found["by_decoder"][0]["cosine"] > 0.99
    assert found["by_tokens"][0]["tokens_in_common"] == 3
    assert "3 of 3  L0/2" in features(capsys, project, "neighbours", "L1/2").out


@pytest.mark.parametrize("words", [("show", "L9/9"), ("label", "L9/9", "x"), ("star", "L9/9"), ("neighbours", "L9/9")])
def test_given_a_feature_that_is_not_there_then_one_line_says_so(
    words: tuple[str, ...], project: Path, capsys: Capture
) -> None:
    ran = features(capsys, project, *words)
    assert (ran.exit_code, ran.out) == (3, "")
    assert ran.err.startswith("workbench: no indexed feature L9/9 in any dictionary")


def test_given_features_when_given_away_and_taken_in_then_files_and_rows_agree(
    project: Path, tmp_path: Path, capsys: Capture
) -> None:
    folder = tmp_path / "files"
    given = document(capsys, project, "export", str(folder), "layer:1", "--dictionary", "made")
    assert given["features"] == len(list(folder.glob("*.json"))) == 12
    before = document(capsys, project, "show", "L1/4", "--dictionary", "made")
    assert document(capsys, project, "import", str(folder), "--dictionary", "made")["features"] == 12
    after = document(capsys, project, "show", "L1/4", "--dictionary", "made")
    assert {key: after[key] for key in ("density", "maximum", "mean", "label")} == {
        key: before[key] for key in ("density", "maximum", "mean", "label")
    }
    assert features(capsys, project, "export", str(folder), "nosuchword", "--dictionary", "made").exit_code == 3


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [("1.json", "{}", "1.json is no feature"), ("x.txt", "", "holds no .json file"),
     ("2.json", '{"index": 999999, "examples_quantiles": [], "act_max": 0, "top_logits": [], "bottom_logits": []}',
      "has no feature L")],
)  # fmt: skip
def test_given_files_that_do_not_fit_when_taken_in_then_one_line_says_so_and_nothing_is_written(
    project: Path, tmp_path: Path, capsys: Capture, name: str, text: str, words: str
) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / name).write_text(text)
    ran = features(capsys, project, "import", str(tmp_path / "files"), "--dictionary", "made")
    assert (ran.exit_code, ran.out) == (2, "")
    assert words in ran.err


@pytest.mark.parametrize(
    "words",
    [("label",), ("label", "L1/4"), ("label", "--auto", "--judge", "https://user:secret@host/v1"),
     ("label", "--auto", "--held-out", "1")],
)  # fmt: skip
def test_given_a_labelling_that_says_too_little_or_too_much_then_one_line_says_so(
    project: Path, capsys: Capture, words: tuple[str, ...]
) -> None:
    ran = features(capsys, project, *words)
    assert (ran.exit_code, ran.out) == (2, "")
    assert ran.err.count("\n") == 1
    assert "secret" not in ran.err
