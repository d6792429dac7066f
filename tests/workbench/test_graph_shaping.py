"""`workbench graph prune`, `score`, `group` and `diff` as a person runs them, on an imported graph, without a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from store import graph_shape
from store.project import Project
from tasks.context import Context
from tests.store.conftest import MODEL
from tests.tasks.graph_project import run
from tests.workbench.command_line import Ran, workbench

PEERS_FILE = Path(__file__).parents[1] / "oracle/graph_files/circuit_tracer.json"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one imported graph: the peer's, with two more features."""
    graph = json.loads(PEERS_FILE.read_text())
    (known,) = (node for node in graph["nodes"] if node["feature_type"] == "cross layer transcoder")
    into = [link for link in graph["links"] if link["target"] == known["node_id"] and link["source"].startswith("E")]
    out = [link for link in graph["links"] if link["source"] == known["node_id"]]
    for layer, feature in ((1, 5), (2, 9)):
        name = f"{layer}_{feature}_7"
        cantor = (layer + feature) * (layer + feature + 1) // 2 + feature
        graph["nodes"].append(known | {"node_id": name, "layer": str(layer), "feature": cantor})
        graph["links"] += [link | {"target": name} for link in into] + [link | {"source": name} for link in out]
    (tmp_path / "graph.json").write_text(json.dumps(graph))
    directory = tmp_path / "project"
    with Project.create(directory, MODEL, "0.1.0") as made:
        run(Context(made), "import", file=tmp_path / "graph.json")
    return directory


