"""Clipped policy-gradient loss on token log-probabilities: PPO, GRPO, Dr. GRPO, DAPO, GSPO, CISPO.

    l_t = -min(rho_t A_t, clip(rho_t, 1 - eps_low, 1 + eps_high) A_t) + kl_coef KL_t - entropy_coef H_t
    loss = sum_t m_t c_t l_t / normalizer                      arXiv 2505.12723, eq. 5

rho_t = exp(logp_t - old_t) (ratio_level "token"; arXiv 1707.06347) or the sequence's exp(mean_t(logp_t - old_t))
("sequence"; GSPO, arXiv 2507.18071, whose token form hands every token the gradient s_i A_t of its sequence's ratio).
Dual clip (arXiv 1912.09729) bounds l_t by -c A_t where A_t < 0. CISPO (arXiv 2506.13585, eq. 4-5) clips the weight and
not the update: -sg(clip(rho_t, 1 - eps_low, 1 + eps_high)) A_t logp_t in place of the minimum, sg constant to the
gradient, so that every token keeps one.

N tokens, B sequences, T padded length.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from .dispatch import choose_backend
from .policy_loss_torch import (
    KL_ESTIMATORS,
    PolicyMetrics,
    SurrogateOptions,
    kl_estimate,
    policy_sums_torch,
    sequence_counts,
    token_policy_terms,
)
from .segments import sequence_ids
from .validation import check_choice, check_cu_seqlens, check_normalizer, check_same, check_tensor

RATIO_LEVELS = ("token", "sequence")
SURROGATES = ("clip", "cispo")
AGGREGATIONS = ("token_mean", "seq_mean_token_mean", "seq_mean_token_sum_norm")

__all__ = [
    "PolicyLoss",
    "PolicyMetrics",
    "SurrogateOptions",
    "kl_estimate",
    "loss_normalizer",
    "policy_loss",
    "token_policy_terms",
]


class PolicyLoss(NamedTuple):
    """`loss` (0-d, carries the gradient) and `metrics` (detached)."""

    loss: Tensor
    metrics: PolicyMetrics


def loss_normalizer(loss_mask: Tensor, aggregation: str = "token_mean", *, cu_seqlens: Tensor | None = None) -> Tensor:
    """This process's denominator of `policy_loss`, 0-d float32: add it up over ranks and micro-batches and pass it in.

    token_mean: trained tokens; seq_mean_token_mean and seq_mean_token_sum_norm: sequences with a trained token.

    Args:
        loss_mask: [..., T], or packed [N] with `cu_seqlens`; non-zero where a token is trained.
        aggregation: as in `policy_loss`.
        cu_seqlens: [B+1], int32 or int64.

    Raises:
        ValueError: unknown aggregation, or offsets that do not span the mask.

    >>> loss_normalizer(torch.tensor([[1, 1, 0], [0, 0, 0]]), "seq_mean_token_mean")
    tensor(1.)
    """
    check_choice("aggregation", aggregation, AGGREGATIONS)
    check_tensor("loss_mask", loss_mask, floating=False)
    if cu_seqlens is not None:
        check_cu_seqlens(cu_seqlens, loss_mask, "loss_mask")
    trained = loss_mask != 0
    if aggregation == "token_mean":
        return trained.sum(dtype=torch.float32)
    if cu_seqlens is None:
        _check_rows(loss_mask.dim(), f"aggregation={aggregation!r}")
        return trained.any(-1).sum(dtype=torch.float32)
    return (sequence_counts(trained, cu_seqlens) > 0).sum(dtype=torch.float32)


def policy_loss(
    token_logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    loss_mask: Tensor,
    *,
    surrogate: Literal["clip", "cispo"] = "clip",
    ratio_level: Literal["token", "sequence"] = "token",
    clip_eps_low: float = 0.2,
    clip_eps_high: float = 0.2,
    dual_clip: float | None = None,
    kl_coef: float = 0.0,
    ref_logprobs: Tensor | None = None,
    kl_estimator: Literal["k1", "k2", "k3"] = "k3",
    kl_importance: bool = False,
    entropy: Tensor | None = None,
    entropy_coef: float = 0.0,
    aggregation: Literal["token_mean", "seq_mean_token_mean", "seq_mean_token_sum_norm"] = "token_mean",
    normalizer: float | Tensor | None = None,
    max_tokens: int | None = None,
    cu_seqlens: Tensor | None = None,
    backend: str = "auto",
) -> PolicyLoss:
    """Clipped surrogate loss over the trained tokens, with optional KL and entropy terms.

    sum_t m_t c_t [-min(rho_t A_t, clip(rho_t, 1-eps_low, 1+eps_high) A_t) + kl_coef KL_t - entropy_coef H_t]
    / normalizer (arXiv 2505.12723, eq. 5); for CISPO (arXiv 2506.13585) the minimum is sg(clip(rho_t)) A_t logp_t.
    c_t is 1 (token_mean), 1/trained tokens of the sequence (seq_mean_token_mean), or 1/max_tokens
    (seq_mean_token_sum_norm, arXiv 2503.20783).

    Args:
        token_logprobs: [..., T] (rows are sequences) or packed [N] with `cu_seqlens`; floating point, any strides.
        old_logprobs: same shape, log-probs at the start of the update; constant.
        advantages: same shape, or one per sequence [B]; constant.
        loss_mask: same shape, non-zero where a token is trained. Whatever lies under its zeros is never used.
        surrogate: "clip", or "cispo", which clips the weight and not the update: no trained token loses its gradient.
        ratio_level: "token", or "sequence" for the length-normalised ratio of the sequence's trained tokens (GSPO).
        clip_eps_low, clip_eps_high: the ratio is clipped to [1 - low, 1 + high]; low = 1 is no lower bound. CISPO is
            run without one, and with a high of a few (a peer's cap of 5 on the weight is clip_eps_high 4).
        dual_clip: c > 1 bounds the loss by -c A where A < 0; None: no bound.
        kl_coef, ref_logprobs, kl_estimator: weight, reference log-probs (constant) and estimator of the KL term. Given
            with kl_coef 0, the reference is only measured.
        kl_importance: multiply the KL of a token by its ratio exp(logp - old), gradient included: the estimator for
            tokens that the old policy drew (arXiv 2512.02556), whose gradient for k1 and k3 is that of the KL.
        entropy: same shape, from `linear_token_logprobs`; carries a gradient when entropy_coef is not 0.
        entropy_coef: weight of the entropy bonus.
        aggregation: how tokens are weighted.
        normalizer: the denominator over all ranks and micro-batches of an optimizer step, from `loss_normalizer`: a
            positive number, or a 0-d tensor whose 0 (nothing trained) counts as 1. None: the local one.
        max_tokens: the constant of seq_mean_token_sum_norm, for example the longest completion allowed; the other
            aggregations do not read it.
        cu_seqlens: [B+1], int32 or int64, from 0 to N.
        backend: "auto", "triton" or "torch".

    Returns:
        PolicyLoss: `loss` is 0-d float32 (float64 for float64 inputs) and differentiable in token_logprobs and entropy;
        `metrics` are detached sums over the trained tokens.

    Raises:
        ValueError: shapes, devices or options that do not fit; (CPU only) cu_seqlens that do not span the tokens.
        TypeError: a tensor that is not floating point, or a DTensor.

    Numerics: float32 terms and sums (float64 for float64 inputs), block by block in a fixed order. Ratios are not
    clamped before the clip: a log-ratio above 88 overflows float32. Without a trained token the loss is 0 with a zero
    gradient.
    Memory: O(N). The torch path makes about ten temporaries of the tokens' size; the kernels read the inputs where they
    lie, but for a byte a token of mask and a copy of what is strided, spread over a sequence or packed by sequence.

    >>> logprobs = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    >>> policy_loss(logprobs, logprobs.detach(), torch.ones(1, 2), torch.ones(1, 2)).loss.backward()
    >>> logprobs.grad
    tensor([[-0.5000, -0.5000]])
    """
    options = SurrogateOptions(
        clip_eps_low,
        clip_eps_high,
        dual_clip,
        kl_coef,
        kl_estimator,
        entropy_coef if entropy is not None else 0.0,
        surrogate,
        kl_importance,
    )
    check_options(options, ratio_level, aggregation, max_tokens, ref_logprobs, entropy, entropy_coef)
    check_normalizer(normalizer)
    named = {"old_logprobs": old_logprobs, "ref_logprobs": ref_logprobs, "entropy": entropy}
    check_tokens(token_logprobs, named, loss_mask, cu_seqlens)
    needs_sequences = ratio_level == "sequence" or aggregation == "seq_mean_token_mean"
    if needs_sequences and cu_seqlens is None:
        _check_rows(token_logprobs.dim(), "ratio_level='sequence'" if ratio_level == "sequence" else aggregation)
    advantages = per_token_advantages(advantages, token_logprobs, cu_seqlens)
    policy_sums = policy_sums_torch
    if choose_backend(backend, token_logprobs.device, token_logprobs.dtype) == "triton":
        from .policy_loss_ops import policy_sums_triton as policy_sums  # where triton exists
    sums, metrics = policy_sums(
        token_logprobs, old_logprobs, advantages, loss_mask, ref_logprobs, entropy, cu_seqlens,
        options, ratio_level, aggregation,
    )  # fmt: skip
    if normalizer is None and aggregation == "token_mean":
        normalizer = metrics.tokens
    elif normalizer is None:
        normalizer = loss_normalizer(loss_mask, aggregation, cu_seqlens=cu_seqlens)
    if isinstance(normalizer, Tensor):  # nothing trained anywhere: 0/1, not 0/0
        normalizer = torch.where(normalizer == 0, 1.0, normalizer)
    scale = float(max_tokens) if aggregation == "seq_mean_token_sum_norm" else 1.0
    return PolicyLoss(sums / (normalizer * scale), metrics)


def per_token_advantages(advantages: Tensor, token_logprobs: Tensor, cu_seqlens: Tensor | None) -> Tensor:
    """Advantages in the tokens' shape; one per sequence is spread over its tokens without a copy when padded."""
    check_tensor("advantages", advantages)
    if advantages.shape == token_logprobs.shape and advantages.device == token_logprobs.device:
        return advantages
    if cu_seqlens is not None and advantages.shape == (cu_seqlens.numel() - 1,):
        return advantages[sequence_ids(token_logprobs.numel(), cu_seqlens)]
    if cu_seqlens is None and advantages.shape == token_logprobs.shape[:-1]:
        return advantages.unsqueeze(-1).expand_as(token_logprobs)
    check_same("advantages", advantages, "token_logprobs", token_logprobs)
    return advantages


def check_tokens(token_logprobs: Tensor, named: dict, loss_mask: Tensor, cu_seqlens: Tensor | None) -> None:
    """Raise unless every named tensor (None: not given) and the mask fit the tokens."""
    check_tensor("token_logprobs", token_logprobs)
    for name, tensor in named.items():
        if tensor is not None:
            check_tensor(name, tensor)
            check_same(name, tensor, "token_logprobs", token_logprobs)
    check_tensor("loss_mask", loss_mask, floating=False)
    check_same("loss_mask", loss_mask, "token_logprobs", token_logprobs)
    if cu_seqlens is not None:
        check_cu_seqlens(cu_seqlens, token_logprobs, "token_logprobs")


def _check_rows(dims: int, what: str) -> None:
    if dims < 2:
        raise ValueError(f"{what} needs sequences: pass padded [B, T] tensors, or packed [N] ones with cu_seqlens")


def check_options(
    options: SurrogateOptions,
    ratio_level: str,
    aggregation: str,
    max_tokens: int | None,
    ref_logprobs: Tensor | None,
    entropy: Tensor | None,
    entropy_coef: float,
) -> None:
    """Raise unless the options can go together."""
    check_choice("surrogate", options.surrogate, SURROGATES)
    check_choice("ratio_level", ratio_level, RATIO_LEVELS)
    check_choice("kl_estimator", options.kl_estimator, KL_ESTIMATORS)
    check_choice("aggregation", aggregation, AGGREGATIONS)
    if not (0.0 <= options.clip_eps_low <= 1.0 and options.clip_eps_high >= 0.0):
        raise ValueError(
            f"clip_eps_low is {options.clip_eps_low} and clip_eps_high {options.clip_eps_high}; "
            "the first must lie in [0, 1], the second must be at least 0"
        )
    if options.dual_clip is not None and not options.dual_clip > 1.0:
        raise ValueError(f"dual_clip is {options.dual_clip}; it must be above 1, or None for no bound")
    if options.dual_clip is not None and options.surrogate == "cispo":
        raise ValueError(
            f"dual_clip is {options.dual_clip}, but surrogate='cispo' has no minimum to bound; pass None and lower "
            "clip_eps_high"
        )
    if not options.kl_coef >= 0.0:
        raise ValueError(f"kl_coef is {options.kl_coef}; it must be at least 0")
    if options.kl_coef != 0.0 and ref_logprobs is None:
        raise ValueError(f"kl_coef is {options.kl_coef} but ref_logprobs is missing; pass them, or kl_coef=0")
    if entropy_coef != 0.0 and entropy is None:
        raise ValueError(f"entropy_coef is {entropy_coef} but entropy is missing; pass it, or entropy_coef=0")
    if aggregation == "seq_mean_token_sum_norm" and (max_tokens is None or max_tokens < 1):
        raise ValueError(f"max_tokens is {max_tokens}; aggregation='seq_mean_token_sum_norm' needs it, at least 1")
