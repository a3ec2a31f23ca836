"""Token log-probs from hidden states and the head in Triton: logits live in registers and never reach memory.

    z = softcap(logit_scale * (x W^T + b)) / T      logp = z_target - lse      entropy = lse - sum_v p_v z_v

Forward, 2NVH: each program walks some column tiles of a block of rows, multiplies, and keeps a running maximum and sums
in fp32; a second, tiny kernel merges the programs' partial sums in a fixed order. No atomics, and a configuration that
does not know N: a row's result is the same, bitwise, in any batch.

Backward, 6NVH, exact: slabs of columns. A kernel makes the logits of a slab again and writes dL/d(x W^T), with p - 1
formed in fp32 before it is rounded to the operands' dtype; cuBLAS multiplies the slab with the head (added to dX in
fp32) and with the hidden states (the slab's rows of dW, summed over all tokens in fp32 and written once). Splitting
along V leaves no partial sums of dW, and library products run at the device's rate, which fused accumulation with
atomics or locks does not. Only the slab, within `workspace_bytes`, stands between the logits and the gradients.

Dimensions: N tokens that count, H hidden, V vocabulary, S splits of V.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .dispatch import interpreting
from .head_inputs import HeadOptions, RowResults
from .head_tiles import HeadGradients, product_dtype, spans, tile_view
from .jit_math import grouped_tile, log1p, merge_softmax, tanh_and_slope
from .launch_config import HeadConfig, head_config

COMBINE_ROWS = 128
MIN_SLAB_COLUMNS = 2048  # narrower products leave the device idle: split the rows instead


@triton.jit
def _logits_tile(
    x_ptr, w_ptr, bias_ptr, inv_temperature_ptr,
    offs_n, offs_v, num_rows, vocab, hidden,
    stride_x_n, stride_x_h, stride_w_v, stride_w_h,
    logit_scale, softcap, inv_temperature,
    HAS_BIAS: tl.constexpr, HAS_SOFTCAP: tl.constexpr, ROW_TEMPERATURE: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_V: tl.constexpr, BLOCK_H: tl.constexpr,
):  # fmt: skip
    """z [BLOCK_N, BLOCK_V] in fp32, the softcap's derivative (or z again) and 1 / temperature [BLOCK_N].

    Rows and columns beyond the end repeat the last one: the caller masks what it makes of them.
    """
    rows = tl.minimum(offs_n, num_rows - 1).to(tl.int64)
    columns = tl.minimum(offs_v, vocab - 1).to(tl.int64)
    offs_h = tl.arange(0, BLOCK_H)
    x_ptrs = x_ptr + rows[:, None] * stride_x_n + offs_h[None, :] * stride_x_h  # [BLOCK_N, BLOCK_H]
    w_ptrs = w_ptr + columns[None, :] * stride_w_v + offs_h[:, None] * stride_w_h  # [BLOCK_H, BLOCK_V]
    z = tl.zeros((BLOCK_N, BLOCK_V), dtype=tl.float32)
    for h in range(0, hidden, BLOCK_H):
        mask_h = offs_h < hidden - h
        x = tl.load(x_ptrs, mask=mask_h[None, :], other=0.0)
        w = tl.load(w_ptrs, mask=mask_h[:, None], other=0.0)
        z = tl.dot(x, w, z, input_precision=PRECISION)
        x_ptrs += BLOCK_H * stride_x_h
        w_ptrs += BLOCK_H * stride_w_h
    if HAS_BIAS:
        z += tl.load(bias_ptr + columns).to(tl.float32)[None, :]
    z *= logit_scale
    slope = z
    if HAS_SOFTCAP:
        capped, slope = tanh_and_slope(z / softcap)
        z = softcap * capped
    inverse = tl.zeros((BLOCK_N,), dtype=tl.float32) + inv_temperature
    if ROW_TEMPERATURE:
        inverse = tl.load(inv_temperature_ptr + rows)
    return z * inverse[:, None], slope, inverse


@triton.jit
def _token_logprobs_fwd_kernel(
    x_ptr, w_ptr, bias_ptr, inv_temperature_ptr, target_ptr,
    part_max_ptr, part_rest_ptr, part_weighted_ptr,  # [S, N] out
    target_logit_ptr,  # [N] out
    num_rows, vocab, hidden, num_splits,
    stride_x_n, stride_x_h, stride_w_v, stride_w_h,
    logit_scale, softcap, inv_temperature,
    HAS_BIAS: tl.constexpr, HAS_SOFTCAP: tl.constexpr, ROW_TEMPERATURE: tl.constexpr, WITH_ENTROPY: tl.constexpr,
    PRECISION: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_V: tl.constexpr, BLOCK_H: tl.constexpr,
    GROUP_N: tl.constexpr, SPLIT_TILES: tl.constexpr,
):  # fmt: skip
    """One block of rows over SPLIT_TILES column tiles: its side of merge_softmax, and the target's logit."""
    block, split = grouped_tile(tl.program_id(0), tl.cdiv(num_rows, BLOCK_N), num_splits, GROUP_N)
    offs_n = block * BLOCK_N + tl.arange(0, BLOCK_N)
    mask_n = offs_n < num_rows
    target = tl.load(target_ptr + offs_n, mask=mask_n, other=-1)
    row_max = tl.full((BLOCK_N,), float("-inf"), dtype=tl.float32)
    row_rest = tl.zeros((BLOCK_N,), dtype=tl.float32)
    row_weighted = tl.zeros((BLOCK_N,), dtype=tl.float32)
    target_logit = tl.zeros((BLOCK_N,), dtype=tl.float32)
    first = split * (SPLIT_TILES * BLOCK_V)
    end = tl.minimum(first + SPLIT_TILES * BLOCK_V, vocab)
    for v in range(first, end, BLOCK_V):
        offs_v = v + tl.arange(0, BLOCK_V)
        z, _, _ = _logits_tile(
            x_ptr, w_ptr, bias_ptr, inv_temperature_ptr, offs_n, offs_v, num_rows, vocab, hidden,
            stride_x_n, stride_x_h, stride_w_v, stride_w_h, logit_scale, softcap, inv_temperature,
            HAS_BIAS, HAS_SOFTCAP, ROW_TEMPERATURE, PRECISION, BLOCK_N, BLOCK_V, BLOCK_H,
        )  # fmt: skip
        # masked after the softcap, which would bring padding back to -softcap
        z = tl.where((offs_v < vocab)[None, :], z, float("-inf"))
        target_logit += tl.sum(tl.where(offs_v[None, :] == target[:, None], z, 0.0), 1)
        tile_max = tl.max(z, 1)
        shift = z - tl.where(tile_max == float("-inf"), 0.0, tile_max)[:, None]
        e = tl.exp(shift)
        is_top = shift == 0.0
        tile_rest = tl.sum(tl.where(is_top, 0.0, e), 1) + (tl.sum(is_top.to(tl.float32), 1) - 1.0)
        tile_weighted = row_weighted
        if WITH_ENTROPY:
            tile_weighted = tl.sum(e * tl.where(shift == float("-inf"), 0.0, shift), 1)
        row_max, row_rest, row_weighted = merge_softmax(
            row_max, row_rest, row_weighted, tile_max, tile_rest, tile_weighted
        )
    part = split.to(tl.int64) * num_rows + offs_n
    tl.store(part_max_ptr + part, row_max, mask=mask_n)
    tl.store(part_rest_ptr + part, row_rest, mask=mask_n)
    if WITH_ENTROPY:
        tl.store(part_weighted_ptr + part, row_weighted, mask=mask_n)
    tl.store(target_logit_ptr + offs_n, target_logit, mask=mask_n & (target >= first) & (target < end))


