"""Trace on a tiny project: what the document says, what the store keeps, and what is refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from store import graphs
from store.errors import BadInput, Cancelled
from tasks.context import Context
from tests.oracle.effects import LiveModel, Target
from tests.oracle.linearised_model import LinearisedModel
from tests.oracle.seed_model import SeedModel
from tests.tasks import graph_project
from tests.tasks.graph_project import CORRUPT, PROMPT, SAE_LAYERS, counts, run

KEYS = {
    "graph", "tokens", "targets", "closing_error", "replacement_score", "completeness_score", "nodes", "edges",
    "kept_nodes", "kept_edges", "seconds", "job",
}  # fmt: skip


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """One project for all traces of this file."""
    with graph_project.create(tmp_path_factory.mktemp("trace")) as project:
        yield Context(project)


@pytest.fixture(scope="module")
def document(context: Context) -> dict[str, Any]:
    """The graph of the prompt through the SAE set."""
    return run(context, "trace", prompt=PROMPT, dictionary="toy")


def arrays(context: Context, graph: int) -> dict[str, torch.Tensor]:
    """A graph's file."""
    return load_file(context.project.files.verify(graphs.arrays(context.project, graph)))


def test_the_document_has_its_keys_and_closes(context: Context, document: dict[str, Any]) -> None:
    assert set(document) >= KEYS
    assert document["tokens"] == PROMPT.split()
    assert 0 <= document["closing_error"] <= 1e-5
    assert 0 < document["replacement_score"] < 1 and 0 < document["completeness_score"] < 1
    assert document["dictionary_layers"] == list(SAE_LAYERS)
    assert document["active_features"] == document["attributed_features"] > document["kept_nodes"] > 0
    assert json.loads(json.dumps(document)) == document


def test_targets_are_the_most_probable_next_tokens(context: Context, document: dict[str, Any]) -> None:
    model = context.model
    last = model.logits(model.token_tensor(model.tokenize(PROMPT)))[0, -1]
    probabilities = last.softmax(-1).sort(descending=True)
    expected = min(10, int((probabilities.values.cumsum(0) < 0.95).sum()) + 1)
    targets = document["targets"]
    assert [target["id"] for target in targets] == probabilities.indices[:expected].tolist()
    for target, probability in zip(targets, probabilities.values.tolist(), strict=False):
        assert target["probability"] == pytest.approx(probability, abs=1e-6)
        assert target["value"] == pytest.approx(float(last[target["id"]] - last.mean()), abs=1e-5)
        assert target["token"] == f"w{target['id']}" and target["rival"] is None and target["position"] == 6


def test_the_rows_are_the_kept_part_of_the_file(context: Context, document: dict[str, Any]) -> None:
    record = graphs.find(context.project.db, document["graph"])
    nodes, edges = graphs.nodes(context.project.db, record.id), graphs.edges(context.project.db, record.id)
    held = arrays(context, record.id)
    assert (len(nodes), len(edges)) == (document["kept_nodes"], document["kept_edges"])
    assert [node.node for node in nodes] == held["node_kept"].nonzero().squeeze(1).tolist()
    kept = held["edge_kept"].nonzero().squeeze(1)
    columns = (held[f"edge_{name}"][kept].tolist() for name in ("source", "target", "share"))
    assert sorted((e.source, e.target, e.share) for e in edges) == sorted(zip(*columns, strict=True))
    assert record.token_ids == context.model.tokenize(PROMPT)
    assert record.closing_error == document["closing_error"] == pytest.approx(float(held["row_closing_error"].max()))
    assert {node.kind for node in nodes} == {"token", "feature", "error", "logit"}
    by_kind = {kind: [n for n in nodes if n.kind == kind] for kind in ("token", "logit", "feature")}
    assert [n.feature for n in by_kind["token"]] == record.token_ids
    assert [n.feature for n in by_kind["logit"]] == [target["id"] for target in document["targets"]]
    assert all(n.layer in SAE_LAYERS and n.position > 0 and n.activation > 0 for n in by_kind["feature"])
    assert all((n.predicted_effect is not None) == (n.kind == "feature") for n in nodes)


