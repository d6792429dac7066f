"""A gated neuron as a linear function of its two inputs: closes, and splits as METHOD §2 says."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tasks.circuits.linearise import Rule, linearise
from tests.oracle.linearised_model import coefficients

ACTIVATIONS = {
    "silu": torch.nn.functional.silu,
    "gelu": lambda gate: torch.nn.functional.gelu(gate, approximate="tanh"),
    "relu": torch.relu,
}
sizes = st.floats(-1e4, 1e4, width=32)


def made(gate: float, up: float, activation: str, rule: Rule) -> tuple[Tensor, Tensor, Tensor]:
    """c_g, c_u and h of one neuron."""
    g, p = torch.tensor([[gate]]), torch.tensor([[up]])
    neurons = linearise(g, p, ACTIVATIONS[activation], rule)
    return neurons.of_gate[0, 0], neurons.of_up[0, 0], (ACTIVATIONS[activation](g) * p)[0, 0]


@given(gate=sizes, up=sizes, activation=st.sampled_from(sorted(ACTIVATIONS)), rule=st.sampled_from(list(Rule)))
def test_every_rule_closes_for_every_gate(gate: float, up: float, activation: str, rule: Rule) -> None:
    of_gate, of_up, h = made(gate, up, activation, rule)
    parts = of_gate * gate, of_up * up
    assert abs(float(parts[0] + parts[1] - h)) <= 1e-5 * max(abs(float(parts[0])), abs(float(h)), 1e-30)


@pytest.mark.parametrize("size", [1e-9, 1e-6, 1e-4, 9e-4, 2e-3, 0.1, 1.0, 5.0, 15.0])
@pytest.mark.parametrize("activation", ["silu", "gelu"])
@pytest.mark.parametrize("rule", list(Rule))
def test_the_split_is_the_rules_formula_at_every_size_of_gate(rule: Rule, activation: str, size: float) -> None:
    gate, up = torch.tensor([[size, -size]]), torch.tensor([[1.7, -0.4]])
    found = linearise(gate, up, ACTIVATIONS[activation], rule)
    of_gate, of_up = coefficients(rule, ACTIVATIONS[activation], gate.double(), up.double())
    torch.testing.assert_close(found.of_gate.double(), of_gate, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(found.of_up.double(), of_up, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("activation", ["silu", "gelu"])
def test_at_a_gate_of_zero_the_split_is_the_limit(activation: str) -> None:
    for rule, slope in ((Rule.RAY, 0.25), (Rule.HALF, 0.25), (Rule.FROZEN_GATE, 0.0)):
        of_gate, of_up, h = made(0.0, 1.7, activation, rule)
        assert h == 0 and float(of_up) == pytest.approx(0.0, abs=1e-12)
        assert float(of_gate) == pytest.approx(slope * 1.7)


@pytest.mark.parametrize("gate", [1e2, -1e2, 1e4, -1e4, 1e30])
@pytest.mark.parametrize("rule", list(Rule))
def test_a_huge_gate_gives_finite_numbers_and_closes(rule: Rule, gate: float) -> None:
    of_gate, of_up, h = made(gate, 1.5, "silu", rule)
    assert np.isfinite([float(of_gate), float(of_up)]).all()
    assert float(of_gate * gate + of_up * 1.5) == pytest.approx(float(h), rel=1e-5, abs=1e-8)


def test_under_half_both_inputs_get_the_same_and_under_frozen_gate_the_gate_gets_nothing() -> None:
    of_gate, of_up, _ = made(1.3, -0.7, "silu", Rule.HALF)
    assert float(of_gate * 1.3) == pytest.approx(float(of_up * -0.7))
    assert float(made(1.3, -0.7, "silu", Rule.FROZEN_GATE)[0]) == 0.0
