"""The torch twin of the policy loss: its elementwise core, its sums and its metrics on any device and dtype.

N tokens, B sequences; tensors are padded [..., T] or packed [N] with cu_seqlens [B+1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .segments import sequence_ids
from .validation import check_choice

KL_ESTIMATORS = ("k1", "k2", "k3")


class PolicyMetrics(NamedTuple):
    """Detached 0-d float32 sums over the trained tokens; divide by `tokens` (after adding up ranks) for a mean.

    CISPO clips the weight whatever A is: its clipped_low and clipped_high do not look at A, and leave a gradient.
    """

    tokens: Tensor  # how many tokens were trained
    ratio: Tensor  # importance ratio
    clipped_low: Tensor  # tokens with A < 0 whose ratio is under 1 - clip_eps_low: no gradient
    clipped_high: Tensor  # tokens with A > 0 whose ratio is over 1 + clip_eps_high: no gradient
    clipped_dual: Tensor  # tokens with A < 0 whose ratio is over dual_clip: no gradient
    old_kl_k1: Tensor  # KL(old || policy), estimator -log ratio (always per token)
    old_kl_k3: Tensor  # the same, estimator ratio - 1 - log ratio
    ref_kl: Tensor  # KL(policy || reference) by kl_estimator and kl_importance; 0 without ref_logprobs
    entropy: Tensor  # 0 without entropy
    advantage: Tensor


@dataclass(frozen=True)
class SurrogateOptions:
    """The scalars of one token's term; frozen, so that a step's backward sees what its forward saw."""

    clip_eps_low: float = 0.2
    clip_eps_high: float = 0.2
    dual_clip: float | None = None
    kl_coef: float = 0.0
    kl_estimator: str = "k3"
    entropy_coef: float = 0.0
    surrogate: str = "clip"
    kl_importance: bool = False


def kl_estimate(token_logprobs: Tensor, ref_logprobs: Tensor, estimator: str) -> tuple[Tensor, Tensor]:
    """KL(policy || reference) estimated on the policy's tokens, and its slope in `token_logprobs`.

    With x = ref - logp: k1 = -x, k2 = x^2/2, k3 = exp(x) - 1 - x (arXiv 2402.03300, eq. 4). As a loss term k1 has a
    gradient whose expectation is zero; its place is the reward (`reinforce_pp_advantages`).

    Raises:
        ValueError: `estimator` is none of the three.
    """
    check_choice("kl_estimator", estimator, KL_ESTIMATORS)
    x = ref_logprobs - token_logprobs
    if estimator == "k1":
        return -x, torch.ones_like(x)
    if estimator == "k2":
        return 0.5 * x.square(), -x
    return torch.expm1(x) - x, -torch.expm1(x)


def token_policy_terms(
    token_logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    options: SurrogateOptions,
    *,
    ref_logprobs: Tensor | None = None,
    log_ratio: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Loss of each token and its derivative with respect to that token's log-probability: the elementwise core.

    l = -min(rho A, clip(rho) A) + kl_coef KL, with rho = exp(logp - old) or exp(log_ratio) where that is given (the
    sequence's mean log-ratio, for GSPO); for CISPO l = -sg(clip(rho)) A logp + kl_coef KL. Neither masked nor weighted
    nor validated, and without the entropy term; plain torch, so that a caller may use it in a chunked sweep:
    d loss / d logp_t = m_t c_t * slope_t / normalizer. At a ratio on the clip boundary the slope is the unclipped one.

    Args:
        token_logprobs, old_logprobs, advantages: one floating shape and dtype; the two last are constants.
        options: the scalars.
        ref_logprobs: of the KL term; without it there is none.
        log_ratio: replaces token_logprobs - old_logprobs in rho.

    Returns:
        (loss, slope), each of the inputs' shape, detached.
    """
    with torch.no_grad():
        ratio = torch.exp(token_logprobs - old_logprobs if log_ratio is None else log_ratio)
        clipped = -ratio.clamp(1.0 - options.clip_eps_low, 1.0 + options.clip_eps_high) * advantages
        if options.surrogate == "cispo":
            loss, slope = clipped * token_logprobs, clipped
        else:
            plain = -ratio * advantages
            loss = torch.maximum(plain, clipped)
            slope = torch.where(plain >= clipped, plain, 0.0)
        if options.dual_clip is not None:
            bounded = (advantages < 0) & (ratio > options.dual_clip)
            loss = torch.where(bounded, -options.dual_clip * advantages, loss)
            slope = torch.where(bounded, 0.0, slope)
        if ref_logprobs is not None and options.kl_coef != 0.0:
            kl, kl_slope = _kl_terms(token_logprobs, old_logprobs, ref_logprobs, options)
            loss = loss + options.kl_coef * kl
            slope = slope + options.kl_coef * kl_slope
    return loss, slope


