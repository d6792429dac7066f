"""Validate on a tiny project: every number of the document measured again by the seed's forward pass."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from store import graphs
from store.errors import BadInput, Missing
from tasks.context import Context
from tasks.graphs.supernodes import grouped
from tasks.graphs.view import Verdict, load_graph_view
from tasks.interventions.validation import Bench
from tests.oracle.correlation import correlation, rank_by_counting
from tests.oracle.interventions import Change, features
from tests.oracle.plain_dictionary import plain_set
from tests.tasks import graph_project
from tests.tasks.graph_project import CORRUPT, PROMPT, counts, run
from tests.tasks.remeasured import Remeasured, behaviours, place

KEYS = {
    "nodes", "spearman_predicted", "pearson_predicted", "spearman_influence", "pearson_influence", "controls",
    "faithfulness", "graph", "job", "seconds",
}  # fmt: skip


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


def test_given_intervals_when_printed_then_each_is_beside_its_number_and_holds_it(document: dict[str, Any]) -> None:
    for name in ("pearson_predicted", "spearman_predicted", "slope_predicted", "pearson_influence"):
        low, high = document[f"{name}_interval"]
        assert low <= document[name] <= high
    for layer in document["layers"]:
        for which in ("predicted", "share"):
            assert "pearson_interval" in layer[which] and "sign_agreement_interval" in layer[which]


def test_given_a_graph_when_validated_then_its_strongest_edges_are_tested_and_shown_on_its_view(
    context: Context, graph: int
) -> None:
    document = run(context, "validate", graph=graph, edges=6)
    tested = [edge for edge in document["edges"] if not edge["control"]]
    random = [edge for edge in document["edges"] if edge["control"]]
    assert len(tested) == len(random) == 6
    worth = {node["node"]: abs(node["predicted_effect"] / node["activation"]) for node in document["nodes"]}
    nats = [abs(edge["effect"]) * (worth | {"logit": 1.0})[edge["target"]] for edge in document["edges"]]
    assert nats[:6] == sorted(nats[:6], reverse=True) and max(nats[6:]) <= nats[5]
    view = load_graph_view(context.project, graph)
    names = {number: node.name or "logit" for number, node in view.nodes.items()}
    shown = {(names[e.source], names[e.target]): e for e in view.edges if e.verdict != Verdict.UNTESTED}
    assert len(shown) == 12
    for edge in document["edges"]:
        seen = shown[edge["source"], edge["target"]]
        assert (seen.effect, seen.direct_effect, seen.total_effect) == (
            edge["effect"], edge["direct_effect"], edge["total_effect"]
        )  # fmt: skip
        assert seen.verdict == edge["verdict"]
    found = document["edge_agreement"]["strongest"]
    assert found["effect"]["n"] == 6 and found["effect"]["pearson"] > 0.9
    assert run(context, "validate", graph=graph, edges=0)["edges"] == []
    assert sum(e.verdict != Verdict.UNTESTED for e in load_graph_view(context.project, graph).edges) == 12


def test_given_supernodes_when_validated_then_they_are_removed_as_one_and_seen_together(
    context: Context, again: Remeasured
) -> None:
    traced = run(context, "trace", prompt=PROMPT, dictionary="toy", target="w9", versus="w30", node_threshold=0.9)
    graph = int(traced["graph"])
    nodes = [node for node in graphs.nodes(context.project.db, graph)]
    features = [node for node in nodes if node.kind == "feature"][:3]
    token = next(node for node in nodes if node.kind == "token")
    with context.project.transaction():
        graphs.set_supernode(context.project.db, graph, "three", [node.node for node in features])
        graphs.set_supernode(context.project.db, graph, "a token", [token.node])
    document = run(context, "validate", graph=graph, edges=0)
    three, alone = document["supernodes"]
    assert run(context, "validate", graph=graph, edges=0, supernodes=1)["supernodes"] == [three]
    assert run(context, "validate", graph=graph, edges=0, supernodes=0)["supernodes"] == []
    changes = {(node.layer, node.position, node.feature): Change(0.0, 0.0) for node in features}
    measured = again.baseline - again.value(changes)
    assert three["features"] == 3 and three["measured_effect"] == pytest.approx(measured, abs=2e-5)
    assert three["first_order"] == pytest.approx(sum(node.predicted_effect or 0 for node in features), abs=1e-5)
    assert (alone["verdict"], alone["measured_effect"], alone["features"]) == ("untested", None, 0)
    view = grouped(load_graph_view(context.project, graph), {"three": [node.node for node in features]})
    assert (view.nodes[-1].measured_effect, view.nodes[-1].verdict) == (three["measured_effect"], three["verdict"])
    other = grouped(load_graph_view(context.project, graph), {"three": [node.node for node in features[:2]]})
    assert other.nodes[-1].measured_effect is None


def test_given_a_bound_when_validated_then_the_strongest_are_tested_and_the_rest_is_called_untested(
    context: Context, graph: int
) -> None:
    document = run(context, "validate", graph=graph, max_tests=4, edges=0, from_=CORRUPT)
    tested = [node for node in document["nodes"] if node["verdict"] != "untested"]
    assert len(tested) == 4 and document["verdicts"]["untested"] == len(document["nodes"]) - 4
    strongest = sorted(document["nodes"], key=lambda node: -abs(node["predicted_effect"]))[:4]
    assert {node["node"] for node in strongest} == {node["node"] for node in tested}
    assert all(n["measured_effect"] is None and not n["failed"] for n in document["nodes"] if n not in tested)
    assert len(graphs.effects(context.project.db, graph)) == len(graphs.effects(context.project.db, graph, "swap")) == 4
    assert f"{len(document['nodes']) - 4} features were not tested" in document["summary"]
    kinds = [node.kind for node in graphs.nodes(context.project.db, graph)]
    assert document["untested_leaves"] == {"errors": kinds.count("error"), "tokens": kinds.count("token")}


def test_given_curves_when_printed_then_the_whole_is_the_model_and_the_areas_are_theirs(
    document: dict[str, Any],
) -> None:
    assert set(document["curves"]) == {"predicted_effect", "share", "random"}
    sizes = document["sizes"]
    for curve in document["curves"].values():
        f = curve["faithfulness"]
        assert f[-1] == pytest.approx(1)
        assert curve["cpr"] == pytest.approx(np.trapezoid(f, sizes))
        assert curve["cmd"] == pytest.approx(np.trapezoid(np.abs(1 - np.array(f)), sizes))
    assert document["cpr"] == document["curves"]["predicted_effect"]["cpr"]
    assert document["summary"].startswith(("faithful", "not faithful"))


def test_given_a_behaviour_of_the_same_length_when_means_are_removed_then_they_are_its_other_prompts(
    context: Context, graph: int, again: Remeasured, tmp_path: Path
) -> None:
    others = ["w1 w2 w44 w3 w71 w28 w60", "w8 w17 w44 w3 w12 w28 w60", "w1 w44 w3"]
    where = behaviours(tmp_path / "sets", PROMPT, *others)
    document = run(
        context, "validate", graph=graph, removal="mean", behaviour="words", directory=where, edges=0, controls=False
    )
    texts = [text for prompt in (PROMPT, *others[:2]) for text in (prompt, prompt.replace("w44", "w90"))]
    alike = [context.model.tokenize(text) for text in dict.fromkeys(texts) if text != PROMPT]
    there = [features(again.seed, tokens, again.plain) for tokens in alike]
    every = {
        (layer, at, index): Change(0.0, float(np.mean([float(z[layer][at, index]) for z in there])))
        for layer in there[0]
        for at in range(1, 7)
        for index in range(there[0][layer].shape[1])
    }
    assert document["circuit"]["removal"] == "mean"
    assert document["circuit"]["nothing"] == pytest.approx(again.value(every), abs=5e-5)
    with pytest.raises(BadInput, match="needs two other prompts of 7 tokens, and there are 0"):
        run(context, "validate", graph=graph, removal="mean")


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"graph": None}, "nothing to validate"),
        ({"removal": "corrupt"}, "no corrupt prompt"),
        ({"dictionary": "toy"}, "--dictionary does not go with this"),
        ({"graph": None, "behaviour": "words", "from_": CORRUPT}, "--from does not go with this"),
        ({"graph": None, "behaviour": "nowhere"}, "no behaviour named 'nowhere'"),
    ],
)
def test_given_options_that_do_not_go_together_when_validated_then_the_option_is_named(
    context: Context, graph: int, options: dict[str, Any], line: str
) -> None:
    before = counts(context.project)
    with pytest.raises(BadInput, match=line):
        run(context, "validate", **({"graph": graph} | options))
    assert counts(context.project) == before


def test_given_a_dictionary_that_was_trained_again_when_validated_then_the_graph_is_refused_by_name(
    tmp_path: Path,
) -> None:
    with graph_project.create(tmp_path) as project:
        context = Context(project)
        graph = run(context, "trace", prompt=PROMPT, dictionary="toy", edge_effects=False)["graph"]
        generator = torch.Generator().manual_seed(99)
        for layer in graph_project.SAE_LAYERS:
            project.db.execute("DELETE FROM dictionary WHERE layer = ?", [layer])
            graph_project._store(project, graph_project._autoencoder(context.model, layer, generator))
        with pytest.raises(BadInput, match=r"graph 1 was not made with the dictionary 'toy' that is here now \(L0 \w"):
            run(context, "validate", graph=graph)
        assert counts(project)["effect"] == 0


def test_given_a_run_that_fails_when_validated_then_it_is_marked_and_judged_untested(
    context: Context, graph: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Bench.effects_of_setting

    def first_fails(self: Bench, *given: Any) -> torch.Tensor:
        effects = real(self, *given)
        return torch.cat([effects[:1] * float("nan"), effects[1:]])

    monkeypatch.setattr(Bench, "effects_of_setting", first_fails)
    document = run(context, "validate", graph=graph, edges=0, controls=False)
    first, rest = document["nodes"][0], document["nodes"][1:]
    assert (first["measured_effect"], first["verdict"], first["failed"]) == (None, "untested", True)
    assert not any(node["failed"] for node in rest) and document["marks"]["failed_runs"] == 1
    assert "1 runs failed" in document["summary"] and document["pearson_predicted"] > 0.9
    assert len(graphs.effects(context.project.db, graph)) == len(rest)
