"""DPO, Direct Preference Optimization, over scored pairs: the chosen response over the rejected one.

    delta_p = (policy - ref)(chosen) - (policy - ref)(rejected)    log-ratio of a pair, each response summed over tokens
    sigmoid: L_p = -(1 - s) log sigmoid(beta delta) - s log sigmoid(-beta delta)         arXiv 2305.18290, eq. 7
             dL_p/ddelta = beta (s - sigmoid(-beta delta))
    ipo:     L_p = (delta - 1/(2 beta))^2,  dL_p/ddelta = 2 delta - 1/beta               arXiv 2310.12036, eq. 17

s is `label_smoothing`, the chance that a label is flipped (Mitchell's conservative DPO). `gepo_loss` with one winner,
one loser and lambda = 0 is the sigmoid loss without smoothing; pairs need none of its sorting and comparing.

Memory: O(P). P pairs.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .dispatch import choose_backend
from .validation import check_choice, check_normalizer, check_same, check_scores, check_tensor

LOSS_TYPES = ("sigmoid", "ipo")


class DpoLoss(NamedTuple):
    """`loss` carries the gradient; the implicit rewards of the pairs [P] are detached.

    The share of pairs ranked right is (chosen_rewards > rejected_rewards).float().mean(), the margin their difference.
    """

    loss: Tensor
    chosen_rewards: Tensor  # beta (policy_chosen - ref_chosen)
    rejected_rewards: Tensor  # beta (policy_rejected - ref_rejected)


def dpo_loss(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    ref_chosen: Tensor,
    ref_rejected: Tensor,
    *,
    beta: float = 0.1,
    loss_type: Literal["sigmoid", "ipo"] = "sigmoid",
    label_smoothing: float = 0.0,
    normalizer: float | Tensor | None = None,
    backend: str = "auto",
) -> DpoLoss:
    """Direct preference loss over scored pairs.

    sum_p L_p / normalizer, delta = (policy_chosen - ref_chosen) - (policy_rejected - ref_rejected);
    sigmoid: L = -(1 - s) log sigmoid(beta delta) - s log sigmoid(-beta delta), arXiv 2305.18290, eq. 7, with s =
    label_smoothing; ipo: L = (delta - 1/(2 beta))^2, arXiv 2310.12036, eq. 17.

    Args:
        policy_chosen, policy_rejected: [P], floating point, log-prob of each response under the policy, summed over its
            tokens (for ipo the mean over them is usual, as its target is a fixed distance).
        ref_chosen, ref_rejected: [P], floating point, the same under the reference; constant.
        beta: scale of the margin (sigmoid), inverse of twice the distance asked for (ipo); 0.1 as in the DPO paper.
        loss_type: which loss of delta.
        label_smoothing: s in [0, 0.5), the chance that a pair's label is flipped; sigmoid only.
        normalizer: pairs over all ranks and micro-batches of an optimizer step, a number or 0-d tensor; None: P.
        backend: "auto", "triton" or "torch".

    Returns:
        DpoLoss: `loss` is 0-d float32 (float64 for float64 scores), differentiable in policy_chosen and
        policy_rejected; chosen_rewards and rejected_rewards are [P], detached. Without a pair the loss is 0.

    Raises:
        ValueError: shapes or devices disagree, beta is not positive, label_smoothing is outside [0, 0.5) or not 0 for
            ipo, loss_type is unknown; on the CPU also a score that is not finite. On CUDA, and under torch.compile,
            such a pair and the loss become NaN or infinite instead.
        TypeError: wrong dtypes, or a DTensor.

    Numerics: float32 (float64 for float64 scores); log sigmoid exact in both tails. Memory: O(P).

    >>> scores = torch.tensor([-5.0], requires_grad=True)
    >>> dpo_loss(scores, torch.tensor([-6.0]), torch.tensor([-5.0]), torch.tensor([-6.0])).loss
    tensor(0.6931, grad_fn=<DivBackward0>)
    """
    scores = {
        "policy_chosen": policy_chosen,
        "policy_rejected": policy_rejected,
        "ref_chosen": ref_chosen,
        "ref_rejected": ref_rejected,
    }
    _check(scores, beta, loss_type, label_smoothing)
    check_normalizer(normalizer)
    dpo_pairs = dpo_pairs_torch
    if choose_backend(backend, policy_chosen.device, policy_chosen.dtype) == "triton":
        from .dpo_loss_triton import dpo_pairs_triton as dpo_pairs  # where triton exists
    losses, chosen_rewards, rejected_rewards = dpo_pairs(*scores.values(), beta, loss_type, label_smoothing)
    pairs = max(policy_chosen.numel(), 1)
    return DpoLoss(losses.sum() / (pairs if normalizer is None else normalizer), chosen_rewards, rejected_rewards)


def dpo_pairs_torch(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    ref_chosen: Tensor,
    ref_rejected: Tensor,
    beta: float,
    loss_type: str,
    label_smoothing: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The torch twin: loss [P] with its gradient, and the detached rewards [P] of the chosen and the rejected."""
    dtype = torch.float64 if policy_chosen.dtype is torch.float64 else torch.float32
    chosen = policy_chosen.to(dtype) - ref_chosen.detach().to(dtype)
    rejected = policy_rejected.to(dtype) - ref_rejected.detach().to(dtype)
    delta = chosen - rejected
    if loss_type == "ipo":
        losses = (delta - 0.5 / beta).square()
    else:  # -log sigmoid(-x) = x - log sigmoid(x); softplus would drop the exponential from 20 on
        losses = label_smoothing * beta * delta - F.logsigmoid(beta * delta)
    return losses, (beta * chosen).detach(), (beta * rejected).detach()


def _check(scores: dict[str, Tensor], beta: float, loss_type: str, label_smoothing: float) -> None:
    for name, tensor in scores.items():
        check_tensor(name, tensor)
        if tensor.dim() != 1:
            raise ValueError(f"{name} must have shape [P], not {tuple(tensor.shape)}")
        check_same(name, tensor, "policy_chosen", scores["policy_chosen"])
    check_choice("loss_type", loss_type, LOSS_TYPES)
    if not beta > 0:
        raise ValueError(f"beta is {beta}; it must be positive")
    if not 0.0 <= label_smoothing < 0.5:
        raise ValueError(f"label_smoothing is {label_smoothing}; it must lie in [0, 0.5)")
    if label_smoothing != 0.0 and loss_type == "ipo":
        raise ValueError(f"label_smoothing is {label_smoothing}, but loss_type='ipo' has no labels to smooth; pass 0")
    for name, tensor in scores.items():
        check_scores(name, tensor)
