"""Direct effects of edits, in closed form: attention patterns, norm denominators and MLP outputs frozen together.

What the edits write moves the residual stream by Δx, which only frozen attention (its values and outputs) and a
dictionary's linear bypass carry on: Δlogits = W_U (final scale ∘ Δx). No run of the model an edit. As circuit-tracer's
interventions with all layers constrained; a later feature that reads h sees act(g + Δg) ⊙ (p + Δp) of its own layer.
Every edited z is what it is in the unmodified run. Layers without a dictionary are frozen too.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tasks.circuits.frozen import FrozenRun, freeze
from tasks.circuits.nodes import read_value
from tasks.circuits.targets import FeatureTarget, Target, target_columns
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.dictionaries.protocol import Site
from tasks.dictionaries.splice import Splice
from tasks.model.language_model import LanguageModel

Moved = dict[int, Float[Tensor, "row pos d"]]
"""Layer -> how far the residual stream moved before that layer's MLP norm; the number of layers -> after all."""


@dataclass(frozen=True)
class DirectPaths:
    """One prompt, frozen: what edits of its features do along direct paths."""

    model: LanguageModel
    run: FrozenRun
    dictionaries: DictionarySet

    @classmethod
    def of(cls, model: LanguageModel, tokens: Sequence[int], dictionaries: DictionarySet) -> "DirectPaths":
        """Run the prompt once."""
        return cls(model, freeze(model, tokens), dictionaries)

    def logits(self, splices: Sequence[Splice], n_rows: int) -> Float[Tensor, "row pos vocab"]:
        """How far the logits move, soft cap included, in `n_rows` copies of the prompt that share `splices`."""
        n_layers = self.model.n_layers
        moved = self._moved(splices, n_rows, [n_layers])[n_layers]
        every = torch.arange(self.run.n_positions, device=moved.device)
        return self._capped_change(self._unembedded(moved, every), every)

    def targets(self, splices: Sequence[Splice], n_rows: int, targets: Sequence[Target]) -> Float[Tensor, "row target"]:
        """How far each target moves."""
        wanted = {target.layer_in(self.model.n_layers) for target in targets}
        moved = self._moved(splices, n_rows, wanted)

        def logits(position: int) -> Tensor:
            at = torch.tensor([position], device=self.run.embeddings.device)
            return self._capped_change(self._unembedded(moved[self.model.n_layers], at), at)

        def feature(target: FeatureTarget) -> Tensor:
            return self._pre_activation(moved[target.layer], target)

        return target_columns(targets, logits, feature)

    def _pre_activation(self, moved: Float[Tensor, "row pos d"], target: FeatureTarget) -> Float[Tensor, " row"]:
        dictionary, frozen = self.dictionaries[target.layer], self.run.layers[target.layer]
        change = moved[:, target.position] * frozen.mlp_norm_scale[target.position]
        if dictionary.reads is Site.MLP_HIDDEN:
            modules = self.model.layers[target.layer]
            gate, up = frozen.gate[target.position], frozen.up[target.position]
            moved_gate = gate + change @ modules.gate.weight.detach().float().T
            moved_up = up + change @ modules.up.weight.detach().float().T
            change = self.model.activation(moved_gate) * moved_up - self.model.activation(gate) * up
        index = torch.tensor([target.index], device=change.device)
        return change @ dictionary.read_vectors(index)[0].float()

    def _moved(self, splices: Sequence[Splice], n_rows: int, wanted: Collection[int]) -> Moved:
        """Δx at the wanted layers. No layer below the lowest splice, or above the last wanted one, is computed."""
        by_layer = {splice.layer: splice for splice in splices}
        x = self.run.embeddings.new_zeros(n_rows, *self.run.embeddings.shape)
        first = min(by_layer, default=self.model.n_layers)
        moved = dict.fromkeys(wanted, x)
        for layer in range(first, min(max(wanted) + 1, self.model.n_layers)):
            if layer > first:
                x = x + self._through_attention(layer, x)
            if layer in moved:
                moved[layer] = x
            x = x + self._written(layer, x, by_layer.get(layer))
        if self.model.n_layers in moved:
            moved[self.model.n_layers] = x
        return moved

    def _through_attention(self, layer: int, x: Float[Tensor, "row pos d"]) -> Float[Tensor, "row pos d"]:
        """What attention with its frozen pattern, norm and output norm makes of Δx."""
        frozen, modules = self.run.layers[layer], self.model.layers[layer]
        values = (x * frozen.attention_norm_scale) @ modules.value.weight.detach().float().T
        n_groups = values.shape[2] // modules.d_head
        mixed = torch.einsum(
            "ghqk,rkge->rqghe",
            frozen.attention_pattern.unflatten(0, (n_groups, -1)),
            values.unflatten(2, (n_groups, -1)),
        ).flatten(2)
        out = mixed @ modules.output.weight.detach().float().T
        return out if frozen.attention_output_scale is None else out * frozen.attention_output_scale

    def _written(self, layer: int, x: Float[Tensor, "row pos d"], splice: Splice | None) -> Float[Tensor, "row pos d"]:
        """What the MLP of `layer` writes beyond its frozen output: the edits', and a bypass of Δx."""
        frozen, out = self.run.layers[layer], torch.zeros_like(x)
        if splice is not None:
            out = out + self._edited(splice, len(x))
        skip = self.dictionaries[layer].skip if layer in self.dictionaries else None
        if skip is not None:
            out = out + (x * frozen.mlp_norm_scale) @ skip.T
        return out if frozen.mlp_output_scale is None else out * frozen.mlp_output_scale

    def _edited(self, splice: Splice, n_rows: int) -> Float[Tensor, "row pos d"]:
        """D(z') - D(z) with z of the unmodified run, as the MLP's output."""
        dictionary = self.dictionaries[splice.layer]
        read = read_value(dictionary, self.run.layers[splice.layer]).expand(n_rows, -1, -1)
        nothing = read.new_zeros(*read.shape[:2], len(dictionary.write_bias))
        written = splice.change(read, nothing)
        if dictionary.writes is Site.MLP_OUTPUT:
            return written
        return written @ self.model.layers[splice.layer].down.weight.detach().float().T

    def _unembedded(self, moved: Float[Tensor, "row pos d"], at: Int[Tensor, " at"]) -> Float[Tensor, "row at vocab"]:
        scaled = moved[:, at] * self.run.final_norm_scale[at]
        return scaled @ self.model.unembedding_weight.float().T

    def _capped_change(
        self, change: Float[Tensor, "row at vocab"], at: Int[Tensor, " at"]
    ) -> Float[Tensor, "row at vocab"]:
        before = self.run.logits_at(at.tolist())
        return self.model.capped(before + change) - self.model.capped(before)
