"""Many edited runs of one prompt that share what no edit reaches: the layers below the first edited one.

The hot loop of batched edits: plain hooks on the model's own modules, equal to `spliced_logits` (tests).
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tasks.circuits.regime import HeldLayer, held
from tasks.circuits.targets import FeatureTarget, Target, target_columns
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.dictionaries.protocol import Site
from tasks.dictionaries.splice import Splice, probed
from tasks.model.language_model import LanguageModel


@dataclass(frozen=True)
class PromptRun:
    """One unmodified forward pass: what went into each decoder layer."""

    model: LanguageModel
    inputs: tuple[tuple[tuple[Any, ...], dict[str, Any]], ...]
    """Per layer: positional and keyword arguments of its block, the residual stream first."""

    @classmethod
    @torch.no_grad()
    def of(cls, model: LanguageModel, tokens: Sequence[int]) -> "PromptRun":
        """Run the prompt once."""
        inputs: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

        def keep(_block: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
            inputs.append((arguments, options))

        handles = [block.register_forward_pre_hook(keep, with_kwargs=True) for block in model.blocks]
        try:
            model.hf.get_decoder()(input_ids=model.token_tensor(tokens), use_cache=False)
        finally:
            for handle in handles:
                handle.remove()
        return cls(model, tuple(inputs))

    @torch.no_grad()
    def targets(
        self,
        dictionaries: DictionarySet,
        splices: Sequence[Splice],
        n_rows: int,
        targets: Sequence[Target],
        attention: Sequence[HeldLayer] = (),
    ) -> Float[Tensor, "row target"]:
        """Each target in `n_rows` copies of the prompt under `splices`, with `attention` held where it is given."""
        features = [target for target in targets if isinstance(target, FeatureTarget)]
        reads: dict[int, list[Tensor]] = {target.layer: [] for target in features}
        for layer, kept in reads.items():
            splices = probed(splices, dictionaries[layer], kept.append)
        first = min((splice.layer for splice in splices), default=self.model.n_layers - 1)
        top = self.model.n_layers if len(features) < len(targets) else max(reads) + 1
        with _spliced(self.model, splices), held(self.model, attention):
            residual = self._residual(first, top, n_rows)

        def logits(position: int) -> Tensor:
            """Unembedded at this position alone."""
            here = self.model.final_norm(residual[:, [position]])
            return self.model.capped(self.model.unembedding(here).float())

        def feature(target: FeatureTarget) -> Tensor:
            dictionary, index = dictionaries[target.layer], torch.tensor([target.index], device=residual.device)
            read = reads[target.layer][0][:, target.position].float()
            return read @ dictionary.read_vectors(index)[0] + dictionary.read_bias(index)

        return target_columns(targets, logits, feature)

    def _residual(self, first: int, top: int, n_rows: int) -> Float[Tensor, "row pos d"]:
        """The residual stream before layer `top`, computed from layer `first` on."""
        residual: Tensor = self.inputs[first][0][0].expand(n_rows, -1, -1)
        for layer in range(first, top):
            (_, *others), options = self.inputs[layer]
            residual = self.model.blocks[layer](residual, *others, **options)
        return residual


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
