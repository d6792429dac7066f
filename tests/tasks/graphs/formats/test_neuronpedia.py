"""Graph JSON out and in: both readers' schemas, nothing lost, and no file that is not one."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load

from store import graphs
from store.errors import BadInput
from tasks.context import Context
from tasks.graphs.formats.arrays import dense_arrays
from tasks.graphs.formats.neuronpedia import cantor, cantor_pair, graph_json
from tasks.graphs.formats.stored import load_stored_graph
from tasks.graphs.view import load_graph_view
from tests.oracle.peer.generate import ENVIRONMENT
from tests.tasks import graph_project
from tests.tasks.graph_project import CORRUPT, PROMPT, counts, run
from tests.tasks.graphs.formats.schema import LINK, METADATA, NODE, OPTIONAL_OF_NODE, faults

PEERS_FILE = Path(__file__).parents[3] / "oracle/graph_files/circuit_tracer.json"
Document = dict[str, Any]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """One project for all graphs of this file."""
    with graph_project.create(tmp_path_factory.mktemp("formats")) as project:
        yield Context(project)


@pytest.fixture(scope="module")
def traced(context: Context) -> dict[str, int]:
    """A validated graph of SAE features with a supernode, and one of neurons."""
    sae = run(context, "trace", prompt=PROMPT, dictionary="toy")["graph"]
    run(context, "validate", graph=sae, from_=CORRUPT)
    neurons = run(context, "trace", prompt=PROMPT, max_nodes=40, target="w9", versus="w30")["graph"]
    features = [node.node for node in graphs.nodes(context.project.db, sae) if node.kind == "feature"]
    with context.project.transaction():
        graphs.set_supernode(context.project.db, sae, 'late "ones" </script>', features[:2])
    return {"sae": sae, "neurons": neurons}


def exported(context: Context, graph: int) -> Document:
    """A graph's JSON, read."""
    document: Document = json.loads(graph_json(load_stored_graph(context.project, graph)))
    return document


def imported(context: Context, path: Path, **options: Any) -> Document:
    """The document of an import."""
    return run(context, "import", file=path, **options)


def written(directory: Path, document: Document) -> Path:
    """The document as a file."""
    path = directory / "graph.json"
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize("kind", ["sae", "neurons"])
def test_given_a_traced_graph_when_exported_then_both_readers_find_what_they_ask_for(
    context: Context, traced: dict[str, int], kind: str
) -> None:
    document = exported(context, traced[kind])
    assert faults(document) == []
    ids = [node["node_id"] for node in document["nodes"]]
    assert len(set(ids)) == len(ids)
    assert all(link["source"] in ids and link["target"] in ids for link in document["links"])
    types = {node["feature_type"] for node in document["nodes"]} - {"embedding", "logit", "mlp reconstruction error"}
    assert types == {{"sae": "sparse autoencoder", "neurons": "neuron"}[kind]}


def test_given_an_error_and_a_feature_of_layer_0_when_exported_then_their_ids_differ(
    context: Context, traced: dict[str, int]
) -> None:
    names = {node["node_id"] for node in exported(context, traced["sae"])["nodes"]}
    assert {name.split("_")[0] for name in names} >= {"feature", "error", "token", "logit"}


