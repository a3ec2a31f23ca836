"""The GEPO loss in Triton: one program a group forward, one pass over the scores backward.

    r_k = policy_k - ref_k;  delta = beta (mean_w r - mean_l r);  L = -log sigmoid(delta) + lambda Var_w(r)
    dL/dr_w = -beta sigmoid(-delta)/n + 2 lambda (r_w - mean_w)/n,  dL/dr_l = beta sigmoid(-delta)/m

Scores are visited through `order`, which sorts them by group, so ids may come in any order and a program reads its own
members only; the pairs of its accuracy are compared tile by tile. Nothing depends on the group's size on the host.

K scores, G groups, n winners and m losers of a group.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .jit_math import accumulator, softplus_and_slope

BLOCK_K = 32  # members a tile; pairs are compared in BLOCK_K x BLOCK_K tiles
BACKWARD_BLOCK_K = 256


@triton.jit
def _load_members(policy_ptr, ref_ptr, winner_ptr, order_ptr, offs, end, ACC: tl.constexpr):
    """Log-ratios of the members at sorted positions `offs`, and which are winners and losers."""
    inside = offs < end
    member = tl.load(order_ptr + offs, mask=inside, other=0)
    policy = tl.load(policy_ptr + member, mask=inside, other=0.0).to(ACC)
    ref = tl.load(ref_ptr + member, mask=inside, other=0.0).to(ACC)
    winner = tl.load(winner_ptr + member, mask=inside, other=0) != 0
    return policy - ref, inside & winner, inside & (winner == 0)


@triton.jit
def _gepo_fwd_kernel(
    policy_ptr,  # [K]
    ref_ptr,  # [K]
    winner_ptr,  # [K]
    order_ptr,  # [K] positions of the scores sorted by group
    starts_ptr,  # [G+1] first sorted position of each group
    loss_ptr,  # [G] out
    margin_ptr,  # [G] out
    variance_ptr,  # [G] out
    accuracy_ptr,  # [G] out
    winner_mean_ptr,  # [G] out, saved
    winners_ptr,  # [G] out, saved: n
    losers_ptr,  # [G] out, saved: m
    num_scores,
    num_groups,
    beta,
    variance_weight,
    ACC: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Loss and figures of one group."""
    group = tl.program_id(0).to(tl.int64)
    start = tl.load(starts_ptr + group).to(tl.int64)
    end = tl.load(starts_ptr + group + 1).to(tl.int64)
    lanes = tl.arange(0, BLOCK)

    winners = tl.zeros([BLOCK], ACC)
    losers = tl.zeros([BLOCK], ACC)
    winner_sums = tl.zeros([BLOCK], ACC)
    loser_sums = tl.zeros([BLOCK], ACC)
    for block in range(start, end, BLOCK):
        r, is_winner, is_loser = _load_members(policy_ptr, ref_ptr, winner_ptr, order_ptr, block + lanes, end, ACC)
        winners += is_winner.to(ACC)
        losers += is_loser.to(ACC)
        winner_sums += tl.where(is_winner, r, 0.0)
        loser_sums += tl.where(is_loser, r, 0.0)
    n = tl.sum(winners)
    m = tl.sum(losers)
    # An id outside 0..G-1 sorts before the first or after the last group; it and an empty side make the group NaN.
    strays = (tl.load(starts_ptr) > 0) | (tl.load(starts_ptr + num_groups) < num_scores)
    nan = tl.full([], float("nan"), ACC)
    winner_mean = tl.where(strays | (n == 0) | (m == 0), nan, tl.sum(winner_sums) / tl.maximum(n, 1.0))
    margin = beta * (winner_mean - tl.sum(loser_sums) / tl.maximum(m, 1.0))

    squares = tl.zeros([BLOCK], ACC)
    pairs = tl.zeros([BLOCK, BLOCK], ACC)
    for block in range(start, end, BLOCK):
        r, is_winner, _ = _load_members(policy_ptr, ref_ptr, winner_ptr, order_ptr, block + lanes, end, ACC)
        squares += tl.where(is_winner, (r - winner_mean) * (r - winner_mean), 0.0)
        for other in range(start, end, BLOCK):
            s, _, is_loser = _load_members(policy_ptr, ref_ptr, winner_ptr, order_ptr, other + lanes, end, ACC)
            above = (r[:, None] > s[None, :]).to(ACC) + 0.5 * (r[:, None] == s[None, :]).to(ACC)
            pairs += tl.where(is_winner[:, None] & is_loser[None, :], above, 0.0)
    variance = tl.sum(squares) / tl.maximum(n, 1.0)
    accuracy = tl.sum(tl.sum(pairs, 1), 0) / tl.maximum(n * m, 1.0)
    broken = margin != margin
    ranking, _ = softplus_and_slope(-margin)
    tl.store(loss_ptr + group, ranking + variance_weight * variance)
    tl.store(margin_ptr + group, margin)
    tl.store(variance_ptr + group, tl.where(broken, nan, variance))
    tl.store(accuracy_ptr + group, tl.where(broken, nan, accuracy))
    tl.store(winner_mean_ptr + group, winner_mean)
    tl.store(winners_ptr + group, n)
    tl.store(losers_ptr + group, m)


