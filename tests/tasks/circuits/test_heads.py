"""Head loadings against the sweep with heads switched off, and query-key scores against the model's own attention."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import product

import pytest
import torch
from torch import Tensor

from store.errors import BadInput
from tasks.circuits.frozen import freeze
from tasks.circuits.heads import EdgeSource, head_loadings
from tasks.circuits.linearise import Rule
from tasks.circuits.nodes import find_sources
from tasks.circuits.query_key import query_key_score
from tasks.circuits.sweep import Sweep
from tasks.circuits.targets import LogitTarget, Target, feature_target
from tasks.model.language_model import LanguageModel
from tests.oracle.plain_dictionary import dictionary_set, plain_set
from tests.tiny import FAMILIES, tiny_language_model

TOKENS = [5, 17, 44, 3, 71, 28]
LOGIT = LogitTarget(9, 5, 1.0, rival=2)
CASES = [(family, kind) for family in FAMILIES for kind in ("sae", "skip")]
Models = Callable[[str], LanguageModel]


@cache
def sweep_of(family: str, kind: str) -> Sweep:
    """One prompt through a tiny model, ready to be pulled back."""
    model = tiny_language_model(family)
    run, dictionaries = freeze(model, TOKENS), dictionary_set(kind, plain_set(kind, model))
    return Sweep(model, run, dictionaries, find_sources(model, run, dictionaries), Rule.RAY)


def with_heads(sweep: Sweep, allowed: Callable[[int, int], bool]) -> Sweep:
    """The same frozen model in which only some heads move anything."""
    layers = []
    for index, layer in enumerate(sweep.run.layers):
        mask = torch.tensor([allowed(index, head) for head in range(len(layer.attention_pattern))])
        layers.append(replace(layer, attention_pattern=layer.attention_pattern * mask[:, None, None]))
    other = sweep.with_sources(sweep.sources)
    other.run = replace(sweep.run, layers=tuple(layers))
    return other


def column(sweep: Sweep, target: Target, source: int) -> float:
    return float(sweep.pull_back(sweep.target_rows([target])).shares[0, source])


def edges(sweep: Sweep) -> list[tuple[EdgeSource, int, Target]]:
    """Token, feature and error sources, into a logit and into a feature."""
    sources, features = sweep.sources, sweep.sources.features
    top = int(features.layer.max())
    row = int(((features.layer == top) & (features.position == 4)).nonzero()[0])
    into = feature_target(features, top, int(features.index[row]), 4)
    first = int((features.position == 2).nonzero()[0])
    layer = int(features.layer[first])
    at = first - sources.layers[layer].columns[2].start
    write = sources.layers[layer].writes_at(2)[at] * features.activation[first]
    feature = EdgeSource(layer, 2, write)
    error = EdgeSource(layer, 4, sources.layers[layer].error[4])
    token = EdgeSource(-1, 3, sweep.run.embeddings[3])
    columns = (first, sources.first_error + layer * len(TOKENS) + 4, sources.first_token + 3)
    pairs = list(zip((feature, error, token), columns, strict=True))
    return [(*pair, target) for pair in pairs for target in (LOGIT, into)]


@pytest.mark.parametrize(("family", "kind"), CASES)
def test_loadings_close_to_the_edge_both_ways(family: str, kind: str) -> None:
    sweep = sweep_of(family, kind)
    for source, at, target in edges(sweep):
        edge = column(sweep, target, at)
        found = head_loadings(sweep, source, target)
        size = max(abs(edge), float(found.taken_up.abs().sum()), 1e-3)
        assert found.total == pytest.approx(edge, abs=1e-5 * size)
        assert found.direct + float(found.written.sum()) == pytest.approx(edge, abs=1e-5 * size)
        assert (found.direct == 0.0) == (source.position != target.position)
        torch.testing.assert_close(found.destination.sum(2), found.taken_up)
        torch.testing.assert_close(found.origin.sum(2), found.written)


@pytest.mark.parametrize(("family", "kind"), [("llama", "sae"), ("gemma3_text", "skip"), ("qwen3", "skip")])
def test_a_loading_is_what_paths_bring_whose_first_or_last_head_it_is(family: str, kind: str) -> None:
    sweep = sweep_of(family, kind)
    for source, at, target in edges(sweep)[:4]:
        found = head_loadings(sweep, source, target)
        for layer, head in product(range(source.layer + 1, sweep.model.n_layers), range(found.taken_up.shape[1])):
            above, below = allowed_heads(layer, head, ">"), allowed_heads(layer, head, "<")
            first, last = allowed_heads(layer, head, ">="), allowed_heads(layer, head, "<=")
            taken, not_taken, written, not_written = (
                column(with_heads(sweep, allowed), target, at) for allowed in (first, above, last, below)
            )
            assert float(found.taken_up[layer, head]) == pytest.approx(taken - not_taken, abs=2e-5)
            assert float(found.written[layer, head]) == pytest.approx(written - not_written, abs=2e-5)


def allowed_heads(layer: int, head: int, relation: str) -> Callable[[int, int], bool]:
    """Every head of the layers above (`>`) or below (`<`), and with `=` this one."""

    def allowed(there: int, h: int) -> bool:
        beyond = there > layer if relation[0] == ">" else there < layer
        return beyond or ("=" in relation and (there, h) == (layer, head))

    return allowed


@pytest.mark.parametrize(("family", "kind"), [*CASES, ("qwen3", "neurons"), ("llama", "transcoder")])
def test_scores_give_the_models_attention_back(family: str, kind: str) -> None:
    sweep = sweep_of(family, kind)
    query = 5
    for layer, head in ((0, 1), (1, 3), (2, 0)):
        pattern = sweep.run.layers[layer].attention_pattern[head, query]
        keys = pattern.nonzero().flatten().tolist()
        scores = [query_key_score(sweep, layer, head, query, key) for key in keys]
        logits = torch.tensor([each.score for each in scores])
        cap = getattr(sweep.model.hf.config, "attn_logit_softcapping", None)
        if cap is not None:
            logits = cap * torch.tanh(logits / cap)
        torch.testing.assert_close(logits.softmax(0), pattern[keys], rtol=1e-4, atol=1e-5)
        assert [each.attention for each in scores] == pattern[keys].tolist()


def total(parts: Tensor) -> float:
    return float(parts.double().sum())


def test_scores_are_sums_over_sources_and_over_pairs() -> None:
    sweep = sweep_of("qwen3", "sae")
    found = query_key_score(sweep, 2, 1, 5, 3)
    everything = torch.arange(len(found.query_parts))
    pairs = found.pairs(everything, everything)
    for parts in (found.by_query_source, found.by_key_source, pairs):
        assert total(parts) == pytest.approx(found.score, abs=1e-5)
    torch.testing.assert_close(pairs.sum(1), found.by_query_source, rtol=1e-4, atol=1e-5)
    features = sweep.sources.features
    late = (features.position > 3).nonzero().flatten()
    assert not found.key_parts[late].any(), "what stands after the key is not in it"
    assert found.query_parts[late].any()
    with pytest.raises(BadInput, match="cannot attend to 5"):
        query_key_score(sweep, 2, 1, 3, 5)
    with pytest.raises(BadInput, match="has no head 4"):
        query_key_score(sweep, 2, 4, 3, 3)
