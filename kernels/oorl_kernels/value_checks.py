"""What is looked at in tensors where reading them is free or asked for. Dimensions: N rows, H hidden."""

from __future__ import annotations

from torch import Tensor

from .head_inputs import RowResults


def check_ids(target_ids: Tensor, counts: Tensor, vocab: int) -> None:
    """IndexError for the first id, among those that count, outside the vocabulary."""
    bad = counts & ((target_ids < 0) | (target_ids >= vocab))
    if bad.any():
        position = int(bad.nonzero()[0, 0])
        raise IndexError(
            f"target_ids at flat position {position} is {int(target_ids[position])}, outside the vocabulary "
            f"0..{vocab - 1} and not ignore_index"
        )


def check_finite(results: RowResults, x: Tensor, rows: Tensor | None) -> None:
    """The log-sum-exp is finite unless an input was not: N values to look at instead of N x H."""
    bad = ~(results.row_max + results.log_sum).isfinite()
    if bad.any():
        row = int(bad.nonzero()[0, 0])
        position = row if rows is None else int(rows[row])
        if x[row].isfinite().all():
            raise ValueError(
                f"the logits of flat position {position} are not finite though its hidden state is: look at "
                "lm_head_weight, bias and temperature"
            )
        raise_fault(position, -1)


def fault_before_cap(x: Tensor, weight: Tensor, counts: Tensor, softcap: float | None) -> int:
    """The first row that counts and is not finite, N for the weight's fault, -1 for none.

    A softcap makes finite logits of infinite ones, so that `check_finite` would see nothing; without one it does.
    """
    if softcap is None:
        return -1
    bad = counts & ~x.isfinite().all(1)
    if bad.any():
        return int(bad.nonzero()[0, 0])
    return -1 if weight.isfinite().all() else x.shape[0]


def raise_fault(fault: int, num_rows: int) -> None:
    """ValueError for a fault that was found, here or on another rank."""
    if fault == num_rows:
        raise ValueError("lm_head_weight is not finite (NaN or infinity)")
    if fault >= 0:
        raise ValueError(f"hidden_states at flat position {fault} is not finite (NaN or infinity)")
