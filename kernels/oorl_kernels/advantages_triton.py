"""Advantages in Triton: group baselines forward and backward, return-to-go with its moments, whitening.

    grpo: c/(s + 1e-6); dr_grpo: c; rloo: c n/(n-1);  c = r - mean_g, s^2 = sum_g c^2/(n-1)
    backward, grad g: P g/(s + 1e-6) - c (sum_g g c)/((n-1) s (s + 1e-6)^2); P g; P g n/(n-1);  P g = g - mean_g(g)

A program owns BLOCK_G whole groups, side by side in a [BLOCK_G, BLOCK_M] tile, and walks over their members through
`order`, which sorts samples by group. `starts` has room for B groups; programs past the last one find nothing to do, so
the host never learns how many groups there are.

B samples or sequences, N tokens, n valid members of a group.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .jit_math import accumulator

BLOCK_G = 4  # groups a program
BLOCK_M = 64  # members a tile: a group of thousands takes few steps, and lanes past a group's end load nothing
BLOCK_N = 1024  # tokens a tile
MODE_CODES = {"grpo": 0, "dr_grpo": 1, "rloo": 2}


@triton.jit
def _tile(starts_ptr, num_samples, BLOCK_G: tl.constexpr):
    """First position and size of this program's groups; groups that do not exist have size 0."""
    group = tl.program_id(0).to(tl.int64) * BLOCK_G + tl.arange(0, BLOCK_G)
    exists = group < num_samples
    start = tl.load(starts_ptr + group, mask=exists, other=0)
    size = tl.load(starts_ptr + group + 1, mask=exists, other=0) - start
    return start, size


@triton.jit
def _load_valid(values_ptr, valid_ptr, order_ptr, start, size, block, ACC: tl.constexpr, BLOCK_M: tl.constexpr):
    """Members [BLOCK_G, BLOCK_M] from `block` on: sample, value (0 if invalid), whether it is there, and valid."""
    offs = block + tl.arange(0, BLOCK_M)
    inside = offs[None, :] < size[:, None]
    sample = tl.load(order_ptr + start[:, None] + offs[None, :], mask=inside, other=0)
    valid = inside & (tl.load(valid_ptr + sample, mask=inside, other=0) != 0)
    return sample, tl.load(values_ptr + sample, mask=valid, other=0.0).to(ACC), inside, valid


@triton.jit
def _group_moments(rewards_ptr, valid_ptr, order_ptr, start, size, ACC: tl.constexpr, BLOCK_M: tl.constexpr):
    """Anchor, mean offset from it, valid count and sum of squared deviations of every group, [BLOCK_G] each."""
    longest = tl.max(size, 0)
    anchor = tl.full(size.shape, float("inf"), ACC)
    count = tl.zeros(size.shape, ACC)
    for block in range(0, longest, BLOCK_M):
        _, r, _, valid = _load_valid(rewards_ptr, valid_ptr, order_ptr, start, size, block, ACC, BLOCK_M)
        anchor = tl.minimum(anchor, tl.min(tl.where(valid, r, float("inf")), 1))
        count += tl.sum(valid.to(ACC), 1)
    anchor = tl.where(count > 0, anchor, 0.0)
    # Deviations from a member of the group, not from zero: equal rewards then cancel exactly.
    offset = tl.zeros(size.shape, ACC)
    for block in range(0, longest, BLOCK_M):
        _, r, _, valid = _load_valid(rewards_ptr, valid_ptr, order_ptr, start, size, block, ACC, BLOCK_M)
        offset += tl.sum(tl.where(valid, r - anchor[:, None], 0.0), 1)
    offset = offset / tl.maximum(count, 1.0)
    squares = tl.zeros(size.shape, ACC)
    for block in range(0, longest, BLOCK_M):
        _, r, _, valid = _load_valid(rewards_ptr, valid_ptr, order_ptr, start, size, block, ACC, BLOCK_M)
        centred = r - anchor[:, None] - offset[:, None]
        squares += tl.sum(tl.where(valid, centred * centred, 0.0), 1)
    return anchor, offset, count, squares


