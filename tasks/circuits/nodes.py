"""The nodes of an attribution graph before pruning: active features, errors, tokens, and their writes (METHOD §1, §4).

Columns of a graph are its sources, in circuit-tracer's order: features by (layer, position, index), then errors by
layer * n_positions + position, then tokens by position.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tasks.circuits.frozen import FrozenLayer, FrozenRun
from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.dictionaries.protocol import Dictionary, Site
from tasks.model.language_model import LanguageModel


@dataclass(frozen=True)
class ActiveFeatures:
    """Features that are active on a prompt, sorted by (layer, position, index)."""

    layer: Int[Tensor, " n"]
    position: Int[Tensor, " n"]
    index: Int[Tensor, " n"]
    activation: Float[Tensor, " n"]

    def __len__(self) -> int:
        return len(self.layer)

    def take(self, rows: Int[Tensor, " k"]) -> "ActiveFeatures":
        """The features in these rows, in this order."""
        return ActiveFeatures(self.layer[rows], self.position[rows], self.index[rows], self.activation[rows])


MOST_SCALED_WRITES = 2**22
"""Numbers a layer (16 MiB)."""


@dataclass(frozen=True)
class LayerSources:
    """What one layer's MLP writes to the residual stream (before a sandwich norm), split into its sources."""

    columns: tuple[slice, ...]
    """Per position: where its features stand among all active features."""
    writes: Float[Tensor, "distinct d"]
    """The write vectors, through W_down where needed, of every feature that is active anywhere."""
    rows: tuple[Int[Tensor, " _at_position"], ...]
    """Per position: which of `writes` are its features'."""
    activation: tuple[Float[Tensor, " _at_position"], ...]
    """Per position: z."""
    error: Float[Tensor, "pos d"]
    """What the dictionary misses; zero at positions that are no sources."""
    bias: Float[Tensor, "pos d"]
    """Constants, and everything written at positions that are no sources."""

    @cached_property
    def error_and_bias(self) -> Float[Tensor, "pos d 2"]:
        """Both, beside each other."""
        return torch.stack([self.error, self.bias], dim=2)

    @cached_property
    def scaled_writes(self) -> tuple[Float[Tensor, "_at_position d"], ...] | None:
        """Per position: the write vectors times z, if they are few enough to be kept beside each other."""
        if sum(map(len, self.rows)) * self.error.shape[1] > MOST_SCALED_WRITES:
            return None
        return tuple(self.writes[rows] * z[:, None] for rows, z in zip(self.rows, self.activation, strict=True))

    def writes_at(self, position: int) -> Float[Tensor, "_at_position d"]:
        """The write vectors of the features at one position."""
        rows = self.rows[position]
        return self.writes if len(rows) == len(self.writes) else self.writes[rows]

    def score(self, position: int, gradient: Float[Tensor, "row d"], edges: Float[Tensor, "row _at_position"]) -> None:
        """Fill `edges` with z · ⟨gradient, write vector⟩ of the features at one position."""
        if self.scaled_writes is not None:
            torch.mm(gradient, self.scaled_writes[position].T, out=edges)
        else:
            torch.mul(gradient @ self.writes_at(position).T, self.activation[position], out=edges)


@dataclass(frozen=True)
class Sources:
    """All sources of one prompt."""

    features: ActiveFeatures
    layers: dict[int, LayerSources]
    """Layers with a dictionary, or whose whole output is one error leaf a position."""
    n_layers: int
    n_positions: int

    @property
    def n_columns(self) -> int:
        """Features, errors and tokens."""
        return len(self.features) + (self.n_layers + 1) * self.n_positions

    @property
    def first_error(self) -> int:
        """Column of the error of layer 0 at position 0."""
        return len(self.features)

    @property
    def first_token(self) -> int:
        """Column of the token at position 0."""
        return len(self.features) + self.n_layers * self.n_positions


def find_sources(
    model: LanguageModel,
    run: FrozenRun,
    dictionaries: DictionarySet,
    *,
    first_position: bool = False,
    unreplaced_as_error: bool = False,
) -> Sources:
    """Every source of the prompt.

    Position 0 is an attention sink and no source unless `first_position`; what it writes is counted as bias.
    `unreplaced_as_error` makes the MLP output of each layer without a dictionary one error leaf a position.
    """
    start = 0 if first_position else 1
    found: list[ActiveFeatures] = []
    layers: dict[int, LayerSources] = {}
    offset = 0
    for index, frozen in enumerate(run.layers):
        if index in dictionaries:
            features, layer = _dictionary_sources(model, frozen, dictionaries[index], start, offset)
        elif unreplaced_as_error:
            features, layer = _error_sources(frozen, start, offset)
        else:
            continue
        found.append(features)
        layers[index] = layer
        offset += len(features)
    return Sources(_concatenate(found, run.embeddings.device), layers, len(run.layers), run.n_positions)


