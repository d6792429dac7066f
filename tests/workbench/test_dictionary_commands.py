"""`workbench dictionaries` as a person runs it, without a model: list, show, import, export, remove."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from store.project import Project
from tests.store.conftest import MODEL
from tests.tasks.dictionaries.test_foreign_formats import ORACLE
from tests.workbench.command_line import Ran, workbench


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project on a model of three layers whose h has 48 numbers."""
    from dataclasses import replace

    directory = tmp_path / "project"
    Project.create(directory, replace(MODEL, n_layers=3, d_mlp=48), "test").close()
    return directory


def ran(capsys: pytest.CaptureFixture[str], project: Path, *words: object) -> Ran:
    return workbench(capsys, "--project", str(project), "dictionaries", *map(str, words))


def test_given_a_foreign_set_when_imported_and_exported_then_it_is_listed_and_the_files_are_there(
    capsys: pytest.CaptureFixture[str], project: Path, tmp_path: Path
) -> None:
    done = ran(capsys, project, "import", ORACLE / "topk", "--name", "theirs", "--json")
    assert done.exit_code == 0, done.err
    assert json.loads(done.out)["dictionary"] == "theirs"
    (listed,) = json.loads(ran(capsys, project, "list", "--json").out)["dictionaries"]
    assert (listed["dictionary"], listed["layers"], listed["activation"]) == ("theirs", [1], ["topk 5"])
    assert listed["origin"] == ["saelens topk"]
    assert "theirs" in ran(capsys, project, "list").out
    shown = json.loads(ran(capsys, project, "show", "theirs", "--json").out)
    assert shown["records"][0]["config"]["imported_from"]["architecture"] == "topk"
    assert "topk 5" in ran(capsys, project, "show", "theirs").out
    for format_name, folder in (("saelens", "blocks.1.mlp.hook_post"), ("sparsify", "layers.1.mlp")):
        out = tmp_path / format_name
        exported = ran(capsys, project, "export", "theirs", out, "--format", format_name, "--json")
        assert exported.exit_code == 0, exported.err
        assert (out / folder / "cfg.json").exists()
        assert json.loads(exported.out)["layers"] == [1]
        assert ran(capsys, project, "import", out, "--name", f"back-{format_name}").exit_code == 0
    sets = json.loads(ran(capsys, project, "list", "--json").out)["dictionaries"]
    assert [each["dictionary"] for each in sets] == ["back-saelens", "back-sparsify", "theirs"]


def test_given_graphs_of_a_set_when_it_is_removed_then_force_is_asked_for(
    capsys: pytest.CaptureFixture[str], project: Path
) -> None:
    assert ran(capsys, project, "import", ORACLE / "gated").exit_code == 0
    with Project.open(project, write=True) as opened, opened.transaction():
        opened.db.execute(
            "INSERT INTO graph (job_id, prompt, tokens, dictionary, targets, rule, file_id, replacement_score,"
            " completeness_score, summary) VALUES (1, 'a', '[1]', 'gated', '[]', 'ray', 1, 0.5, 0.5, '{}')"
        )
    refused = ran(capsys, project, "remove", "gated")
    assert refused.exit_code == 2
    assert "graph 1 is made of features of 'gated'; give --force" in refused.err
    weights = list((project / "weights").iterdir())
    removed = ran(capsys, project, "remove", "gated", "--force", "--json")
    assert removed.exit_code == 0, removed.err
    assert json.loads(removed.out)["layers"] == [1]
    assert weights and ran(capsys, project, "list", "--json").out.count("gated") == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", "none"), "no dictionary set named 'none' in this project; there are theirs"),
        (("export", "theirs", "OUT", "--layers", "2"), "the set 'theirs' has no layer 2; its layers are [1]"),
        (("export", "theirs", "OUT", "--layers", "9"), "layers '9' are not all in"),
        (("export", "theirs", "/proc/none"), "cannot be written"),
        (("remove", "theirs", "--layers", "0"), "the set 'theirs' has no layer 0"),
        (("import", "nowhere"), "there is no nowhere; name a directory with SAEs"),
    ],
)
def test_given_what_cannot_be_done_when_asked_for_then_it_is_said_and_nothing_changes(
    capsys: pytest.CaptureFixture[str], project: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    assert ran(capsys, project, "import", ORACLE / "topk", "--name", "theirs").exit_code == 0
    before = ran(capsys, project, "list", "--json").out
    refused = ran(capsys, project, *(str(tmp_path / "out") if word == "OUT" else word for word in words))
    assert refused.exit_code == 2
    assert said in refused.err
    assert ran(capsys, project, "list", "--json").out == before
    assert not (tmp_path / "out").exists()
