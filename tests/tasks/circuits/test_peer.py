"""The transcoder convention against circuit-tracer 0.5.0's own numbers (METHOD §4, shared data `oracle/tiny_llama`)."""

import json
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from tasks.circuits.attribution import Attribution, attribute
from tasks.circuits.frozen import freeze
from tasks.circuits.linearise import Rule
from tasks.circuits.nodes import ActiveFeatures, find_sources
from tasks.circuits.sweep import Sweep
from tasks.circuits.targets import FeatureTarget, LogitTarget, salient_logits
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.graphs.influence import scores
from tasks.graphs.prune import prune
from tasks.interventions.edits import Edits
from tasks.interventions.intervene import edited_logits, measure_targets
from tasks.interventions.regime import Freeze
from tasks.model.language_model import LanguageModel
from tests.oracle.plain_dictionary import Transcoder

ORACLE = Path(__file__).parents[4] / "shared" / "data" / "oracle" / "tiny_llama"
TOLERANCE = 2e-5
RUNS = {"relu_transformerlens": None, "topk_transformerlens": None, "relu_transformerlens_top64": 64}
"""Folder -> the budget of features."""
PEER_NAMES = [("direct", Freeze.DIRECT), ("frozen_attention", Freeze.ATTENTION), ("free", Freeze.NONE)]
"""What the peer's arrays of an intervention are called."""

pytestmark = pytest.mark.skipif(not ORACLE.is_dir(), reason=f"the peer's numbers are not here ({ORACLE})")


@cache
def model() -> LanguageModel:
    """The random 4-layer Llama that the peer ran."""
    hf = AutoModelForCausalLM.from_pretrained(ORACLE / "model", dtype=torch.float32)
    return LanguageModel(hf, AutoTokenizer.from_pretrained(ORACLE / "model"), spec="peer", revision="0")


@cache
def transcoders(kind: str) -> DictionarySet:
    """One of the peer's two sets."""
    layers = {}
    for layer in range(4):
        weights = load_file(ORACLE / f"transcoders_{kind}" / f"layer_{layer}.safetensors")
        W_enc, b_enc, W_dec, b_dec = (weights[name] for name in ("W_enc", "b_enc", "W_dec", "b_dec"))
        layers[layer] = Transcoder(layer, W_enc, b_enc, W_dec, b_dec, k=8 if kind == "topk" else None)
    return DictionarySet(kind, layers)


