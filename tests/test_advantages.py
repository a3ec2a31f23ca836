"""Advantages: against the naive float64 definition, worked examples, their properties, and two ranks against one."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hypothesis import given, settings
from hypothesis import strategies as st
from oorl_kernels import reference
from oorl_kernels.advantages import GROUP_MODES, STD_EPS, group_advantages, reinforce_pp_advantages
from oorl_kernels.advantages_triton import group_advantages_triton, returns_triton, whiten_triton
from oorl_kernels.segments import group_segments

KERNEL_DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # without a GPU the kernels run in the interpreter
# A compiled kernel takes kl_coef and the 1e-6 of the std as float32.
KERNEL_TOLERANCE = 1e-7 if KERNEL_DEVICE == "cuda" else 1e-11
NAN = float("nan")


def make_groups(seed: int, groups: int = 6, size: int = 7, dtype: torch.dtype = torch.float64) -> tuple:
    """Shuffled rewards and sparse ids; the last group has equal rewards, the last but one a single valid sample."""
    generator = torch.Generator().manual_seed(seed)
    rewards = torch.rand(groups, size, generator=generator, dtype=dtype)
    rewards[torch.rand(groups, size, generator=generator) < 0.2] = NAN
    rewards[-1], rewards[-2, 1:] = 0.1, NAN
    ids = (torch.randperm(50, generator=generator)[:groups])[:, None].expand(groups, size)
    order = torch.randperm(groups * size, generator=generator)
    return rewards.flatten()[order], ids.flatten()[order]


def make_tokens(seed: int, dtype: torch.dtype = torch.float64) -> dict:
    """Four padded sequences: one is empty, one has no reward, the masks have holes, and KL is NaN under them."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([6, 3, 0, 9, 5, 9])
    inside = torch.arange(9) < lengths[:, None]
    mask = inside & (torch.rand(6, 9, generator=generator) > 0.25)
    kl = torch.where(mask, torch.randn(6, 9, generator=generator, dtype=dtype), NAN)
    rewards = torch.tensor([1.0, 0.0, 1.0, 0.25, NAN, 0.75], dtype=dtype)
    return {"rewards": rewards, "kl": kl, "loss_mask": mask, "lengths": lengths, "inside": inside}


@pytest.mark.parametrize("mode", GROUP_MODES)
@pytest.mark.parametrize("seed", range(3))
def test_group_modes_equal_their_definitions(mode, seed):
    rewards, ids = make_groups(seed)
    want = reference.group_advantages(rewards, ids, mode)
    # The definition leaves 1e-17 of rounding in a group of equal rewards, and divides it by 1e-6.
    torch.testing.assert_close(group_advantages(rewards, ids, mode=mode), want, rtol=1e-10, atol=1e-10)


def test_group_modes_on_numbers_worked_out_by_hand():
    """Rewards 1, 0, 0, 1, 0, 0: mean 1/3, squared deviations 2(4/9) + 4(1/9) = 4/3, Bessel-corrected variance 4/15."""
    rewards, ids = torch.tensor([1.0, 0, 0, 1, 0, 0]), torch.zeros(6, dtype=torch.long)
    std = math.sqrt(4 / 15)
    expected = {
        "dr_grpo": (2 / 3, -1 / 3),
        "grpo": (2 / 3 / (std + STD_EPS), -1 / 3 / (std + STD_EPS)),
        "rloo": (1 - 1 / 5, 0 - 2 / 5),  # the others of a 1 hold one 1 among five, the others of a 0 hold two
    }
    for mode, (high, low) in expected.items():
        want = torch.tensor([high, low, low, high, low, low])
        torch.testing.assert_close(group_advantages(rewards, ids, mode=mode), want, rtol=1e-6, atol=0)


