"""The policy loss in Triton: one pass over the tokens forward, one backward, and one over sequences where they matter.

    l_t = -min(rho_t A_t, clip(rho_t) A_t) + kl_coef KL_t - entropy_coef H_t,  sums of m_t c_t l_t and of the metrics
    (CISPO: -sg(clip(rho_t)) A_t logp_t in place of the minimum)
    dlogp_t = grad m_t c_t (dl_t / dlogp_t),  dH_t = -grad m_t c_t entropy_coef

The backward computes the terms again from the inputs, which are alive anyway: nothing of size N is saved. Each program
writes its own row of partial sums, added in a fixed order: two runs agree bit for bit. Masked tokens are never loaded,
and a NaN among the trained ones reaches the loss (maximum and clamp would drop it by default).

N tokens, B sequences; all tensors flat and contiguous, `rows` the sequence of each token.
"""

from __future__ import annotations

import triton
import triton.language as tl

EXPM1_TERMS = tl.constexpr(12)  # of the series under |x| < 1/2: the first left out is below 1e-13


@triton.jit
def _expm1(x):
    """exp(x) - 1 without cancellation near 0."""
    series = tl.full(x.shape, 1.0, x.dtype)
    for k in tl.static_range(EXPM1_TERMS, 1, -1):
        series = 1.0 + x * series * (1.0 / k)
    return tl.where(tl.abs(x) < 0.5, x * series, tl.exp(x) - 1.0)


@triton.jit
def _kl_estimate(logp, old, ref, KL: tl.constexpr, IMPORTANCE: tl.constexpr):
    """KL(policy || reference) and its slope in logp, times the ratio if IMPORTANCE; KL is 1, 2 or 3 for k1, k2, k3."""
    x = ref - logp
    if KL == 1:
        kl = -x
        slope = tl.full(x.shape, 1.0, x.dtype)
    elif KL == 2:
        kl = 0.5 * x * x
        slope = -x
    else:
        kl = _expm1(x) - x
        slope = -_expm1(x)
    if IMPORTANCE:
        ratio = tl.exp(logp - old)
        slope = ratio * (kl + slope)
        kl = ratio * kl
    return kl, slope


@triton.jit
def _surrogate(logp, ratio, advantage, eps_low, eps_high, dual_clip, HAS_DUAL: tl.constexpr, CISPO: tl.constexpr):
    """Surrogate and its slope in logp: clipped, with d ratio / d logp = ratio, or logp times a clipped constant."""
    clipped = -tl.clamp(ratio, 1.0 - eps_low, 1.0 + eps_high, propagate_nan=tl.PropagateNan.ALL) * advantage
    if CISPO:
        loss = clipped * logp
        slope = clipped
    else:
        plain = -ratio * advantage
        loss = tl.maximum(plain, clipped, propagate_nan=tl.PropagateNan.ALL)
        slope = tl.where(plain >= clipped, plain, 0.0)
    if HAS_DUAL:
        bounded = (advantage < 0) & (ratio > dual_clip)
        loss = tl.where(bounded, -dual_clip * advantage, loss)
        slope = tl.where(bounded, 0.0, slope)
    return loss, slope