@triton.jit
def _group_advantages_fwd_kernel(
    rewards_ptr,  # [B]
    valid_ptr,  # [B]
    order_ptr,  # [B] samples sorted by group
    starts_ptr,  # [B+1] first position of each group, B where there is none
    out_ptr,  # [B]
    num_samples,
    std_eps,
    ACC: tl.constexpr,
    MODE: tl.constexpr,  # 0 grpo, 1 dr_grpo, 2 rloo
    BLOCK_G: tl.constexpr,
    BLOCK_M: tl.constexpr,
):
    """Advantages of BLOCK_G groups."""
    start, size = _tile(starts_ptr, num_samples, BLOCK_G)
    anchor, offset, count, squares = _group_moments(rewards_ptr, valid_ptr, order_ptr, start, size, ACC, BLOCK_M)
    others = tl.maximum(count - 1.0, 1.0)
    scale = tl.full(size.shape, 1.0, ACC)
    if MODE == 0:
        scale = 1.0 / (tl.sqrt(squares / others) + std_eps)
    if MODE == 2:
        scale = count / others
    scale = tl.where(size == 1, float("nan"), tl.where(count < 2.0, 0.0, scale))
    for block in range(0, tl.max(size, 0), BLOCK_M):
        sample, r, inside, valid = _load_valid(rewards_ptr, valid_ptr, order_ptr, start, size, block, ACC, BLOCK_M)
        centred = tl.where(valid, r - anchor[:, None] - offset[:, None], 0.0)
        tl.store(out_ptr + sample, centred * scale[:, None], mask=inside)


@triton.jit
def _group_advantages_bwd_kernel(
    grad_ptr,  # [B]
    rewards_ptr,
    valid_ptr,
    order_ptr,
    starts_ptr,
    d_rewards_ptr,  # [B] out
    num_samples,
    std_eps,
    ACC: tl.constexpr,
    MODE: tl.constexpr,
    BLOCK_G: tl.constexpr,
    BLOCK_M: tl.constexpr,
):
    """Gradient in the rewards of BLOCK_G groups."""
    start, size = _tile(starts_ptr, num_samples, BLOCK_G)
    anchor, offset, count, squares = _group_moments(rewards_ptr, valid_ptr, order_ptr, start, size, ACC, BLOCK_M)
    grad_sum = tl.zeros(size.shape, ACC)
    grad_dot = tl.zeros(size.shape, ACC)
    for block in range(0, tl.max(size, 0), BLOCK_M):
        _, r, _, valid = _load_valid(rewards_ptr, valid_ptr, order_ptr, start, size, block, ACC, BLOCK_M)
        _, g, _, _ = _load_valid(grad_ptr, valid_ptr, order_ptr, start, size, block, ACC, BLOCK_M)
        grad_sum += tl.sum(g, 1)
        grad_dot += tl.sum(tl.where(valid, g * (r - anchor[:, None] - offset[:, None]), 0.0), 1)
    others = tl.maximum(count - 1.0, 1.0)
    scale = tl.full(size.shape, 1.0, ACC)
    pull = tl.zeros(size.shape, ACC)
    if MODE == 0:
        std = tl.sqrt(squares / others)
        scale = 1.0 / (std + std_eps)
        pull = tl.where(std > 0, grad_dot * scale * scale / (others * tl.where(std > 0, std, 1.0)), 0.0)
    if MODE == 2:
        scale = count / others
    mean_grad = grad_sum / tl.maximum(count, 1.0)
    for block in range(0, tl.max(size, 0), BLOCK_M):
        sample, r, inside, valid = _load_valid(rewards_ptr, valid_ptr, order_ptr, start, size, block, ACC, BLOCK_M)
        _, g, _, _ = _load_valid(grad_ptr, valid_ptr, order_ptr, start, size, block, ACC, BLOCK_M)
        centred = r - anchor[:, None] - offset[:, None]
        d_reward = (g - mean_grad[:, None]) * scale[:, None] - centred * pull[:, None]
        tl.store(d_rewards_ptr + sample, tl.where(valid & (count[:, None] >= 2.0), d_reward, 0.0), mask=inside)


