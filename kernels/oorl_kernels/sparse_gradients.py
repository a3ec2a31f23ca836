"""Launchers of the sparse backward's sums in Triton: entries without gaps, dX row by row, dW and db token by token.

Dimensions: N tokens with a gradient, H hidden, V vocabulary, C entry capacity of a row, E kept entries.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
from torch import Tensor

from .head_inputs import HeadOptions, RowResults
from .sparse_gradient_kernels import (
    _sparse_d_hidden_kernel,
    _sparse_token_edges_kernel,
    _sparse_token_sums_kernel,
    _sparse_values_kernel,
)
from .sparse_torch import KeptEntries

MIN_CHUNK, MAX_CHUNKS = 32, 4096  # entries of a chunk of sorted entries, and how many chunks there are


class Entries(NamedTuple):
    """Kept entries without gaps [E], row after row, and where a row's begin [N]."""

    token: Tensor  # int32
    row: Tensor  # int32
    value: Tensor  # fp32, dL/d(x W^T)
    start: Tensor  # int64


def gather_entries(
    d_logprobs: Tensor,
    d_entropy: Tensor | None,
    inv_temperature: Tensor | None,
    results: RowResults,
    kept: KeptEntries,
    options: HeadOptions,
    tau: float,
    num_entries: int,
) -> Entries:
    """The kept entries of rows, and what the loss's gradient makes of them."""
    token, row = (torch.empty(num_entries, dtype=torch.int32, device=kept.counts.device) for _ in range(2))
    start = kept.counts.cumsum(0) - kept.counts
    entries = Entries(token, row, torch.empty(num_entries, dtype=torch.float32, device=token.device), start)
    _sparse_values_kernel[(kept.counts.shape[0],)](
        columns_ptr=kept.columns,
        log_p_ptr=kept.log_p,
        counts_ptr=kept.counts,
        start_ptr=start,
        d_logprobs_ptr=d_logprobs.contiguous(),
        d_entropy_ptr=None if d_entropy is None else d_entropy.contiguous(),
        target_tile_ptr=torch.expm1(results.logprobs),  # p - 1, right even where p rounds to 1
        entropy_ptr=None if d_entropy is None else results.entropy,
        row_max_ptr=results.row_max,
        log_sum_ptr=results.log_sum,
        inv_temperature_ptr=inv_temperature,
        token_ptr=token,
        row_ptr=row,
        value_ptr=entries.value,
        tau=tau,
        logit_scale=options.logit_scale,
        softcap=options.softcap or 1.0,
        inv_temperature=1.0 / options.temperature,
        HAS_SOFTCAP=options.softcap is not None,
        ROW_TEMPERATURE=inv_temperature is not None,
        ENTROPY_GRAD=d_entropy is not None,
        CAPACITY=kept.columns.shape[1],
    )
    return entries


def hidden_sums(weight: Tensor, entries: Entries, counts: Tensor, x: Tensor) -> Tensor:
    """dX [N, H] of rows done sparsely, zeros for the others."""
    num_rows, hidden = x.shape
    d_hidden = torch.empty(num_rows, hidden, dtype=x.dtype, device=x.device)
    block_h = min(256, triton.next_power_of_2(hidden))
    _sparse_d_hidden_kernel[(num_rows, triton.cdiv(hidden, block_h))](
        w_ptr=weight,
        token_ptr=entries.token,
        value_ptr=entries.value,
        counts_ptr=counts,
        start_ptr=entries.start,
        d_hidden_ptr=d_hidden,
        hidden=hidden,
        stride_w_v=weight.stride(0),
        stride_w_h=weight.stride(1),
        ENTRIES=16,
        BLOCK_H=block_h,
        num_warps=4,
    )
    return d_hidden


def chunk_length(num_entries: int, hidden: int, options: HeadOptions) -> int:
    """Entries of a chunk: enough chunks to fill a device, and edges that fit the workspace."""
    most = max(1, min(MAX_CHUNKS, options.workspace_bytes // (8 * hidden)))
    return max(MIN_CHUNK, triton.cdiv(num_entries, most))


def add_token_sums(sums: Tensor, table: Tensor, token: Tensor, row: Tensor, value: Tensor, chunk: int) -> None:
    """sums[v] += sum of value * table[row] over entries of token v: sums [V, H], table [N, H], sorted entries [E]."""
    num_entries, hidden = token.shape[0], table.shape[1]
    if num_entries == 0:
        return
    num_chunks = triton.cdiv(num_entries, chunk)
    edges = torch.empty(num_chunks, 2, hidden, dtype=torch.float32, device=token.device)
    block_h = min(512, max(16, triton.next_power_of_2(hidden)))
    shared = {
        "token_ptr": token,
        "sums_ptr": sums,
        "edges_ptr": edges,
        "num_entries": num_entries,
        "chunk": chunk,
        "hidden": hidden,
        "BLOCK_H": block_h,
        "num_warps": 2,
    }
    grid = (num_chunks, triton.cdiv(hidden, block_h))
    _sparse_token_sums_kernel[grid](
        table_ptr=table,
        row_ptr=row,
        value_ptr=value,
        stride_table_n=table.stride(0),
        stride_table_h=table.stride(1),
        **shared,
    )
    _sparse_token_edges_kernel[grid](**shared)
