"""Device functions that several Triton kernels share; shapes only, no memory access."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def tanh(u):
    """tanh of any shape from one exponential: 1 at +inf, -1 at -inf, absolute error of an ulp of 1."""
    return 1.0 - 2.0 / (tl.exp(2.0 * u) + 1.0)


@triton.jit
def merge_softmax(row_max, row_sum, row_weighted, new_max, new_sum, new_weighted):
    """Union of two softmax sums: maximum m, sum of exp(z - m), sum of exp(z - m) (z - m); each of one shape.

    An empty side has maximum -inf and zero sums, and -inf must not meet 0 in a product.
    """
    both = tl.maximum(row_max, new_max)
    safe = tl.where(both == float("-inf"), 0.0, both)
    old_shift = tl.where(row_max == float("-inf"), 0.0, row_max - safe)
    new_shift = tl.where(new_max == float("-inf"), 0.0, new_max - safe)
    old_scale = tl.exp(old_shift)
    new_scale = tl.exp(new_shift)
    merged_sum = row_sum * old_scale + new_sum * new_scale
    weighted = (row_weighted + row_sum * old_shift) * old_scale + (new_weighted + new_sum * new_shift) * new_scale
    return both, merged_sum, weighted


@triton.jit
def grouped_tile(pid, num_rows, num_columns, GROUP_ROWS: tl.constexpr):
    """(row, column) of a program when bands of GROUP_ROWS rows are walked column by column, for the L2's sake."""
    band = pid // (GROUP_ROWS * num_columns)
    first_row = band * GROUP_ROWS
    rows_here = tl.minimum(num_rows - first_row, GROUP_ROWS)
    within = pid % (GROUP_ROWS * num_columns)
    return first_row + within % rows_here, within // rows_here
