"""GEPO: against the naive float64 definition, the printed gradients, DPO, and the Triton kernels against their twin."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from oorl_kernels import reference
from oorl_kernels.gepo_loss import gepo_groups_torch, gepo_loss
from oorl_kernels.gepo_loss_triton import gepo_groups_triton

KERNEL_DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # without a GPU the kernels run in the interpreter
# A compiled kernel takes beta and lambda as float32, so they are up to 6e-8 (relative) off there even in float64.
KERNEL_TOLERANCE = 1e-6 if KERNEL_DEVICE == "cuda" else 1e-12


def make_groups(seed: int, sizes: tuple[tuple[int, int], ...], dtype: torch.dtype = torch.float64) -> dict:
    """Shuffled scores of groups with (winners, losers) each; some log-ratios tie."""
    generator = torch.Generator().manual_seed(seed)
    group_ids = torch.cat([torch.full((n + m,), g) for g, (n, m) in enumerate(sizes)])
    is_winner = torch.cat([torch.arange(n + m) < n for n, m in sizes])
    order = torch.randperm(len(group_ids), generator=generator)
    ref_scores = torch.randint(-60, -20, (len(order),), generator=generator).to(dtype)
    log_ratios = torch.randint(-8, 9, (len(order),), generator=generator).to(dtype) / 4
    return {
        "policy_scores": ref_scores + log_ratios, "ref_scores": ref_scores, "is_winner": is_winner[order],
        "group_ids": group_ids[order],
    }  # fmt: skip


def run(groups: dict, **options) -> tuple:
    """Output and the gradient in the policy's scores."""
    scores = groups["policy_scores"].clone().requires_grad_()
    out = gepo_loss(**{**groups, "policy_scores": scores}, **options)
    return out, torch.autograd.grad(out.loss, scores)[0]


