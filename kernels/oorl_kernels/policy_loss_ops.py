"""The policy loss's Triton kernels as PyTorch operators: launches, shapes for tracing, gradient, the twin's signature.

N tokens, B sequences; operators take flat contiguous tensors.
"""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from .jit_math import accumulator
from .policy_loss_torch import PolicyMetrics, SurrogateOptions
from .policy_loss_triton import _policy_loss_bwd_kernel, _policy_loss_fwd_kernel, _sequence_stats_kernel
from .segments import sequence_ids

BLOCK_N = 1024  # tokens a program; the kernels move about 20 bytes a token and are bound by memory or by launch
SEQUENCE_BLOCK = 1024
NUM_SUMS = len(PolicyMetrics._fields) + 1  # the loss, then the metrics in the order of PolicyMetrics
KL_CODES = {"k1": 1, "k2": 2, "k3": 3}


def _switches(
    clip_eps_low: float,
    clip_eps_high: float,
    dual_clip: float | None,
    kl_coef: float,
    kl: int,
    entropy_coef: float,
    cispo: bool,
    kl_importance: bool,
) -> dict:
    """The scalar arguments both kernels share."""
    return {
        "eps_low": clip_eps_low, "eps_high": clip_eps_high, "dual_clip": dual_clip or 0.0, "kl_coef": kl_coef,
        "entropy_coef": entropy_coef, "HAS_DUAL": dual_clip is not None, "CISPO": cispo, "KL": kl,
        "KL_IMPORTANCE": kl_importance,
    }  # fmt: skip