@triton.jit
def _returns_kernel(
    rewards_ptr,  # [B]
    kl_ptr,  # [N], read if HAS_KL
    trained_ptr,  # [N]
    cu_seqlens_ptr,  # [B+1], read if PACKED
    returns_ptr,  # [N] out
    moments_ptr,  # [B, 3] out: trained tokens, mean return, sum of squared deviations
    row_tokens,  # T, used unless PACKED
    kl_coef,
    ACC: tl.constexpr,
    HAS_KL: tl.constexpr,
    PACKED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One program a sequence, from its last tile to its first: r minus the weighted KL from each token on."""
    row = tl.program_id(0).to(tl.int64)
    start = row * row_tokens
    end = start + row_tokens
    if PACKED:
        start = tl.load(cu_seqlens_ptr + row).to(tl.int64)
        end = tl.load(cu_seqlens_ptr + row + 1).to(tl.int64)
    reward = tl.load(rewards_ptr + row).to(ACC)
    carried = tl.zeros([], ACC)  # KL of the tiles already seen, which lie to the right
    count = tl.zeros([], ACC)
    offset = tl.zeros([], ACC)  # running mean of return - reward: exactly 0 without KL
    squares = tl.zeros([], ACC)
    tiles = (end - start + BLOCK - 1) // BLOCK
    for tile in range(0, tiles):
        offs = start + (tiles - 1 - tile) * BLOCK + tl.arange(0, BLOCK)
        trained = tl.load(trained_ptr + offs, mask=offs < end, other=0) != 0
        to_go = tl.zeros([BLOCK], ACC)
        if HAS_KL:
            kl = tl.load(kl_ptr + offs, mask=trained, other=0.0).to(ACC)
            to_go = -kl_coef * (carried + tl.cumsum(kl, 0, reverse=True))
            carried += tl.sum(kl)
        tl.store(returns_ptr + offs, reward + to_go, mask=offs < end)
        # Merge this tile's moments into the running ones (Chan et al., 1979).
        tile_count = tl.sum(trained.to(ACC))
        tile_mean = tl.sum(tl.where(trained, to_go, 0.0)) / tl.maximum(tile_count, 1.0)
        deviation = tl.where(trained, to_go - tile_mean, 0.0)
        delta = tile_mean - offset
        total = tl.maximum(count + tile_count, 1.0)
        squares += tl.sum(deviation * deviation) + delta * delta * count * tile_count / total
        offset += delta * tile_count / total
        count += tile_count
    tl.store(moments_ptr + row * 3, count)
    tl.store(moments_ptr + row * 3 + 1, reward + offset)
    tl.store(moments_ptr + row * 3 + 2, squares)


@triton.jit
def _whiten_kernel(
    returns_ptr,  # [N]
    trained_ptr,  # [N]
    mean_ptr,  # []
    rstd_ptr,  # []
    out_ptr,  # [N]
    num_tokens,
    ACC: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """(returns - mean) rstd where trained, 0 elsewhere."""
    offs = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = offs < num_tokens
    trained = tl.load(trained_ptr + offs, mask=inside, other=0) != 0
    value = tl.load(returns_ptr + offs, mask=trained, other=0.0).to(ACC)
    white = (value - tl.load(mean_ptr).to(ACC)) * tl.load(rstd_ptr).to(ACC)
    tl.store(out_ptr + offs, tl.where(trained, white, 0.0), mask=inside)


@torch.library.custom_op("oorl_kernels::group_advantages", mutates_args=())
def _group_advantages(
    rewards: Tensor, valid: Tensor, order: Tensor, starts: Tensor, mode: int, std_eps: float
) -> Tensor:
    """Advantages [B] of contiguous rewards [B]."""
    dtype, acc = accumulator(rewards)
    out = torch.empty_like(rewards, dtype=dtype)
    if rewards.numel():
        _group_advantages_fwd_kernel[(triton.cdiv(rewards.numel(), BLOCK_G),)](
            rewards_ptr=rewards, valid_ptr=valid, order_ptr=order, starts_ptr=starts, out_ptr=out,
            num_samples=rewards.numel(), std_eps=std_eps, ACC=acc, MODE=mode, BLOCK_G=BLOCK_G, BLOCK_M=BLOCK_M,
            num_warps=4,
        )  # fmt: skip
    return out


@_group_advantages.register_fake
def _(rewards, valid, order, starts, mode, std_eps):
    return torch.empty_like(rewards, dtype=accumulator(rewards)[0])


@torch.library.custom_op("oorl_kernels::group_advantages_backward", mutates_args=())
def _group_advantages_backward(
    grad: Tensor, rewards: Tensor, valid: Tensor, order: Tensor, starts: Tensor, mode: int, std_eps: float
) -> Tensor:
    """Gradient [B] in the rewards, in the accumulator's dtype."""
    d_rewards = torch.empty_like(rewards, dtype=accumulator(rewards)[0])
    if rewards.numel():
        _group_advantages_bwd_kernel[(triton.cdiv(rewards.numel(), BLOCK_G),)](
            grad_ptr=grad, rewards_ptr=rewards, valid_ptr=valid, order_ptr=order, starts_ptr=starts,
            d_rewards_ptr=d_rewards, num_samples=rewards.numel(), std_eps=std_eps, ACC=accumulator(rewards)[1],
            MODE=mode, BLOCK_G=BLOCK_G, BLOCK_M=BLOCK_M, num_warps=4,
        )  # fmt: skip
    return d_rewards


@_group_advantages_backward.register_fake
def _(grad, rewards, valid, order, starts, mode, std_eps):
    return torch.empty_like(rewards, dtype=accumulator(rewards)[0])


def _setup_context(ctx, inputs, output) -> None:
    *tensors, ctx.mode, ctx.std_eps = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx, grad):
    rewards, *rest = ctx.saved_tensors
    d_rewards = _group_advantages_backward(grad.contiguous(), rewards, *rest, ctx.mode, ctx.std_eps)
    return d_rewards.to(rewards.dtype), None, None, None, None, None