def read_value(dictionary: Dictionary, frozen: FrozenLayer) -> Float[Tensor, "pos d_read"]:
    """What the dictionary reads at each position of the prompt."""
    return frozen.mlp_input if dictionary.reads is Site.MLP_INPUT else frozen.hidden


def threshold_margins(run: FrozenRun, dictionaries: DictionarySet, features: ActiveFeatures) -> Float[Tensor, " n"]:
    """How far each active feature is above the point where it would switch off: what a frozen active set hides."""
    margins = torch.zeros_like(features.activation)
    for layer, dictionary in dictionaries.layers.items():
        rows = (features.layer == layer).nonzero().squeeze(1)
        every = dictionary.threshold_margin(read_value(dictionary, run.layers[layer]))
        margins[rows] = every[features.position[rows], features.index[rows]].to(margins.dtype)
    return margins


def _dictionary_sources(
    model: LanguageModel, frozen: FrozenLayer, dictionary: Dictionary, start: int, offset: int
) -> tuple[ActiveFeatures, LayerSources]:
    read = read_value(dictionary, frozen)
    z = dictionary.encode(read)
    positions, indices = z[start:].nonzero(as_tuple=True)
    positions = positions + start
    activation = z[positions, indices]
    distinct, write_row = indices.unique(return_inverse=True)
    writes, error, constant = _written(model, frozen, dictionary, distinct, z)
    bypass = torch.zeros_like(error) if dictionary.skip is None else read @ dictionary.skip.T
    error = error - bypass
    bias = constant.expand_as(error).clone()
    bias[:start] = (frozen.mlp_output - bypass)[:start]
    error[:start] = 0.0
    features = ActiveFeatures(torch.full_like(indices, dictionary.layer), positions, indices, activation)
    counts = torch.bincount(positions, minlength=len(z)).tolist()
    return features, LayerSources(
        columns=_columns(counts, offset),
        writes=writes,
        rows=write_row.split(counts),
        activation=activation.split(counts),
        error=error,
        bias=bias,
    )


def _columns(counts: list[int], offset: int) -> tuple[slice, ...]:
    ends = [offset, *(offset + total for total in accumulate(counts))]
    return tuple(slice(first, last) for first, last in pairwise(ends))


def _written(
    model: LanguageModel, frozen: FrozenLayer, dictionary: Dictionary, distinct: Tensor, z: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """(folded write vectors of the distinct features, what is missed, what is written for z = 0), all in R^d."""
    if dictionary.writes is Site.MLP_OUTPUT:
        writes = dictionary.write_vectors(distinct)
        decoded = z[:, distinct] @ writes + dictionary.write_bias
        return writes, frozen.mlp_output - decoded, dictionary.write_bias
    down = model.layers[dictionary.layer].down
    weight = down.weight.detach().float()
    constant = weight @ dictionary.write_bias
    if down.bias is not None:
        constant = constant + down.bias.detach().float()
    missed = (frozen.hidden - dictionary.decode(z)) @ weight.T
    return dictionary.writes_through(distinct, weight), missed, constant


def _error_sources(frozen: FrozenLayer, start: int, offset: int) -> tuple[ActiveFeatures, LayerSources]:
    output = frozen.mlp_output
    none = torch.empty(0, dtype=torch.long, device=output.device)
    error, bias = output.clone(), torch.zeros_like(output)
    bias[:start], error[:start] = output[:start], 0.0
    features = ActiveFeatures(none, none, none, output.new_empty(0))
    columns = _columns([0] * len(output), offset)
    nothing = (none,) * len(output), (output.new_empty(0),) * len(output)
    return features, LayerSources(columns, output.new_empty(0, output.shape[1]), *nothing, error, bias)


def _concatenate(parts: list[ActiveFeatures], device: torch.device) -> ActiveFeatures:
    def joined(name: str, dtype: torch.dtype) -> Tensor:
        empty = torch.empty(0, dtype=dtype, device=device)
        return torch.cat([empty, *(getattr(part, name) for part in parts)])

    return ActiveFeatures(
        joined("layer", torch.long),
        joined("position", torch.long),
        joined("index", torch.long),
        joined("activation", torch.float32),
    )