SIZES = [((1, 1),), ((4, 4), (1, 3), (5, 2)), ((40, 37), (1, 1), (3, 70))]  # the last goes past a tile


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_value_gradient_and_figures_equal_the_definition(sizes):
    groups = make_groups(0, sizes)
    scores = groups["policy_scores"].clone().requires_grad_()
    options = dict(num_groups=len(sizes), beta=0.3, variance_weight=0.7)
    want, *figures = reference.gepo_loss(**{**groups, "policy_scores": scores}, **options)
    (want_grad,) = torch.autograd.grad(want, scores)
    out, grad = run(groups, **options)
    torch.testing.assert_close(out.loss, want.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(grad, want_grad, rtol=1e-11, atol=1e-14)
    for got, figure in zip(out[1:], figures, strict=True):
        torch.testing.assert_close(got, torch.tensor(figure, dtype=torch.float64), rtol=1e-12, atol=1e-14)
        assert not got.requires_grad


def test_gradient_is_the_printed_one():
    """dL/dr_w = -beta sigmoid(-delta)/n + 2 lambda (r_w - mean_w)/n and dL/dr_l = beta sigmoid(-delta)/m."""
    r = torch.tensor([1.0, 2.0, 0.5, -1.0, 0.0], dtype=torch.float64)  # winners 1, 2; losers 0.5, -1, 0
    winner = torch.tensor([True, True, False, False, False])
    zeros = torch.zeros(5, dtype=torch.float64)
    groups = dict(policy_scores=r, ref_scores=zeros, is_winner=winner, group_ids=zeros.long())
    out, grad = run(groups, num_groups=1, beta=0.5, variance_weight=2.0)
    margin = 0.5 * (1.5 - (-0.5 / 3))
    pull = 0.5 / (1 + math.exp(margin))
    assert out.margin.item() == pytest.approx(margin)
    assert out.winner_variance.item() == pytest.approx(0.25)
    assert out.pair_accuracy.item() == 1.0
    assert out.loss.item() == pytest.approx(math.log1p(math.exp(-margin)) + 2.0 * 0.25)
    want = [-pull / 2 - 2 * 2.0 * 0.5 / 2, -pull / 2 + 2 * 2.0 * 0.5 / 2, pull / 3, pull / 3, pull / 3]
    torch.testing.assert_close(grad, torch.tensor(want, dtype=torch.float64))


def test_gradcheck():
    groups = make_groups(1, SIZES[1])
    groups["policy_scores"] += torch.linspace(0, 0.1, len(groups["policy_scores"]), dtype=torch.float64)

    def loss(scores):
        return gepo_loss(**{**groups, "policy_scores": scores}, num_groups=3, beta=0.5).loss

    assert torch.autograd.gradcheck(loss, groups["policy_scores"].requires_grad_())


@given(ratios=st.lists(st.floats(-50, 50), min_size=4, max_size=4), beta=st.floats(0.01, 2))
@settings(max_examples=50, deadline=None)
def test_one_winner_and_one_loser_without_variance_is_dpo(ratios, beta):
    scores = torch.tensor(ratios, dtype=torch.float64, requires_grad=True)
    chosen, rejected = scores[0::2], scores[1::2]
    want = -F.logsigmoid(beta * (chosen - rejected)).mean()
    (want_grad,) = torch.autograd.grad(want, scores)
    winner, ids = torch.tensor([True, False, True, False]), torch.tensor([0, 0, 1, 1])
    groups = dict(policy_scores=scores.detach(), ref_scores=torch.zeros(4).double(), is_winner=winner, group_ids=ids)
    out, grad = run(groups, num_groups=2, beta=beta, variance_weight=0.0)
    torch.testing.assert_close(out.loss, want.detach())
    torch.testing.assert_close(grad, want_grad)


@given(seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_permuting_members_and_groups_permutes_the_outputs(seed):
    groups = make_groups(seed, SIZES[1])
    generator = torch.Generator().manual_seed(seed)
    members = torch.randperm(len(groups["group_ids"]), generator=generator)
    relabel = torch.randperm(3, generator=generator)
    out, grad = run(groups, num_groups=3)
    moved = {name: tensor[members] for name, tensor in groups.items()}
    moved["group_ids"] = relabel[moved["group_ids"]]
    moved_out, moved_grad = run(moved, num_groups=3)
    torch.testing.assert_close(moved_out.loss, out.loss)
    torch.testing.assert_close(moved_grad, grad[members])
    for figure, moved_figure in zip(out[1:], moved_out[1:], strict=True):
        torch.testing.assert_close(moved_figure[relabel], figure)


@given(seed=st.integers(0, 1000), shift=st.floats(-20, 20))
@settings(max_examples=25, deadline=None)
def test_a_shift_of_all_log_ratios_changes_nothing(seed, shift):
    groups = make_groups(seed, SIZES[1])
    out, grad = run(groups, num_groups=3)
    shifted_out, shifted_grad = run({**groups, "policy_scores": groups["policy_scores"] + shift}, num_groups=3)
    torch.testing.assert_close(shifted_out.loss, out.loss)
    torch.testing.assert_close(shifted_grad, grad, rtol=1e-7, atol=1e-12)


def test_groups_in_micro_batches_with_a_passed_normalizer_add_up():
    groups = make_groups(2, SIZES[1])
    whole, grad = run(groups, num_groups=3)
    first = groups["group_ids"] == 0
    parts = [{k: v[first] for k, v in groups.items()}, {k: v[~first] for k, v in groups.items()}]
    parts[1]["group_ids"] = parts[1]["group_ids"] - 1
    results = [run(part, num_groups=n, normalizer=3.0) for part, n in zip(parts, (1, 2), strict=True)]
    torch.testing.assert_close(results[0][0].loss + results[1][0].loss, whole.loss)
    torch.testing.assert_close(torch.cat([results[0][1], results[1][1]]), torch.cat([grad[first], grad[~first]]))


@pytest.mark.parametrize("function", [gepo_groups_torch, gepo_groups_triton], ids=["torch", "triton"])
@pytest.mark.parametrize("delta", [-800.0, -40.0, -20.5, 20.5, 40.0])
def test_log_sigmoid_is_exact_in_both_tails(function, delta):
    scores = torch.tensor([delta, 0.0], dtype=torch.float64, device=KERNEL_DEVICE, requires_grad=True)
    winner = torch.tensor([True, False], device=KERNEL_DEVICE)
    losses, *_ = function(scores, torch.zeros_like(scores), winner, torch.zeros_like(scores).long(), 1, 1.0, 1.0)
    (grad,) = torch.autograd.grad(losses.sum(), scores)
    want = max(-delta, 0.0) + math.log1p(math.exp(-abs(delta)))
    assert losses.item() == pytest.approx(want, rel=1e-12)
    assert grad[1].item() == pytest.approx(math.exp(min(-delta, 0.0)) / (1 + math.exp(-abs(delta))), rel=1e-12)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_kernels_equal_their_twin(sizes, dtype):
    groups = {name: t.to(KERNEL_DEVICE) for name, t in make_groups(3, sizes, dtype).items()}
    weights = torch.linspace(0.5, 2.0, len(sizes), dtype=dtype, device=KERNEL_DEVICE)
    results = []
    for function in (gepo_groups_torch, gepo_groups_triton):
        scores = groups["policy_scores"].clone().requires_grad_()
        losses, *figures = function(
            scores, groups["ref_scores"], groups["is_winner"], groups["group_ids"], len(sizes), 0.3, 0.7
        )
        results.append((losses.detach(), *figures, torch.autograd.grad(losses, scores, weights)[0]))
    # The sums run over at most 77 log-ratios below 2 in size; they and their quarters are exact in float32.
    tolerance = KERNEL_TOLERANCE if dtype is torch.float64 else 16 * torch.finfo(dtype).eps
    for twin, kernel in zip(*results, strict=True):
        torch.testing.assert_close(kernel, twin, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("function", [gepo_groups_torch, gepo_groups_triton], ids=["torch", "triton"])
@pytest.mark.parametrize("ids, broken", [([0, 0, 1, 1], [1]), ([0, 0, 9, 1], [0, 1]), ([0, 0, -1, 1], [0, 1])])
def test_unchecked_misuse_becomes_nan(function, ids, broken):
    """Group 1 has no winner, or an id is out of range: what a device call, which checks no values, makes of it."""
    winner = torch.tensor([True, False, False, False], device=KERNEL_DEVICE)
    scores = torch.ones(4, device=KERNEL_DEVICE, requires_grad=True)
    group_ids = torch.tensor(ids, device=KERNEL_DEVICE)
    losses, margin, variance, accuracy = function(scores, torch.zeros_like(scores), winner, group_ids, 2, 0.1, 1.0)
    (grad,) = torch.autograd.grad(losses.sum(), scores)
    for figure in (losses, margin, variance, accuracy):
        assert figure.isnan().nonzero().flatten().tolist() == broken
    assert bool(grad[3].isnan())


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_compiles_without_a_graph_break(backend):
    groups = {name: t.to(KERNEL_DEVICE) for name, t in make_groups(4, SIZES[1], torch.float32).items()}

    def step(scores, ref, winner, ids, normalizer):
        return gepo_loss(scores, ref, winner, ids, num_groups=3, normalizer=normalizer, backend=backend)

    torch._dynamo.reset()
    results = []
    for function in (step, torch.compile(step, fullgraph=True, backend="aot_eager")):
        scores = groups["policy_scores"].clone().requires_grad_()
        out = function(scores, groups["ref_scores"], groups["is_winner"], groups["group_ids"], torch.tensor(5.0))
        results.append((*out, *torch.autograd.grad(out.loss, scores)))
    torch.testing.assert_close(*results)


def test_operators_are_registered_as_torch_asks():
    groups = {name: t.to(KERNEL_DEVICE) for name, t in make_groups(5, SIZES[0], torch.float32).items()}
    scores = groups["policy_scores"].requires_grad_()
    winner = groups["is_winner"].view(torch.uint8)
    arguments = (scores, groups["ref_scores"], winner, groups["group_ids"], 1, 0.1, 1.0)
    torch.library.opcheck(torch.ops.oorl_kernels.gepo_groups.default, arguments)


BAD = [
    (dict(is_winner=torch.tensor([True, True, True])), ValueError, "group 0 has no loser"),
    (dict(is_winner=torch.tensor([False, False, False])), ValueError, "group 0 has no winner"),
    (dict(num_groups=2), ValueError, "group 1 has no winner"),
    (dict(group_ids=torch.tensor([0, 0, 1])), ValueError, r"group_ids must lie in 0..0; they span 0..1"),
    (dict(policy_scores=torch.tensor([0.0, float("nan"), 0.0])), ValueError, r"policy_scores\[1\] is nan"),
    (dict(ref_scores=torch.zeros(2)), ValueError, "ref_scores has shape"),
    (dict(beta=0.0), ValueError, "beta 0.0"),
    (dict(beta=math.nan), ValueError, "beta nan"),
    (dict(variance_weight=-1.0), ValueError, "variance_weight -1.0"),
    (dict(policy_scores=torch.zeros(1, 3)), ValueError, r"policy_scores must have shape \[K\]"),
    (dict(is_winner=torch.tensor([1, 0, 0])), TypeError, "is_winner must be bool"),
    (dict(group_ids=torch.zeros(3)), TypeError, "group_ids must be int32 or int64"),
    (dict(policy_scores=torch.zeros(3).long()), TypeError, "policy_scores must be floating point"),
    (dict(policy_scores=[0.0, 1.0, 2.0]), TypeError, "policy_scores must be a torch.Tensor, not list"),
]


@pytest.mark.parametrize("change, error, message", BAD, ids=[message[:30] for _, _, message in BAD])
def test_misuse_is_told_in_a_sentence(change, error, message):
    arguments = dict(
        policy_scores=torch.zeros(3), ref_scores=torch.zeros(3), is_winner=torch.tensor([True, False, False]),
        group_ids=torch.zeros(3).long(), num_groups=1,
    )  # fmt: skip
    with pytest.raises(error, match=message):
        gepo_loss(**{**arguments, **change})


@pytest.mark.gpu
def test_on_the_device_without_synchronisation():
    groups = {name: t.cuda() for name, t in make_groups(6, ((8, 8),) * 300, torch.float32).items()}
    run(groups, num_groups=300, backend="triton")  # compiles
    torch.cuda.set_sync_debug_mode("error")
    try:
        kernel, grad = run(groups, num_groups=300, backend="triton")
    finally:
        torch.cuda.set_sync_debug_mode("default")
    twin, twin_grad = run({k: v.double() if v.is_floating_point() else v for k, v in groups.items()}, num_groups=300)
    torch.testing.assert_close(kernel.loss.double(), twin.loss, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(grad.double(), twin_grad, rtol=1e-5, atol=1e-7)
