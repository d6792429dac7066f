"""EFFECT by brute force (METHOD §2): the real model, one scalar a source, one backward pass a target.

Source s is scaled by (1 + alpha_s): what it writes is added alpha_s times, and an effect is the derivative with respect
to alpha_s. Nothing is frozen; where direct effects are asked for, the features of every dictionary are held by a
stop-gradient and what the dictionary misses passes: out = D(z).detach() + (h - D(z)).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from tests.oracle.linearised_model import Place
from tests.oracle.plain_dictionary import Layers
from tests.oracle.seed_model import SeedModel


@dataclass(frozen=True)
class Target:
    """A logit at the last position against a rival or the mean, as the model gives it; or a feature."""

    token: int = -1
    rival: int | None = None
    feature: Place | None = None


class LiveModel:
    """One prompt, its dictionaries and its sources."""

    def __init__(self, seed: SeedModel, tokens: list[int], dictionaries: Layers, sources: list[Place]) -> None:
        """`sources` are active features; their activations are read off an unmodified run."""
        self.seed, self.tokens, self.dictionaries, self.sources = seed, tokens, dictionaries, sources
        self.z: dict[int, Tensor] = {}
        self.run(torch.zeros(len(sources)).double(), Target(0))
        self.activation = torch.stack([self.z[layer][at, index] for layer, at, index in sources]).detach()

    def run(
        self, alpha: Tensor, target: Target, *, held_from: int | None = None, tokens_scaled: Tensor | None = None
    ) -> Tensor:
        """The target's value with sources scaled by 1 + alpha; features held at positions >= `held_from`."""
        pre: dict[int, Tensor] = {}

        def mlp(layer: int, u: Tensor) -> Tensor:
            h = self.seed.hidden(layer, u)
            dictionary = self.dictionaries.get(layer)
            if dictionary is None:
                return self.seed.down(layer, h)
            read, write = (h, h) if dictionary.on_hidden else (u, self.seed.down(layer, h))
            pre[layer] = dictionary.pre_activation(read)
            z = dictionary.encode(read)
            if not hasattr(self, "activation"):
                self.z[layer] = z
            else:
                if held_from is not None:
                    rebuilt = dictionary.decode(z)
                    held = rebuilt.detach() + (write - rebuilt)
                    write = torch.cat([write[:held_from], held[held_from:]])
                write = write + self._added(layer, alpha, write)
            return self.seed.down(layer, write) if dictionary.on_hidden else write

        x = self.seed.embed(self.tokens)
        logits = self.seed.capped(self.seed.logits(x if tokens_scaled is None else x * tokens_scaled[:, None], mlp))
        if target.feature is not None:
            layer, position, index = target.feature
            return pre[layer][position, index]
        other = logits[-1].mean() if target.rival is None else logits[-1, target.rival]
        return logits[-1, target.token] - other

    def _added(self, layer: int, alpha: Tensor, write: Tensor) -> Tensor:
        rows = [row for row, source in enumerate(self.sources) if source[0] == layer]
        position = torch.tensor([self.sources[row][1] for row in rows], dtype=torch.long)
        index = torch.tensor([self.sources[row][2] for row in rows], dtype=torch.long)
        amount = (alpha * self.activation)[rows][:, None] * self.dictionaries[layer].W_dec[index]
        return torch.zeros_like(write).index_add(0, position, amount)

    def effects(self, target: Target, *, held_from: int | None = None) -> tuple[Tensor, Tensor]:
        """Derivatives of the target with respect to the scale of every source and of every token's embedding."""
        alpha = torch.zeros(len(self.sources)).double().requires_grad_()
        scale = torch.ones(len(self.tokens)).double().requires_grad_()
        value = self.run(alpha, target, held_from=held_from, tokens_scaled=scale)
        of_sources, of_tokens = torch.autograd.grad(value, [alpha, scale], allow_unused=True, materialize_grads=True)
        return of_sources, of_tokens

    def central_difference(self, target: Target, source: int, epsilon: float = 1e-4) -> float:
        """(target at 1 + epsilon - target at 1 - epsilon) / 2 epsilon, scaling one source."""
        one = torch.zeros(len(self.sources)).double()
        one[source] = epsilon
        with torch.no_grad():
            return float(self.run(one, target) - self.run(-one, target)) / (2 * epsilon)
