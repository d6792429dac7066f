"""`workbench graph export` and `graph import` as a person runs them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from store.project import Project
from tasks.context import Context
from tests.store.conftest import MODEL
from tests.tasks.graph_project import run
from tests.workbench.command_line import workbench

PEERS_FILE = Path(__file__).parents[1] / "oracle/graph_files/circuit_tracer.json"
BEGINNINGS = {"json": b"{", "graphml": b"<?xml", "dot": b"digraph", "svg": b"<svg", "html": b"<!DOCTYPE html>"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with one imported graph, which needs no model."""
    directory = tmp_path_factory.mktemp("export") / "project"
    with Project.create(directory, MODEL, "0.1.0") as made:
        run(Context(made), "import", file=PEERS_FILE)
    yield directory


@pytest.mark.parametrize("ending", [*BEGINNINGS, "safetensors"])
def test_given_a_file_name_when_exported_then_its_ending_is_the_format(
    project: Path, ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / f"graph.{ending.upper() if ending == 'svg' else ending}"
    ran = workbench(capsys, "--project", str(project), "graph", "export", "1", str(file), "--json")
    assert ran.exit_code == 0
    document = json.loads(ran.out)
    assert document == {"graph": 1, "file": str(file), "format": ending, "bytes": file.stat().st_size, "nodes": 33,
                        "edges": 156}  # fmt: skip
    if ending == "safetensors":
        assert {"adjacency", "node_kind", "edges_kept"} <= set(load_file(file))
    else:
        assert file.read_bytes().startswith(BEGINNINGS[ending])


@pytest.mark.parametrize(
    ("name", "options", "line"),
    [
        ("graph.png", (), "ends in none of .json, .graphml, .dot, .safetensors, .svg, .html; name it so"),
        ("there.svg", (), "there.svg exists; choose another name"),
        ("none/graph.svg", (), "cannot be written (No such file or directory)"),
        ("there.svg/graph.svg", (), "cannot be written (Not a directory)"),
        ("graph.svg", ("--format", "pdf"), "pdf"),
    ],
)
def test_given_a_file_that_cannot_be_when_exported_then_one_line_says_so_and_nothing_is_written(
    project: Path, name: str, options: tuple[str, ...], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there.svg").write_text("mine")
    ran = workbench(capsys, "--project", str(project), "graph", "export", "1", str(tmp_path / name), *options)
    assert (ran.exit_code, ran.out) == (2, "") and line in ran.err and ran.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["there.svg"]
    assert (tmp_path / "there.svg").read_text() == "mine"


def test_given_no_such_graph_when_exported_then_one_line_says_so(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = workbench(capsys, "--project", str(project), "graph", "export", "9", str(tmp_path / "g.json"))
    assert (ran.exit_code, ran.out) == (3, "") and "no graph 9 in this project" in ran.err


def test_given_the_peers_file_when_imported_by_command_then_its_tree_is_shown_and_unknowns_are_dashes(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = workbench(capsys, "--project", str(project), "graph", "import", str(PEERS_FILE))
    assert ran.exit_code == 0 and "closing error –" in ran.out and "nan" not in ran.out
    assert "not validated" in ran.err
    listed = workbench(capsys, "--project", str(project), "graph", "list", "--json")
    assert json.loads(listed.out)["graphs"][0]["closing_error"] is None


def test_given_nonsense_when_imported_by_command_then_one_line_and_exit_2(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "g.json").write_text('{"nodes": []}')
    ran = workbench(capsys, "--project", str(project), "graph", "import", str(tmp_path / "g.json"))
    assert (ran.exit_code, ran.out) == (2, "") and "is no graph: metadata: Field required" in ran.err
    assert ran.err.count("\n") == 1
