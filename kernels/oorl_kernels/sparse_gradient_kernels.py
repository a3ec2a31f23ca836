"""Triton kernels of the sparse backward: gradients as weighted sums over kept entries, in fp32, without atomics.

    dX_n = sum over entries of row n of value W[token]        dW_v = sum over entries of token v of value x[row]

dX takes a row's entries where they lie. For dW they are sorted by token and cut into chunks of equal length, so that a
token that half of the rows keep is work for many programs; a run of one token inside a chunk is summed up and written,
and a run that crosses an edge leaves one partial sum a chunk, which a second kernel adds up in order. Every element has
one writer and every sum one order: the same inputs give the same bits.

Dimensions: N tokens with a gradient, H hidden, V vocabulary, C entry capacity of a row, E kept entries, K chunks.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _sparse_values_kernel(
    columns_ptr, log_p_ptr,  # [N, C]
    counts_ptr, start_ptr,  # [N]
    d_logprobs_ptr, d_entropy_ptr, target_tile_ptr, entropy_ptr, row_max_ptr, log_sum_ptr, inv_temperature_ptr,  # [N]
    token_ptr, row_ptr, value_ptr,  # [E] out
    tau, logit_scale, softcap, inv_temperature,
    HAS_SOFTCAP: tl.constexpr, ROW_TEMPERATURE: tl.constexpr, ENTROPY_GRAD: tl.constexpr, CAPACITY: tl.constexpr,
):  # fmt: skip
    """dL/d(x W^T) of one row's entries, which move together without gaps; `target_tile` is p - 1 of the target."""
    row = tl.program_id(0).to(tl.int64)
    slot = tl.arange(0, CAPACITY)
    used = slot < tl.load(counts_ptr + row)
    log_p = tl.load(log_p_ptr + row * CAPACITY + slot, mask=used, other=0.0)
    is_target = slot == 0
    p = tl.exp(log_p)
    p = tl.where(is_target, p, tl.maximum(p, tau))
    value = -tl.load(d_logprobs_ptr + row) * tl.where(is_target, tl.load(target_tile_ptr + row), p)
    if ENTROPY_GRAD:
        # p = 0 contributes 0 even where log p is -inf
        surprise = tl.where(p > 0.0, log_p, 0.0) + tl.load(entropy_ptr + row)
        value -= tl.load(d_entropy_ptr + row) * p * surprise
    inverse = inv_temperature
    if ROW_TEMPERATURE:
        inverse = tl.load(inv_temperature_ptr + row)
    if HAS_SOFTCAP:
        capped = (log_p + (tl.load(row_max_ptr + row) + tl.load(log_sum_ptr + row))) / (inverse * softcap)
        value *= 1.0 - capped * capped
    out = tl.load(start_ptr + row) + slot
    tl.store(token_ptr + out, tl.load(columns_ptr + row * CAPACITY + slot, mask=used, other=0), mask=used)
    tl.store(row_ptr + out, row.to(tl.int32), mask=used)
    tl.store(value_ptr + out, value * (logit_scale * inverse), mask=used)


@triton.jit
def _sparse_d_hidden_kernel(
    w_ptr, token_ptr, value_ptr,  # [V, H], [E], [E]
    counts_ptr, start_ptr,  # [N]
    d_hidden_ptr,  # [N, H] out
    hidden, stride_w_v, stride_w_h,
    ENTRIES: tl.constexpr, BLOCK_H: tl.constexpr,
):  # fmt: skip
    """BLOCK_H columns of one row of dX, ENTRIES rows of the head at a time; zeros for a row without entries."""
    row = tl.program_id(0).to(tl.int64)
    offs_h = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)
    mask_h = offs_h < hidden
    count, start = tl.load(counts_ptr + row), tl.load(start_ptr + row)
    total = tl.zeros((ENTRIES, BLOCK_H), dtype=tl.float32)
    for i in range(0, count, ENTRIES):
        entry = i + tl.arange(0, ENTRIES)
        inside = entry < count
        token = tl.load(token_ptr + start + entry, mask=inside, other=0).to(tl.int64)
        value = tl.load(value_ptr + start + entry, mask=inside, other=0.0)
        w_ptrs = w_ptr + token[:, None] * stride_w_v + offs_h.to(tl.int64)[None, :] * stride_w_h
        w = tl.load(w_ptrs, mask=inside[:, None] & mask_h[None, :], other=0.0)
        total += value[:, None] * w.to(tl.float32)
    d_hidden = tl.sum(total, 0).to(d_hidden_ptr.dtype.element_ty)
    tl.store(d_hidden_ptr + row * hidden + offs_h, d_hidden, mask=mask_h)


