"""Validate on a tiny project: every number of the document measured again by the seed's forward pass."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from store import graphs
from store.errors import BadInput, Missing
from tasks.context import Context
from tasks.graphs.feature_name import parse_feature
from tests.oracle.correlation import correlation, rank_by_counting
from tests.oracle.interventions import Change, features, intervened_logits
from tests.oracle.linearised_model import Place
from tests.oracle.plain_dictionary import Layers, plain_set
from tests.oracle.seed_model import SeedModel
from tests.tasks import graph_project
from tests.tasks.graph_project import CORRUPT, PROMPT, counts, run

KEYS = {
    "nodes", "spearman_predicted", "pearson_predicted", "spearman_influence", "pearson_influence", "controls",
    "faithfulness", "graph", "job", "seconds",
}  # fmt: skip
TARGET, RIVAL = 9, 30


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Context]:
    """One project for all validations of this file."""
    with graph_project.create(tmp_path_factory.mktemp("validate")) as project:
        yield Context(project)


@pytest.fixture(scope="module")
def graph(context: Context) -> int:
    """A graph of one named target, small enough to leave features for controls."""
    traced = run(context, "trace", prompt=PROMPT, dictionary="toy", target="w9", versus="w30", node_threshold=0.9)
    return int(traced["graph"])


@pytest.fixture(scope="module")
def document(context: Context, graph: int) -> dict[str, Any]:
    """Its validation, with swaps."""
    return run(context, "validate", graph=graph, from_=CORRUPT, batch=7)


def place(name: str) -> Place:
    """`L12/345@7` as numbers."""
    read = parse_feature(name)
    assert read.feature is not None and read.positions is not None
    return read.layers[0], read.positions[0], read.feature


class Remeasured:
    """The target under any changes, by the seed's forward pass."""

    def __init__(self, context: Context, dictionaries: Layers) -> None:
        self.seed, self.plain = SeedModel(context.model.hf), dictionaries
        self.tokens, self.other = context.model.tokenize(PROMPT), context.model.tokenize(CORRUPT)
        self.z = features(self.seed, self.tokens, self.plain)
        self.there = features(self.seed, self.other, self.plain)
        self.baseline = self.value({})

    def value(self, changes: dict[Place, Change]) -> float:
        """Nats."""
        logits = intervened_logits(self.seed, self.tokens, self.plain, changes, "delta")[-1]
        return float(logits[TARGET] - logits[RIVAL])

    def swapped(self, where: Place) -> Change:
        """The value that the corrupt prompt has there."""
        return Change(0.0, float(self.there[where[0]][where[1], where[2]]))


@pytest.fixture(scope="module")
def again(context: Context) -> Remeasured:
    """The twin."""
    return Remeasured(context, graph_project.twin_set(context))


def test_the_document_has_its_keys_and_every_kept_feature(
    context: Context, graph: int, document: dict[str, Any]
) -> None:
    assert set(document) >= KEYS
    assert document["graph"] == graph and document["metric"] == "logit('w9') - logit('w30'), nats"
    kept = [node for node in graphs.nodes(context.project.db, graph) if node.kind == "feature"]
    assert [node["node"] for node in document["nodes"]] == [f"L{n.layer}/{n.feature}@{n.position}" for n in kept]
    assert len(kept) > 5
    for node, row in zip(document["nodes"], kept, strict=True):
        assert node["activation"] == pytest.approx(row.activation)
        assert node["share"] == pytest.approx(row.share)
        assert node["predicted_effect"] == pytest.approx(row.predicted_effect)
        assert node["verdict"] in {"confirmed", "weak", "contradicted"}
    assert json.loads(json.dumps(document)) == document


