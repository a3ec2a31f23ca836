"""GEPO, Group Equivalent Preference Optimization: winners of a group over its losers, winners close to each other.

    r_k = policy_score_k - ref_score_k              log-ratio of a response, summed over its tokens
    delta_g = beta (mean_w r - mean_l r)
    L_g = -log sigmoid(delta_g) + lambda Var_w(r)   population variance of the group's winners
    dL_g/dr_w = -beta sigmoid(-delta_g)/n + 2 lambda (r_w - mean_w)/n,  dL_g/dr_l = beta sigmoid(-delta_g)/m

arXiv 2505.12723, eq. 6-9. One winner, one loser and lambda = 0 make it DPO (arXiv 2305.18290; `dpo_loss`). A group too
large for memory goes in two passes: score it without gradient, differentiate this loss in the scores, then go backward
through one weighted member at a time.

Memory: O(K). K scores, G groups, n winners and m losers of a group.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .dispatch import choose_backend
from .validation import check_normalizer, check_same, check_scores, check_tensor, values_checkable


class GepoLoss(NamedTuple):
    """`loss` carries the gradient; the per-group figures [G] are detached."""

    loss: Tensor
    margin: Tensor  # delta_g, beta included
    winner_variance: Tensor  # Var_w(r), lambda not included
    pair_accuracy: Tensor  # share of winner-loser pairs with r_w > r_l; a tie counts half


def gepo_loss(
    policy_scores: Tensor,
    ref_scores: Tensor,
    is_winner: Tensor,
    group_ids: Tensor,
    *,
    num_groups: int,
    beta: float = 0.1,
    variance_weight: float = 1.0,
    normalizer: float | Tensor | None = None,
    backend: str = "auto",
) -> GepoLoss:
    """Group equivalent preference loss over scored responses.

    sum_g [-log sigmoid(beta (mean_w r - mean_l r)) + variance_weight Var_w(r)] / normalizer, r = policy - ref
    (arXiv 2505.12723, eq. 6-9).

    Args:
        policy_scores: [K], floating point, log-prob of each response under the policy, summed over its tokens.
        ref_scores: [K], floating point, the same under the reference; constant.
        is_winner: [K], bool; True for a response equivalent to its source.
        group_ids: [K], int32 or int64 in 0..num_groups-1, any order. Every group needs a winner and a loser.
        num_groups: G, at least 1.
        beta: scale of the margin; not printed in the paper, DPO's 0.1 by default.
        variance_weight: lambda, 1 in the paper.
        normalizer: groups over all ranks and micro-batches of an optimizer step, a number or 0-d tensor; None: G.
        backend: "auto", "triton" or "torch".

    Returns:
        GepoLoss: `loss` is 0-d float32 (float64 for float64 scores), differentiable in policy_scores; margin,
        winner_variance and pair_accuracy are [G], detached.

    Raises:
        ValueError: shapes or devices disagree, num_groups or beta is not positive, variance_weight is negative; on the
            CPU also a group without winners or without losers, an id out of range, or a score that is not finite. On
            CUDA, and under torch.compile, such a group's figures and the loss become NaN instead.
        TypeError: wrong dtypes, or a DTensor.

    Numerics: float32 (float64 for float64 scores); two-pass variance; log sigmoid exact in both tails.
    Memory: O(K).

    >>> scores = torch.tensor([-5.0, -6.0], requires_grad=True)
    >>> reference = torch.tensor([-5.0, -6.0])
    >>> out = gepo_loss(scores, reference, torch.tensor([True, False]), torch.tensor([0, 0]), num_groups=1)
    >>> out.loss
    tensor(0.6931, grad_fn=<DivBackward0>)
    """
    _check(policy_scores, ref_scores, is_winner, group_ids, num_groups, beta, variance_weight)
    check_normalizer(normalizer)
    gepo_groups = gepo_groups_torch
    if choose_backend(backend, policy_scores.device, policy_scores.dtype) == "triton":
        from .gepo_loss_triton import gepo_groups_triton as gepo_groups  # where triton exists
    losses, margin, variance, accuracy = gepo_groups(
        policy_scores, ref_scores, is_winner, group_ids, num_groups, beta, variance_weight
    )
    return GepoLoss(losses.sum() / (num_groups if normalizer is None else normalizer), margin, variance, accuracy)


def gepo_groups_torch(
    policy_scores: Tensor,
    ref_scores: Tensor,
    is_winner: Tensor,
    group_ids: Tensor,
    num_groups: int,
    beta: float,
    variance_weight: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The torch twin: loss [G] with its gradient, and the detached margin, winner variance and pair accuracy [G]."""
    dtype = torch.float64 if policy_scores.dtype is torch.float64 else torch.float32
    log_ratio = policy_scores.to(dtype) - ref_scores.detach().to(dtype)
    in_range = (group_ids >= 0) & (group_ids < num_groups)
    index = group_ids.long().clamp(0, num_groups - 1)

    def group_sum(values: Tensor, members: Tensor) -> Tensor:
        return values.new_zeros(num_groups).index_add(0, index, torch.where(members, values, 0.0))

    ones = torch.ones_like(log_ratio)
    winners, losers = group_sum(ones, is_winner), group_sum(ones, ~is_winner)
    # An empty side makes its group NaN, an id out of range every group: gradients too, since they pass through here.
    usable = (winners > 0) & (losers > 0) & in_range.all()
    winner_mean = group_sum(log_ratio, is_winner) / torch.where(usable, winners, float("nan"))
    loser_mean = group_sum(log_ratio, ~is_winner) / torch.where(usable, losers, float("nan"))
    variance = group_sum((log_ratio - winner_mean[index]).square(), is_winner) / winners
    margin = beta * (winner_mean - loser_mean)
    losses = variance_weight * variance - F.logsigmoid(margin)  # softplus would drop the exponential from 20 on
    accuracy = _pair_accuracy(log_ratio.detach(), is_winner, index, num_groups) / (winners * losers)
    broken = margin.detach().isnan()
    return losses, margin.detach(), variance.detach(), accuracy.masked_fill(broken, float("nan"))