@triton.jit
def _token_logprobs_combine_kernel(
    part_max_ptr, part_rest_ptr, part_weighted_ptr,  # [S, N]
    target_logit_ptr, logprobs_ptr, entropy_ptr, row_max_ptr, log_sum_ptr,  # [N], all but the first out
    num_rows, num_splits,
    WITH_ENTROPY: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Merge the splits of a row in their order."""
    offs_n = tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    mask_n = offs_n < num_rows
    row_max = tl.full((BLOCK_N,), float("-inf"), dtype=tl.float32)
    row_rest = tl.zeros((BLOCK_N,), dtype=tl.float32)
    row_weighted = tl.zeros((BLOCK_N,), dtype=tl.float32)
    part = offs_n.to(tl.int64)
    for _split in range(num_splits):
        new_max = tl.load(part_max_ptr + part, mask=mask_n, other=0.0)
        new_rest = tl.load(part_rest_ptr + part, mask=mask_n, other=0.0)
        new_weighted = row_weighted
        if WITH_ENTROPY:
            new_weighted = tl.load(part_weighted_ptr + part, mask=mask_n, other=0.0)
        row_max, row_rest, row_weighted = merge_softmax(
            row_max, row_rest, row_weighted, new_max, new_rest, new_weighted
        )
        part += num_rows
    log_sum = log1p(row_rest)
    target_logit = tl.load(target_logit_ptr + offs_n, mask=mask_n, other=0.0)
    tl.store(logprobs_ptr + offs_n, (target_logit - row_max) - log_sum, mask=mask_n)
    tl.store(row_max_ptr + offs_n, row_max, mask=mask_n)
    tl.store(log_sum_ptr + offs_n, log_sum, mask=mask_n)
    if WITH_ENTROPY:
        tl.store(entropy_ptr + offs_n, log_sum - row_weighted / (1.0 + row_rest), mask=mask_n)


@triton.jit
def _token_logprobs_dlogits_kernel(
    x_ptr, w_ptr, bias_ptr, inv_temperature_ptr, target_ptr,
    d_logprobs_ptr, d_entropy_ptr, target_tile_ptr, entropy_ptr, row_max_ptr, log_sum_ptr,  # [N]
    d_logits_ptr,  # [N, v1 - v0] out
    num_rows, v0, v1, vocab, hidden,
    stride_x_n, stride_x_h, stride_w_v, stride_w_h,
    logit_scale, softcap, inv_temperature,
    HAS_BIAS: tl.constexpr, HAS_SOFTCAP: tl.constexpr, ROW_TEMPERATURE: tl.constexpr, ENTROPY_GRAD: tl.constexpr,
    PRECISION: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_V: tl.constexpr, BLOCK_H: tl.constexpr,
    GROUP_N: tl.constexpr,
):  # fmt: skip
    """dL/d(x W^T) of one tile in columns v0..v1; `target_tile` is p - 1 of the targets."""
    block, tile = grouped_tile(tl.program_id(0), tl.cdiv(num_rows, BLOCK_N), tl.cdiv(v1 - v0, BLOCK_V), GROUP_N)
    offs_n = block * BLOCK_N + tl.arange(0, BLOCK_N)
    offs_v = v0 + tile * BLOCK_V + tl.arange(0, BLOCK_V)
    z, slope, inverse = _logits_tile(
        x_ptr, w_ptr, bias_ptr, inv_temperature_ptr, offs_n, offs_v, num_rows, vocab, hidden,
        stride_x_n, stride_x_h, stride_w_v, stride_w_h, logit_scale, softcap, inv_temperature,
        HAS_BIAS, HAS_SOFTCAP, ROW_TEMPERATURE, PRECISION, BLOCK_N, BLOCK_V, BLOCK_H,
    )  # fmt: skip
    mask_n = offs_n < num_rows
    target = tl.load(target_ptr + offs_n, mask=mask_n, other=-1)
    d_logprobs = tl.load(d_logprobs_ptr + offs_n, mask=mask_n, other=0.0)
    target_tile = tl.load(target_tile_ptr + offs_n, mask=mask_n, other=0.0)
    row_max = tl.load(row_max_ptr + offs_n, mask=mask_n, other=0.0)
    log_sum = tl.load(log_sum_ptr + offs_n, mask=mask_n, other=0.0)
    log_p = (z - row_max[:, None]) - log_sum[:, None]
    p = tl.exp(log_p)
    d_z = -d_logprobs[:, None] * tl.where(offs_v[None, :] == target[:, None], target_tile[:, None], p)
    if ENTROPY_GRAD:
        d_entropy = tl.load(d_entropy_ptr + offs_n, mask=mask_n, other=0.0)
        entropy = tl.load(entropy_ptr + offs_n, mask=mask_n, other=0.0)
        # p = 0 contributes 0 even where log p is -inf
        d_z -= d_entropy[:, None] * p * (tl.where(p > 0.0, log_p, 0.0) + entropy[:, None])
    d_z *= (inverse * logit_scale)[:, None]
    if HAS_SOFTCAP:
        d_z *= slope
    width = v1 - v0
    out = d_logits_ptr + offs_n.to(tl.int64)[:, None] * width + (offs_v - v0)[None, :]
    tl.store(out, d_z.to(d_logits_ptr.dtype.element_ty), mask=mask_n[:, None] & (offs_v < v1)[None, :])


def _config(kernel: str, x: Tensor, heavy: bool) -> HeadConfig:
    capability = None if interpreting() else torch.cuda.get_device_capability(x.device)
    return head_config(kernel, capability, x.dtype, heavy)


def _arguments(
    x: Tensor, weight: Tensor, bias: Tensor | None, inv_temperature: Tensor | None, options: HeadOptions
) -> dict[str, object]:
    """What both GEMM kernels are told about the head."""
    # As torch.mm: TF32 only where the user allowed it.
    tf32 = x.dtype is torch.float32 and torch.get_float32_matmul_precision() != "highest"
    return {
        "x_ptr": x,
        "w_ptr": weight,
        "bias_ptr": bias,
        "inv_temperature_ptr": inv_temperature,
        "vocab": weight.shape[0],
        "hidden": weight.shape[1],
        "stride_x_n": x.stride(0),
        "stride_x_h": x.stride(1),
        "stride_w_v": weight.stride(0),
        "stride_w_h": weight.stride(1),
        "logit_scale": options.logit_scale,
        "softcap": options.softcap or 1.0,
        "inv_temperature": 1.0 / options.temperature,
        "HAS_BIAS": bias is not None,
        "HAS_SOFTCAP": options.softcap is not None,
        "ROW_TEMPERATURE": inv_temperature is not None,
        "PRECISION": "tf32" if tf32 else "ieee",
    }


def forward(
    x: Tensor,
    weight: Tensor,
    target_ids: Tensor,
    bias: Tensor | None,
    inv_temperature: Tensor | None,
    options: HeadOptions,
) -> RowResults:
    """Results of rows x [N, H] that all count; ids lie in 0..V-1."""
    num_rows, vocab = x.shape[0], weight.shape[0]
    logprobs, row_max, log_sum, target_logit = (
        torch.empty(num_rows, dtype=torch.float32, device=x.device) for _ in range(4)
    )
    results = RowResults(logprobs, torch.empty_like(logprobs) if options.with_entropy else None, row_max, log_sum)
    if num_rows == 0:
        return results
    config = _config("token_logprobs_fwd", x, options.with_entropy)
    num_splits = triton.cdiv(vocab, config.block_v * config.split_tiles)
    parts = torch.empty(3 if options.with_entropy else 2, num_splits, num_rows, dtype=torch.float32, device=x.device)
    with torch.cuda.device_of(x):
        _token_logprobs_fwd_kernel[(triton.cdiv(num_rows, config.block_n) * num_splits,)](
            **_arguments(x, weight, bias, inv_temperature, options),
            target_ptr=target_ids,
            part_max_ptr=parts[0],
            part_rest_ptr=parts[1],
            part_weighted_ptr=parts[2] if options.with_entropy else None,
            target_logit_ptr=target_logit,
            num_rows=num_rows,
            num_splits=num_splits,
            WITH_ENTROPY=options.with_entropy,
            BLOCK_N=config.block_n,
            BLOCK_V=config.block_v,
            BLOCK_H=config.block_h,
            GROUP_N=config.group_n,
            SPLIT_TILES=config.split_tiles,
            num_warps=config.num_warps,
            num_stages=config.num_stages,
        )
        _token_logprobs_combine_kernel[(triton.cdiv(num_rows, COMBINE_ROWS),)](
            part_max_ptr=parts[0],
            part_rest_ptr=parts[1],
            part_weighted_ptr=parts[2] if options.with_entropy else None,
            target_logit_ptr=target_logit,
            logprobs_ptr=logprobs,
            entropy_ptr=results.entropy,
            row_max_ptr=row_max,
            log_sum_ptr=log_sum,
            num_rows=num_rows,
            num_splits=num_splits,
            WITH_ENTROPY=options.with_entropy,
            BLOCK_N=COMBINE_ROWS,
        )
    return results


def _slab_shape(num_rows: int, weight: Tensor, config: HeadConfig, workspace_bytes: int) -> tuple[int, int]:
    """Rows and columns of a slab of dL/d(x W^T) in whole tiles: it and its fp32 part of dW fit the workspace."""
    vocab, hidden = weight.shape
    item = weight.element_size()
    most_rows = workspace_bytes // (2 * item * MIN_SLAB_COLUMNS)
    rows = min(num_rows, max(config.block_n, most_rows // config.block_n * config.block_n))
    columns = workspace_bytes // (rows * item + hidden * 4)
    columns = max(config.block_v, columns // config.block_v * config.block_v)
    return rows, min(columns, vocab)


def backward(
    d_logprobs: Tensor,
    d_entropy: Tensor | None,
    x: Tensor,
    weight: Tensor,
    target_ids: Tensor,
    bias: Tensor | None,
    inv_temperature: Tensor | None,
    results: RowResults,
    options: HeadOptions,
    need: tuple[bool, bool, bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of (x, weight, bias), those asked for in `need`, in the dtypes of their tensors."""
    gradients = HeadGradients(x, weight, bias, need, by_slab=True)
    num_rows, vocab = x.shape[0], weight.shape[0]
    if num_rows == 0:
        return gradients.results()
    config = _config("token_logprobs_dlogits", x, d_entropy is not None or options.softcap is not None)
    rows, columns = _slab_shape(num_rows, weight, config, options.workspace_bytes)
    buffer = torch.empty(rows * columns, dtype=x.dtype, device=x.device)
    target_tile = torch.expm1(results.logprobs)  # p - 1, right even where p rounds to 1
    d_logprobs, d_entropy = d_logprobs.contiguous(), None if d_entropy is None else d_entropy.contiguous()
    operand = x.to(product_dtype(x))
    for v0, v1 in spans(vocab, columns):
        slab = weight[v0:v1].to(operand.dtype)
        gradients.open_slab(v0, v1)
        for n0, n1 in spans(num_rows, rows):
            tile = tile_view(buffer, n1 - n0, v1 - v0)
            inverse = None if inv_temperature is None else inv_temperature[n0:n1]
            with torch.cuda.device_of(x):
                num_tiles = triton.cdiv(n1 - n0, config.block_n) * triton.cdiv(v1 - v0, config.block_v)
                _token_logprobs_dlogits_kernel[(num_tiles,)](
                    **_arguments(x[n0:n1], weight, bias, inverse, options),
                    target_ptr=target_ids[n0:n1],
                    d_logprobs_ptr=d_logprobs[n0:n1],
                    d_entropy_ptr=None if d_entropy is None else d_entropy[n0:n1],
                    target_tile_ptr=target_tile[n0:n1],
                    entropy_ptr=None if d_entropy is None else results.entropy[n0:n1],
                    row_max_ptr=results.row_max[n0:n1],
                    log_sum_ptr=results.log_sum[n0:n1],
                    d_logits_ptr=tile,
                    num_rows=n1 - n0,
                    v0=v0,
                    v1=v1,
                    ENTROPY_GRAD=d_entropy is not None,
                    BLOCK_N=config.block_n,
                    BLOCK_V=config.block_v,
                    BLOCK_H=config.block_h,
                    GROUP_N=config.group_n,
                    num_warps=config.num_warps,
                    num_stages=config.num_stages,
                )
            gradients.add(tile, slab, operand[n0:n1], n0, n1)
        gradients.close_slab()
    return gradients.results()