def test_every_measured_effect_is_measured_again(document: dict[str, Any], again: Remeasured) -> None:
    assert document["baseline"] == pytest.approx(again.baseline, abs=1e-5)
    for node in document["nodes"]:
        where = place(node["node"])
        ablated = again.baseline - again.value({where: Change(0.0, 0.0)})
        swapped = again.baseline - again.value({where: again.swapped(where)})
        assert node["measured_effect"] == pytest.approx(ablated, abs=2e-5)
        assert node["swap"]["measured"] == pytest.approx(swapped, abs=2e-5)
        layer, position, index = where
        remaining = float(again.there[layer][position, index] / again.z[layer][position, index])
        assert node["swap"]["predicted"] == pytest.approx(node["predicted_effect"] * (1 - remaining), abs=2e-5)


def test_agreement_is_of_these_nodes(document: dict[str, Any]) -> None:
    nodes = document["nodes"]
    predicted, share, measured = (
        [node[name] for node in nodes] for name in ("predicted_effect", "share", "measured_effect")
    )
    for left, name in ((predicted, "predicted"), (share, "influence")):
        assert document[f"pearson_{name}"] == pytest.approx(correlation(left, measured), abs=1e-4)
        ranked = correlation(rank_by_counting(left), rank_by_counting(measured))
        assert document[f"spearman_{name}"] == pytest.approx(ranked, abs=1e-6)
    assert document["pearson_predicted"] > 0.9
    assert sum(document["verdicts"].values()) == len(nodes)
    layers = [place(node["node"])[0] for node in nodes]
    assert [each["layer"] for each in document["layers"]] == sorted(set(layers))
    assert [each["predicted"]["n"] for each in document["layers"]] == [layers.count(x) for x in sorted(set(layers))]


def test_controls_are_other_features_of_the_same_places_measured_too(
    context: Context, graph: int, document: dict[str, Any], again: Remeasured
) -> None:
    controls = graphs.effects(context.project.db, graph, "control")
    kept = [place(node["node"]) for node in document["nodes"]]
    places = [(row.layer, row.position, row.feature) for row in controls]
    assert len(places) == document["controls"]["n"] > 0
    assert len(set(places)) == len(places) and not set(places) & set(kept)
    assert {p[:2] for p in places} <= {p[:2] for p in kept}
    effects = [again.baseline - again.value({where: Change(0.0, 0.0)}) for where in places]
    assert [row.measured for row in controls] == pytest.approx(effects, abs=2e-5)
    assert document["controls"]["mean_absolute_effect"] == pytest.approx(np.mean(np.abs(effects)), abs=2e-5)
    assert document["noise_floor"] == pytest.approx(max(np.median(np.abs(effects)), 1e-4), abs=2e-5)


def test_faithfulness_sets_everything_else_to_the_corrupt_prompts_values(
    document: dict[str, Any], again: Remeasured
) -> None:
    every = [(layer, at, i) for layer, z in again.z.items() for at in range(1, len(z)) for i in range(z.shape[1])]
    circuit = {place(node["node"]) for node in document["nodes"]}
    outside = again.value({where: again.swapped(where) for where in every if where not in circuit})
    inside = again.value({where: again.swapped(where) for where in circuit})
    nothing = again.value({where: again.swapped(where) for where in every})
    found = document["circuit"]
    assert found["circuit"] == pytest.approx(outside, abs=2e-5)
    assert found["complement"] == pytest.approx(inside, abs=2e-5)
    assert found["nothing"] == pytest.approx(nothing, abs=2e-5)
    span = again.baseline - nothing
    assert document["faithfulness"] == pytest.approx((outside - nothing) / span, abs=1e-3)
    assert document["completeness"] == pytest.approx((inside - nothing) / span, abs=1e-3)


def test_without_a_corrupt_prompt_features_are_removed_to_zero(context: Context, graph: int, again: Remeasured) -> None:
    document = run(context, "validate", graph=graph, controls=False)
    every = {
        (layer, at, index): Change(0.0, 0.0)
        for layer, z in again.z.items()
        for at in range(1, len(z))
        for index in range(z.shape[1])
    }
    circuit = {place(node["node"]) for node in document["nodes"]}
    outside = {where: change for where, change in every.items() if where not in circuit}
    assert document["circuit"]["nothing"] == pytest.approx(again.value(every), abs=2e-5)
    assert document["circuit"]["circuit"] == pytest.approx(again.value(outside), abs=2e-5)
    assert document["swaps"] is None and all(node["swap"] is None for node in document["nodes"])
    assert document["controls"]["n"] == 0 and graphs.effects(context.project.db, graph, "control") == []


