"""Many edited runs of one prompt that share what no edit reaches: the layers below the first edited one, and the
positions before it, of which attention needs keys and values alone.

The hot loop of batched edits: plain hooks on the model's own modules, equal to `spliced_logits` (tests).
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from tasks.circuits.targets import FeatureTarget, Target, target_columns
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.dictionaries.protocol import Site
from tasks.dictionaries.splice import Splice, probed
from tasks.interventions.regime import HeldLayer, held
from tasks.model.language_model import LanguageModel

_MASKED = ("eager", "sdpa")
"""Implementations of attention that take which key each query sees as a mask."""


@dataclass(frozen=True)
class Prefix:
    """Keys and values of the first positions of the unmodified prompt, where a layer asks a cache for them."""

    keys: Float[Tensor, "1 group prefix d_head"]
    values: Float[Tensor, "1 group prefix d_head"]

    def update(self, keys: Tensor, values: Tensor, *_layer: object, **_options: object) -> tuple[Tensor, Tensor]:
        """Those of the whole text, [row, group, pos, d_head]. Nothing is kept."""
        rows = len(keys)
        return (
            torch.cat([self.keys.expand(rows, -1, -1, -1), keys], dim=2),
            torch.cat([self.values.expand(rows, -1, -1, -1), values], dim=2),
        )


@dataclass(frozen=True)
class PromptRun:
    """One unmodified forward pass: what went into each decoder layer, and its keys and values."""

    model: LanguageModel
    n_positions: int
    inputs: tuple[tuple[Tensor, dict[str, Any]], ...]
    """Per layer: the residual stream, and the named arguments of its block."""
    prefixes: tuple[Prefix, ...]
    """Per layer, of all positions."""

    @classmethod
    @torch.no_grad()
    def of(cls, model: LanguageModel, tokens: Sequence[int]) -> "PromptRun":
        """Run the prompt once."""
        inputs: list[tuple[Tensor, dict[str, Any]]] = []

        def keep(_block: nn.Module, arguments: tuple[Tensor, ...], options: dict[str, Any]) -> None:
            named = options | {"past_key_values": None, "use_cache": False}
            residual = arguments[0] if arguments else named.pop("hidden_states")
            inputs.append((residual, named))

        cache = DynamicCache()  # without a configuration it keeps every position, in sliding layers too
        handles = [block.register_forward_pre_hook(keep, with_kwargs=True) for block in model.blocks]
        try:
            model.hf.get_decoder()(input_ids=model.token_tensor(tokens), past_key_values=cache, use_cache=True)
        finally:
            for handle in handles:
                handle.remove()
        return cls(model, len(tokens), tuple(inputs), tuple(_kept(layer) for layer in cache.layers))

    def first_shared(self, positions: Int[Tensor, " edit"], targets: Sequence[Target]) -> int:
        """The first position that runs with edits at `positions`, read at `targets`, have to compute."""
        first = [int(positions.min())] if len(positions) else []
        asked = [*first, *(target.position % self.n_positions for target in targets)]
        return min(asked) if self.model.hf.config._attn_implementation in _MASKED else 0

    @torch.no_grad()
    def targets(
        self,
        dictionaries: DictionarySet,
        splices: Sequence[Splice],
        n_rows: int,
        targets: Sequence[Target],
        attention: Sequence[HeldLayer] = (),
        start: int = 0,
    ) -> Float[Tensor, "row target"]:
        """Each target in `n_rows` copies of the prompt under `splices`, with `attention` held where it is given.

        Positions before `start` are those of the unmodified prompt; the splices see, and count from, what follows.
        """
        features = [target for target in targets if isinstance(target, FeatureTarget)]
        reads: dict[int, list[Tensor]] = {target.layer: [] for target in features}
        for layer, kept in reads.items():
            splices = probed(splices, dictionaries[layer], kept.append)
        first = min((splice.layer for splice in splices), default=self.model.n_layers - 1)
        top = self.model.n_layers if len(features) < len(targets) else max(reads) + 1
        with _spliced(self.model, splices), held(self.model, [layer.after(start) for layer in attention]):
            residual = self._residual(first, top, n_rows, start)

        def logits(position: int) -> Tensor:
            """Unembedded at this position alone."""
            here = self.model.final_norm(residual[:, [position % self.n_positions - start]])
            return self.model.capped(self.model.unembedding(here).float())

        def feature(target: FeatureTarget) -> Tensor:
            dictionary, index = dictionaries[target.layer], torch.tensor([target.index], device=residual.device)
            read = reads[target.layer][0][:, target.position % self.n_positions - start].float()
            return read @ dictionary.read_vectors(index)[0] + dictionary.read_bias(index)

        return target_columns(targets, logits, feature)

    def _residual(self, first: int, top: int, n_rows: int, start: int) -> Float[Tensor, "row pos d"]:
        """The residual stream from position `start` on before layer `top`, computed from layer `first` on."""
        residual = self.inputs[first][0][:, start:].expand(n_rows, -1, -1)
        for layer in range(first, top):
            options = self.inputs[layer][1]
            if start:
                options = self._continued(options, self.prefixes[layer], start)
            residual = self.model.blocks[layer](residual, **options)
        return residual

    def _continued(self, options: dict[str, Any], whole: Prefix, start: int) -> dict[str, Any]:
        """A block's arguments for the positions from `start` on."""
        mask = options["attention_mask"]
        if mask is None:
            mask = torch.ones(1, 1, self.n_positions, self.n_positions, dtype=torch.bool, device=self.model.device)
            mask = mask.tril()
        rotary = tuple(each[:, start:] for each in options["position_embeddings"])
        prefix = Prefix(whole.keys[:, :, :start], whole.values[:, :, :start])
        changed = {"attention_mask": mask[:, :, start:], "position_embeddings": rotary, "past_key_values": prefix}
        if options.get("position_ids") is not None:
            changed["position_ids"] = options["position_ids"][:, start:]
        return options | changed


def _kept(layer: object) -> Prefix:
    """What one layer of a cache holds."""
    assert isinstance(layer, DynamicLayer) and layer.keys is not None and layer.values is not None
    return Prefix(layer.keys, layer.values)


@contextmanager
def _spliced(model: LanguageModel, splices: Sequence[Splice]) -> Iterator[None]:
    """Inside, every splice acts in every run."""
    with ExitStack() as stack:
        for splice in splices:
            for handle in _handles(model, splice):
                stack.callback(handle.remove)
        yield


def _handles(model: LanguageModel, splice: Splice) -> list[torch.utils.hooks.RemovableHandle]:
    """What a splice reads is remembered on the way; what it writes is put in place."""
    layer, read = model.layers[splice.layer], list[Tensor]()

    def remember(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        read[:] = [inputs[0]]

    def change_output(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return splice.change(read.pop(), output)

    def change_hidden(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor]:
        return (splice.change(read.pop(), inputs[0]),)

    at = layer.mlp if splice.reads is Site.MLP_INPUT else layer.down
    first = at.register_forward_pre_hook(remember)
    if splice.writes is Site.MLP_OUTPUT:
        return [first, layer.mlp.register_forward_hook(change_output)]
    return [first, layer.down.register_forward_pre_hook(change_hidden)]