@triton.jit
def _gepo_bwd_kernel(
    grad_ptr,  # [G] gradient of each group's loss
    policy_ptr,
    ref_ptr,
    winner_ptr,
    group_ids_ptr,  # [K]
    margin_ptr,
    winner_mean_ptr,
    winners_ptr,
    losers_ptr,
    d_policy_ptr,  # [K] out
    num_scores,
    num_groups,
    beta,
    variance_weight,
    ACC: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Gradient of one block of scores from the figures of their groups; NaN for an id outside 0..G-1."""
    offs = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = offs < num_scores
    group = tl.load(group_ids_ptr + offs, mask=inside, other=0).to(tl.int64)
    known = inside & (group >= 0) & (group < num_groups)
    winner = tl.load(winner_ptr + offs, mask=inside, other=0) != 0
    r = tl.load(policy_ptr + offs, mask=inside, other=0.0).to(ACC)
    r -= tl.load(ref_ptr + offs, mask=inside, other=0.0).to(ACC)
    grad = tl.load(grad_ptr + group, mask=known, other=float("nan")).to(ACC)
    margin = tl.load(margin_ptr + group, mask=known, other=0.0)
    winner_mean = tl.load(winner_mean_ptr + group, mask=known, other=0.0)
    n = tl.load(winners_ptr + group, mask=known, other=1.0)
    m = tl.load(losers_ptr + group, mask=known, other=1.0)
    _, slope = softplus_and_slope(-margin)
    pull = beta * slope
    d_winner = (2.0 * variance_weight * (r - winner_mean) - pull) / n
    tl.store(d_policy_ptr + offs, grad * tl.where(winner, d_winner, pull / m), mask=inside)


@torch.library.custom_op("oorl_kernels::gepo_groups", mutates_args=())
def _gepo_groups(
    policy: Tensor,
    ref: Tensor,
    is_winner: Tensor,
    group_ids: Tensor,
    num_groups: int,
    beta: float,
    variance_weight: float,
) -> tuple[Tensor, Tensor]:
    """Loss [G], and the figures [6, G]: margin, variance, accuracy, winner mean, n, m."""
    dtype, acc = accumulator(policy)
    sorted_ids, order = torch.sort(group_ids)
    groups = torch.arange(num_groups + 1, device=group_ids.device, dtype=group_ids.dtype)
    losses = policy.new_empty(num_groups, dtype=dtype)
    figures = policy.new_empty(6, num_groups, dtype=dtype)
    margin, variance, accuracy, winner_mean, winners, losers = figures.unbind(0)
    _gepo_fwd_kernel[(num_groups,)](
        policy_ptr=policy, ref_ptr=ref, winner_ptr=is_winner, order_ptr=order,
        starts_ptr=torch.searchsorted(sorted_ids, groups), loss_ptr=losses, margin_ptr=margin, variance_ptr=variance,
        accuracy_ptr=accuracy, winner_mean_ptr=winner_mean, winners_ptr=winners, losers_ptr=losers,
        num_scores=policy.numel(), num_groups=num_groups, beta=beta, variance_weight=variance_weight, ACC=acc,
        BLOCK=BLOCK_K, num_warps=1,
    )  # fmt: skip
    return losses, figures


@_gepo_groups.register_fake
def _(policy, ref, is_winner, group_ids, num_groups, beta, variance_weight):
    losses = policy.new_empty(num_groups, dtype=accumulator(policy)[0])
    return losses, losses.new_empty(6, num_groups)


@torch.library.custom_op("oorl_kernels::gepo_groups_backward", mutates_args=())
def _gepo_groups_backward(
    grad: Tensor,
    policy: Tensor,
    ref: Tensor,
    is_winner: Tensor,
    group_ids: Tensor,
    figures: Tensor,
    beta: float,
    variance_weight: float,
) -> Tensor:
    """Gradient [K] of the group losses in the policy's scores, in the accumulator's dtype."""
    margin, _, _, winner_mean, winners, losers = figures.unbind(0)
    d_policy = torch.empty_like(policy, dtype=figures.dtype)
    if policy.numel():
        _gepo_bwd_kernel[(triton.cdiv(policy.numel(), BACKWARD_BLOCK_K),)](
            grad_ptr=grad, policy_ptr=policy, ref_ptr=ref, winner_ptr=is_winner, group_ids_ptr=group_ids,
            margin_ptr=margin, winner_mean_ptr=winner_mean, winners_ptr=winners, losers_ptr=losers,
            d_policy_ptr=d_policy, num_scores=policy.numel(), num_groups=figures.shape[1], beta=beta,
            variance_weight=variance_weight, ACC=accumulator(policy)[1], BLOCK=BACKWARD_BLOCK_K, num_warps=4,
        )  # fmt: skip
    return d_policy


@_gepo_groups_backward.register_fake
def _(grad, policy, ref, is_winner, group_ids, figures, beta, variance_weight):
    return torch.empty_like(policy, dtype=figures.dtype)


def _setup_context(ctx, inputs, output) -> None:
    *tensors, _, ctx.beta, ctx.variance_weight = inputs
    ctx.save_for_backward(*tensors, output[1])
    ctx.set_materialize_grads(False)  # else zeros are filled for the figures
    ctx.mark_non_differentiable(output[1])


def _backward(ctx, grad, *_unused):
    policy, *rest = ctx.saved_tensors
    d_policy = _gepo_groups_backward(grad.contiguous(), policy, *rest, ctx.beta, ctx.variance_weight)
    return d_policy.to(policy.dtype), *([None] * 6)


_gepo_groups.register_autograd(_backward, setup_context=_setup_context)


def gepo_groups_triton(
    policy_scores: Tensor,
    ref_scores: Tensor,
    is_winner: Tensor,
    group_ids: Tensor,
    num_groups: int,
    beta: float,
    variance_weight: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Loss [G] with its gradient, margin, winner variance and pair accuracy [G]; the torch twin's signature."""
    losses, figures = _gepo_groups(
        policy_scores.contiguous(), ref_scores.detach().contiguous(), is_winner.contiguous().view(torch.uint8),
        group_ids.contiguous(), num_groups, beta, variance_weight,
    )  # fmt: skip
    margin, variance, accuracy = figures[:3].unbind(0)
    return losses, margin, variance, accuracy
