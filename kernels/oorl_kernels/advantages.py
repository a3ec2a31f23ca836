"""Rewards to advantages: GRPO, Dr. GRPO, RLOO per sample; REINFORCE++ and its group baseline per token.

    grpo         A_i = (r_i - mean_g) / (std_g + 1e-6)          arXiv 2402.03300; std of the group, Bessel-corrected
    dr_grpo      A_i = r_i - mean_g                             arXiv 2503.20783
    rloo         A_i = r_i - mean of the others of the group    arXiv 2402.14740
    reinforce++  G_t = r - kl_coef sum_{u >= t} KL_u,  A_t = (G_t - mean) / sqrt(max(var, 1e-8))
                 mean and var (biased) over all trained tokens of the global batch    arXiv 2501.03262

Memory: O(B) for the group modes, O(N) for the token modes; N tokens, B sequences (samples), T padded length.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor

from .dispatch import choose_backend
from .segments import Segments, group_segments, sequence_ids
from .validation import check_choice, check_cu_seqlens, check_same, check_tensor, values_checkable

GROUP_MODES = ("grpo", "dr_grpo", "rloo")
STD_EPS = 1e-6  # added to GRPO's standard deviation
VARIANCE_FLOOR = 1e-8  # below it whitening amplifies no further


def _group_advantages_torch(rewards: Tensor, valid: Tensor, segments: Segments, mode: str) -> Tensor:
    """The torch twin: differentiable in rewards [B], computed in float64."""
    index = segments.index
    counts = segments.sum(valid.double())[index]
    values = rewards.double().masked_fill(~valid, 0.0)
    # Deviations from a member of the group, not from zero: equal rewards then cancel exactly.
    anchor = segments.min(values.detach().masked_fill(~valid, float("inf")))[index]
    shifted = (values - anchor).masked_fill(~valid, 0.0)
    sums = segments.sum(shifted)[index]
    centred = (shifted - sums / counts.clamp(min=1)).masked_fill(~valid, 0.0)
    others = (counts - 1).clamp(min=1)
    if mode == "dr_grpo":
        advantages = centred
    elif mode == "rloo":
        advantages = centred * counts / others
    else:
        variance = segments.sum(centred.square())[index] / others
        spread = variance > 0  # the square root has no slope at zero
        std = variance.where(spread, 1.0).sqrt().where(spread, 0.0)
        advantages = centred / (std + STD_EPS)
    advantages = advantages.masked_fill(~valid | (counts < 2), 0.0)
    declared = segments.sum(torch.ones_like(counts))[index]
    return advantages.masked_fill(declared < 2, float("nan"))


def group_advantages(
    rewards: Tensor,
    group_ids: Tensor,
    *,
    mode: Literal["grpo", "dr_grpo", "rloo"] = "grpo",
    valid: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """Advantage of every sample over its group.

    grpo: (r - mean_g)/(std_g + 1e-6), arXiv 2402.03300 (std Bessel-corrected); dr_grpo: r - mean_g, arXiv 2503.20783;
    rloo: r - mean of the group's others, arXiv 2402.14740. The statistics' population is the group's valid samples.

    Args:
        rewards: [B], floating point. NaN marks a sample without a reward.
        group_ids: [B], integer, non-negative, in any order; samples of equal id form a group.
        mode: which baseline and scale.
        valid: [B], bool; False takes a sample out of its group's statistics. None: all but NaN rewards are valid.
        backend: "auto", "triton" or "torch".

    Returns:
        [B], float32 (float64 for float64 rewards). Differentiable in `rewards`. Invalid samples and groups with fewer
        than two valid samples are zero; a group of equal rewards is exactly zero.

    Raises:
        ValueError: shapes differ, `mode` is unknown, or (values are checked on the CPU only) a group has one member, an
            id is negative or a valid reward is infinite. On CUDA, and under torch.compile, a group of one becomes NaN.
        TypeError: rewards are not floating point, ids not integers, or `valid` not bool.

    Numerics: the torch path computes in float64, the kernel in float32; deviations are formed before sums.
    Memory: O(B).

    >>> group_advantages(torch.tensor([1.0, 0.0, 1.0, 1.0]), torch.tensor([0, 0, 5, 5]), mode="dr_grpo")
    tensor([ 0.5000, -0.5000,  0.0000,  0.0000])
    """
    check_choice("mode", mode, GROUP_MODES)
    _check_samples(rewards, group_ids, valid)
    usable = ~rewards.isnan() if valid is None else valid & ~rewards.isnan()
    segments = group_segments(group_ids)
    if values_checkable(rewards):
        _check_groups(rewards, group_ids, usable, segments)
    if choose_backend(backend, rewards.device, rewards.dtype) == "triton":
        from .advantages_triton import group_advantages_triton  # where triton exists

        return group_advantages_triton(rewards, usable, segments.order, segments.starts(), mode, STD_EPS)
    return _group_advantages_torch(rewards, usable, segments, mode).to(_result_dtype(rewards))


def _result_dtype(rewards: Tensor) -> torch.dtype:
    return torch.float64 if rewards.dtype is torch.float64 else torch.float32


def _check_samples(rewards: Tensor, group_ids: Tensor | None, valid: Tensor | None) -> None:
    check_tensor("rewards", rewards)
    if rewards.dim() != 1:
        raise ValueError(f"rewards must have shape [B], not {tuple(rewards.shape)}")
    if group_ids is not None:
        check_tensor("group_ids", group_ids, floating=False)
        if group_ids.dtype not in (torch.int32, torch.int64):
            raise TypeError(f"group_ids must be int32 or int64, not {group_ids.dtype}")
        check_same("group_ids", group_ids, "rewards", rewards)
    if valid is not None:
        check_tensor("valid", valid, floating=False)
        if valid.dtype is not torch.bool:
            raise TypeError(f"valid must be bool, not {valid.dtype}")
        check_same("valid", valid, "rewards", rewards)


def _check_groups(rewards: Tensor, group_ids: Tensor, usable: Tensor, segments: Segments) -> None:
    if (group_ids < 0).any():
        raise ValueError(f"group_ids must be non-negative; the smallest is {int(group_ids.min())}")
    if rewards[usable].isinf().any():
        raise ValueError("rewards must be finite; mark samples without a reward with NaN or valid=False")
    sizes = segments.sum(torch.ones_like(group_ids))[segments.index]
    if (sizes < 2).any():
        lonely = int(group_ids[sizes < 2][0])
        raise ValueError(
            f"group {lonely} has one sample, so it has no baseline; sample at least two completions a prompt "
            "(or use reinforce_pp_advantages without group_ids)"
        )


def reinforce_pp_advantages(
    rewards: Tensor,
    kl: Tensor | None,
    loss_mask: Tensor,
    *,
    kl_coef: float,
    group_ids: Tensor | None = None,
    process_group: dist.ProcessGroup | None = None,
    valid: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
    backend: str = "auto",
) -> Tensor:
    """Whitened advantage of every token, REINFORCE++ (arXiv 2501.03262); with `group_ids`, its group baseline.

    The token reward is -kl_coef KL_t, plus r on the sequence's last trained token; G_t is its sum from t on (gamma 1);
    A_t = (G_t - mean)/sqrt(max(var, 1e-8)), mean and biased variance over the trained tokens of valid samples in the
    whole batch: over every rank of `process_group`. With `group_ids` r first loses its group's mean (the group must lie
    on one rank).

    Args:
        rewards: [B], floating point. NaN marks a sample without a reward.
        kl: [B, T] or [N], floating point, the per-token KL estimate to the reference; None for no KL term.
        loss_mask: [B, T] or [N], non-zero where a token is trained. Whatever lies under its zeros is never read.
        kl_coef: weight of the KL, at least 0.
        group_ids: [B], integer; given, the baseline mode.
        process_group: ranks that share the whitening statistics, of a backend that serves the rewards' device; None:
            this process alone. Every rank must call.
        valid: [B], bool; False takes a sample and its tokens out.
        cu_seqlens: [B+1], int32 or int64, offsets of the sequences in a packed [N] mask; None for padded [B, T].
        backend: "auto", "triton" or "torch".

    Returns:
        loss_mask's shape, float32 (float64 for float64 rewards), without gradient. Zero at untrained tokens, and at
        tokens of invalid samples and (baseline mode) of groups with fewer than two valid samples, which leave the
        statistics too. A batch of equal returns is exactly zero.

    Raises:
        ValueError: shapes or devices disagree, kl_coef is negative, or (CPU only) a group of one, an infinite reward,
            or cu_seqlens that do not span the tokens. On CUDA a group of one drops out like one without valid samples.
        TypeError: wrong dtypes.

    Numerics: statistics are combined in float64 from counts, means and squared deviations.
    Memory: O(N).

    >>> mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    >>> reinforce_pp_advantages(torch.tensor([1.0, 0.0]), None, mask, kl_coef=0.0)
    tensor([[ 0.7071,  0.7071,  0.0000],
            [-1.4142,  0.0000,  0.0000]])
    """
    _check_samples(rewards, group_ids, valid)
    _check_tokens(rewards, kl, loss_mask, cu_seqlens)
    if not kl_coef >= 0:
        raise ValueError(f"kl_coef is {kl_coef}; it must be at least 0")
    usable = ~rewards.isnan() if valid is None else valid & ~rewards.isnan()
    rewards = rewards.detach()
    if values_checkable(rewards) and rewards[usable].isinf().any():
        raise ValueError("rewards must be finite; mark samples without a reward with NaN or valid=False")
    if group_ids is not None:
        segments = group_segments(group_ids)
        usable = usable & (segments.sum(usable.double())[segments.index] >= 2)
        rewards = group_advantages(rewards, group_ids, mode="dr_grpo", valid=valid, backend=backend)
    if cu_seqlens is None:
        rows = torch.arange(rewards.numel(), device=rewards.device).unsqueeze(1).expand_as(loss_mask)
    else:
        rows = sequence_ids(loss_mask.numel(), cu_seqlens)
    trained = (loss_mask != 0) & usable[rows]
    if choose_backend(backend, rewards.device, rewards.dtype) == "triton":
        from .advantages_triton import returns_triton, whiten_triton  # where triton exists

        returns, moments = returns_triton(rewards, kl, trained, kl_coef, cu_seqlens)
        mean, rstd = _global_scale(combine_moments(moments), process_group)
        return whiten_triton(returns, trained, mean, rstd)
    returns = _returns_torch(rewards, kl, trained, kl_coef, rows, cu_seqlens)
    mean, rstd = _global_scale(_moments_torch(returns, trained), process_group)
    return torch.where(trained, (returns - mean) * rstd, 0.0).to(_result_dtype(rewards))


def _check_tokens(rewards: Tensor, kl: Tensor | None, loss_mask: Tensor, cu_seqlens: Tensor | None) -> None:
    check_tensor("loss_mask", loss_mask, floating=False)
    if loss_mask.device != rewards.device:
        raise ValueError(f"loss_mask is on {loss_mask.device} and rewards on {rewards.device}; move them to one device")
    if kl is not None:
        check_tensor("kl", kl)
        check_same("kl", kl, "loss_mask", loss_mask)
    if cu_seqlens is not None:
        check_cu_seqlens(cu_seqlens, loss_mask, "loss_mask")
        sequences = cu_seqlens.numel() - 1
    elif loss_mask.dim() == 2:
        sequences = loss_mask.shape[0]
    else:
        raise ValueError(f"loss_mask must be padded [B, T] or packed [N] with cu_seqlens, not {tuple(loss_mask.shape)}")
    if sequences != rewards.numel():
        raise ValueError(f"loss_mask holds {sequences} sequences and rewards {rewards.numel()}; they must agree")


def _returns_torch(
    rewards: Tensor, kl: Tensor | None, trained: Tensor, kl_coef: float, rows: Tensor, cu_seqlens: Tensor | None
) -> Tensor:
    """Return-to-go of every token, float64, shape of `trained`: r minus the weighted KL from the token on."""
    returns = rewards.double()[rows]
    if kl is None or kl_coef == 0:
        return returns
    penalty = torch.where(trained, kl.detach().double(), 0.0)
    to_go = penalty.flip(-1).cumsum(-1).flip(-1)
    if cu_seqlens is not None:  # the packed sum runs on into the later sequences: take off what begins after this one
        to_go = to_go - torch.cat([to_go, to_go.new_zeros(1)])[cu_seqlens.long()[1:][rows]]
    return returns - kl_coef * to_go


def combine_moments(moments: Tensor) -> Tensor:
    """Moments (count, mean, sum of squared deviations) of a union, [3], from its parts', [R, 3], float64."""
    counts, means, squares = moments.unbind(-1)
    present = counts > 0
    total = counts.sum()
    # Means are compared with one of themselves, so that parts of equal mean give that mean exactly.
    lowest = torch.cat([torch.where(present, means, float("inf")), means.new_full((1,), float("inf"))]).min()
    anchor = torch.where(total > 0, lowest, 0.0)
    offsets = torch.where(present, means - anchor, 0.0)
    offset = (counts * offsets).sum() / total.clamp(min=1)
    return torch.stack([total, anchor + offset, (squares + counts * (offsets - offset).square()).sum()])


