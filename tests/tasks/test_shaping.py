"""Pruning again, scoring and grouping a stored graph of a tiny project, against traces made that way at once."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from store import graph_shape, graphs
from store.errors import BadInput, Missing
from tasks.circuits.automatic_groups import group_automatically
from tasks.circuits.similarity import write_similarity
from tasks.context import Context
from tasks.dictionaries.loading import load_dictionary_set
from tasks.graphs.diff import Side, diff
from tasks.graphs.node_numbers import read_node_numbers
from tasks.graphs.raw import read_raw_graph
from tasks.graphs.recurrence import prompt_graph, recurrence
from tasks.graphs.score import graph_scores
from tasks.graphs.supernodes import make_supernode
from tasks.graphs.view import Verdict, load_graph_view
from tests.tasks import graph_project
from tests.tasks.graph_project import CORRUPT, PROMPT, counts, run


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """One project for all graphs of this file."""
    with graph_project.create(tmp_path_factory.mktemp("shaping")) as project:
        yield Context(project)


@pytest.fixture(scope="module")
def small(context: Context) -> int:
    """The prompt's graph at low thresholds."""
    return int(run(context, "trace", prompt=PROMPT, dictionary="toy", node_threshold=0.5, edge_threshold=0.8)["graph"])


@pytest.fixture(scope="module")
def large(context: Context) -> int:
    """The same graph at high thresholds, traced."""
    return int(run(context, "trace", prompt=PROMPT, dictionary="toy", node_threshold=0.9, edge_threshold=0.95)["graph"])


def rows(context: Context, graph: int) -> tuple[list[Any], list[Any]]:
    """A graph's nodes and edges."""
    return graphs.nodes(context.project.db, graph), graphs.edges(context.project.db, graph)


def pruned(context: Context, graph: int, nodes: float, edges: float) -> dict[str, Any]:
    """`graph prune`."""
    return run(context, "prune", graph=graph, node_threshold=nodes, edge_threshold=edges)


def assert_same_nodes(found: list[Any], expected: list[Any]) -> None:
    """The same nodes with the same numbers, as far as float32 knows them."""
    assert [(n.node, n.kind, n.layer, n.position, n.feature) for n in found] == [
        (n.node, n.kind, n.layer, n.position, n.feature) for n in expected
    ]
    for one, other in zip(found, expected, strict=True):
        for name in ("activation", "influence", "share", "input_size"):
            assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-4, abs=1e-6), (one.node, name)
        assert (one.predicted_effect is None) == (other.predicted_effect is None)
        assert one.predicted_effect is None or one.predicted_effect == pytest.approx(other.predicted_effect, abs=1e-6)


def test_given_a_graph_when_pruned_to_more_then_it_is_the_graph_traced_so_but_for_edge_effects(
    context: Context, small: int, large: int
) -> None:
    before = rows(context, small), graphs.find(context.project.db, small)
    document = pruned(context, small, 0.9, 0.95)
    child_nodes, child_edges = rows(context, document["graph"])
    large_nodes, large_edges = rows(context, large)
    assert_same_nodes(child_nodes, large_nodes)
    assert len(child_nodes) > len(before[0][0])
    assert [(e.source, e.target) for e in child_edges] == [(e.source, e.target) for e in large_edges]
    assert [e.share for e in child_edges] == pytest.approx([e.share for e in large_edges], rel=1e-4, abs=1e-7)
    known = {(e.source, e.target): e.effect for e in before[0][1]}
    assert {(e.source, e.target): e.effect for e in child_edges} == {
        (e.source, e.target): known.get((e.source, e.target)) for e in child_edges
    }
    traced_without = sum(e.effect is None for e in large_edges)
    assert document["edges_without_effect"] == sum(e.effect is None for e in child_edges) - traced_without > 0
    assert document["pruned_from"] == small and document["node_threshold"] == 0.9
    assert (document["kept_nodes"], document["kept_edges"]) == (len(child_nodes), len(child_edges))
    assert (rows(context, small), graphs.find(context.project.db, small)) == before