def test_shares_and_effects_of_kept_nodes_and_edges_are_the_twins(context: Context, document: dict[str, Any]) -> None:
    seed, tokens = SeedModel(context.model.hf), context.model.tokenize(PROMPT)
    plain = graph_project.twin_set(context)
    decisive = document["targets"][0]["id"]
    through = LinearisedModel(seed, tokens, plain, "ray", through=True).logit_row(decisive)
    nodes = graphs.nodes(context.project.db, document["graph"])
    features = [node for node in nodes if node.kind == "feature"]
    places = [(node.layer, node.position, node.feature) for node in features]
    live = LiveModel(seed, tokens, plain, places)
    totals, direct = live.effects(Target(decisive))[0], live.effects(Target(decisive), held_from=1)
    for node, place, total in zip(features, places, totals.tolist(), strict=True):
        assert node.share == pytest.approx(through.of_features[place], abs=2e-5)
        assert node.predicted_effect == pytest.approx(total, abs=2e-5)
    logit = next(node.node for node in nodes if node.kind == "logit")
    number = {node.node: row for row, node in enumerate(features)}
    first_token = next(node.node for node in nodes if node.kind == "token")
    tested = 0
    for edge in graphs.edges(context.project.db, document["graph"]):
        if edge.target == logit and edge.source in number:
            assert edge.effect == pytest.approx(float(direct[0][number[edge.source]]), abs=2e-5)
            tested += 1
        elif edge.target == logit and edge.source >= first_token:
            assert edge.effect == pytest.approx(float(direct[1][edge.source - first_token]), abs=2e-5)
            tested += 1
    assert tested > 3


def test_the_same_trace_again_is_the_same_bit_for_bit(context: Context, document: dict[str, Any]) -> None:
    again = run(context, "trace", prompt=PROMPT, dictionary="toy")
    assert again["graph"] != document["graph"]
    first, second = (graphs.arrays(context.project, each["graph"]) for each in (document, again))
    assert first.hash == second.hash
    pairs = [[graphs.nodes(context.project.db, each["graph"]), graphs.edges(context.project.db, each["graph"])]
             for each in (document, again)]  # fmt: skip
    assert pairs[0] == pairs[1]
    volatile = {"graph", "job", "seconds"}
    assert {k: v for k, v in again.items() if k not in volatile} == {
        k: v for k, v in document.items() if k not in volatile
    }


def test_a_named_target_against_its_rival_is_the_only_one(context: Context) -> None:
    document = run(context, "trace", prompt=PROMPT, target="w9", versus="w30", dictionary="toy")
    [target] = document["targets"]
    model = context.model
    last = model.logits(model.token_tensor(model.tokenize(PROMPT)))[0, -1]
    assert (target["token"], target["rival"], target["rival_id"]) == ("w9", "w30", 30)
    assert target["value"] == pytest.approx(float(last[9] - last[30]), abs=1e-5)


def test_a_budget_bounds_the_features_and_says_what_it_left_out(context: Context) -> None:
    document = run(context, "trace", prompt=PROMPT, max_nodes=30, refresh=10)
    assert document["attributed_features"] == 30 < document["active_features"]
    assert 0 < document["unattributed_share"] < 1
    assert len(arrays(context, document["graph"])["attributed"]) == 30