_group_advantages.register_autograd(_backward, setup_context=_setup_context)


@torch.library.custom_op("oorl_kernels::returns_to_go", mutates_args=())
def _returns_to_go(
    rewards: Tensor, kl: Tensor | None, trained: Tensor, cu_seqlens: Tensor | None, row_tokens: int, kl_coef: float
) -> tuple[Tensor, Tensor]:
    """Return-to-go of flat tokens [N], and the moments [B, 3] of each sequence's trained ones."""
    dtype, acc = accumulator(rewards)
    returns = rewards.new_empty(trained.numel(), dtype=dtype)
    moments = rewards.new_empty(rewards.numel(), 3, dtype=dtype)
    if rewards.numel():
        _returns_kernel[(rewards.numel(),)](
            rewards_ptr=rewards, kl_ptr=kl, trained_ptr=trained, cu_seqlens_ptr=cu_seqlens, returns_ptr=returns,
            moments_ptr=moments, row_tokens=row_tokens, kl_coef=kl_coef, ACC=acc, HAS_KL=kl is not None,
            PACKED=cu_seqlens is not None, BLOCK=BLOCK_N, num_warps=4,
        )  # fmt: skip
    return returns, moments


@_returns_to_go.register_fake
def _(rewards, kl, trained, cu_seqlens, row_tokens, kl_coef):
    returns = rewards.new_empty(trained.numel(), dtype=accumulator(rewards)[0])
    return returns, returns.new_empty(rewards.numel(), 3)


@torch.library.custom_op("oorl_kernels::whiten", mutates_args=())
def _whiten(returns: Tensor, trained: Tensor, mean: Tensor, rstd: Tensor) -> Tensor:
    """(returns - mean) rstd over flat tokens [N], zero where not trained."""
    out = torch.empty_like(returns)
    if returns.numel():
        _whiten_kernel[(triton.cdiv(returns.numel(), BLOCK_N),)](
            returns_ptr=returns, trained_ptr=trained, mean_ptr=mean, rstd_ptr=rstd, out_ptr=out,
            num_tokens=returns.numel(), ACC=accumulator(returns)[1], BLOCK=BLOCK_N, num_warps=4,
        )  # fmt: skip
    return out


@_whiten.register_fake
def _(returns, trained, mean, rstd):
    return torch.empty_like(returns)


def group_advantages_triton(
    rewards: Tensor, valid: Tensor, order: Tensor, starts: Tensor, mode: str, std_eps: float
) -> Tensor:
    """Advantages [B], float32 (float64), differentiable in rewards [B]; invalid rewards are never loaded."""
    return _group_advantages(
        rewards.contiguous(), valid.contiguous().view(torch.uint8), order, starts, MODE_CODES[mode], std_eps
    )


def returns_triton(
    rewards: Tensor, kl: Tensor | None, trained: Tensor, kl_coef: float, cu_seqlens: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return-to-go in the shape of `trained`, and float64 moments [B, 3] of each sequence's trained tokens."""
    returns, moments = _returns_to_go(
        rewards.contiguous(), None if kl is None or kl_coef == 0 else kl.detach().reshape(-1).contiguous(),
        trained.reshape(-1).contiguous().view(torch.uint8), None if cu_seqlens is None else cu_seqlens.contiguous(),
        trained.shape[-1], kl_coef,
    )  # fmt: skip
    return returns.view(trained.shape), moments.double()


def whiten_triton(returns: Tensor, trained: Tensor, mean: Tensor, rstd: Tensor) -> Tensor:
    """(returns - mean) rstd where trained, zero elsewhere, in the shape of `trained`."""
    flags = trained.reshape(-1).contiguous().view(torch.uint8)
    return _whiten(returns.reshape(-1), flags, mean, rstd).view(trained.shape)
