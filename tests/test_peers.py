"""Our losses against Liger's on the same hidden states and head: equal in value and in both gradients."""

from __future__ import annotations

import itertools

import pytest
import torch
from loss_names import EPSILON_HIGH, GRPO, MAX_TOKENS
from oorl_kernels.dpo_loss import dpo_loss
from oorl_kernels.gepo_loss import gepo_loss
from oorl_kernels.policy_loss import policy_loss
from oorl_kernels.token_logprobs import linear_token_logprobs

chunked_loss = pytest.importorskip("liger_kernel.chunked_loss", reason="liger-kernel is not installed")

ROWS, TOKENS, HIDDEN, VOCAB = 6, 7, 16, 40
# Both compute in float32; a gradient entry sums over up to 42 tokens of a softmax over 40 entries.
TOLERANCE = dict(rtol=1e-5, atol=20 * torch.finfo(torch.float32).eps)


def make_head(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hidden states [B, T, H], head [V, H] and target ids [B, T] with logits of a few nats."""
    generator = torch.Generator().manual_seed(seed)
    hidden_states = torch.randn(ROWS, TOKENS, HIDDEN, generator=generator)
    lm_head_weight = torch.randn(VOCAB, HIDDEN, generator=generator) / 2
    target_ids = torch.randint(0, VOCAB, (ROWS, TOKENS), generator=generator)
    return hidden_states.requires_grad_(), lm_head_weight.requires_grad_(), target_ids


CASES = [
    *itertools.product(("dapo", "grpo", "dr_grpo"), ("token", "sequence"), ({}, dict(beta=0.04), dict(delta=1.5))),
    ("bnpo", "token", dict(beta=0.04, use_bias_correction_kl=True)),
    ("luspo", "sequence", dict(delta=1.5)),
    ("cispo", "token", {}),
    ("cispo", "token", dict(beta=0.04)),
]


@pytest.mark.parametrize("loss_type, ratio_level, extra", CASES)
def test_policy_loss_equals_ligers_grpo(loss_type, ratio_level, extra):
    hidden_states, lm_head_weight, target_ids = make_head(0)
    generator = torch.Generator().manual_seed(1)
    logprobs = linear_token_logprobs(hidden_states, lm_head_weight, target_ids).logprobs
    old_logprobs = logprobs.detach() + 0.4 * torch.randn(ROWS, TOKENS, generator=generator)
    ref_logprobs = logprobs.detach() + 0.4 * torch.randn(ROWS, TOKENS, generator=generator)
    advantages = torch.randn(ROWS, generator=generator)
    loss_mask = torch.arange(TOKENS) < torch.tensor([7, 3, 1, 5, 7, 2])[:, None]

    liger = chunked_loss.LigerFusedLinearGRPOLoss(
        compiled=False, loss_type=loss_type, max_completion_length=MAX_TOKENS, importance_sampling_level=ratio_level,
        epsilon_low=0.2, epsilon_high=EPSILON_HIGH.get(loss_type, 0.28), **{"beta": 0.0} | extra,
    )  # fmt: skip
    want, metrics = liger(
        hidden_states, lm_head_weight, target_ids, loss_mask.float(), advantages, ref_per_token_logps=ref_logprobs,
        old_per_token_logps=old_logprobs,
    )  # fmt: skip
    got = policy_loss(
        logprobs, old_logprobs, advantages, loss_mask, ratio_level=ratio_level, clip_eps_high=0.28,
        dual_clip=extra.get("delta"), kl_coef=extra.get("beta", 0.0), ref_logprobs=ref_logprobs,
        kl_importance=extra.get("use_bias_correction_kl", False), **GRPO[loss_type],
    )  # fmt: skip
    torch.testing.assert_close(got.loss, want, **TOLERANCE)
    if loss_type != "cispo":  # where Liger counts clipped weights of positive advantages alone
        clipped = got.metrics.clipped_low + got.metrics.clipped_high
        torch.testing.assert_close(clipped / got.metrics.tokens, metrics[-1].float())
    want_grads = torch.autograd.grad(want, (hidden_states, lm_head_weight))
    grads = torch.autograd.grad(got.loss, (hidden_states, lm_head_weight))
    for grad, want_grad in zip(grads, want_grads, strict=True):
        torch.testing.assert_close(grad, want_grad, **TOLERANCE)


def test_dpo_and_gepo_of_pairs_equal_ligers_dpo():
    hidden_states, lm_head_weight, target_ids = make_head(2)
    ref_hidden, ref_weight, _ = make_head(3)
    target_ids[1, 4:] = target_ids[4, 2:] = -100  # the first half of the rows is chosen, the second rejected
    liger = chunked_loss.LigerFusedLinearDPOLoss(beta=0.3, compiled=False, use_ref_model=True, average_log_prob=False)
    want, figures = liger(lm_head_weight, hidden_states, target_ids, None, ref_hidden.detach(), ref_weight.detach())

    scores = linear_token_logprobs(hidden_states, lm_head_weight, target_ids).logprobs.sum(-1)
    ref_scores = linear_token_logprobs(ref_hidden.detach(), ref_weight.detach(), target_ids).logprobs.sum(-1)
    pairs = ROWS // 2
    gepo = gepo_loss(
        scores, ref_scores, torch.arange(ROWS) < pairs, torch.arange(ROWS) % pairs, num_groups=pairs, beta=0.3,
        variance_weight=0.0,
    )  # fmt: skip
    dpo = dpo_loss(*scores.split(pairs), *ref_scores.split(pairs), beta=0.3)
    torch.testing.assert_close(dpo[1:], figures[-2:], **TOLERANCE)
    want_grads = torch.autograd.grad(want, (hidden_states, lm_head_weight))
    for got in (gepo, dpo):
        torch.testing.assert_close(got.loss, want, **TOLERANCE)
        grads = torch.autograd.grad(got.loss, (hidden_states, lm_head_weight), retain_graph=True)
        for grad, want_grad in zip(grads, want_grads, strict=True):
            torch.testing.assert_close(grad, want_grad, **TOLERANCE)