def test_given_a_validated_graph_when_exported_then_links_and_nodes_carry_the_rows_numbers(
    context: Context, traced: dict[str, int]
) -> None:
    document, db = exported(context, traced["sae"]), context.project.db
    rows = {node.node: node for node in graphs.nodes(db, traced["sae"])}
    edges = graphs.edges(db, traced["sae"])
    assert sorted(link["weight"] for link in document["links"]) == sorted(edge.share for edge in edges)
    assert sum(link["effect"] is not None for link in document["links"]) == sum(e.effect is not None for e in edges)
    measured = {(e.layer, e.position, e.feature): e for e in graphs.effects(db, traced["sae"])}
    features = [node for node in document["nodes"] if node["node_id"].startswith("feature")]
    assert len(features) == sum(row.kind == "feature" for row in rows.values()) > 0
    for node in features:
        layer, index = cantor_pair(node["feature"])
        row = next(r for r in rows.values() if (r.layer, r.position, r.feature) == (layer, node["ctx_idx"], index))
        assert (node["share"], node["predicted_effect"], node["activation"]) == (
            row.share, row.predicted_effect, row.activation,
        )  # fmt: skip
        effect = measured[layer, node["ctx_idx"], index]
        assert (node["measured_effect"], node["verdict"]) == (effect.measured, effect.verdict)
        assert node["margin"] is None or node["margin"] > 0
    group = document["qParams"]["supernodes"][0]
    assert group[0] == 'late "ones" </script>' and set(group[1:]) <= set(document["qParams"]["pinnedIds"])
    record = graphs.find(db, traced["sae"])
    assert document["metadata"]["closing_error"] == record.closing_error
    assert document["metadata"]["replacement_score"] == record.replacement_score
    assert document["metadata"]["pruning_settings"] == {"node_threshold": 0.8, "edge_threshold": 0.98}


def test_given_the_influence_of_all_nodes_when_exported_then_it_is_cumulative_from_the_greatest(
    context: Context, traced: dict[str, int]
) -> None:
    stored = load_stored_graph(context.project, traced["sae"])
    influence = load(stored.arrays.read_bytes())["node_influence"].astype(float)
    ranked = sorted(range(len(influence)), key=lambda node: -influence[node])
    for node in stored.nodes:
        before = ranked[: ranked.index(node.node) + 1]
        expected = sum(influence[each] for each in before) / influence.sum()
        assert stored.cumulative_influence[node.node] == pytest.approx(expected, abs=1e-9)


@pytest.mark.skipif(not (ENVIRONMENT / "bin/python").exists(), reason="the peer's environment is not here")
def test_given_the_peer_when_it_reads_our_file_then_it_has_all_nodes_and_links(
    context: Context, traced: dict[str, int], tmp_path: Path
) -> None:
    document = exported(context, traced["sae"])
    script = (
        "import json, sys; from circuit_tracer.frontend.graph_models import Model\n"
        "graph = Model.model_validate_json(open(sys.argv[1]).read())\n"
        "print(json.dumps([len(graph.nodes), len(graph.links), graph.qParams.supernodes]))"
    )
    command = [str(ENVIRONMENT / "bin/python"), "-c", script, str(written(tmp_path, document))]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert answer == [len(document["nodes"]), len(document["links"]), document["qParams"]["supernodes"]]


@pytest.mark.parametrize("kind", ["sae", "neurons"])
def test_given_our_own_file_when_imported_and_exported_then_nothing_of_it_is_lost(
    context: Context, traced: dict[str, int], kind: str, tmp_path: Path
) -> None:
    before = exported(context, traced[kind])
    graph = imported(context, written(tmp_path, before))["graph"]
    after = exported(context, graph)
    by_id = [{node["node_id"]: node for node in document["nodes"]} for document in (before, after)]
    assert by_id[0] == by_id[1]
    links = [sorted(document["links"], key=lambda e: (e["source"], e["target"])) for document in (before, after)]
    assert links[0] == links[1]
    assert before["qParams"] == after["qParams"]
    volatile = {"slug", "info", "targets"}
    assert {k: v for k, v in before["metadata"].items() if k not in volatile} == {
        k: v for k, v in after["metadata"].items() if k not in volatile
    }
    for old, new in zip(before["metadata"]["targets"], after["metadata"]["targets"], strict=True):
        assert old.items() <= new.items()