def test_given_a_graph_when_pruned_to_less_then_nothing_that_was_known_is_lost(context: Context, large: int) -> None:
    document = pruned(context, large, 0.5, 0.8)
    nodes, edges = rows(context, document["graph"])
    large_nodes, large_edges = rows(context, large)
    assert 0 < len(nodes) < len(large_nodes) and document["edges_without_effect"] == 0
    assert all(node in large_nodes for node in nodes) and all(edge in large_edges for edge in edges)
    stored = load_file(context.project.files.verify(graphs.arrays(context.project, document["graph"])))
    assert stored["node_kept"].nonzero()[0].tolist() == [node.node for node in nodes]
    again = pruned(context, document["graph"], 0.9, 0.95)
    assert_same_nodes(rows(context, again["graph"])[0], large_nodes)


def test_given_a_validated_parent_when_pruned_then_its_measured_effects_are_seen_until_the_child_has_its_own(
    context: Context, large: int
) -> None:
    child = pruned(context, large, 0.6, 0.9)["graph"]
    grandchild = pruned(context, child, 0.5, 0.9)["graph"]
    feature = next(n for n in load_graph_view(context.project, grandchild).nodes.values() if n.kind == "feature")
    insert_effect(context, large, feature, 0.25, "confirmed")
    for graph in (large, child, grandchild):
        seen = load_graph_view(context.project, graph).nodes[feature.node]
        assert (seen.measured_effect, seen.verdict) == (0.25, Verdict.CONFIRMED)
    insert_effect(context, child, feature, -0.5, "contradicted")
    measured = [load_graph_view(context.project, g).nodes[feature.node].measured_effect for g in (large, grandchild)]
    assert measured == [0.25, -0.5]


def insert_effect(context: Context, graph: int, node: Any, measured: float, verdict: str) -> None:
    """A row that a validation leaves."""
    project = context.project
    with project.transaction():
        job = project.db.table("job").insert(
            {"kind": "validate", "params": "{}", "params_hash": "", "state": "succeeded", "created_at": ""}
        )
        project.db.table("effect").insert({
            "job_id": job.last_pk, "graph_id": graph, "kind": "ablation", "layer": node.layer,
            "position": node.position, "feature": node.feature, "predicted": 0.2, "measured": measured,
            "verdict": verdict,
        })  # fmt: skip


def test_given_a_file_without_the_shares_of_errors_when_read_then_only_they_are_unknown(
    context: Context, small: int, tmp_path: Path
) -> None:
    record = graphs.find(context.project.db, small)
    path = context.project.files.verify(graphs.arrays(context.project, small))
    raw, arrays = read_raw_graph(record, path), load_file(path)
    save_file({name: array for name, array in arrays.items() if name != "leaf_share"}, tmp_path / "old.safetensors")
    old, full = (read_node_numbers(file, raw) for file in (tmp_path / "old.safetensors", path))
    assert np.isnan(old.share[raw.first_error :]).all() and not np.isnan(full.share).any()
    assert np.array_equal(old.share[: raw.n_features], full.share[: raw.n_features])


def test_given_a_graph_that_is_not_there_when_shaped_then_it_is_said_and_nothing_is_left(context: Context) -> None:
    before = counts(context.project)
    with pytest.raises(Missing, match="no graph 999"):
        run(context, "prune", graph=999)
    with pytest.raises(Missing, match="no graph 999"):
        graph_scores(context.project, 999)
    assert counts(context.project) == before


def test_given_a_graph_when_scored_then_the_whole_has_its_own_scores_and_parts_have_less(
    context: Context, large: int
) -> None:
    record = graphs.find(context.project.db, large)
    feature = next(n for n in load_graph_view(context.project, large).nodes.values() if n.kind == "feature")
    document = graph_scores(context.project, large, [feature.name])
    assert document["whole"]["replacement_score"] == pytest.approx(record.replacement_score, rel=1e-6)
    assert document["whole"]["completeness_score"] == pytest.approx(record.completeness_score, rel=1e-6)
    assert document["chosen"]["features"] == 1 < document["pruned"]["features"] < document["whole"]["features"]
    order = [document[part]["replacement_score"] for part in ("chosen", "pruned", "whole")]
    assert order == sorted(order) and order[0] < order[2]
    everything = graph_scores(context.project, large, ["L0-9/*@*"])
    assert everything["chosen"] == pytest.approx(document["whole"] | {
        name: everything["chosen"][name] for name in everything["chosen"] if name.startswith("renormalised")
    })  # fmt: skip
    with pytest.raises(BadInput, match="L7/1 is not in the graph"):
        graph_scores(context.project, large, ["L7/1"])
    with pytest.raises(BadInput, match="no supernode 'x'"):
        graph_scores(context.project, large, supernodes=["x"])