def _global_scale(local: Tensor, process_group: dist.ProcessGroup | None) -> tuple[Tensor, Tensor]:
    """Mean and reciprocal standard deviation, 0-d float64, over every rank's moments [3]."""
    if process_group is not None:
        # A sum of one-row tables is a gather that every communication backend has, with the same bits on every rank.
        table = local.new_zeros(dist.get_world_size(process_group), 3)
        table[dist.get_rank(process_group)] = local
        dist.all_reduce(table, group=process_group)
        local = combine_moments(table)
    count, mean, squares = local.unbind()
    return mean, (squares / count.clamp(min=1)).clamp(min=VARIANCE_FLOOR).rsqrt()


def _moments_torch(returns: Tensor, trained: Tensor) -> Tensor:
    """Count, mean and sum of squared deviations [3] of the trained returns, float64."""
    count = trained.sum(dtype=torch.float64)
    anchor = torch.where(trained, returns, float("inf")).flatten()
    anchor = torch.cat([anchor, anchor.new_full((1,), float("inf"))]).min()  # of an empty batch as well
    anchor = torch.where(count > 0, anchor, 0.0)
    deviations = torch.where(trained, returns - anchor, 0.0)
    offset = deviations.sum() / count.clamp(min=1)
    squares = torch.where(trained, (deviations - offset).square(), 0.0).sum()
    return torch.stack([count, anchor + offset, squares])