def test_given_our_own_file_when_imported_then_its_views_are_those_of_the_graph(
    context: Context, traced: dict[str, int], tmp_path: Path
) -> None:
    graph = imported(context, written(tmp_path, exported(context, traced["sae"])))
    assert "model" not in graph
    old, new = (load_graph_view(context.project, each) for each in (traced["sae"], graph["graph"]))
    name = {node.node: (node.kind, node.layer, node.position, node.feature) for node in old.nodes.values()}
    renamed = {node.node: (node.kind, node.layer, node.position, node.feature) for node in new.nodes.values()}
    edges = [
        sorted((ids[e.source], ids[e.target], e.share, e.effect or 0.0) for e in view.edges)
        for view, ids in ((old, name), (new, renamed))
    ]
    assert [edge[:2] for edge in edges[0]] == [edge[:2] for edge in edges[1]]
    assert np.allclose([edge[2:] for edge in edges[0]], [edge[2:] for edge in edges[1]], rtol=1e-6)
    assert new.closing_error == old.closing_error and new.replacement_score == old.replacement_score
    pruned = run(context, "prune", graph=graph["graph"], node_threshold=0.5)
    assert pruned["kept_nodes"] < graph["kept_nodes"]


def test_given_the_peers_own_file_when_imported_then_all_of_it_is_there_and_nothing_invented(context: Context) -> None:
    file = json.loads(PEERS_FILE.read_text())
    document = imported(context, PEERS_FILE)
    record = graphs.find(context.project.db, document["graph"])
    assert document["model"] == {"spec": "tiny-relu", "revision": "", "n_layers": 4} and document["n_layers"] == 4
    assert math.isnan(record.closing_error) and document["closing_error"] is None
    nodes = graphs.nodes(context.project.db, record.id)
    assert len(nodes) == len(file["nodes"]) and len(record.token_ids) == len(file["metadata"]["prompt_tokens"])
    assert record.token_ids[1:] == [int(n["node_id"].split("_")[1]) for n in file["nodes"] if n["layer"] == "E"][1:]
    logits = [node for node in file["nodes"] if node["feature_type"] == "logit"]
    assert [target["id"] for target in record.targets] == [node["feature"] for node in logits]
    assert [target["token"] for target in record.targets] == [node["clerp"].split('"')[1] for node in logits]
    assert all(target["value"] is None for target in record.targets)
    assert sum(node.predicted_effect is not None for node in nodes) == 0
    weights = sorted(link["weight"] for link in file["links"])
    assert [edge.share for edge in sorted(graphs.edges(context.project.db, record.id), key=lambda e: e.share)] == (
        pytest.approx(weights, rel=1e-6)
    )
    assert faults(exported(context, record.id)) == []
    dense = load(dense_arrays(record, context.project.files.verify(graphs.arrays(context.project, record.id))))
    assert int((dense["adjacency"] != 0).sum()) == len(weights)
    assert dense["node_layer"].max() == 4 and int(dense["node_kept"].sum()) == len(nodes)


def test_given_the_peers_file_when_said_to_be_of_this_model_then_it_is_so_only_if_it_can_be(
    context: Context, tmp_path: Path
) -> None:
    file = json.loads(PEERS_FILE.read_text())
    with pytest.raises(BadInput, match="3 layers and 8 tokens do not hold"):
        imported(context, written(tmp_path, file), same_model=True)
    lower = [node for node in file["nodes"] if node["layer"] != "3"]
    ids = {node["node_id"] for node in lower}
    links = [link for link in file["links"] if {link["source"], link["target"]} <= ids]
    document = imported(context, written(tmp_path, file | {"nodes": lower, "links": links}), same_model=True)
    assert "model" not in document and document["n_layers"] == 3


def test_given_a_graph_of_a_feature_when_exported_and_imported_then_it_still_explains_that_feature(
    context: Context, traced: dict[str, int], tmp_path: Path
) -> None:
    rows = graphs.nodes(context.project.db, traced["sae"])
    name = next(f"L{row.layer}/{row.feature}@{row.position}" for row in rows if row.kind == "feature" and row.layer)
    graph = run(context, "trace", prompt=PROMPT, dictionary="toy", target=name)["graph"]
    before = exported(context, graph)
    [target] = [node for node in before["nodes"] if node["is_target"]]
    assert target["node_id"].startswith("target_") and target["feature_type"] == "sparse autoencoder"
    again = imported(context, written(tmp_path, before))["graph"]
    assert {n["node_id"]: n for n in exported(context, again)["nodes"]} == {n["node_id"]: n for n in before["nodes"]}
    [view, other] = (load_graph_view(context.project, each) for each in (graph, again))
    assert [view.nodes[root].name for root in view.roots] == [other.nodes[root].name for root in other.roots] == [name]