class Shell:
    """Command lines in one project."""

    def __init__(self, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.project, self.capsys = project, capsys

    def __call__(self, *words: str) -> Ran:
        """`workbench graph words…`."""
        return workbench(self.capsys, "--project", str(self.project), "graph", *words)

    def read(self, *words: str) -> Any:
        """The one document of a command that ends well."""
        ran = self(*words, "--json")
        assert ran.exit_code == 0, ran.err
        return json.loads(ran.out)


@pytest.fixture
def shell(project: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    """The command line of the project."""
    return Shell(project, capsys)


def names(shell: Shell, graph: int = 1) -> list[str]:
    """The features of a graph."""
    nodes = shell.read("show", str(graph))["nodes"]
    return [node["name"] for node in nodes if node["kind"] == "feature"]


def test_given_a_graph_when_pruned_then_there_is_a_smaller_one_beside_it(shell: Shell) -> None:
    before = shell.read("show", "1")
    document = shell.read("prune", "1", "--node-threshold", "0.5", "--edge-threshold", "0.8")
    assert document["graph"] == 2 and document["pruned_from"] == 1
    assert {row["id"]: row["n_nodes"] for row in shell.read("list")["graphs"]} == {1: 35, 2: document["kept_nodes"]}
    assert document["kept_nodes"] < 35
    assert shell.read("show", "1") == before
    assert "pruned from" in shell("prune", "1").out


def test_given_features_when_grouped_then_they_are_listed_drawn_together_scored_renamed_and_dissolved(
    shell: Shell,
) -> None:
    first, second, *_ = names(shell)
    made = shell.read("group", "1", "the [bold]pair", first, second)
    assert [(row["name"], row["members"]) for row in made["supernodes"]] == [("the [bold]pair", [first, second])]
    assert "the [bold]pair" in shell("group", "1", "--list").out
    drawn = shell.read("show", "1", "--grouped")["nodes"]
    assert [node["label"] for node in drawn if node["kind"] == "supernode"] == ["the [bold]pair"]
    assert not {first, second} & {node["name"] for node in drawn}
    assert "[the [bold]pair]" in shell("show", "1", "--grouped", "--root", "the [bold]pair").out
    scored = shell.read("score", "1", "--supernode", "the [bold]pair")
    assert scored["chosen"] == shell.read("score", "1", "--nodes", first, "--nodes", second)["chosen"]
    assert [row["name"] for row in shell.read("group", "1", "--rename", "the [bold]pair", "b")["supernodes"]] == ["b"]
    assert shell.read("group", "1", "--remove", "b")["supernodes"] == []


@pytest.mark.parametrize(
    ("words", "exit_code", "line"),
    [
        (("prune", "7"), 3, "no graph 7"),
        (("prune", "1", "--node-threshold", "1.5"), 2, "--node-threshold"),
        (("prune", "1", "--edge-threshold", "nan"), 2, "--edge-threshold"),
        (("score", "7"), 3, "no graph 7"),
        (("score", "1", "--nodes", "L0/4000@1"), 2, "L0/4000@1 is not in the graph"),
        (("score", "1", "--nodes", "x\x1b[31m"), 2, "is not a feature (at character 1)"),
        (("score", "1", "--supernode", "none"), 2, "no supernode 'none'; its supernodes are: none"),
        (("group", "1"), 2, "nothing asked for"),
        (("group", "1", "a", "--list"), 2, "NAME and --list asked for"),
        (("group", "1", "a"), 2, "supernode 'a' has no members"),
        (("group", "1", "", "L0/1"), 2, "'' is no name"),
        (("group", "1", "a\x1b]0;x\x07", "@0"), 2, "is no name"),
        (("group", "1", "a", "L0/4000@1"), 2, "L0/4000@1 is not in the graph"),
        (("group", "1", "a", "@0", "L0@1"), 2, "of one kind"),
        (("group", "1", "--remove", "a"), 2, "no supernode 'a'"),
        (("group", "1", "--rename", "a", "b"), 2, "no supernode 'a'"),
        (("group", "7", "a", "@0"), 3, "no graph 7"),
        (("group", "1", "--auto", "--similarity", "2"), 2, "--similarity"),
        (("diff", "1", "7"), 3, "no graph 7"),
    ],
)
def test_given_bad_input_when_run_then_one_line_says_what_is_wrong_and_nothing_is_changed(
    words: tuple[str, ...], exit_code: int, line: str, shell: Shell
) -> None:
    before = shell.read("group", "1", "--list"), shell.read("list")
    ran = shell(*words)
    assert (ran.exit_code, ran.out) == (exit_code, "")
    assert line in ran.err and ran.err.count("\n") == 1 and "\x1b" not in ran.err
    assert (shell.read("group", "1", "--list"), shell.read("list")) == before


def test_given_a_member_of_another_supernode_or_a_taken_name_when_grouped_then_it_is_refused(shell: Shell) -> None:
    first, second, *_ = names(shell)
    shell.read("group", "1", "one", first)
    assert "are in supernode 'one'" in shell("group", "1", "two", first, second).err
    assert "there is a supernode 'one' already" in shell("group", "1", "one", second).err
    shell.read("group", "1", "two", second)
    assert "there is a supernode 'one' already" in shell("group", "1", "--rename", "two", "one").err


def test_given_a_graph_and_its_pruned_self_when_compared_then_nothing_is_only_in_the_smaller(shell: Shell) -> None:
    shell.read("prune", "1", "--node-threshold", "0.5")
    document = shell.read("diff", "1", "2")
    assert document["features"]["only_b"] == document["edges"]["only_b"] == 0 < document["features"]["only_a"]
    assert document["a"]["graph"] == 1 and document["b"]["node_threshold"] == 0.5
    assert document["tokens_that_differ"] == [] == document["warnings"]
    assert len(document["edge_changes"]) <= 100
    out = shell("diff", "1", "2", "--top", "2").out
    assert "only in A: " in out and "only in B" not in out.split("Jaccard")[1]


def test_given_an_imported_graph_when_grouped_by_itself_then_it_is_said_that_its_model_is_not_there(
    shell: Shell,
) -> None:
    ran = shell("group", "1", "--auto")
    assert ran.exit_code in (2, 3) and ran.err.count("\n") == 1
    assert shell.read("group", "1", "--list")["supernodes"] == []


def test_given_pins_when_set_taken_off_and_undone_then_list_and_store_agree(shell: Shell) -> None:
    shell.read("pin", "1")
    assert shell.read("pin", "1", "L1/5@7", "L2/9@7") == shell.read("pin", "1")
    assert {pinned["name"] for pinned in shell.read("pin", "1")["pins"]} == {"L1/5@7", "L2/9@7"}
    assert "L1/5@7" in shell("pin", "1").out
    assert "undone: pin L1/5@7 L2/9@7" in shell("undo", "1").err
    assert shell.read("pin", "1")["pins"] == []
    assert "redone: pin" in shell("redo", "1").err
    assert [pinned["name"] for pinned in shell.read("pin", "1", "--remove", "L1/5@7")["pins"]] == ["L2/9@7"]
    assert shell.read("pin", "1", "--remove")["pins"] == []


@pytest.mark.parametrize(
    "words", [("pin", "1", "L9/1@7"), ("pin", "9", "L1/5@7"), ("pin", "1", "--remove"), ("undo", "1"), ("redo", "1"),
              ("views", "1", "--remove", "none"), ("views", "9")],
)  # fmt: skip
def test_given_what_is_not_there_when_shaped_then_one_line_says_so_and_nothing_is_written(
    shell: Shell, words: tuple[str, ...]
) -> None:
    ran = shell(*words)
    assert ran.exit_code in (2, 3) and ran.err.count("\n") == 1 and not ran.out
    with Project.open(shell.project, write=False) as project:
        assert graph_shape.pins(project.db, 1) == [] and not project.db.execute("SELECT 1 FROM graph_edit").fetchone()


def test_given_a_kept_view_when_listed_then_its_name_is_safe_and_it_can_be_forgotten(shell: Shell) -> None:
    with Project.open(shell.project, write=True, work=False) as project, project.transaction():
        view = {"node_threshold": 0.7, "edge_threshold": 0.9, "pins": [1, 2], "grouped": True}
        graph_shape.keep_view(project.db, 1, "late [/INST]", view)
    assert shell.read("views", "1")["views"] == [{"name": "late [/INST]", "view": view}]
    printed = shell("views", "1").out
    assert "late [/INST]" in printed and "0.70" in printed and "grouped" in printed
    assert shell.read("views", "1", "--remove", "late [/INST]")["views"] == []


def test_given_a_pinned_feature_when_exported_and_imported_then_it_is_pinned_and_groups_and_targets_are_not(
    shell: Shell, tmp_path: Path
) -> None:
    shell.read("group", "1", "late", "L1/5@7")
    shell.read("pin", "1", "L2/9@7")
    assert shell("export", "1", str(tmp_path / "pinned.json")).exit_code == 0
    assert shell("import", str(tmp_path / "pinned.json")).exit_code == 0
    assert [pinned["name"] for pinned in shell.read("pin", "2")["pins"]] == ["L2/9@7"]