@torch.library.custom_op("oorl_kernels::policy_loss_sums", mutates_args=())
def _policy_loss_sums(
    logp: Tensor,
    old: Tensor,
    advantages: Tensor,
    mask: Tensor,
    ref: Tensor | None,
    entropy: Tensor | None,
    cu_seqlens: Tensor | None,
    rows: Tensor | None,
    row_tokens: int,
    num_rows: int,
    sequence_ratio: bool,
    sequence_weight: bool,
    clip_eps_low: float,
    clip_eps_high: float,
    dual_clip: float | None,
    kl_coef: float,
    kl: int,
    entropy_coef: float,
    cispo: bool,
    kl_importance: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Loss sum [], metric sums [NUM_SUMS - 1], trained tokens [B] and mean log-ratio [B] of the sequences."""
    dtype, acc = accumulator(logp)
    counts = logp.new_empty(num_rows, dtype=dtype)
    means = torch.empty_like(counts)
    programs = triton.cdiv(logp.numel(), BLOCK_N)
    partial = logp.new_zeros(programs, NUM_SUMS, dtype=dtype)
    if logp.numel():
        if num_rows:
            _sequence_stats_kernel[(num_rows,)](
                logp_ptr=logp, old_ptr=old, mask_ptr=mask, cu_seqlens_ptr=cu_seqlens, count_ptr=counts, mean_ptr=means,
                row_tokens=row_tokens, ACC=acc, PACKED=rows is not None, BLOCK=SEQUENCE_BLOCK, num_warps=4,
            )  # fmt: skip
        _policy_loss_fwd_kernel[(programs,)](
            logp_ptr=logp, old_ptr=old, advantage_ptr=advantages, mask_ptr=mask, ref_ptr=ref, entropy_ptr=entropy,
            rows_ptr=rows, count_ptr=counts, mean_ptr=means, partial_ptr=partial, num_tokens=logp.numel(),
            row_tokens=row_tokens, ACC=acc, HAS_REF=ref is not None, HAS_ENTROPY=entropy is not None,
            SEQUENCE_RATIO=sequence_ratio, SEQUENCE_WEIGHT=sequence_weight, PACKED=rows is not None,
            NUM_SUMS=NUM_SUMS, BLOCK=BLOCK_N, num_warps=4,
            **_switches(clip_eps_low, clip_eps_high, dual_clip, kl_coef, kl, entropy_coef, cispo, kl_importance),
        )  # fmt: skip
    sums = partial.sum(0)
    return sums[0].clone(), sums[1:].clone(), counts, means


@_policy_loss_sums.register_fake
def _(logp, old, advantages, mask, ref, entropy, cu_seqlens, rows, row_tokens, num_rows, *options):
    dtype, _ = accumulator(logp)
    counts = logp.new_empty(num_rows, dtype=dtype)
    return logp.new_empty((), dtype=dtype), logp.new_empty(NUM_SUMS - 1, dtype=dtype), counts, torch.empty_like(counts)


@torch.library.custom_op("oorl_kernels::policy_loss_sums_backward", mutates_args=())
def _policy_loss_sums_backward(
    grad: Tensor,
    logp: Tensor,
    old: Tensor,
    advantages: Tensor,
    mask: Tensor,
    ref: Tensor | None,
    rows: Tensor | None,
    counts: Tensor,
    means: Tensor,
    with_entropy: bool,
    row_tokens: int,
    sequence_ratio: bool,
    sequence_weight: bool,
    clip_eps_low: float,
    clip_eps_high: float,
    dual_clip: float | None,
    kl_coef: float,
    kl: int,
    entropy_coef: float,
    cispo: bool,
    kl_importance: bool,
) -> tuple[Tensor, Tensor]:
    """Gradients of log-probs and entropy [N], float32 (float64); the entropy's is empty unless `with_entropy`."""
    dtype, acc = accumulator(logp)
    d_logp = torch.empty_like(logp, dtype=dtype)
    d_entropy = torch.empty_like(d_logp) if with_entropy else d_logp.new_empty(0)
    if logp.numel():
        _policy_loss_bwd_kernel[(triton.cdiv(logp.numel(), BLOCK_N),)](
            grad_ptr=grad, logp_ptr=logp, old_ptr=old, advantage_ptr=advantages, mask_ptr=mask, ref_ptr=ref,
            rows_ptr=rows, count_ptr=counts, mean_ptr=means, d_logp_ptr=d_logp, d_entropy_ptr=d_entropy,
            num_tokens=logp.numel(), row_tokens=row_tokens, ACC=acc, HAS_REF=ref is not None, HAS_ENTROPY=with_entropy,
            SEQUENCE_RATIO=sequence_ratio, SEQUENCE_WEIGHT=sequence_weight, PACKED=rows is not None, BLOCK=BLOCK_N,
            num_warps=4,
            **_switches(clip_eps_low, clip_eps_high, dual_clip, kl_coef, kl, entropy_coef, cispo, kl_importance),
        )  # fmt: skip
    return d_logp, d_entropy


@_policy_loss_sums_backward.register_fake
def _(grad, logp, old, advantages, mask, ref, rows, counts, means, with_entropy, *options):
    d_logp = torch.empty_like(logp, dtype=accumulator(logp)[0])
    return d_logp, torch.empty_like(d_logp) if with_entropy else d_logp.new_empty(0)


def _setup_context(ctx, inputs, output) -> None:
    logp, old, advantages, mask, ref, entropy, _, rows, row_tokens, _, *options = inputs
    _, _, counts, means = output
    ctx.save_for_backward(logp, old, advantages, mask, ref, rows, counts, means)
    ctx.entropy_dtype = None if entropy is None or not ctx.needs_input_grad[5] else entropy.dtype
    ctx.row_tokens, ctx.options = row_tokens, options
    ctx.set_materialize_grads(False)  # else zeros are filled for the metrics
    ctx.mark_non_differentiable(*output[1:])


def _backward(ctx, grad, *_unused):
    logp, *rest = ctx.saved_tensors
    with_entropy = ctx.entropy_dtype is not None
    d_logp, d_entropy = _policy_loss_sums_backward(grad, logp, *rest, with_entropy, ctx.row_tokens, *ctx.options)
    d_entropy = d_entropy.to(ctx.entropy_dtype) if with_entropy else None
    return d_logp.to(logp.dtype), None, None, None, None, d_entropy, *([None] * 14)


_policy_loss_sums.register_autograd(_backward, setup_context=_setup_context)


def policy_sums_triton(
    token_logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    loss_mask: Tensor,
    ref_logprobs: Tensor | None,
    entropy: Tensor | None,
    cu_seqlens: Tensor | None,
    options: SurrogateOptions,
    ratio_level: str,
    aggregation: str,
) -> tuple[Tensor, PolicyMetrics]:
    """sum_t m_t c_t l_t with its gradient, and the metrics; the torch twin's signature. Strided inputs are copied."""
    sequence_ratio, sequence_weight = ratio_level == "sequence", aggregation == "seq_mean_token_mean"
    by_sequence = sequence_ratio or sequence_weight
    row_tokens = max(token_logprobs.shape[-1], 1) if token_logprobs.dim() else 1
    num_rows, rows = 0, None
    if by_sequence and cu_seqlens is not None:
        num_rows, rows = cu_seqlens.numel() - 1, sequence_ids(token_logprobs.numel(), cu_seqlens)
    elif by_sequence:
        num_rows = token_logprobs.numel() // row_tokens

    def flat(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else tensor.reshape(-1).contiguous()

    loss, metrics, _, _ = _policy_loss_sums(
        flat(token_logprobs), flat(old_logprobs.detach()), flat(advantages.detach()),
        flat((loss_mask != 0).view(torch.uint8)),
        flat(None if ref_logprobs is None else ref_logprobs.detach()), flat(entropy),
        flat(cu_seqlens), rows, row_tokens, num_rows, sequence_ratio, sequence_weight, options.clip_eps_low,
        options.clip_eps_high, options.dual_clip, options.kl_coef, KL_CODES[options.kl_estimator], options.entropy_coef,
        options.surrogate == "cispo", options.kl_importance,
    )  # fmt: skip
    return loss, PolicyMetrics(*metrics.float().unbind())
