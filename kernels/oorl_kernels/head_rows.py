"""Rows that count: finding them, looking at their values, and putting results back in their places."""

from __future__ import annotations

from torch import Tensor

from .head_inputs import RowResults


def place(values: Tensor, rows: Tensor | None, num_rows: int) -> Tensor:
    """Rows back in their places among `num_rows`, zeros elsewhere."""
    if rows is None:
        return values
    return values.new_zeros((num_rows, *values.shape[1:])).index_copy_(0, rows, values)


def selected(keep: Tensor) -> Tensor | None:
    """Indices of the rows to keep, or None for all of them (the one host read on an accelerator)."""
    rows = keep.nonzero()[:, 0]
    return None if rows.numel() == keep.numel() else rows


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
        raise ValueError(f"hidden_states at flat position {position} is not finite (NaN or infinity)")
