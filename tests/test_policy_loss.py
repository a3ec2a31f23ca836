"""Policy loss: against the naive float64 definition, its own derivatives, worked examples and its properties."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oorl_kernels import reference
from oorl_kernels.policy_loss import SurrogateOptions, kl_estimate, loss_normalizer, policy_loss, token_policy_terms
from policy_batches import KERNEL_DEVICE, OPTIONS, make_batch, named, pack, run


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("options", OPTIONS, ids=named)
def test_value_and_gradient_equal_the_definition(options, packed):
    batch = make_batch()
    want, want_grads = run(batch, reference.policy_loss, **options)
    got, grads = run(pack(batch) if packed else batch, **options)
    torch.testing.assert_close(got.loss, want.detach(), rtol=1e-12, atol=1e-14)
    inside = torch.arange(9) < batch["lengths"][:, None]
    for grad, want_grad in zip(grads, want_grads, strict=True):
        torch.testing.assert_close(grad, want_grad[inside] if packed else want_grad, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("kl_estimator, kl_importance", [("k1", False), ("k2", False), ("k3", False), ("k1", True)])
def test_gradcheck(kl_estimator, kl_importance):
    batch = make_batch(rows=2, tokens=5)

    def loss(logprobs, entropy):
        return policy_loss(
            logprobs, batch["old_logprobs"], batch["advantages"], batch["loss_mask"], entropy=entropy, entropy_coef=0.2,
            ref_logprobs=batch["ref_logprobs"], kl_coef=0.5, kl_estimator=kl_estimator, kl_importance=kl_importance,
            dual_clip=1.5,
        ).loss  # fmt: skip

    leaves = [batch[name].clone().requires_grad_() for name in ("token_logprobs", "entropy")]
    assert torch.autograd.gradcheck(loss, leaves)


@pytest.mark.parametrize("ratio_level", ["token", "sequence"])
def test_gradcheck_of_cispo_where_its_weights_are_constant(ratio_level):
    """A weight beyond the clip does not move with the log-probs, so differences see the gradient that is meant."""
    batch = make_batch(rows=2, tokens=5)
    old_logprobs = batch["token_logprobs"] + torch.tensor([[-1.0], [1.0]], dtype=torch.float64)  # ratios e and 1/e

    def loss(logprobs):
        mask = torch.ones(2, 5)
        return policy_loss(
            logprobs, old_logprobs, batch["advantages"], mask, surrogate="cispo", ratio_level=ratio_level
        ).loss

    assert torch.autograd.gradcheck(loss, batch["token_logprobs"].clone().requires_grad_())


def test_sequence_ratio_has_the_gradient_of_the_papers_sequence_objective():
    """GSPO eq. 5 differentiated as it stands: for one advantage a sequence, the token form agrees."""
    batch = make_batch()
    advantages = torch.tensor([1.0, 2.0, -1.0, 0.5], dtype=torch.float64)
    mask, logprobs = batch["loss_mask"], batch["token_logprobs"].clone().requires_grad_()
    sizes = mask.sum(1)
    ratio = ((logprobs - batch["old_logprobs"]) * mask).sum(1).div(sizes.clamp(min=1)).exp()
    objective = torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
    (want,) = torch.autograd.grad(-objective[sizes > 0].mean(), logprobs)
    got, (grad,) = run({**batch, "advantages": advantages}, ratio_level="sequence", aggregation="seq_mean_token_mean")
    torch.testing.assert_close(got.loss, -objective[sizes > 0].mean().detach())
    torch.testing.assert_close(grad, want)


@pytest.mark.parametrize("surrogate", ["clip", "cispo"])
@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_ratio_one_gives_the_plain_policy_gradient(backend, surrogate):
    batch = make_batch(dtype=torch.float32)
    batch["old_logprobs"] = batch["token_logprobs"]
    on_device = {name: tensor.to(KERNEL_DEVICE) for name, tensor in batch.items()}
    out, (grad,) = run(on_device, backend=backend, surrogate=surrogate)
    want = torch.where(batch["loss_mask"], -batch["advantages"], 0.0) / batch["loss_mask"].sum()
    torch.testing.assert_close(grad.cpu(), want, rtol=1e-6, atol=0)
    assert out.metrics.ratio == out.metrics.tokens == batch["loss_mask"].sum()


def test_terms_slope_is_their_derivative():
    batch = make_batch(rows=20, tokens=20)
    logprobs = batch["token_logprobs"].clone().requires_grad_()
    ratio = (logprobs - batch["old_logprobs"]).exp()
    surrogate = torch.minimum(ratio * batch["advantages"], ratio.clamp(0.8, 1.2) * batch["advantages"])
    cispo = ratio.clamp(0.8, 1.2).detach() * batch["advantages"] * logprobs
    x = batch["ref_logprobs"] - logprobs
    for name, objective in (("clip", surrogate), ("cispo", cispo)):
        want = -objective + 0.1 * (x.exp() - 1 - x)
        loss, slope = token_policy_terms(
            batch["token_logprobs"], batch["old_logprobs"], batch["advantages"],
            SurrogateOptions(kl_coef=0.1, surrogate=name), ref_logprobs=batch["ref_logprobs"],
        )  # fmt: skip
        torch.testing.assert_close(loss, want.detach())
        torch.testing.assert_close(slope, torch.autograd.grad(want.sum(), logprobs, retain_graph=True)[0])


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_importance_makes_the_kl_and_its_gradient_exact_for_tokens_of_the_old_policy(estimator):
    """The mean over a whole vocabulary under the old policy, against the KL differentiated as it stands."""
    generator = torch.Generator().manual_seed(0)
    logits, old, ref = (torch.randn(1, 12, generator=generator, dtype=torch.float64).log_softmax(-1) for _ in range(3))
    logits.requires_grad_()
    logprobs = logits.log_softmax(-1)
    want = (logprobs.exp() * (logprobs - ref)).sum()
    # every token of the vocabulary is a loss of its own, weighted by its chance through the normalizer
    losses = [
        policy_loss(
            logprobs[:, v : v + 1], old[:, v : v + 1], torch.zeros(1, 1).double(), torch.ones(1, 1),
            ref_logprobs=ref[:, v : v + 1], kl_coef=1.0, kl_estimator=estimator, kl_importance=True,
            normalizer=1 / old[0, v].exp(),
        ).loss
        for v in range(12)
    ]  # fmt: skip
    torch.testing.assert_close(sum(losses), want)
    got_grad, want_grad = (torch.autograd.grad(kl, logits, retain_graph=True)[0] for kl in (sum(losses), want))
    torch.testing.assert_close(got_grad, want_grad)


def test_metrics_of_a_batch_worked_out_by_hand():
    ratios = torch.tensor([[2.0, 0.5, 1.0, 4.0, 3.0]], dtype=torch.float64)
    advantages = torch.tensor([[1.0, -1.0, 3.0, -2.0, 9.0]], dtype=torch.float64)
    mask = torch.tensor([[1, 1, 1, 1, 0]])
    zeros = torch.zeros_like(ratios)
    out = policy_loss(ratios.log(), zeros, advantages, mask, dual_clip=3.0, entropy=ratios)
    # -min(2, 1.2) - max over the clip of (0.5 -> 0.8)(-1) - 3 + dual bound 3 * 2
    assert out.loss.item() == pytest.approx((-1.2 + 0.8 - 3.0 + 6.0) / 4)
    metrics = out.metrics
    assert (metrics.tokens, metrics.clipped_low, metrics.clipped_high, metrics.clipped_dual) == (4, 1, 1, 1)
    assert metrics.ratio.item() == pytest.approx(7.5)
    assert metrics.advantage.item() == pytest.approx(1.0)
    assert metrics.entropy.item() == pytest.approx(7.5)
    assert metrics.old_kl_k1.item() == pytest.approx(-torch.tensor(4.0).log().item())
    assert metrics.old_kl_k3.item() == pytest.approx(7.5 - 4 - torch.tensor(4.0).log().item())
    assert metrics.ref_kl == 0
    assert not any(metric.requires_grad for metric in metrics)


def test_cispo_worked_out_by_hand():
    """Weights 2 -> 1.2, 0.5 -> 0.8, 1, 4 -> 1.2 on log-probs log(ratio): whatever the sign of A, with a gradient."""
    ratios = torch.tensor([[2.0, 0.5, 1.0, 4.0]], dtype=torch.float64)
    logprobs = ratios.log().requires_grad_()
    advantages = torch.tensor([[1.0, 1.0, 3.0, -2.0]], dtype=torch.float64)
    out = policy_loss(logprobs, torch.zeros_like(ratios), advantages, torch.ones(1, 4), surrogate="cispo")
    log_2 = torch.tensor(2.0).log().item()
    assert out.loss.item() == pytest.approx((-1.2 + 0.8 + 2 * 1.2 * 2) * log_2 / 4)
    assert (out.metrics.clipped_low, out.metrics.clipped_high, out.metrics.clipped_dual) == (1, 2, 0)
    (grad,) = torch.autograd.grad(out.loss, logprobs)
    torch.testing.assert_close(grad, torch.tensor([[-1.2, -0.8, -3.0, 2.4]], dtype=torch.float64) / 4)


@given(seed=st.integers(0, 1000), cut=st.integers(1, 5), options=st.sampled_from(OPTIONS))
@settings(max_examples=25, deadline=None)
def test_micro_batches_with_a_passed_normalizer_add_up(seed, cut, options):
    batch = make_batch(seed, rows=6)
    whole, grads = run(batch, **options)
    parts = [{name: tensor[:cut] for name, tensor in batch.items()}, {name: t[cut:] for name, t in batch.items()}]
    normalizer = sum(loss_normalizer(part["loss_mask"], options["aggregation"]) for part in parts)
    results = [run(part, normalizer=normalizer, **options) for part in parts]
    torch.testing.assert_close(sum(out.loss for out, _ in results), whole.loss, rtol=1e-12, atol=1e-13)
    for i, grad in enumerate(grads):
        torch.testing.assert_close(torch.cat([part[i] for _, part in results]), grad, rtol=1e-12, atol=1e-14)
    for i, metric in enumerate(whole.metrics):
        torch.testing.assert_close(sum(out.metrics[i] for out, _ in results), metric, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", ["torch", "triton"])
@given(seed=st.integers(0, 1000), garbage=st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e30]))
@settings(max_examples=5, deadline=None)
def test_nothing_under_the_mask_counts(backend, seed, garbage):
    options = dict(OPTIONS[6], backend=backend)
    clean = {name: tensor.to(KERNEL_DEVICE) for name, tensor in make_batch(seed, dtype=torch.float32).items()}
    dirty = {
        name: torch.where(clean["loss_mask"], tensor, garbage) if tensor.is_floating_point() else tensor
        for name, tensor in clean.items()
    }
    (want, want_grads), (got, grads) = run(clean, **options), run(dirty, **options)
    assert torch.equal(got.loss, want.loss)
    assert all(torch.equal(a, b) for a, b in zip(got.metrics, want.metrics, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(grads, want_grads, strict=True))


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_nan_in_a_trained_token_reaches_the_loss(backend):
    batch = {name: tensor.to(KERNEL_DEVICE) for name, tensor in make_batch(dtype=torch.float32).items()}
    first = batch["loss_mask"].nonzero()[0]
    batch["token_logprobs"][*first] = float("nan")
    assert run(batch, backend=backend)[0].loss.isnan()


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (3, 4)])
@pytest.mark.parametrize("backend", ["torch", "triton"])
@pytest.mark.parametrize("aggregation", ["token_mean", "seq_mean_token_mean"])
def test_without_trained_tokens_loss_and_gradient_are_zero(shape, backend, aggregation):
    empty = torch.zeros(shape, device=KERNEL_DEVICE)
    logprobs = empty.clone().requires_grad_()
    normalizer = loss_normalizer(empty, aggregation)
    for passed in (None, normalizer):
        out = policy_loss(logprobs, empty, empty, empty, aggregation=aggregation, normalizer=passed, backend=backend)
        out.loss.backward()
        assert out.loss == 0 and out.metrics.tokens == normalizer == 0
    assert torch.equal(logprobs.grad, empty)


def test_one_advantage_a_sequence_is_spread_over_its_tokens():
    batch = make_batch()
    by_sequence = batch["advantages"][:, 0]
    spread = {**batch, "advantages": by_sequence[:, None].expand(4, 9)}
    want, (want_grad,) = run(spread)
    padded, (grad,) = run({**batch, "advantages": by_sequence})
    packed, (packed_grad,) = run({**pack(batch), "advantages": by_sequence})
    assert padded.loss == want.loss
    torch.testing.assert_close(packed.loss, want.loss)
    assert torch.equal(grad, want_grad)
    assert torch.equal(packed_grad, want_grad[torch.arange(9) < batch["lengths"][:, None]])


BAD = [
    (dict(aggregation="mean"), "aggregation is 'mean'; it must be one of"),
    (dict(ratio_level="word"), "ratio_level is 'word'"),
    (dict(kl_estimator="k4"), "kl_estimator is 'k4'"),
    (dict(backend="cuda"), "backend is 'cuda'"),
    (dict(kl_coef=0.1), "kl_coef is 0.1 but ref_logprobs is missing"),
    (dict(entropy_coef=0.1), "entropy_coef is 0.1 but entropy is missing"),
    (dict(surrogate="ppo"), "surrogate is 'ppo'; it must be one of clip, cispo"),
    (dict(surrogate="cispo", dual_clip=3.0), "dual_clip is 3.0, but surrogate='cispo' has no minimum to bound"),
    (dict(dual_clip=0.5), "dual_clip is 0.5; it must be above 1"),
    (dict(dual_clip=float("nan")), "dual_clip is nan; it must be above 1"),
    (dict(kl_coef=-0.1, ref_logprobs=torch.ones(2, 3)), "kl_coef is -0.1; it must be at least 0"),
    (dict(clip_eps_low=1.5), "clip_eps_low is 1.5"),
    (dict(clip_eps_high=float("nan")), "clip_eps_high nan"),
    (dict(aggregation="seq_mean_token_sum_norm"), "max_tokens is None; aggregation='seq_mean_token_sum_norm' needs it"),
    (dict(normalizer=0.0), "normalizer is 0.0; it must be positive"),
    (dict(normalizer=torch.ones(2)), "normalizer must be a number or a 0-d tensor"),
    (dict(old_logprobs=torch.zeros(2, 4)), r"old_logprobs has shape \(2, 4\); it must have token_logprobs's, \(2, 3\)"),
    (dict(loss_mask=torch.zeros(3)), "loss_mask has shape"),
    (dict(advantages=torch.zeros(3)), "advantages has shape"),
    (dict(cu_seqlens=torch.tensor([0, 6])), r"must be packed \[N\]"),
]


@pytest.mark.parametrize("change, message", BAD, ids=[message[:30] for _, message in BAD])
def test_misuse_is_told_in_a_sentence(change, message):
    ones = torch.ones(2, 3)
    arguments = dict(token_logprobs=ones, old_logprobs=ones, advantages=ones, loss_mask=ones)
    with pytest.raises(ValueError, match=message):
        policy_loss(**{**arguments, **change})


def test_misuse_of_packed_sequences_and_dtypes_is_told_in_a_sentence():
    flat = torch.ones(6)
    for offsets in ([0, 3], [1, 6], [0, 4, 2, 6]):
        with pytest.raises(ValueError, match="cu_seqlens must rise from 0 to the 6 tokens"):
            policy_loss(flat, flat, flat, flat, cu_seqlens=torch.tensor(offsets))
    with pytest.raises(ValueError, match="ratio_level='sequence' needs sequences"):
        policy_loss(flat, flat, flat, flat, ratio_level="sequence")
    with pytest.raises(TypeError, match="token_logprobs must be floating point"):
        policy_loss(flat.long(), flat, flat, flat)
    with pytest.raises(ValueError, match="kl_estimator is 'k5'; it must be one of k1, k2, k3"):
        kl_estimate(flat, flat, "k5")
