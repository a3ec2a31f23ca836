"""DPO: against the naive float64 definition, GEPO of pairs, its derivative, and the kernels against their twin."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oorl_kernels import reference
from oorl_kernels.dpo_loss import dpo_loss, dpo_pairs_torch
from oorl_kernels.dpo_loss_triton import dpo_pairs_triton
from oorl_kernels.gepo_loss import gepo_loss

KERNEL_DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # without a GPU the kernels run in the interpreter
# A compiled kernel takes beta and the smoothing as float32: up to 6e-8 (relative) off there even in float64.
KERNEL_TOLERANCE = 1e-6 if KERNEL_DEVICE == "cuda" else 1e-12
LOSSES = {
    "sigmoid": {},
    "smoothed": {"label_smoothing": 0.2},
    "ipo": {"loss_type": "ipo"},
}


def make_pairs(seed: int, pairs: int = 7, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    """Scores [P] of the chosen and the rejected under the policy, then under the reference."""
    generator = torch.Generator().manual_seed(seed)
    refs = [-40 * torch.rand(pairs, generator=generator, dtype=torch.float64) - 20 for _ in range(2)]
    policy = [ref + 2 * torch.randn(pairs, generator=generator, dtype=torch.float64) for ref in refs]
    return [scores.to(dtype) for scores in policy + refs]


def run(pairs: list[torch.Tensor], function=dpo_loss, **options) -> tuple:
    """Output and the gradients in the policy's scores."""
    leaves = [scores.clone().requires_grad_() for scores in pairs[:2]]
    out = function(*leaves, *pairs[2:], **options)
    return out, torch.autograd.grad(out if isinstance(out, torch.Tensor) else out.loss, leaves)


@pytest.mark.parametrize("loss", LOSSES)
def test_value_gradient_and_rewards_equal_the_definition(loss):
    pairs = make_pairs(0)
    want, want_grads = run(pairs, reference.dpo_loss, beta=0.3, **LOSSES[loss])
    out, grads = run(pairs, beta=0.3, **LOSSES[loss])
    torch.testing.assert_close(out.loss, want.detach(), rtol=1e-12, atol=0)
    for grad, want_grad in zip(grads, want_grads, strict=True):
        torch.testing.assert_close(grad, want_grad, rtol=1e-11, atol=0)
    torch.testing.assert_close(out.chosen_rewards, 0.3 * (pairs[0] - pairs[2]))
    torch.testing.assert_close(out.rejected_rewards, 0.3 * (pairs[1] - pairs[3]))
    assert not out.chosen_rewards.requires_grad and not out.rejected_rewards.requires_grad


def test_on_numbers_worked_out_by_hand():
    """Log-ratios 3 and 1, beta 1/2: delta 2, beta delta 1."""
    pairs = [torch.tensor([value], dtype=torch.float64) for value in (-2.0, -5.0, -5.0, -6.0)]
    sigmoid = 1 / (1 + math.exp(1))  # of -1
    for options, loss, slope in (
        ({}, math.log1p(math.exp(-1)), -sigmoid / 2),
        ({"label_smoothing": 0.1}, math.log1p(math.exp(-1)) + 0.1, (0.1 - sigmoid) / 2),
        ({"loss_type": "ipo"}, (2 - 1) ** 2, 2 * (2 - 1)),
    ):
        out, (chosen, rejected) = run(pairs, beta=0.5, **options)
        assert out.loss.item() == pytest.approx(loss)
        assert (chosen.item(), rejected.item()) == (pytest.approx(slope), pytest.approx(-slope))
        assert (out.chosen_rewards.item(), out.rejected_rewards.item()) == (1.5, 0.5)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradcheck(loss):
    pairs = make_pairs(1, 3)
    leaves = [scores.requires_grad_() for scores in pairs[:2]]
    assert torch.autograd.gradcheck(lambda a, b: dpo_loss(a, b, *pairs[2:], **LOSSES[loss]).loss, leaves)