def test_layers_rule_and_unreplaced_change_what_they_name(context: Context, document: dict[str, Any]) -> None:
    one = run(context, "trace", prompt=PROMPT, dictionary="toy", layers="2")
    assert one["dictionary_layers"] == [2] and one["active_features"] < document["active_features"]
    as_error = run(context, "trace", prompt=PROMPT, dictionary="toy", unreplaced="error")
    assert as_error["replacement_score"] < document["replacement_score"]
    half = run(context, "trace", prompt=PROMPT, dictionary="toy", rule="half")
    assert graphs.find(context.project.db, half["graph"]).rule == "half"
    assert half["replacement_score"] != document["replacement_score"] and half["closing_error"] <= 1e-5
    first = run(context, "trace", prompt=PROMPT, dictionary="toy", first_position=True)
    assert first["active_features"] > document["active_features"]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"prompt": ""}, "the prompt is empty"),
        ({"prompt": "  \n"}, "the prompt is empty"),
        ({"prompt": "w5"}, "the prompt is one token, and position 0 is no source"),
        ({"layers": "1-7"}, "layers '1-7' are not all in"),
        ({"layers": "x"}, "'x' is not a layer"),
        ({"dictionary": "toy", "layers": "1"}, "layer 1 has no dictionary in 'toy'; its layers are 0, 2"),
        ({"dictionary": "none"}, "no dictionary set named 'none'; there are neurons, toy"),
        ({"target": "w5 w6"}, r"'w5 w6' is 2 tokens \('w5' 'w6'\)"),
        ({"target": "w5", "versus": "w5"}, "target and rival are both 'w5'"),
        ({"versus": "w5"}, "--versus names a rival of no target"),
        ({"chat": True}, "has no chat template"),
    ],
)
def test_bad_input_is_a_line_and_leaves_nothing(context: Context, options: dict[str, Any], line: str) -> None:
    before, files = counts(context.project), sorted((context.project.directory / "graphs").iterdir())
    with pytest.raises(BadInput, match=line) as raised:
        run(context, "trace", **({"prompt": PROMPT} | options))
    assert raised.value.exit_code == 2
    assert counts(context.project) == before
    assert sorted((context.project.directory / "graphs").iterdir()) == files


def test_a_cancel_leaves_no_graph(context: Context) -> None:
    before = counts(context.project)
    context.cancelled.set()
    try:
        with pytest.raises(Cancelled):
            run(context, "trace", prompt=CORRUPT)
    finally:
        context.cancelled.clear()
    after = counts(context.project)
    assert {name: after[name] - before[name] for name in after if after[name] != before[name]} == {"job": 1}


def test_the_command_prints_the_document_and_ends_with_its_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.workbench.command_line import workbench

    with graph_project.create(tmp_path) as project:
        where = ("--project", str(project.directory))
    ran = workbench(capsys, *where, "trace", PROMPT, "--dictionary", "toy", "--json")
    assert ran.exit_code == 0 and set(json.loads(ran.out)) >= KEYS
    bad = workbench(capsys, *where, "trace", PROMPT, "--target", "w1 w2", "--json")
    assert (bad.exit_code, bad.out) == (2, "") and "'w1 w2' is 2 tokens" in bad.err
    too_many = workbench(capsys, *where, "trace", PROMPT, "--node-threshold", "1.5")
    assert (too_many.exit_code, too_many.out) == (2, "")


@pytest.mark.parametrize("first_position", [False, True])
def test_what_layers_without_a_dictionary_write_is_told(context: Context, first_position: bool) -> None:
    options: dict[str, Any] = {"prompt": PROMPT, "dictionary": "toy", "first_position": first_position}
    document = run(context, "trace", **options)
    as_errors = run(context, "trace", unreplaced="error", **options)
    held = arrays(context, as_errors["graph"])
    n_features, n_positions = len(held["attributed"]), len(as_errors["tokens"])
    decisive = n_features + (context.model.n_layers + 1) * n_positions
    of_decisive = held["edge_target"] == decisive
    source, size = held["edge_source"][of_decisive], held["edge_share"][of_decisive].abs()
    layer = (source - n_features) // n_positions
    is_error = (source >= n_features) & (source < decisive - n_positions)
    unreplaced = is_error & torch.tensor([int(each) not in SAE_LAYERS for each in layer])
    assert document["unreplaced_share"] == pytest.approx(float(size[unreplaced].sum() / size.sum()), rel=1e-4)
    assert 0 < document["unreplaced_share"] < 1
    assert run(context, "trace", prompt=PROMPT, dictionary="neurons")["unreplaced_share"] == 0


def test_each_active_feature_says_how_far_it_is_from_switching_off(context: Context, document: dict[str, Any]) -> None:
    margin = arrays(context, document["graph"])["active_margin"]
    assert bool((margin > 0).all()) and bool(margin.isfinite().all())