def test_reinforce_pp_on_numbers_worked_out_by_hand():
    """Two sequences, kl_coef 0.5.

    First: reward 1, KL 0.2, 0.4; token rewards -0.1 and -0.2 + 1; returns 0.7, 0.8.
    Second: reward 0, KL 1.0 (its second token is masked, KL 9 is never read); token reward -0.5 + 0; return -0.5.
    Mean 1/3; deviations 11/30, 14/30, -25/30; squares (121 + 196 + 625)/900 = 942/900; variance 942/2700.
    """
    kl = torch.tensor([[0.2, 0.4], [1.0, 9.0]], dtype=torch.float64)
    mask = torch.tensor([[1, 1], [1, 0]])
    got = reinforce_pp_advantages(torch.tensor([1.0, 0.0], dtype=torch.float64), kl, mask, kl_coef=0.5)
    std = math.sqrt(942 / 2700)
    want = torch.tensor([[11 / 30 / std, 14 / 30 / std], [-25 / 30 / std, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=0)


@pytest.mark.parametrize("group_ids", [None, [4, 4, 7, 7, 9, 9]], ids=["reinforce++", "baseline"])
@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("kl_coef", [0.0, 0.3])
def test_reinforce_pp_equals_its_definition(group_ids, packed, kl_coef):
    tokens = make_tokens(0)
    inside, ids = tokens["inside"], None if group_ids is None else torch.tensor(group_ids)
    kl, mask, rewards = tokens["kl"], tokens["loss_mask"], tokens["rewards"]
    want = reference.reinforce_pp_advantages(rewards, kl, mask, kl_coef, ids)
    if packed:
        offsets = torch.cat([torch.zeros(1, dtype=torch.long), tokens["lengths"].cumsum(0)])
        got = reinforce_pp_advantages(
            rewards, kl[inside], mask[inside], kl_coef=kl_coef, group_ids=ids, cu_seqlens=offsets
        )
        want = want[inside]
    else:
        got = reinforce_pp_advantages(rewards, kl, mask, kl_coef=kl_coef, group_ids=ids)
    torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-13)


@given(seed=st.integers(0, 10_000), shift=st.floats(-100, 100), mode=st.sampled_from(GROUP_MODES))
@settings(max_examples=40, deadline=None)
def test_group_advantages_sum_to_zero_ignore_shifts_and_follow_permutations(seed, shift, mode):
    rewards, ids = make_groups(seed)
    advantages = group_advantages(rewards, ids, mode=mode)
    torch.testing.assert_close(torch.zeros(50).double().index_add(0, ids, advantages), torch.zeros(50).double())
    # The shift rounds each reward by up to 2^-47; the smallest std here, a few hundredths, magnifies that.
    torch.testing.assert_close(group_advantages(rewards + shift, ids, mode=mode), advantages, rtol=0, atol=1e-9)
    order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(seed))
    moved = group_advantages(rewards[order], 2 * ids[order] + 1, mode=mode)
    torch.testing.assert_close(moved, advantages[order], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backend", ["torch", "triton"])
@given(value=st.floats(-1e6, 1e6, width=32), size=st.integers(2, 40), mode=st.sampled_from(GROUP_MODES))
@settings(max_examples=15, deadline=None)
def test_equal_rewards_give_exact_zeros(backend, value, size, mode):
    rewards = torch.full((size,), value, device=KERNEL_DEVICE)
    ids = torch.zeros(size, dtype=torch.long, device=KERNEL_DEVICE)
    assert not group_advantages(rewards, ids, mode=mode, backend=backend).any()
    mask = torch.ones(size, 3, device=KERNEL_DEVICE)
    assert not reinforce_pp_advantages(rewards, None, mask, kl_coef=0.1, backend=backend).any()


def test_equal_rewards_give_exact_zeros_in_float64():
    rewards, mask = torch.full((7,), 0.1, dtype=torch.float64), torch.ones(7, 3)
    assert not reinforce_pp_advantages(rewards, None, mask, kl_coef=0.1).any()
    assert not group_advantages(rewards, torch.zeros(7, dtype=torch.long)).any()


def test_invalid_samples_leave_statistics_and_get_zeros():
    rewards, ids = torch.tensor([1.0, 0.0, 50.0, 2.0, NAN, 3.0]), torch.tensor([0, 0, 0, 1, 1, 0])
    valid = torch.tensor([True, True, False, True, True, True])
    got = group_advantages(rewards, ids, mode="dr_grpo", valid=valid)
    torch.testing.assert_close(got, torch.tensor([-1 / 3, -4 / 3, 0, 0, 0, 5 / 3]))  # group 1 keeps one valid sample
    mask = torch.ones(6, 2)
    white = reinforce_pp_advantages(rewards, None, mask, kl_coef=0.0, valid=valid)
    kept = [0, 1, 3, 5]
    torch.testing.assert_close(white[kept], reinforce_pp_advantages(rewards[kept], None, mask[kept], kl_coef=0.0))
    assert not white[[2, 4]].any()


def test_whitened_advantages_have_mean_zero_and_variance_one():
    tokens = make_tokens(1)
    white = reinforce_pp_advantages(tokens["rewards"], tokens["kl"], tokens["loss_mask"], kl_coef=0.2)
    counted = white[tokens["loss_mask"] & ~tokens["rewards"].isnan()[:, None]]
    assert counted.mean().item() == pytest.approx(0, abs=1e-14)
    assert counted.var(correction=0).item() == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_a_mask_of_one_column_whitens_samples(backend):
    """The population is the batch's samples, as docs/mathematics.md says; with groups, their centred rewards."""
    rewards = torch.tensor([1.0, 0.0, 4.0, 0.5, NAN, 2.0], device=KERNEL_DEVICE)
    ids = torch.tensor([0, 0, 1, 1, 1, 1], device=KERNEL_DEVICE)
    kept = torch.tensor([0, 1, 2, 3, 5])
    for group_ids, values in (
        (None, [1.0, 0.0, 4.0, 0.5, 2.0]),
        (ids, [0.5, -0.5, 4 - 6.5 / 3, 0.5 - 6.5 / 3, 2 - 6.5 / 3]),
    ):
        column = torch.ones(6, 1, device=KERNEL_DEVICE)
        got = reinforce_pp_advantages(rewards, None, column, kl_coef=0.0, group_ids=group_ids, backend=backend).cpu()
        want = torch.tensor(values)
        want = (want - want.mean()) / want.std(correction=0)
        torch.testing.assert_close(got[kept, 0], want, rtol=1e-6, atol=1e-6)
        assert got[4] == 0


@pytest.mark.parametrize("mode", GROUP_MODES)
def test_gradcheck(mode):
    generator = torch.Generator().manual_seed(3)
    rewards = torch.rand(12, generator=generator, dtype=torch.float64).requires_grad_()
    ids, valid = torch.arange(12) % 3, torch.arange(12) % 5 > 0
    assert torch.autograd.gradcheck(lambda r: group_advantages(r, ids, mode=mode, valid=valid), rewards)


@pytest.mark.parametrize("mode", GROUP_MODES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("groups, size", [(3, 2), (6, 7), (20, 4), (2, 50)])
def test_group_kernels_equal_their_twin(mode, dtype, groups, size):
    rewards, ids = (t.to(KERNEL_DEVICE) for t in make_groups(4, groups, size, dtype))
    segments = group_segments(ids)
    weights = torch.linspace(-1, 1, len(ids), dtype=dtype, device=KERNEL_DEVICE)
    results = []
    for backend in ("torch", "triton"):
        leaf = rewards.clone().requires_grad_()
        if backend == "torch":
            out = group_advantages(leaf, ids, mode=mode, backend="torch")
        else:
            out = group_advantages_triton(leaf, ~rewards.isnan(), segments.order, segments.starts(), mode, STD_EPS)
        results.append((out.detach(), torch.autograd.grad(out, leaf, weights)[0]))
    # A deviation of size 1 divided by the smallest std, about 1/100 in a group of two, and once more in the gradient.
    tolerance = KERNEL_TOLERANCE if dtype is torch.float64 else 200 * torch.finfo(dtype).eps
    for twin, kernel in zip(*results, strict=True):
        scale = max(1.0, twin.abs().max().item())  # a group of equal rewards has a gradient of size 1e6
        torch.testing.assert_close(kernel / scale, twin / scale, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("kl_coef", [0.0, 0.3])
def test_return_and_whitening_kernels_equal_the_definition_in_float64(packed, kl_coef):
    tokens = make_tokens(2)
    inside, rewards = tokens["inside"], tokens["rewards"].to(KERNEL_DEVICE)
    trained = tokens["loss_mask"] & ~tokens["rewards"].isnan()[:, None]
    want = reference.reinforce_pp_advantages(tokens["rewards"], tokens["kl"], tokens["loss_mask"], kl_coef)
    kl, offsets = tokens["kl"], None
    if packed:
        offsets = torch.cat([torch.zeros(1, dtype=torch.long), tokens["lengths"].cumsum(0)]).to(KERNEL_DEVICE)
        trained, kl, want = trained[inside], kl[inside], want[inside]
    trained = trained.to(KERNEL_DEVICE)
    returns, moments = returns_triton(rewards, kl.to(KERNEL_DEVICE), trained, kl_coef, offsets)
    counts, counted = moments[:, 0], returns[trained]
    assert counts.sum() == trained.sum()
    got = whiten_triton(returns, trained, counted.mean(), counted.var(correction=0).rsqrt())
    torch.testing.assert_close(got.cpu(), want, rtol=1e-6, atol=KERNEL_TOLERANCE)
    present = counts > 0
    means = (moments[present, 1] * counts[present]).sum() / counts.sum()
    torch.testing.assert_close(means, counted.mean(), rtol=1e-6, atol=KERNEL_TOLERANCE)


@pytest.mark.parametrize("group_ids", [None, [4, 4, 7, 7, 9, 9]], ids=["reinforce++", "baseline"])
def test_reinforce_pp_kernels_equal_their_twin_over_several_tiles(group_ids):
    generator = torch.Generator().manual_seed(0)
    rewards = torch.tensor([1.0, 0.0, 1.0, 0.25, NAN, 0.75]).to(KERNEL_DEVICE)
    kl = torch.rand(6, 2500, generator=generator).to(KERNEL_DEVICE) * 1e-3
    mask = (torch.rand(6, 2500, generator=generator) > 0.3).to(KERNEL_DEVICE)
    ids = None if group_ids is None else torch.tensor(group_ids, device=KERNEL_DEVICE)
    twin, kernel = (
        reinforce_pp_advantages(rewards, kl, mask, kl_coef=0.2, group_ids=ids, backend=backend)
        for backend in ("torch", "triton")
    )
    # Float32 returns of size 1 (eps), divided by a std above 1/10.
    torch.testing.assert_close(kernel, twin, rtol=1e-5, atol=10 * torch.finfo(torch.float32).eps)


def _whiten_on_a_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", 2), rank=rank, world_size=2)
    tokens = make_tokens(5)
    mine = slice(0, 2) if rank == 0 else slice(2, 6)
    results = [
        reinforce_pp_advantages(
            tokens["rewards"][mine], tokens["kl"][mine], tokens["loss_mask"][mine], kl_coef=kl_coef,
            group_ids=torch.tensor([4, 4, 7, 7, 9, 9])[mine] if grouped else None, process_group=dist.group.WORLD,
        )
        for kl_coef in (0.0, 0.3)
        for grouped in (False, True)
    ]  # fmt: skip
    equal = torch.full((2 + rank,), 0.1, dtype=torch.float64)
    results.append(
        reinforce_pp_advantages(equal, None, torch.ones(2 + rank, 9), kl_coef=0.1, process_group=dist.group.WORLD)
    )
    torch.save(results, f"{folder}/rank{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_whiten_as_one(tmp_path: Path):
    mp.spawn(_whiten_on_a_rank, args=(str(tmp_path),), nprocs=2)
    ranks = [torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2)]
    tokens, ids = make_tokens(5), torch.tensor([4, 4, 7, 7, 9, 9])
    wanted = [
        reinforce_pp_advantages(
            tokens["rewards"], tokens["kl"], tokens["loss_mask"], kl_coef=kl_coef, group_ids=ids if grouped else None
        )
        for kl_coef in (0.0, 0.3)
        for grouped in (False, True)
    ]
    for want, *parts in zip(wanted, *ranks, strict=False):
        torch.testing.assert_close(torch.cat(parts), want, rtol=1e-12, atol=1e-13)
    assert not any(rank[-1].any() for rank in ranks)  # equal everywhere: exact zeros on both


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_compiles_without_a_graph_break(backend):
    rewards, ids = (t.to(KERNEL_DEVICE) for t in make_groups(6, dtype=torch.float32))
    mask = torch.rand(len(ids), 5, device=KERNEL_DEVICE) > 0.3
    kl = torch.rand(len(ids), 5, device=KERNEL_DEVICE)

    def step(rewards, ids, kl, mask):
        grouped = group_advantages(rewards, ids, backend=backend)
        return grouped, reinforce_pp_advantages(rewards, kl, mask, kl_coef=0.1, group_ids=ids, backend=backend)

    torch._dynamo.reset()
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(rewards, ids, kl, mask), step(rewards, ids, kl, mask))


def test_operators_are_registered_as_torch_asks():
    rewards, ids = (t.to(KERNEL_DEVICE) for t in make_groups(7, dtype=torch.float32))
    segments, flags = group_segments(ids), (~rewards.isnan()).view(torch.uint8)
    leaf = rewards.nan_to_num(0.5).requires_grad_()
    torch.library.opcheck(
        torch.ops.oorl_kernels.group_advantages.default, (leaf, flags, segments.order, segments.starts(), 0, STD_EPS)
    )
    ones = torch.ones(len(ids), dtype=torch.uint8, device=KERNEL_DEVICE)
    returns_to_go, whiten = torch.ops.oorl_kernels.returns_to_go.default, torch.ops.oorl_kernels.whiten.default
    torch.library.opcheck(returns_to_go, (leaf.detach(), None, ones, None, 1, 0.1))
    zero, one = torch.zeros((), device=KERNEL_DEVICE), torch.ones((), device=KERNEL_DEVICE)
    torch.library.opcheck(whiten, (leaf.detach(), ones, zero, one))


def test_empty_batches_give_empty_advantages():
    none = torch.zeros(0)
    assert group_advantages(none, none.long()).shape == (0,)
    assert reinforce_pp_advantages(none, None, torch.zeros(0, 4), kl_coef=0.1).shape == (0, 4)
    assert not reinforce_pp_advantages(torch.ones(2), None, torch.zeros(2, 4), kl_coef=0.1).any()


REWARDS, IDS, MASK = torch.tensor([1.0, 0.0, 1.0]), torch.tensor([0, 0, 0]), torch.ones(3, 2)
BAD_GROUPS = [
    (dict(group_ids=torch.tensor([0, 0, 8])), ValueError, "group 8 has one sample"),
    (dict(group_ids=torch.tensor([0, 0, -1])), ValueError, "group_ids must be non-negative; the smallest is -1"),
    (dict(group_ids=torch.tensor([0, 0])), ValueError, r"group_ids has shape \(2,\)"),
    (dict(group_ids=torch.zeros(3)), TypeError, "group_ids must be int32 or int64"),
    (dict(rewards=torch.tensor([1.0, float("inf"), 0.0])), ValueError, "rewards must be finite"),
    (dict(rewards=IDS), TypeError, "rewards must be floating point"),
    (dict(rewards=torch.ones(3, 1)), ValueError, r"rewards must have shape \[B\]"),
    (dict(mode="ppo"), ValueError, "mode is 'ppo'; it must be one of grpo, dr_grpo, rloo"),
    (dict(valid=torch.ones(3)), TypeError, "valid must be bool"),
]


@pytest.mark.parametrize("change, error, message", BAD_GROUPS, ids=[message[:30] for _, _, message in BAD_GROUPS])
def test_misuse_of_groups_is_told_in_a_sentence(change, error, message):
    with pytest.raises(error, match=message):
        group_advantages(**{"rewards": REWARDS, "group_ids": IDS, **change})


BAD_TOKENS = [
    (dict(kl_coef=-1.0), "kl_coef is -1.0; it must be at least 0"),
    (dict(kl=torch.ones(3, 3)), "kl has shape"),
    (dict(loss_mask=torch.ones(4, 2)), "loss_mask holds 4 sequences and rewards 3"),
    (dict(loss_mask=torch.ones(3)), r"loss_mask must be padded \[B, T\] or packed \[N\]"),
    (dict(loss_mask=torch.ones(6), cu_seqlens=torch.tensor([0, 2, 4, 5])), "cu_seqlens must rise from 0 to the 6"),
    (dict(group_ids=torch.tensor([0, 0, 1])), "group 1 has one sample"),
]


@pytest.mark.parametrize("change, message", BAD_TOKENS, ids=[message[:30] for _, message in BAD_TOKENS])
def test_misuse_of_tokens_is_told_in_a_sentence(change, message):
    with pytest.raises(ValueError, match=message):
        reinforce_pp_advantages(**{"rewards": REWARDS, "kl": None, "loss_mask": MASK, "kl_coef": 0.1, **change})


@pytest.mark.gpu
def test_on_the_device_without_synchronisation():
    ids = torch.arange(100_000, device="cuda") % 12_500  # 8 samples a group
    rewards = torch.rand(100_000, device="cuda")
    mask = torch.rand(100_000, 16, device="cuda") > 0.3
    group_advantages(rewards, ids, backend="triton")  # compiles
    reinforce_pp_advantages(rewards, None, mask, kl_coef=0.0, group_ids=ids, backend="triton")
    torch.cuda.set_sync_debug_mode("error")
    try:
        grouped = group_advantages(rewards, ids, backend="triton")
        white = reinforce_pp_advantages(rewards, None, mask, kl_coef=0.0, group_ids=ids, backend="triton")
    finally:
        torch.cuda.set_sync_debug_mode("default")
    want = group_advantages(rewards.double(), ids, backend="torch")
    torch.testing.assert_close(grouped.double(), want, rtol=1e-4, atol=1e-5)
    want = reinforce_pp_advantages(rewards.double(), None, mask, kl_coef=0.0, group_ids=ids, backend="torch")
    torch.testing.assert_close(white.double(), want, rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
def test_a_group_of_one_is_nan_on_the_device():
    got = group_advantages(REWARDS.cuda(), torch.tensor([0, 0, 1], device="cuda"), backend="triton")
    assert got.isnan().tolist() == [False, False, True]