def test_gepo_of_pairs_without_variance_is_the_same_loss():
    pairs = make_pairs(2)
    out, (chosen, rejected) = run(pairs, beta=0.4)
    scores = torch.cat(pairs[:2]).requires_grad_()
    winner, ids = torch.arange(14) < 7, torch.arange(14) % 7
    gepo = gepo_loss(scores, torch.cat(pairs[2:]), winner, ids, num_groups=7, beta=0.4, variance_weight=0.0)
    torch.testing.assert_close(gepo.loss, out.loss, rtol=1e-13, atol=0)
    torch.testing.assert_close(gepo.margin, out.chosen_rewards - out.rejected_rewards, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(torch.autograd.grad(gepo.loss, scores)[0], torch.cat([chosen, rejected]))


@given(seed=st.integers(0, 1000), shift=st.floats(-20, 20), cut=st.integers(1, 6), loss=st.sampled_from(list(LOSSES)))
@settings(max_examples=25, deadline=None)
def test_shifts_cancel_and_micro_batches_add_up(seed, shift, cut, loss):
    pairs = make_pairs(seed)
    out, grads = run(pairs, **LOSSES[loss])
    shifted, _ = run([scores + shift for scores in pairs[:2]] + pairs[2:], **LOSSES[loss])
    torch.testing.assert_close(shifted.loss, out.loss, rtol=1e-10, atol=1e-10)
    parts = [[scores[:cut] for scores in pairs], [scores[cut:] for scores in pairs]]
    results = [run(part, normalizer=torch.tensor(7.0), **LOSSES[loss]) for part in parts]
    torch.testing.assert_close(sum(part.loss for part, _ in results), out.loss)
    for i, grad in enumerate(grads):
        torch.testing.assert_close(torch.cat([part[i] for _, part in results]), grad)


@pytest.mark.parametrize("function", [dpo_pairs_torch, dpo_pairs_triton], ids=["torch", "triton"])
@pytest.mark.parametrize("delta", [-800.0, -20.5, 20.5, 40.0])
def test_log_sigmoid_is_exact_in_both_tails(function, delta):
    chosen = torch.tensor([delta], dtype=torch.float64, device=KERNEL_DEVICE, requires_grad=True)
    zeros = torch.zeros_like(chosen.detach())
    losses, *_ = function(chosen, zeros, zeros, zeros, 1.0, "sigmoid", 0.0)
    (grad,) = torch.autograd.grad(losses.sum(), chosen)
    want = max(-delta, 0.0) + math.log1p(math.exp(-abs(delta)))
    assert losses.item() == pytest.approx(want, rel=1e-12)
    assert grad.item() == pytest.approx(-math.exp(min(-delta, 0.0)) / (1 + math.exp(-abs(delta))), rel=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("pairs", [1, 300])  # a block holds 256
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_kernels_equal_their_twin(loss, pairs, dtype):
    options = {"loss_type": "sigmoid", "label_smoothing": 0.0} | LOSSES[loss]
    scores = [tensor.to(KERNEL_DEVICE) for tensor in make_pairs(3, pairs, dtype)]
    weights = torch.linspace(0.5, 2.0, pairs, dtype=dtype, device=KERNEL_DEVICE)
    results = []
    for function in (dpo_pairs_torch, dpo_pairs_triton):
        leaves = [tensor.clone().requires_grad_() for tensor in scores[:2]]
        losses, *rewards = function(*leaves, *scores[2:], 0.3, *options.values())
        results.append((losses.detach(), *rewards, *torch.autograd.grad(losses, leaves, weights)))
    # A difference of log-ratios up to 15 in size, exact to eps of it, is at most squared.
    tolerance = KERNEL_TOLERANCE if dtype is torch.float64 else 64 * torch.finfo(dtype).eps
    for twin, kernel in zip(*results, strict=True):
        torch.testing.assert_close(kernel, twin, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_half_precision_strides_and_no_pairs(backend):
    scores = [tensor.to(KERNEL_DEVICE) for tensor in make_pairs(4, 6, torch.float16)]
    strided = [torch.stack([tensor, tensor], 1)[:, 0] for tensor in scores]
    out, grads = run(strided, backend=backend)
    exact, exact_grads = run([tensor.double() for tensor in scores], backend="torch")
    assert out.loss.dtype is torch.float32 and grads[0].dtype is torch.float16
    torch.testing.assert_close(out.loss.double(), exact.loss, rtol=1e-6, atol=0)
    for grad, exact_grad in zip(grads, exact_grads, strict=True):
        torch.testing.assert_close(grad.double(), exact_grad, rtol=2 * torch.finfo(torch.float16).eps, atol=0)
    out, grads = run([tensor[:0] for tensor in scores], backend=backend)
    assert out.loss == 0 and grads[0].shape == (0,)


@pytest.mark.parametrize("function", [dpo_pairs_torch, dpo_pairs_triton], ids=["torch", "triton"])
def test_nan_reaches_the_loss(function):
    """What a device call, which looks at no values, makes of a score that is not a number."""
    scores = torch.tensor([float("nan"), 1.0], device=KERNEL_DEVICE, requires_grad=True)
    zeros = torch.zeros(2, device=KERNEL_DEVICE)
    losses, *_ = function(scores, zeros, zeros, zeros, 1.0, "sigmoid", 0.1)
    assert losses.isnan().tolist() == [True, False]
    assert torch.autograd.grad(losses.sum(), scores)[0].isnan().tolist() == [True, False]


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_compiles_without_a_graph_break(backend):
    scores = [tensor.to(KERNEL_DEVICE) for tensor in make_pairs(5, dtype=torch.float32)]

    def step(*scores):
        return dpo_loss(*scores, label_smoothing=0.1, normalizer=torch.tensor(9.0), backend=backend)

    torch._dynamo.reset()
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    (want, want_grads), (got, grads) = run(scores, step), run(scores, compiled)
    torch.testing.assert_close((*got, *grads), (*want, *want_grads))


def test_operators_are_registered_as_torch_asks():
    scores = [tensor.to(KERNEL_DEVICE) for tensor in make_pairs(6, dtype=torch.float32)]
    arguments = (*(tensor.requires_grad_() for tensor in scores[:2]), *scores[2:], 0.1, False, 0.1)
    torch.library.opcheck(torch.ops.oorl_kernels.dpo_pairs.default, arguments)


BAD = [
    (dict(policy_rejected=torch.zeros(2)), ValueError, "policy_rejected has shape"),
    (dict(policy_chosen=torch.zeros(3, 1)), ValueError, r"policy_chosen must have shape \[P\], not \(3, 1\)"),
    (dict(ref_chosen=torch.tensor([0.0, math.inf, 0.0])), ValueError, r"ref_chosen\[1\] is inf; scores must be finite"),
    (dict(beta=0.0), ValueError, "beta is 0.0; it must be positive"),
    (dict(loss_type="hinge"), ValueError, "loss_type is 'hinge'; it must be one of sigmoid, ipo"),
    (dict(label_smoothing=0.5), ValueError, r"label_smoothing is 0.5; it must lie in \[0, 0.5\)"),
    (dict(label_smoothing=0.1, loss_type="ipo"), ValueError, "no labels to smooth"),
    (dict(normalizer=0), ValueError, "normalizer is 0"),
    (dict(ref_rejected=torch.zeros(3).long()), TypeError, "ref_rejected must be floating point"),
    (dict(policy_chosen=[0.0]), TypeError, "policy_chosen must be a torch.Tensor, not list"),
]


@pytest.mark.parametrize("change, error, message", BAD, ids=[message[:30] for _, _, message in BAD])
def test_misuse_is_told_in_a_sentence(change, error, message):
    names = ("policy_chosen", "policy_rejected", "ref_chosen", "ref_rejected")
    arguments = {name: torch.zeros(3) for name in names}
    with pytest.raises(error, match=message):
        dpo_loss(**{**arguments, **change})


@pytest.mark.gpu
def test_on_the_device_without_synchronisation():
    scores = [tensor.cuda() for tensor in make_pairs(7, 5000, torch.float32)]
    run(scores, backend="triton")  # compiles
    torch.cuda.set_sync_debug_mode("error")
    try:
        kernel, grads = run(scores, backend="triton")
    finally:
        torch.cuda.set_sync_debug_mode("default")
    twin, twin_grads = run([tensor.double() for tensor in scores])
    torch.testing.assert_close(kernel.loss.double(), twin.loss, rtol=1e-5, atol=1e-6)
    for grad, twin_grad in zip(grads, twin_grads, strict=True):
        torch.testing.assert_close(grad.double(), twin_grad, rtol=1e-5, atol=1e-9)
