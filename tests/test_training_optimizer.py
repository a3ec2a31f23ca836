"""The schedule's shape, and what one update does to weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from oorl.config import OptimizerConfig
from oorl.training.optimizer import apply_update, build_optimizer, learning_rate


def test_schedule_rises_then_follows_the_cosine_to_its_floor() -> None:
    config = OptimizerConfig(lr=2.0, warmup_ratio=0.1, min_lr_ratio=0.25)
    rates = [learning_rate(update, 100, config) for update in range(100)]
    assert rates[:10] == pytest.approx([0.2 * (k + 1) for k in range(10)])
    expected = [2.0 * (0.25 + 0.75 * 0.5 * (1 + math.cos(math.pi * k / 90))) for k in range(90)]
    assert rates[10:] == pytest.approx(expected)
    assert all(a >= b for a, b in zip(rates[10:], rates[11:], strict=False)) and rates[-1] > 0.5


@pytest.mark.parametrize(("total", "warmup"), [(1, 0.0), (1, 1.0), (5, 1.0), (3, 0.03)])
def test_schedule_of_short_runs_is_positive_and_never_above_the_peak(total: int, warmup: float) -> None:
    config = OptimizerConfig(lr=1.0, warmup_ratio=warmup)
    assert all(0 < learning_rate(update, total, config) <= 1 for update in range(total))


def test_first_adamw_step_by_hand() -> None:
    """Adam's corrected moments are g and g^2 after one step: a weight moves by lr g / (|g| + eps) and decays apart."""
    model = nn.Linear(2, 1, bias=True).double()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = build_optimizer(model, OptimizerConfig(weight_decay=0.1, eps=1e-8))
    gradient = {"weight": torch.tensor([[0.3, -0.4]]).double(), "bias": torch.tensor([1.2]).double()}
    for name, parameter in model.named_parameters():
        parameter.grad = gradient[name].clone()
    norm = apply_update(model, optimizer, lr=0.01, max_grad_norm=0.65)
    assert norm == pytest.approx(1.3)
    for name, parameter in model.named_parameters():
        clipped = gradient[name] * (0.65 / (1.3 + 1e-6))
        decayed = before[name] * (1 - 0.01 * 0.1) if name == "weight" else before[name]  # vectors do not decay
        torch.testing.assert_close(parameter.detach(), decayed - 0.01 * clipped / (clipped.abs() + 1e-8))
        assert parameter.grad is None


def test_no_clipping_when_the_limit_is_zero() -> None:
    model = nn.Linear(1, 1, bias=False)
    model.weight.grad = torch.full((1, 1), 1e3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    before = model.weight.item()
    assert apply_update(model, optimizer, lr=1e-3, max_grad_norm=0.0) == pytest.approx(1e3)
    assert model.weight.item() == pytest.approx(before - 1.0, abs=1e-6)  # fp32, whatever the random weight was


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_moves_nothing(poison: float) -> None:
    model = nn.Linear(3, 2)
    optimizer = build_optimizer(model, OptimizerConfig(lr=1.0))
    before = [parameter.detach().clone() for parameter in model.parameters()]
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, poison)
    assert not math.isfinite(apply_update(model, optimizer, lr=1.0, max_grad_norm=1.0))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
