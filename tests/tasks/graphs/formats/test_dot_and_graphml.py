"""DOT and GraphML: everything that is kept is in them, and no text is taken for syntax."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.graphs import EdgeRecord, GraphRecord, NodeRecord
from store.project import ModelRecord
from tasks.graphs.formats.dot import dot, quoted
from tasks.graphs.formats.graphml import graphml
from tasks.graphs.formats.stored import StoredGraph
from tasks.graphs.view import graph_view
from tests.workbench.figures.graphs import HOSTILE

GRAPHVIZ = shutil.which("dot")
NODES = (
    NodeRecord(0, "feature", 1, 1, 7, 1.5, 0.3, -0.25, 0.5, 2.0),
    NodeRecord(4, "error", 0, 1, -1, 0.0, 0.1, float("nan"), None, 0.0),
    NodeRecord(9, "token", -1, 1, 6, 0.0, 0.4, 0.75, None, 0.0),
    NodeRecord(10, "logit", 2, 1, 3, 0.5, 0.0, 2.0, None, 4.0),
)
EDGES = (EdgeRecord(9, 0, 1.5, None), EdgeRecord(0, 10, -0.25, 0.125), EdgeRecord(4, 10, 0.5, None))


def stored(text: str = "words", closing_error: float = 1e-7) -> StoredGraph:
    """A graph of four nodes with `text` wherever a model or a person could put some."""
    targets = [{"token": text, "id": 3, "position": 1, "probability": 0.5, "value": 2.0, "rival": text}]
    record = GraphRecord(1, text, [5, 6], text, targets, "ray", closing_error, 0.5, 0.6, {"tokens": [text, "b"]}, 2,
                         4, 3, None)  # fmt: skip
    view = graph_view(record, NODES, EDGES, [], {})
    nodes = {n: replace(v, label=text, promoted=(text,)) if v.kind == "feature" else v for n, v in view.nodes.items()}
    model = ModelRecord("m", "r", "llama", 2, 8, 16, 32, "cpu", "float32")
    return StoredGraph(record, NODES, EDGES, replace(view, nodes=nodes), {text: [0]}, (), model, "neuron", {}, Path())


def test_given_a_graph_when_written_as_graphml_then_another_reader_has_its_nodes_edges_and_numbers() -> None:
    read = nx.read_graphml(io.BytesIO(graphml(stored())), node_type=int)
    assert set(read.nodes) == {0, 4, 9, 10} and set(read.edges) == {(9, 0), (0, 10), (4, 10)}
    feature = read.nodes[0]
    assert (feature["kind"], feature["layer"], feature["position"], feature["feature"]) == ("feature", 1, 1, 7)
    assert (feature["share"], feature["predicted_effect"], feature["label"]) == (-0.25, 0.5, "words")
    assert feature["supernode"] == "words" and "measured_effect" not in feature
    assert "share" not in read.nodes[4]
    assert read.edges[0, 10] == {"share": -0.25, "effect": 0.125} and "effect" not in read.edges[9, 0]
    assert read.graph["closing_error"] == 1e-7
    assert "closing_error" not in nx.read_graphml(io.BytesIO(graphml(stored(closing_error=float("nan"))))).graph


def test_given_hostile_texts_when_written_as_graphml_then_a_reader_has_them_escaped() -> None:
    read = nx.read_graphml(io.BytesIO(graphml(stored(HOSTILE))), node_type=int)
    assert read.nodes[0]["label"].isprintable() and "\\x1b" in read.nodes[0]["label"]


def statements(text: str) -> list[str]:
    """The statements of a DOT file, strings taken for what they are."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)
    assert bare.count('"') % 2 == 0
    return [line.strip() for line in bare.splitlines()]


@pytest.mark.parametrize("text", ["words", HOSTILE, '"; evil [label="', "back\\slash\\", "\\N \\G", "a\nb"])
def test_given_any_text_when_written_as_dot_then_only_our_statements_are_in_it(text: str) -> None:
    written = dot(stored(text)).decode()
    lines = statements(written)
    assert [line for line in lines if re.match(r"n\d+ \[label", line)].__len__() == len(NODES)
    assert sorted(line.split(" [")[0] for line in lines if "->" in line) == ["n0 -> n10", "n4 -> n10", "n9 -> n0"]
    known = r'digraph "" \{|graph \[|node \[|n\d+ (-> n\d+ )?\[|\{ rank=same;|\}'
    assert [line for line in lines if not re.match(known, line)] == []
    assert all(character.isprintable() or character == "\n" for character in written)


@given(st.text())
def test_given_any_text_when_quoted_then_the_string_ends_where_it_should(text: str) -> None:
    string = quoted(text)
    assert re.fullmatch(r'"(?:[^"\\]|\\.)*"', string, re.DOTALL)
    assert string[1:-1].replace("\\n", "\n").replace('\\"', '"').replace("\\\\", "\\").count('"') == text.count('"')


@pytest.mark.skipif(GRAPHVIZ is None, reason="no Graphviz here")
def test_given_hostile_texts_when_graphviz_reads_them_then_it_draws_the_graph() -> None:
    drawn = subprocess.run([GRAPHVIZ or "", "-Tplain"], input=dot(stored(HOSTILE)), capture_output=True, check=True)
    lines = drawn.stdout.decode().splitlines()
    assert sum(line.startswith("node ") for line in lines) == 4 and sum(line.startswith("edge ") for line in lines) == 3


def test_given_a_negative_edge_when_written_as_dot_then_it_is_dashed() -> None:
    written = dot(stored()).decode()
    [negative] = [line for line in written.splitlines() if "n0 -> n10" in line]
    assert "style=dashed" in negative and 'share="-0.25"' in negative and 'effect="0.125"' in negative
    assert written.count("style=solid") == 2
