"""Evaluate: the replacement model on held-out documents, one layer at a time and all at once (METHOD §6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from store.errors import BadInput
from tasks.params import Params as _Params
from tasks.params import option

if TYPE_CHECKING:
    from store.project import Project
    from tasks.context import Context
    from tasks.dictionaries.corpus_text import CorpusText
    from tasks.dictionaries.faithfulness import Recovery
    from tasks.dictionaries.neuron_baseline import NeuronMeter
    from tasks.dictionaries.protocol import Dictionary
    from tasks.dictionaries.quality import Quality, QualityMeter
    from tasks.model.language_model import LanguageModel


class Params(_Params):
    """The options of `workbench evaluate`."""

    dictionary: str = option("sae", "The set to evaluate.")
    layers: str = option("", "Layers of the set, as 4-12,20; all if left out.")
    tokens: int = option(1200, "Held-out tokens to run the replacement model on.", unit="tokens", ge=2)
    window: int = option(4000, "Held-out tokens for FVU, L0 and dead features.", unit="tokens", ge=2)
    corpus: str = option("offline", "Text to read: offline, a file or directory, or hub:NAME.")
    context_length: int = option(64, "Longest window of one document.", unit="tokens", ge=2)
    validation_share: float = option(0.1, "Share of documents held out: that of the training.", gt=0.0, le=0.5)
    seed: int = option(0, "Decides the split: that of the training.", ge=0)
    neurons: bool = option(True, "Run the largest neurons too, as many a token as the set has features.")


@dataclass(frozen=True)
class Result:
    """What the replacement model came to. No rows: the document is the job's."""

    document: dict[str, Any]

    def save(self, project: Project, job_id: int) -> dict[str, Any]:
        """The document."""
        return self.document


def run(params: Params, context: Context) -> Result:
    """Measure reconstruction on `window` tokens and predictions on `tokens` of them."""
    from tasks.dictionaries.corpus_text import CorpusText
    from tasks.dictionaries.faithfulness import measure_recovery

    model = context.model
    dictionaries = _dictionaries(params, context)
    text = CorpusText(model, params.corpus, params.context_length, params.window, params.validation_share, params.seed)
    text.require("validation")
    judged = _measure_rows(model, dictionaries, text, params.window, context)
    means = {layer: meter.mean() for layer, (meter, _) in judged.items()}
    found = {layer: (meter.quality(), neurons) for layer, (meter, neurons) in judged.items()}
    sparsity = {layer: max(1, round(quality.l0_mean)) for layer, (quality, _) in found.items()}
    with context.stage("running the replacement model", params.tokens, "tokens") as stage:
        batches = text.validation_windows(params.tokens)
        by_layer, joint = measure_recovery(
            model, dictionaries, means, batches, stage.advance, sparsity if params.neurons else None
        )
    layers = [
        {"layer": layer}
        | found[layer][0].document()
        | recovery.document()
        | {"beside": _beside(recovery, *found[layer])}
        for layer, recovery in by_layer.items()
    ]
    return Result(
        {
            "dictionary": params.dictionary,
            "corpus": params.corpus,
            "tokens": joint.n_tokens,
            "layers": layers,
            "joint": {"layers": list(by_layer), **joint.document(), "beside": _recovered_beside(joint)},
        }
    )


def _beside(recovery: Recovery, quality: Quality, neurons: NeuronMeter) -> dict[str, dict[str, Any]]:
    """What the neurons and the ablations come to on the same tokens. All neurons are h itself: nothing to measure."""
    k, m = max(1, round(quality.l0_mean)), neurons.width
    documents = {
        "neurons": {"l0": m, "fvu": 0.0, "ce_recovered": 1.0, "kl_recovered": 1.0},
        "largest_neurons": {"l0": k, "fvu": neurons.fvu(k), "needed_for_fvu": neurons.needed(quality.fvu)},
        "mean": {"l0": 0, "fvu": 1.0},
        "zero": {"l0": 0, "fvu": neurons.fvu(0)},
    }
    return {name: document | _recovered_beside(recovery).get(name, {}) for name, document in documents.items()}


def _recovered_beside(recovery: Recovery) -> dict[str, dict[str, Any]]:
    """CE and KL recovered by the largest neurons (where they were run), by the mean, and by zero."""
    kinds = {"largest_neurons": "neurons", "mean": "mean", "zero": "zero"}
    return {name: recovery.beside(kind) for name, kind in kinds.items() if kind in recovery.ce}


def _dictionaries(params: Params, context: Context) -> dict[int, Dictionary]:
    from tasks.dictionaries.loading import refuse_transcoders

    refuse_transcoders(params.dictionary, "evaluate")
    held = context.dictionary_set(params.dictionary)
    chosen = context.model.parse_layers(params.layers) if params.layers.strip() else sorted(held.layers)
    absent = [layer for layer in chosen if layer not in held]
    if absent:
        raise BadInput(f"the set {params.dictionary!r} has no layer {absent[0]}", f"it has {sorted(held.layers)}")
    return {layer: held[layer] for layer in chosen}


def _measure_rows(
    model: LanguageModel, dictionaries: dict[int, Dictionary], text: CorpusText, n_tokens: int, context: Context
) -> dict[int, tuple[QualityMeter, NeuronMeter]]:
    from tasks.dictionaries.neuron_baseline import NeuronMeter
    from tasks.dictionaries.quality import QualityMeter
    from tasks.model.hidden import stream_hidden

    meters = {
        layer: (QualityMeter(each, model.layers[layer].down.weight.detach()), NeuronMeter())
        for layer, each in dictionaries.items()
    }
    with context.stage("measuring reconstruction", n_tokens, "tokens") as stage:
        for rows in stream_hidden(model, text.validation_windows(n_tokens), sorted(dictionaries)):
            for layer, both in meters.items():
                for meter in both:
                    meter.add(rows.hidden[layer])
            stage.advance(rows.n_rows)
    return meters