@triton.jit
def _sequence_stats_kernel(
    logp_ptr,
    old_ptr,
    mask_ptr,
    cu_seqlens_ptr,  # [B+1], read if PACKED
    count_ptr,  # [B] out: trained tokens
    mean_ptr,  # [B] out: their mean log-ratio
    row_tokens,  # T, used unless PACKED
    ACC: tl.constexpr,
    PACKED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One program a sequence: how many tokens it trains and, over them, the mean of logp - old."""
    row = tl.program_id(0).to(tl.int64)
    if PACKED:
        start = tl.load(cu_seqlens_ptr + row).to(tl.int64)
        end = tl.load(cu_seqlens_ptr + row + 1).to(tl.int64)
    else:
        start = row * row_tokens
        end = start + row_tokens
    counts = tl.zeros([BLOCK], ACC)
    sums = tl.zeros([BLOCK], ACC)
    for block in range(start, end, BLOCK):
        offs = block + tl.arange(0, BLOCK)
        trained = tl.load(mask_ptr + offs, mask=offs < end, other=0) != 0
        logp = tl.load(logp_ptr + offs, mask=trained, other=0.0).to(ACC)
        old = tl.load(old_ptr + offs, mask=trained, other=0.0).to(ACC)
        counts += trained.to(ACC)
        sums += logp - old
    count = tl.sum(counts)
    tl.store(count_ptr + row, count)
    tl.store(mean_ptr + row, tl.sum(sums) / tl.maximum(count, 1.0))


@triton.jit
def _policy_loss_fwd_kernel(
    logp_ptr,
    old_ptr,
    advantage_ptr,
    mask_ptr,
    ref_ptr,
    entropy_ptr,
    rows_ptr,  # [N], read if PACKED and a sequence figure is wanted
    count_ptr,  # [B]
    mean_ptr,  # [B]
    partial_ptr,  # [programs, NUM_SUMS] out
    num_tokens,
    row_tokens,
    eps_low,
    eps_high,
    dual_clip,
    kl_coef,
    entropy_coef,
    ACC: tl.constexpr,
    HAS_REF: tl.constexpr,
    HAS_ENTROPY: tl.constexpr,
    HAS_DUAL: tl.constexpr,
    CISPO: tl.constexpr,
    KL: tl.constexpr,
    KL_IMPORTANCE: tl.constexpr,
    SEQUENCE_RATIO: tl.constexpr,
    SEQUENCE_WEIGHT: tl.constexpr,
    PACKED: tl.constexpr,
    NUM_SUMS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Sums of the weighted loss and of every metric over one block of tokens."""
    pid = tl.program_id(0).to(tl.int64)
    offs = pid * BLOCK + tl.arange(0, BLOCK)
    trained = tl.load(mask_ptr + offs, mask=offs < num_tokens, other=0) != 0
    logp = tl.load(logp_ptr + offs, mask=trained, other=0.0).to(ACC)
    old = tl.load(old_ptr + offs, mask=trained, other=0.0).to(ACC)
    advantage = tl.load(advantage_ptr + offs, mask=trained, other=0.0).to(ACC)
    row = offs // row_tokens
    if PACKED:
        row = tl.load(rows_ptr + offs, mask=trained, other=0).to(tl.int64)
    log_ratio = logp - old
    ratio = tl.exp(log_ratio)
    if SEQUENCE_RATIO:
        ratio = tl.exp(tl.load(mean_ptr + row, mask=trained, other=0.0).to(ACC))
    loss, _ = _surrogate(logp, ratio, advantage, eps_low, eps_high, dual_clip, HAS_DUAL, CISPO)

    out = partial_ptr + pid * NUM_SUMS
    if HAS_REF:
        ref = tl.load(ref_ptr + offs, mask=trained, other=0.0).to(ACC)
        kl, _ = _kl_estimate(logp, old, ref, KL, KL_IMPORTANCE)
        loss += kl_coef * kl
        tl.store(out + 8, tl.sum(tl.where(trained, kl, 0.0)))
    if HAS_ENTROPY:
        entropy = tl.load(entropy_ptr + offs, mask=trained, other=0.0).to(ACC)
        loss -= entropy_coef * entropy
        tl.store(out + 9, tl.sum(entropy))
    if SEQUENCE_WEIGHT:
        loss /= tl.load(count_ptr + row, mask=trained, other=1.0).to(ACC)
    tl.store(out + 0, tl.sum(tl.where(trained, loss, 0.0)))
    tl.store(out + 1, tl.sum(trained.to(ACC)))
    tl.store(out + 2, tl.sum(tl.where(trained, ratio, 0.0)))
    below = trained & (ratio < 1.0 - eps_low)
    above = trained & (ratio > 1.0 + eps_high)
    if not CISPO:  # which clips the weight itself, whatever the advantage
        below &= advantage < 0
        above &= advantage > 0
    tl.store(out + 3, tl.sum(below.to(ACC)))
    tl.store(out + 4, tl.sum(above.to(ACC)))
    if HAS_DUAL:
        tl.store(out + 5, tl.sum(((advantage < 0) & (ratio > dual_clip)).to(ACC)))
    tl.store(out + 6, -tl.sum(log_ratio))
    tl.store(out + 7, tl.sum(_expm1(log_ratio) - log_ratio))
    tl.store(out + 10, tl.sum(advantage))


@triton.jit
def _policy_loss_bwd_kernel(
    grad_ptr,  # [] gradient of the loss sum
    logp_ptr,
    old_ptr,
    advantage_ptr,
    mask_ptr,
    ref_ptr,
    rows_ptr,
    count_ptr,
    mean_ptr,
    d_logp_ptr,  # [N] out
    d_entropy_ptr,  # [N] out if HAS_ENTROPY
    num_tokens,
    row_tokens,
    eps_low,
    eps_high,
    dual_clip,
    kl_coef,
    entropy_coef,
    ACC: tl.constexpr,
    HAS_REF: tl.constexpr,
    HAS_ENTROPY: tl.constexpr,
    HAS_DUAL: tl.constexpr,
    CISPO: tl.constexpr,
    KL: tl.constexpr,
    KL_IMPORTANCE: tl.constexpr,
    SEQUENCE_RATIO: tl.constexpr,
    SEQUENCE_WEIGHT: tl.constexpr,
    PACKED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Gradients of one block of tokens; exact zeros where nothing is trained."""
    pid = tl.program_id(0).to(tl.int64)
    offs = pid * BLOCK + tl.arange(0, BLOCK)
    inside = offs < num_tokens
    trained = tl.load(mask_ptr + offs, mask=inside, other=0) != 0
    logp = tl.load(logp_ptr + offs, mask=trained, other=0.0).to(ACC)
    old = tl.load(old_ptr + offs, mask=trained, other=0.0).to(ACC)
    advantage = tl.load(advantage_ptr + offs, mask=trained, other=0.0).to(ACC)
    row = offs // row_tokens
    if PACKED:
        row = tl.load(rows_ptr + offs, mask=trained, other=0).to(tl.int64)
    ratio = tl.exp(logp - old)
    if SEQUENCE_RATIO:
        ratio = tl.exp(tl.load(mean_ptr + row, mask=trained, other=0.0).to(ACC))
    _, slope = _surrogate(logp, ratio, advantage, eps_low, eps_high, dual_clip, HAS_DUAL, CISPO)
    if HAS_REF:
        ref = tl.load(ref_ptr + offs, mask=trained, other=0.0).to(ACC)
        _, kl_slope = _kl_estimate(logp, old, ref, KL, KL_IMPORTANCE)
        slope += kl_coef * kl_slope
    grad = tl.load(grad_ptr).to(ACC) * trained.to(ACC)
    if SEQUENCE_WEIGHT:
        grad /= tl.load(count_ptr + row, mask=trained, other=1.0).to(ACC)
    tl.store(d_logp_ptr + offs, tl.where(trained, grad * slope, 0.0), mask=inside)
    if HAS_ENTROPY:
        tl.store(d_entropy_ptr + offs, tl.where(trained, -entropy_coef * grad, 0.0), mask=inside)
