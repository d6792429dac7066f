"""SHARE by brute force: the forward pass with stop-gradients written into it, and one backward pass a target.

From METHOD §1-§2 alone. What a layer with a dictionary writes is a leaf of the autograd graph; a layer without one is
linear in its input by the rule; attention patterns and norm denominators are held. An edge is what a source writes,
times the gradient of the target there.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from tests.oracle.plain_dictionary import Layers
from tests.oracle.seed_model import SeedModel

Place = tuple[int, int, int]
"""(layer, position, feature)."""


@dataclass(frozen=True)
class Row:
    """What one target is made of."""

    of_features: dict[Place, float]
    of_errors: Tensor
    """[layer, pos]."""
    of_tokens: Tensor
    value: float

    @property
    def bias(self) -> float:
        """What no source accounts for."""
        return self.value - sum(self.of_features.values()) - float(self.of_errors.sum() + self.of_tokens.sum())


def coefficients(rule: str, activation: Callable[[Tensor], Tensor], gate: Tensor, up: Tensor) -> tuple[Tensor, Tensor]:
    """c_g and c_u of METHOD §2; the integral by Simpson's rule on a fine grid."""
    if rule == "frozen-gate":
        return torch.zeros_like(gate), activation(gate)
    if rule == "half":
        return activation(gate) * up / (2 * gate), activation(gate) / 2
    n = 400
    weight = torch.full((n + 1,), 2.0, dtype=gate.dtype)
    weight[1::2] = 4.0
    weight[[0, -1]] = 1.0
    alpha = torch.linspace(0, 1, n + 1, dtype=gate.dtype)
    mean = (activation(alpha * gate[..., None]) * weight).sum(-1) / (3 * n)
    return (activation(gate) - mean) * up / gate, mean


class LinearisedModel:
    """One prompt through the frozen, linearised model."""

    def __init__(
        self,
        seed: SeedModel,
        tokens: list[int],
        dictionaries: Layers,
        rule: str,
        *,
        start: int = 1,
        unreplaced_as_error: bool = False,
        through: bool = False,
    ) -> None:
        """`start`: the first position that is a source. `through`: shares along all paths, not only direct ones."""
        self.seed, self.dictionaries, self.start, self.rule, self.through = seed, dictionaries, start, rule, through
        self.as_leaf = set(range(seed.n_layers)) if unreplaced_as_error else set(dictionaries)
        self.real_u: dict[int, Tensor] = {}
        self.real_logits = seed.logits(seed.embed(tokens), self._real_mlp)
        self.u: dict[int, Tensor] = {}
        self.leaves: dict[int, Tensor] = {}
        self.embeddings = seed.embed(tokens).requires_grad_()
        self.logits = seed.logits(self.embeddings, self._linear_mlp, frozen=True)

    def _real_mlp(self, layer: int, u: Tensor) -> Tensor:
        self.real_u[layer] = u
        return self.seed.mlp(layer, u)

    def _linear_hidden(self, layer: int, u: Tensor) -> Tensor:
        of_gate, of_up = coefficients(
            self.rule, self.seed.activation, *self.seed.gate_and_up(layer, self.real_u[layer])
        )
        gate, up = self.seed.gate_and_up(layer, u)
        return of_gate * gate + of_up * up

    def _linear_mlp(self, layer: int, u: Tensor) -> Tensor:
        self.u[layer] = u
        passed = self.seed.down(layer, self._linear_hidden(layer, u))
        if layer not in self.as_leaf:
            return passed
        if self.through:
            self.leaves[layer] = torch.zeros_like(passed, requires_grad=True)
            return passed + self.leaves[layer]
        bypass = self.dictionaries[layer].bypass(u) if layer in self.dictionaries else 0.0
        real = self.real_u[layer]
        self.leaves[layer] = (self.seed.mlp(layer, real) - torch.as_tensor(bypass)).detach().requires_grad_()
        return self.leaves[layer] + bypass

    def read(self, layer: int) -> Tensor:
        """What the layer's dictionary reads in the real model."""
        u = self.real_u[layer]
        return self.seed.hidden(layer, u) if self.dictionaries[layer].on_hidden else u

    @cached_property
    def active(self) -> dict[Place, float]:
        """Every active feature with its activation."""
        found: dict[Place, float] = {}
        for layer, dictionary in self.dictionaries.items():
            z = dictionary.encode(self.read(layer))
            for position, index in z.nonzero().tolist():
                if position >= self.start:
                    found[layer, position, index] = float(z[position, index])
        return found

    def writes(self, layer: int) -> Tensor:
        """What each feature of a layer writes to the residual stream for z = 1, [feature, d]."""
        dictionary = self.dictionaries[layer]
        return dictionary.W_dec @ self.seed.down_weight(layer).T if dictionary.on_hidden else dictionary.W_dec

    def error(self, layer: int) -> Tensor:
        """The part of the MLP's output that no feature, constant or bypass accounts for, [pos, d]."""
        out = self.seed.mlp(layer, self.real_u[layer])
        if layer not in self.dictionaries:
            return out if layer in self.as_leaf else torch.zeros_like(out)
        dictionary, read = self.dictionaries[layer], self.read(layer)
        rebuilt = dictionary.decode(dictionary.encode(read))
        rebuilt = self.seed.down(layer, rebuilt) if dictionary.on_hidden else rebuilt + dictionary.bypass(read)
        return out - rebuilt

    def feature_row(self, place: Place) -> Row:
        """A feature's pre-activation."""
        layer, position, index = place
        dictionary = self.dictionaries[layer]
        linear = self._linear_hidden(layer, self.u[layer]) if dictionary.on_hidden else self.u[layer]
        value = dictionary.pre_activation(self.read(layer))[position, index]
        return self._row(dictionary.pre_activation(linear)[position, index], float(value))

    def logit_row(self, token: int, rival: int | None = None) -> Row:
        """A logit at the last position against a rival or the mean, before a soft cap."""

        def centred(logits: Tensor) -> Tensor:
            return logits[-1, token] - (logits[-1].mean() if rival is None else logits[-1, rival])

        return self._row(centred(self.logits), float(centred(self.real_logits)))

    def _row(self, target: Tensor, value: float) -> Row:
        assert abs(float(target.detach()) - value) < 1e-9 * max(1.0, abs(value)), "the rule does not close"
        leaves = [self.embeddings, *self.leaves.values()]
        of_tokens, *of_leaves = torch.autograd.grad(
            target, leaves, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        gradient = dict(zip(self.leaves, of_leaves, strict=True))
        of_features: dict[Place, float] = {}
        of_errors = torch.zeros(self.seed.n_layers, len(of_tokens), dtype=torch.double)
        for layer in self.leaves:
            of_errors[layer, self.start :] = (gradient[layer] * self.error(layer)).sum(-1)[self.start :]
        products = {layer: gradient[layer] @ self.writes(layer).T for layer in self.dictionaries}
        for (layer, position, index), z in self.active.items():
            of_features[layer, position, index] = z * float(products[layer][position, index])
        return Row(of_features, of_errors, (of_tokens * self.embeddings.detach()).sum(-1), value)
