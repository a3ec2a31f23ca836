"""How far from the truth a result may be: bounds from the arithmetic, and from what plain PyTorch makes of the inputs.

The truth is float64. Nothing here is tuned until a test passes: a bound is a count of roundings, or a stated multiple
of the error of the obvious PyTorch program at the same dtype, which the kernels stand in for.
"""

from __future__ import annotations

import torch
from torch import Tensor

TIMES_TORCH = 2.0
"""Another order of summation may be unlucky where PyTorch's was lucky; more than twice its error is a defect."""
FLOOR_ROUNDINGS = 4.0
"""Roundings of the largest value granted beside that, for results in which PyTorch happens to be exact."""


def relative_error(actual: Tensor, exact: Tensor) -> float:
    """Largest absolute error over the largest exact value (over 1 where all are zero)."""
    assert actual.shape == exact.shape, (actual.shape, exact.shape)
    if exact.numel() == 0:
        return 0.0
    actual, exact = actual.detach().double(), exact.detach().double()
    return float((actual - exact).abs().max()) / (float(exact.abs().max()) or 1.0)


def assert_no_worse(name: str, actual: Tensor, exact: Tensor, torch_result: Tensor, times: float = TIMES_TORCH) -> None:
    """The error against float64 is at most `times` PyTorch's own at the same dtype, plus a few roundings."""
    roundings = FLOOR_ROUNDINGS * torch.finfo(actual.dtype).eps
    bound = times * relative_error(torch_result, exact) + roundings
    error = relative_error(actual, exact)
    assert error <= bound, f"{name}: error {error:.2e} is over {bound:.2e}"


def assert_rounding(name: str, actual: Tensor, exact: Tensor, terms: int) -> None:
    """Equal up to the rounding of sums of `terms` numbers no larger than the largest exact value."""
    bound = (terms + FLOOR_ROUNDINGS) * torch.finfo(actual.dtype).eps
    error = relative_error(actual, exact)
    assert error <= bound, f"{name}: error {error:.2e} is over {bound:.2e}"