def test_given_a_file_without_our_keys_when_imported_and_validated_then_the_measurements_are_the_traced_graphs(
    context: Context, traced: dict[str, int], tmp_path: Path
) -> None:
    ours = exported(context, traced["sae"])
    bare = ours | {
        "metadata": {key: ours["metadata"][key] for key in (*METADATA, "schema_version")},
        "nodes": [{key: node[key] for key in (*NODE, *OPTIONAL_OF_NODE)} for node in ours["nodes"]],
        "links": [{key: link[key] for key in LINK} for link in ours["links"]],
    }
    for name in ("neurons", "toy"):
        wide = json.loads(json.dumps(bare).replace('"schema_version": 1', '"schema_version": 0'))
        with pytest.raises(BadInput, match=f"L0/1000000@[0-9] is not in '{name}'"):
            wide["nodes"][0]["feature"] = 10**6
            imported(context, written(tmp_path, wide), same_model=True, dictionary=name)
    document = imported(context, written(tmp_path, bare), same_model=True, dictionary="toy")
    assert document["closing_error"] is None and graphs.find(context.project.db, document["graph"]).rule == "unknown"
    again = run(context, "validate", graph=document["graph"], from_=CORRUPT)
    assert again["pearson_influence"] is None and again["spearman_influence"] is None
    before = {(e.layer, e.position, e.feature): e for e in graphs.effects(context.project.db, traced["sae"])}
    after = {(e.layer, e.position, e.feature): e for e in graphs.effects(context.project.db, document["graph"])}
    assert before.keys() == after.keys()
    for place, effect in before.items():
        assert after[place].measured == pytest.approx(effect.measured, abs=1e-5)
        assert after[place].predicted == pytest.approx(effect.predicted, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "line"), [("E_999999_1", "has the token id 999999"), ("E_x_1", "does not tell the id of token 1")]
)
def test_given_tokens_that_the_model_cannot_have_when_said_to_be_of_it_then_one_line_says_so(
    context: Context, tmp_path: Path, name: str, line: str
) -> None:
    text = json.dumps(json.loads(PEERS_FILE.read_text()))
    file = json.loads(text.replace('"E_6_1"', f'"{name}"'))
    assert name in {node["node_id"] for node in file["nodes"]}
    ids = {node["node_id"] for node in file["nodes"] if node["layer"] != "3"}
    file["nodes"] = [node for node in file["nodes"] if node["node_id"] in ids]
    file["links"] = [link for link in file["links"] if {link["source"], link["target"]} <= ids]
    with pytest.raises(BadInput, match=line):
        imported(context, written(tmp_path, file), same_model=True)


@given(st.integers(0, 400), st.integers(0, 1 << 31))
def test_given_a_cantor_number_when_undone_then_layer_and_index_come_back(layer: int, index: int) -> None:
    assert cantor_pair(cantor(layer, index)) == (layer, index)


def _twice(file: Document) -> None:
    file["nodes"].append(file["nodes"][0])


def _same_place(file: Document) -> None:
    file["nodes"].append(file["nodes"][0] | {"node_id": "another"})


def _nowhere(file: Document) -> None:
    file["links"][0]["source"] = "nobody\x1b[31m"


def _twice_linked(file: Document) -> None:
    file["links"].append(dict(file["links"][0]))


def _falling(file: Document) -> None:
    feature = next(node for node in file["nodes"] if node["feature_type"] == "cross layer transcoder")
    logit = next(node for node in file["nodes"] if node["feature_type"] == "logit")
    file["links"].append({"source": logit["node_id"], "target": feature["node_id"], "weight": 1.0})


