"""The commands that read a project: a hand-made one with a graph, features and jobs, and no model anywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from store import jobs
from store.project import ModelRecord, Project
from store.search import Example, index_feature, pack_examples
from tests.workbench.command_line import Ran, workbench

MODEL = ModelRecord("builtin:none", "0" * 64, "llama", 3, 8, 16, 32, "cpu", "float32")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """One succeeded job, graph 1 (a token, a feature that was ablated, a logit), and one indexed feature."""
    directory = tmp_path / "project"
    with Project.create(directory, MODEL, "test") as made:
        job = jobs.start(made.db, "trace", '{"prompt": "a b"}', "k")
        with made.transaction():
            stored = made.files.write("graphs", "g.safetensors", _write_byte)
            _insert_graph(made, job, made.record_file(stored))
            _insert_feature(made, made.record_file(stored))
            jobs.succeed(made.db, job, {"graph": 1}, 1.5, 2.5)
    return directory


def _write_byte(path: Path) -> None:
    path.write_bytes(b"x")


def _insert_graph(made: Project, job: int, file_id: int) -> None:
    table = made.db.table("graph")
    table.insert({
        "id": 1, "job_id": job, "prompt": "a b", "tokens": "[1, 2]", "dictionary": "demo", "rule": "ray",
        "targets": json.dumps([{"id": 9, "token": " c", "probability": 0.4, "rival": " d"}]), "file_id": file_id,
        "closing_error": 1e-7, "replacement_score": 0.6, "completeness_score": 0.8,
        "summary": json.dumps({"tokens": ["a", " b"]}),
    })  # fmt: skip
    columns = (
        "graph_id, node, kind, layer, position, feature, activation, influence, share, predicted_effect, input_size"
    )
    for row in (
        (1, 0, "token", -1, 0, 1, 1.0, 0.5, 0.5, None, 0.0),
        (1, 1, "feature", 1, 1, 7, 2.0, 0.5, 0.5, 0.75, 2.0),
        (1, 2, "logit", 3, 1, 9, 0.4, 1.0, 1.0, None, 4.0),
    ):
        made.db.execute(f"INSERT INTO node ({columns}) VALUES ({', '.join('?' * 11)})", list(row))
    for source, target, share in ((0, 1, 2.0), (1, 2, -3.0)):
        made.db.execute("INSERT INTO edge VALUES (1, ?, ?, ?, NULL)", [source, target, share])
    made.db.execute(
        "INSERT INTO effect (job_id, graph_id, kind, layer, position, feature, predicted, measured, verdict)"
        " VALUES (?, 1, 'ablation', 1, 1, 7, 0.75, 0.7, 'confirmed')",
        [job],
    )


def _insert_feature(made: Project, file_id: int) -> None:
    made.db.execute(
        "INSERT INTO dictionary (id, name, kind, layer, n_features, objective, file_id, config, metrics)"
        " VALUES (1, 'demo', 'sae', 1, 16, 'topk', ?, '{}', '{}')",
        [file_id],
    )
    made.db.execute(
        "INSERT INTO feature (id, dictionary_id, feature, density, maximum, mean, histogram, promoted, suppressed)"
        " VALUES (1, 1, 7, 0.01, 4.0, 2.0, '[3, 1]', '[[\" c\", 1.5]]', '[]')"
    )
    made.db.execute("INSERT INTO example VALUES (1, ?)", [pack_examples([Example(0, 3, 4.0)])])
    index_feature(made.db, 1, "letters", "alphabet soup", "c")


def document(ran: Ran) -> dict[str, object]:
    """The one document on stdout; nothing else is there and nothing went wrong."""
    assert (ran.exit_code, ran.err) == (0, "")
    read: dict[str, object] = json.loads(ran.out)
    return read


@pytest.mark.parametrize(
    "words",
    [
        ("jobs", "list"),
        ("jobs", "show", "1"),
        ("graph", "list"),
        ("graph", "show", "1"),
        ("features", "search", "alphabet"),
        ("features", "show", "L1/7", "--no-examples"),
    ],
)
def test_given_a_project_when_a_reading_command_runs_then_stdout_is_data_as_text_and_as_json(
    words: tuple[str, ...], project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = workbench(capsys, "--project", str(project), *words)
    assert (ran.exit_code, ran.err) == (0, "")
    assert ran.out.strip()
    assert document(workbench(capsys, "--project", str(project), *words, "--json"))


def test_given_a_validated_graph_when_shown_then_prediction_and_measurement_stand_side_by_side(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = workbench(capsys, "--project", str(project), "graph", "show", "1").out
    line = next(line for line in out.splitlines() if "L1/7@1" in line)
    assert "+0.750" in line
    assert "+0.700 ✓" in line
    assert "→ ·c" in line
    assert "−███▊   75.0 %" in line
    assert "logit ·c − ·d  p 0.400" in out
    assert "pruned, constants: 25.0 %" in out


def test_given_a_feature_as_root_when_shown_outwards_then_the_tree_starts_there(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("graph", "show", "1", "--root", "L1/7@1", "--direction", "out")
    out = workbench(capsys, "--project", str(project), *words).out
    assert out.splitlines()[-1].endswith("└─ logit ·c − ·d  p 0.400")


def test_given_a_graph_when_shown_as_a_map_then_each_kept_feature_has_its_mark_in_its_layers_row(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = workbench(capsys, "--project", str(project), "graph", "show", "1", "--map").out
    assert "·c − ·d" in out.splitlines()[0]
    assert any(line.split()[:1] == ["L1"] and "●" in line for line in out.splitlines())


def test_given_a_feature_that_was_pruned_when_named_as_root_then_one_line_says_so(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = workbench(capsys, "--project", str(project), "graph", "show", "1", "--root", "L1/8@1")
    assert (ran.exit_code, ran.out) == (2, "")
    assert ran.err == "workbench: L1/8@1 is not in graph 1; name a feature that `workbench graph show` prints\n"


def test_given_a_graph_when_exported_then_another_library_reads_its_nodes_and_edges(
    project: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import networkx

    file = tmp_path / "g.graphml"
    ran = workbench(capsys, "--project", str(project), "graph", "export", "1", str(file), "--json")
    size = file.stat().st_size
    assert document(ran) == {"graph": 1, "file": str(file), "format": "graphml", "bytes": size, "nodes": 3, "edges": 2}
    read = networkx.read_graphml(file)
    assert (read.number_of_nodes(), read.number_of_edges()) == (3, 2)
    again = workbench(capsys, "--project", str(project), "graph", "export", "1", str(file))
    assert (again.exit_code, again.err) == (2, f"workbench: {file} exists; choose another name\n")


def test_given_a_search_when_run_with_json_then_the_promised_keys_are_there(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = document(workbench(capsys, "--project", str(project), "features", "search", "alph", "--json"))["features"]
    assert isinstance(found, list)
    assert {"feature": "L1/7", "label": "", "promoted": [[" c", 1.5]]}.items() <= found[0].items()
    assert found[0]["score"] > 0


def test_given_the_project_in_the_environment_when_no_option_names_one_then_it_is_used(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_PROJECT", str(project))
    jobs_there = document(workbench(capsys, "jobs", "list", "--json"))["jobs"]
    assert isinstance(jobs_there, list)
    assert {"id": 1, "kind": "trace", "state": "succeeded", "progress": 1.0}.items() <= jobs_there[0].items()
