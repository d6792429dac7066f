"""Nearest neighbours by decoder: exact up to a bound, and of more features exact cosines of those that are near."""

import torch
from jaxtyping import Float
from torch import Tensor

from tasks.dictionaries.sae import SparseAutoencoder
from tasks.indexing.decoder_neighbours import nearest_by_decoder
from tests.tiny import tiny_language_model

N, WIDTH, GROUP = 3000, 512, 6


def _grouped_directions() -> Float[Tensor, "n width"]:
    """Groups of six rows whose cosines with each other are about 0.9 to 0.6; groups have nothing in common."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.nn.functional.normalize(torch.randn(N // GROUP, WIDTH, generator=generator), dim=1)
    spread = torch.nn.functional.normalize(torch.randn(N // GROUP, GROUP, WIDTH, generator=generator), dim=2)
    size = torch.linspace(0.2, 0.8, GROUP)[None, :, None]
    return (centres[:, None] + size * spread).reshape(N, WIDTH)


def _dictionary(directions: Float[Tensor, "n width"]) -> SparseAutoencoder:
    zeros = torch.zeros(len(directions)), torch.zeros(directions.shape[1])
    return SparseAutoencoder(0, directions, zeros[0], directions, zeros[1], None, len(directions))


def test_given_more_features_than_the_bound_then_cosines_are_exact_and_near_neighbours_are_those_of_all_pairs() -> None:
    directions = _grouped_directions()
    unit = torch.nn.functional.normalize(directions.double(), dim=1)
    cosines = unit @ unit.T - 2 * torch.eye(N)
    best = cosines.topk(10, dim=1)
    indices, values = nearest_by_decoder(tiny_language_model("llama"), _dictionary(directions), 10, exact_up_to=100)
    assert torch.allclose(values.double(), cosines.gather(1, indices), atol=1e-5)
    near = best.values >= 0.6
    assert near.sum() > N
    found = (indices[:, :, None] == best.indices[:, None, :]).any(1)
    assert float((found & near).sum() / near.sum()) > 0.999


def test_given_as_many_features_as_the_bound_then_neighbours_are_those_of_all_pairs() -> None:
    directions = _grouped_directions()[:300]
    unit = torch.nn.functional.normalize(directions.double(), dim=1)
    best = (unit @ unit.T - 2 * torch.eye(300)).topk(5, dim=1)
    indices, values = nearest_by_decoder(tiny_language_model("llama"), _dictionary(directions), 5)
    assert torch.allclose(values.double(), best.values, atol=1e-5)
    assert torch.equal(indices, best.indices)