def _kl_terms(logp: Tensor, old: Tensor, ref: Tensor, options: SurrogateOptions) -> tuple[Tensor, Tensor]:
    """KL to the reference and its slope in logp, times the token's ratio where the options say so."""
    kl, slope = kl_estimate(logp, ref, options.kl_estimator)
    if not options.kl_importance:
        return kl, slope
    ratio = torch.exp(logp - old)
    return ratio * kl, ratio * (kl + slope)


def policy_sums_torch(
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
    """The torch twin: sum_t m_t c_t l_t with its gradient, and the metrics."""
    trained = loss_mask != 0
    dtype = torch.float64 if token_logprobs.dtype is torch.float64 else torch.float32

    def masked(values: Tensor) -> Tensor:
        return torch.where(trained, values.to(dtype), 0.0)

    policy = masked(token_logprobs)
    logp, old, advantage = policy.detach(), masked(old_logprobs.detach()), masked(advantages.detach())
    ref = None if ref_logprobs is None else masked(ref_logprobs.detach())
    ratio_log = logp - old
    if ratio_level == "sequence":
        ratio_log = masked(_sequence_mean(ratio_log, trained, cu_seqlens))
    loss, slope = token_policy_terms(logp, old, advantage, options, ref_logprobs=ref, log_ratio=ratio_log)
    loss = loss + slope * (policy - logp)  # value of the terms, slope of the surrogate
    if entropy is not None:
        entropy = masked(entropy)
        loss = loss - options.entropy_coef * entropy
    if aggregation == "seq_mean_token_mean":
        loss = loss / sequence_sizes(trained, cu_seqlens).clamp(min=1)
    metrics = _metrics_torch(trained, advantage, logp, old, ratio_log, ref, entropy, options)
    return torch.where(trained, loss, 0.0).sum(), metrics


def _metrics_torch(
    trained: Tensor,
    advantage: Tensor,
    logp: Tensor,
    old: Tensor,
    ratio_log: Tensor,
    ref: Tensor | None,
    entropy: Tensor | None,
    options: SurrogateOptions,
) -> PolicyMetrics:
    ratio, log_ratio = ratio_log.exp(), logp - old

    def total(values: Tensor) -> Tensor:
        return torch.where(trained, values.detach().float(), 0.0).sum()

    nothing = torch.zeros((), device=logp.device)
    never = torch.zeros_like(trained)
    any_sign = options.surrogate == "cispo"  # it clips the weight itself, whatever the advantage
    return PolicyMetrics(
        tokens=total(trained),
        ratio=total(ratio),
        clipped_low=total(((advantage < 0) | any_sign) & (ratio < 1.0 - options.clip_eps_low)),
        clipped_high=total(((advantage > 0) | any_sign) & (ratio > 1.0 + options.clip_eps_high)),
        clipped_dual=total(never if options.dual_clip is None else (advantage < 0) & (ratio > options.dual_clip)),
        old_kl_k1=total(-log_ratio),
        old_kl_k3=total(torch.expm1(log_ratio) - log_ratio),
        ref_kl=nothing if ref is None else total(_kl_terms(logp, old, ref, options)[0]),
        entropy=nothing if entropy is None else total(entropy),
        advantage=total(advantage),
    )


def sequence_sizes(trained: Tensor, cu_seqlens: Tensor | None) -> Tensor:
    """Trained tokens of each token's sequence, broadcastable to the tokens."""
    if cu_seqlens is None:
        return trained.sum(-1, keepdim=True)
    return sequence_counts(trained, cu_seqlens)[sequence_ids(trained.numel(), cu_seqlens)]


def sequence_counts(trained: Tensor, cu_seqlens: Tensor) -> Tensor:
    """Trained tokens [B] of every packed sequence."""
    counts = torch.zeros(cu_seqlens.numel() - 1, device=trained.device, dtype=torch.long)
    return counts.index_add(0, sequence_ids(trained.numel(), cu_seqlens), trained.long())


def _sequence_mean(values: Tensor, trained: Tensor, cu_seqlens: Tensor | None) -> Tensor:
    """Mean over the trained tokens of each token's sequence; `values` are zero elsewhere."""
    sizes = sequence_sizes(trained, cu_seqlens).clamp(min=1)
    if cu_seqlens is None:
        return (values.sum(-1, keepdim=True) / sizes).expand_as(values)
    rows = sequence_ids(values.numel(), cu_seqlens)
    return values.new_zeros(cu_seqlens.numel() - 1).index_add(0, rows, values)[rows] / sizes