def _into_a_token(file: Document) -> None:
    file["links"][0]["target"] = next(node["node_id"] for node in file["nodes"] if node["layer"] == "E")


def _set(part: str, key: str, value: Any) -> Callable[[Document], None]:
    def change(file: Document) -> None:
        (file[part][0] if isinstance(file[part], list) else file[part])[key] = value

    return change


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (_twice, "two nodes have the id"),
        (_same_place, "of one kind, layer, position and feature"),
        (_nowhere, "a link names the node 'nobody"),
        (_twice_linked, "there are two links"),
        (_falling, "does not lead to a higher layer"),
        (_into_a_token, "which is a source"),
        (_set("links", "weight", math.nan), r"links\[0\].weight: .*finite number"),
        (_set("links", "weight", 1e300), r"links\[0\].weight: it should be less than or equal to 10{30}"),
        (_set("links", "effect", -1e39), r"links\[0\].effect: it should be greater than or equal to -10{30}"),
        (_set("nodes", "activation", 1e39), r"nodes\[0\].activation: it should be less than"),
        (_set("links", "weight", "heavy"), r"links\[0\].weight: .*valid number"),
        (_set("nodes", "ctx_idx", 800), "is at position 800 of a prompt of 8 tokens"),
        (_set("nodes", "ctx_idx", -1), r"nodes\[0\].ctx_idx: it should be greater than or equal to 0, not -1"),
        (_set("nodes", "layer", "999999999999"), "no model has so many"),
        (_set("nodes", "layer", "³"), "is no number"),
        (_set("nodes", "feature", None), "nothing"),
        (_set("metadata", "prompt_tokens", []), "metadata.prompt_tokens: List should have at least 1 item"),
        (_set("metadata", "prompt", 5), "metadata.prompt: it should be a valid string, not 5"),
        (lambda file: file.pop("links"), "links: Field required"),
        (lambda file: file.update(nodes=[]), "nodes: List should have at least 1 item"),
        (lambda file: file.update(nodes=[n for n in file["nodes"] if n["layer"] == "E"], links=[]), "it has no logit"),
    ],
)
def test_given_a_file_that_is_no_graph_when_imported_then_one_line_says_why_and_nothing_is_written(
    context: Context, tmp_path: Path, change: Callable[[Document], None], line: str
) -> None:
    file = json.loads(PEERS_FILE.read_text())
    change(file)
    if line == "nothing":
        file["nodes"][0]["node_id"], file["links"], line = "x", [], "names no feature"
    _refused(context, written(tmp_path, file), line)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "holds no JSON object"),
        (b"[1, 2]", "holds no JSON object"),
        (b'{"nodes": [', "Invalid JSON"),
        (b"\x89PNG\r\n", "holds no JSON object"),
        (b'{"metadata": "\xff\xfe"}', "Invalid JSON"),
        (b'{"a":' * 100_000, "Invalid JSON"),
        (b"{" + b"nonsense " * 12_000_000, "Invalid JSON"),
    ],
)
def test_given_what_is_no_json_when_imported_then_one_line_says_so(
    context: Context, tmp_path: Path, content: bytes, line: str
) -> None:
    path = tmp_path / "graph.json"
    path.write_bytes(content)
    _refused(context, path, line)


def test_given_no_file_when_imported_then_one_line_says_so(context: Context, tmp_path: Path) -> None:
    _refused(context, tmp_path / "none.json", "cannot be read")
    _refused(context, tmp_path, "cannot be read")


def _refused(context: Context, path: Path, line: str) -> None:
    before, files = counts(context.project), sorted((context.project.directory / "graphs").iterdir())
    with pytest.raises(BadInput, match=line) as raised:
        imported(context, path)
    assert raised.value.exit_code == 2 and "\n" not in str(raised.value)
    assert counts(context.project) == before
    assert sorted((context.project.directory / "graphs").iterdir()) == files