def test_the_rows_are_the_documents_numbers(context: Context, graph: int) -> None:
    document = run(context, "validate", graph=graph, from_=CORRUPT, seed=5)
    ablations = graphs.effects(context.project.db, graph)
    swaps = graphs.effects(context.project.db, graph, "swap")
    for node, ablation, swap in zip(document["nodes"], ablations, swaps, strict=True):
        assert place(node["node"]) == (ablation.layer, ablation.position, ablation.feature)
        assert (ablation.predicted, ablation.measured) == (node["predicted_effect"], node["measured_effect"])
        assert ablation.verdict == node["verdict"]
        assert (swap.predicted, swap.measured) == (node["swap"]["predicted"], node["swap"]["measured"])


def test_the_same_validation_again_gives_the_same_numbers(
    context: Context, graph: int, document: dict[str, Any]
) -> None:
    repeated = run(context, "validate", graph=graph, from_=CORRUPT, batch=7)
    volatile = {"job", "seconds"}
    assert {k: v for k, v in repeated.items() if k not in volatile} == {
        k: v for k, v in document.items() if k not in volatile
    }


def test_a_graph_of_neurons_is_validated_too(context: Context) -> None:
    traced = run(context, "trace", prompt=PROMPT, target="w9", versus="w30", node_threshold=0.7, edge_effects=False)
    document = run(context, "validate", graph=traced["graph"])
    neurons = Remeasured(context, plain_set("neurons", context.model))
    assert len(document["nodes"]) > 5
    for node in document["nodes"]:
        effect = neurons.baseline - neurons.value({place(node["node"]): Change(0.0, 0.0)})
        assert node["measured_effect"] == pytest.approx(effect, abs=2e-5)


@pytest.mark.parametrize(
    ("options", "kind", "line"),
    [
        ({"graph": 99}, Missing, "no graph 99 in this project"),
        ({"from_": "w5 w17 w90"}, BadInput, "different lengths: 7 and 3 tokens"),
        ({"from_": ""}, BadInput, "the prompt is empty"),
    ],
)
def test_bad_input_is_a_line_and_leaves_nothing(
    context: Context, graph: int, options: dict[str, Any], kind: type[Exception], line: str
) -> None:
    before = counts(context.project)
    with pytest.raises(kind, match=line):
        run(context, "validate", **({"graph": graph} | options))
    assert counts(context.project) == before


def test_a_file_that_was_altered_is_refused_by_name(tmp_path: Path) -> None:
    with graph_project.create(tmp_path) as project:
        context = Context(project)
        traced = run(context, "trace", prompt=PROMPT, dictionary="toy", edge_effects=False)
        path = project.directory / graphs.arrays(project, traced["graph"]).path
        path.write_bytes(path.read_bytes()[:-8])
        before = counts(project)
        with pytest.raises(BadInput, match=path.name):
            run(context, "validate", graph=traced["graph"])
        assert counts(project)["effect"] == before["effect"] == 0


def test_the_command_prints_the_document_and_ends_with_its_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.workbench.command_line import workbench

    with graph_project.create(tmp_path) as project:
        traced = run(Context(project), "trace", prompt=PROMPT, dictionary="toy", edge_effects=False)
        where = ("--project", str(project.directory), "validate")
    ran = workbench(capsys, *where, str(traced["graph"]), "--from", CORRUPT, "--json")
    assert ran.exit_code == 0 and set(json.loads(ran.out)) >= KEYS
    short = workbench(capsys, *where, str(traced["graph"]), "--from", "w1 w2")
    assert (short.exit_code, short.out) == (2, "") and "different lengths: 7 and 2 tokens" in short.err
    unknown = workbench(capsys, *where, "99")
    assert (unknown.exit_code, unknown.out) == (Missing.exit_code, "") and "no graph 99" in unknown.err