def test_given_pins_when_pruned_then_they_go_along_even_of_what_is_not_kept(context: Context, large: int) -> None:
    with context.project.transaction():
        graph_shape.change(context.project.db, large, "pin", graph_shape.Parts(pins={"0": True, "3": True}))
    child = pruned(context, large, 0.2, 0.5)["graph"]
    assert graph_shape.pins(context.project.db, child) == graph_shape.pins(context.project.db, large) == [0, 3]


def test_given_supernodes_when_pruned_and_scored_then_they_go_along(context: Context, large: int) -> None:
    parent = pruned(context, large, 0.9, 0.95)["graph"]
    features = [n for n in load_graph_view(context.project, parent).nodes.values() if n.kind == "feature"]
    with context.project.transaction():
        make_supernode(context.project, parent, "all of them", [node.name for node in features])
    child = pruned(context, parent, 0.5, 0.8)["graph"]
    kept = [n.node for n in load_graph_view(context.project, child).nodes.values() if n.kind == "feature"]
    assert graphs.supernodes(context.project.db, child) == {"all of them": kept}
    document = graph_scores(context.project, child, supernodes=["all of them"])
    assert document["chosen"]["features"] == len(kept)
    assert document["chosen"] == graph_scores(context.project, child, kept=True)["chosen"]


def test_given_features_when_compared_by_what_they_write_then_it_is_the_cosine_of_the_folded_rows(
    context: Context,
) -> None:
    dictionaries = load_dictionary_set(context.project, "toy", context.model)
    layer, index = torch.tensor([0, 2, 0, 2]), torch.tensor([5, 1, 6, 5])
    found = write_similarity(context.model, dictionaries, layer, index).numpy()
    written = []
    for number, feature in zip(layer.tolist(), index.tolist(), strict=True):
        down = context.model.layers[number].down.weight.detach().double().numpy()
        row = dictionaries[number].write_vectors(torch.tensor([feature])).double().numpy()[0]
        written.append(down @ row)
    unit = np.stack([row / np.linalg.norm(row) for row in written])
    np.testing.assert_allclose(found, unit @ unit.T, atol=1e-5)


def test_given_a_graph_when_grouped_by_itself_then_groups_are_disjoint_and_the_same_each_time(
    context: Context, large: int
) -> None:
    first, second = (pruned(context, large, 0.9, 0.95)["graph"] for _ in range(2))
    groups = group_automatically(context.project, first, 0.2)
    assert groups == group_automatically(context.project, second, 0.2)
    members = [node for group in groups for node in group.nodes]
    assert len(members) == len(set(members)) >= 2
    assert all(group.affinity >= 0.2 and len(group.nodes) > 1 for group in groups)
    stored = graphs.supernodes(context.project.db, first)
    assert stored == {group.name: list(group.nodes) for group in groups}
    again = group_automatically(context.project, first, 0.2)
    assert not {node for group in again for node in group.nodes} & set(members)


def test_given_two_prompts_when_compared_then_a_graph_is_like_itself_and_less_like_the_other(
    context: Context, large: int
) -> None:
    other = int(run(context, "trace", prompt=CORRUPT, dictionary="toy", node_threshold=0.9)["graph"])
    sides = [
        Side(graphs.find(context.project.db, graph), load_graph_view(context.project, graph))
        for graph in (large, other)
    ]
    same = diff(sides[0], sides[0])
    assert (same.features.jaccard, same.edges.jaccard, same.edges.weighted_by_share) == (1.0, 1.0, 1.0)
    assert same.features.weighted_by_effect == pytest.approx(1.0) and not same.tokens and not same.warnings
    different = diff(sides[0], sides[1])
    assert [offset for offset, _, _ in different.tokens] == [-5, -3]
    assert different.features.jaccard < 1
    graph_rows = [
        prompt_graph(
            str(side.record.id), side.record, graphs.nodes(context.project.db, side.record.id),
            context.project.files.verify(graphs.arrays(context.project, side.record.id)),
        )
        for side in sides
    ]  # fmt: skip
    common = recurrence(graph_rows)
    assert common.by_offset.jaccard[0, 1] == pytest.approx(different.features.jaccard)
    assert dataclasses.asdict(different.features)["both"] == common.by_offset.overlap[0, 1]