def _pair_accuracy(log_ratio: Tensor, is_winner: Tensor, index: Tensor, num_groups: int) -> Tensor:
    """Number of winner-loser pairs ranked right in each group [G], ties half, by ranks: O(K log K), nothing K x K."""
    by_value = torch.argsort(log_ratio)
    order = by_value[torch.argsort(index[by_value], stable=True)]  # by group, then by value
    group, value, winner = index[order], log_ratio[order], is_winner[order].to(log_ratio.dtype)
    loser = 1.0 - winner
    new_run = torch.ones_like(group)  # a run: equal values of one group
    new_run[1:] = ((value[1:] != value[:-1]) | (group[1:] != group[:-1])).long()
    run = new_run.cumsum(0) - 1
    run_losers = torch.zeros_like(loser).index_add(0, run, loser)
    losers_before_run = run_losers.cumsum(0) - run_losers
    group_losers = log_ratio.new_zeros(num_groups).index_add(0, group, loser)
    losers_before_group = group_losers.cumsum(0) - group_losers
    below = (losers_before_run + 0.5 * run_losers)[run] - losers_before_group[group]
    return log_ratio.new_zeros(num_groups).index_add(0, group, winner * below)


def _check(
    policy_scores: Tensor,
    ref_scores: Tensor,
    is_winner: Tensor,
    group_ids: Tensor,
    num_groups: int,
    beta: float,
    variance_weight: float,
) -> None:
    check_tensor("policy_scores", policy_scores)
    check_tensor("ref_scores", ref_scores)
    if policy_scores.dim() != 1:
        raise ValueError(f"policy_scores must have shape [K], not {tuple(policy_scores.shape)}")
    check_tensor("is_winner", is_winner, floating=False)
    check_tensor("group_ids", group_ids, floating=False)
    if is_winner.dtype is not torch.bool:
        raise TypeError(f"is_winner must be bool, not {is_winner.dtype}")
    if group_ids.dtype not in (torch.int32, torch.int64):
        raise TypeError(f"group_ids must be int32 or int64, not {group_ids.dtype}")
    for name, tensor in (("ref_scores", ref_scores), ("is_winner", is_winner), ("group_ids", group_ids)):
        check_same(name, tensor, "policy_scores", policy_scores)
    if not (num_groups >= 1 and beta > 0 and variance_weight >= 0):
        raise ValueError(
            f"num_groups is {num_groups}, beta {beta} and variance_weight {variance_weight}; "
            "the first two must be positive and the last at least 0"
        )
    check_scores("policy_scores", policy_scores)
    check_scores("ref_scores", ref_scores)
    if values_checkable(group_ids):
        _check_groups(is_winner, group_ids, num_groups)


def _check_groups(is_winner: Tensor, group_ids: Tensor, num_groups: int) -> None:
    if group_ids.numel() and not 0 <= int(group_ids.min()) <= int(group_ids.max()) < num_groups:
        raise ValueError(f"group_ids must lie in 0..{num_groups - 1}; they span {group_ids.min()}..{group_ids.max()}")
    for side, members in (("winner", is_winner), ("loser", ~is_winner)):
        counts = torch.bincount(group_ids[members].long(), minlength=num_groups)
        if (counts == 0).any():
            group = int((counts == 0).nonzero()[0])
            raise ValueError(f"group {group} has no {side}; every group needs at least one winner and one loser")