@triton.jit(do_not_specialize=["num_entries", "chunk"])  # they differ in every call
def _sparse_token_sums_kernel(
    table_ptr,  # [N, H]
    token_ptr, row_ptr, value_ptr,  # [E] sorted by token
    sums_ptr,  # [V, H] in and out
    edges_ptr,  # [K, 2, H] out: a chunk's part of a run that comes from the chunk before, of one that begins here
    num_entries, chunk, hidden, stride_table_n, stride_table_h,
    BLOCK_H: tl.constexpr,
):  # fmt: skip
    """Add value * table[row] of one chunk of entries to their tokens' sums, or to its edges."""
    number = tl.program_id(0).to(tl.int64)
    offs_h = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)
    mask_h = offs_h < hidden
    first = number * chunk
    end = tl.minimum(first + chunk, num_entries)
    before = tl.load(token_ptr + first - 1, mask=first > 0, other=-1)
    token = tl.load(token_ptr + first)
    total = tl.zeros((BLOCK_H,), dtype=tl.float32)
    for i in range(first, end):
        following = tl.load(token_ptr + i + 1, mask=i + 1 < num_entries, other=-1)
        row_ptrs = table_ptr + tl.load(row_ptr + i).to(tl.int64) * stride_table_n + offs_h.to(tl.int64) * stride_table_h
        total += tl.load(value_ptr + i) * tl.load(row_ptrs, mask=mask_h, other=0.0).to(tl.float32)
        if (following != token) | (i + 1 == end):
            if (token == before) | (token == following):
                side = tl.where(token == before, 0, 1)
                tl.store(edges_ptr + (number * 2 + side) * hidden + offs_h, total, mask=mask_h)
            else:
                out = sums_ptr + token.to(tl.int64) * hidden + offs_h
                total += tl.load(out, mask=mask_h, other=0.0).to(tl.float32)
                tl.store(out, total.to(sums_ptr.dtype.element_ty), mask=mask_h)
            total = tl.zeros((BLOCK_H,), dtype=tl.float32)
        token = following


@triton.jit(do_not_specialize=["num_entries", "chunk"])
def _sparse_token_edges_kernel(
    token_ptr,  # [E] sorted
    edges_ptr,  # [K, 2, H]
    sums_ptr,  # [V, H] in and out
    num_entries, chunk, hidden,
    BLOCK_H: tl.constexpr,
):  # fmt: skip
    """Add up the run that begins in one chunk and goes on in the next ones, if there is one."""
    number = tl.program_id(0).to(tl.int64)
    offs_h = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)
    mask_h = offs_h < hidden
    first, after = number * chunk, (number + 1) * chunk
    before = tl.load(token_ptr + first - 1, mask=first > 0, other=-1)
    token = tl.load(token_ptr + after - 1, mask=after < num_entries, other=-2)
    following = tl.load(token_ptr + after, mask=after < num_entries, other=-1)
    if (following == token) & (token != before):
        later = 0  # chunks it goes on in; counted apart, for Triton 3.6 cannot compile a while loop that carries sums
        while following == token:
            later += 1
            after += chunk
            following = tl.load(token_ptr + after, mask=after < num_entries, other=-1)
        total = tl.load(edges_ptr + (number * 2 + 1) * hidden + offs_h, mask=mask_h, other=0.0)
        for i in range(1, later + 1):
            total += tl.load(edges_ptr + (number + i) * 2 * hidden + offs_h, mask=mask_h, other=0.0)
        out = sums_ptr + token.to(tl.int64) * hidden + offs_h
        total += tl.load(out, mask=mask_h, other=0.0).to(tl.float32)
        tl.store(out, total.to(sums_ptr.dtype.element_ty), mask=mask_h)