@cache
def peer(run: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The peer's arrays and scores."""
    return load_file(ORACLE / run / "graph.safetensors"), json.loads((ORACLE / run / "meta.json").read_text())


@cache
def attributed(run: str) -> tuple[Attribution, ActiveFeatures]:
    """Our graph of the same prompt with the same options, and what was active."""
    arrays, _ = peer(run)
    tokens = arrays["input_tokens"].flatten().tolist()
    frozen = freeze(model(), tokens)
    dictionaries = transcoders(run.split("_", maxsplit=1)[0])
    sources = find_sources(model(), frozen, dictionaries)
    last = frozen.n_positions - 1
    targets = salient_logits(frozen.logits_at([last])[0].softmax(-1), last, 10, 0.9)
    sweep = Sweep(model(), frozen, dictionaries, sources, Rule.RAY)
    graph = attribute(sweep, targets, max_nodes=RUNS[run] or 10_000, refresh=32, block=24)
    return graph, sources.features


def names(features: ActiveFeatures) -> Tensor:
    """[feature, (layer, position, index)]."""
    return torch.stack([features.layer, features.position, features.index], dim=1)


@pytest.mark.parametrize("run", RUNS)
def test_the_same_features_are_active_and_the_same_are_selected(run: str) -> None:
    (graph, active), (arrays, meta) = attributed(run), peer(run)
    assert torch.equal(names(active), arrays["active_features"])
    torch.testing.assert_close(active.activation, arrays["activation_values"], rtol=0, atol=TOLERANCE)
    assert torch.equal(graph.rows_of_active, arrays["selected_features"].sort().values)
    assert list(graph.tokens) == meta["tokens"]
    assert [logit.token for logit in graph.targets if isinstance(logit, LogitTarget)] == arrays[
        "logit_token_ids"
    ].tolist()
    found = torch.tensor([logit.probability for logit in graph.targets])
    torch.testing.assert_close(found, arrays["logit_probabilities"], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("run", RUNS)
def test_every_edge_is_the_peers(run: str) -> None:
    (graph, _), (arrays, _) = attributed(run), peer(run)
    adjacency = torch.zeros(graph.n_nodes, graph.n_nodes)
    adjacency[graph.target, graph.source] = graph.share
    torch.testing.assert_close(adjacency, arrays["adjacency"], rtol=0, atol=TOLERANCE)
    assert float(graph.closing_error.max()) <= 1e-5


@pytest.mark.parametrize("run", RUNS)
def test_scores_influence_and_what_pruning_keeps_are_the_peers(run: str) -> None:
    (graph, _), (arrays, meta) = attributed(run), peer(run)
    ours = scores(graph.raw())
    assert abs(ours.replacement - meta["replacement_score"]) <= TOLERANCE
    assert abs(ours.completeness - meta["completeness_score"]) <= TOLERANCE
    pruned = prune(graph.raw(), 0.8, 0.98)
    torch.testing.assert_close(
        torch.from_numpy(pruned.influence).float(), arrays["node_influence"], rtol=0, atol=TOLERANCE
    )
    assert torch.equal(torch.from_numpy(pruned.node_kept), arrays["node_mask_0.8_0.98"])
    kept = torch.stack([graph.target, graph.source], dim=1)[torch.from_numpy(pruned.edges)]
    assert sorted(kept.tolist()) == sorted(arrays["edges_kept_0.8_0.98"].tolist())


def one_edit(kind: str) -> tuple[dict[str, Tensor], list[int], Edits]:
    """What the peer did to one feature, the prompt, and the same as ours."""
    arrays = load_file(ORACLE / f"{kind}_transformerlens" / "interventions.safetensors")
    tokens = peer(f"{kind}_transformerlens")[0]["input_tokens"].flatten().tolist()
    layer, position, index, _ = arrays["feature"].tolist()
    row, at_layer, at, feature = (torch.tensor([each]) for each in (0, layer, position, index))
    return arrays, tokens, Edits(row, at_layer, at, feature, torch.zeros(1), arrays["new_value"][None])


@pytest.mark.parametrize(("name", "freeze"), PEER_NAMES)
@pytest.mark.parametrize("kind", ["relu", "topk"])
def test_setting_a_feature_gives_the_peers_logits(kind: str, name: str, freeze: Freeze) -> None:
    arrays, tokens, edit = one_edit(kind)
    edited = edited_logits(model(), tokens, transcoders(kind), edit, 1, freeze=freeze)[0]
    unedited = model().logits(model().token_tensor(tokens))[0]
    torch.testing.assert_close(unedited, arrays["base.logits"], rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(edited, arrays[f"{name}.logits"], rtol=0, atol=TOLERANCE)
    others = [arrays[f"{other}.logits"] for other, _ in PEER_NAMES if other != name]
    assert all(float((arrays[f"{name}.logits"] - other).abs().max()) > 1e-3 for other in [*others, unedited])


@pytest.mark.parametrize(("name", "freeze"), PEER_NAMES)
@pytest.mark.parametrize("kind", ["relu", "topk"])
def test_setting_a_feature_gives_the_peers_pre_activations(kind: str, name: str, freeze: Freeze) -> None:
    arrays, tokens, edit = one_edit(kind)
    places = list(product(range(4), range(1, len(tokens)), range(96)))  # the peer has none at position 0
    targets = [FeatureTarget(layer, index, position, 0.0) for layer, position, index in places]
    found = measure_targets(model(), tokens, transcoders(kind), [edit], targets, freeze=freeze)
    expected = arrays[f"{name}.preacts"][:, 1:]
    torch.testing.assert_close(found.view_as(expected), expected, rtol=0, atol=TOLERANCE)
    assert float((expected - arrays["base.preacts"][:, 1:]).abs().max()) > 0.01
