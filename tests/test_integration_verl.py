"""verl's call shape: its definition in float64, its reductions, its kernel where a GPU and verl are at hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from oorl_kernels.integrations.verl import linear_cross_entropy
from ranks import run_ranks
from tolerances import assert_no_worse, assert_rounding
from verl_worker import gradients

TOKENS, HIDDEN, VOCAB = 10, 8, 37


def definition(
    hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, temperature: float, reduction: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """What verl's kernel and its torch fallback compute: flat log-probs of the labels, reduced; flat entropies."""
    logits = hidden.flatten(0, -2) @ weight.T / temperature
    log_p = logits.log_softmax(-1)
    logprobs = log_p.gather(-1, labels.reshape(-1, 1))[:, 0]
    entropy = logits.logsumexp(-1) - (log_p.exp() * logits).sum(-1)
    return {"none": logprobs, "sum": logprobs.sum(), "mean": logprobs.mean()}[reduction], entropy


def make(shape: tuple[int, ...], dtype: torch.dtype, hidden: int = HIDDEN, vocab: int = VOCAB):
    generator = torch.Generator().manual_seed(0)
    return (
        torch.randn(*shape, hidden, generator=generator, dtype=torch.float64).to(dtype).requires_grad_(),
        torch.randn(vocab, hidden, generator=generator, dtype=torch.float64).to(dtype).requires_grad_(),
        torch.randint(vocab, shape, generator=generator),
    )


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("shape", [(TOKENS,), (2, 5)])
def test_equals_the_torch_definition(shape: tuple[int, ...], reduction: str) -> None:
    operands = make(shape, torch.float64)
    got = gradients(linear_cross_entropy, *operands, 0.7, reduction)
    expected = gradients(definition, *operands, 0.7, reduction)
    assert got[0].shape == expected[0].shape and got[1].shape == (TOKENS,)
    for name, a, b in zip(("logprobs", "entropy", "dX", "dW"), got, expected, strict=True):
        assert_rounding(name, a, b, terms=TOKENS * VOCAB)


def test_arguments_left_out_and_none_are_verls_defaults() -> None:
    operands = make((TOKENS,), torch.float32)
    plain = linear_cross_entropy(*operands)
    for arguments in [(None, None), (1.0, "NONE"), (torch.tensor(1.0),)]:
        other = linear_cross_entropy(*operands, *arguments)
        assert torch.equal(plain[0], other[0]) and torch.equal(plain[1], other[1])


def test_an_ignored_label_gives_zeros_without_gradient() -> None:
    hidden, weight, labels = make((TOKENS,), torch.float32)
    labels[3] = -100
    logprobs, entropy = linear_cross_entropy(hidden, weight, labels)
    assert logprobs[3] == entropy[3] == 0 and (logprobs != 0).sum() == TOKENS - 1
    assert linear_cross_entropy(hidden, weight, labels, 1.0, "mean")[0] == logprobs.sum() / TOKENS
    (logprobs.sum() + entropy.sum()).backward()
    assert not hidden.grad[3].any() and hidden.grad.any()


def test_an_unknown_reduction_is_refused() -> None:
    with pytest.raises(ValueError, match="reduction is 'batchmean'; it must be one of none, sum, mean"):
        linear_cross_entropy(*make((2,), torch.float32), 1.0, "batchmean")


@pytest.mark.slow
def test_two_ranks_that_share_the_vocabulary_have_the_whole_results_and_gradients_that_sum_to_the_whole(
    tmp_path: Path,
) -> None:
    hidden, weight, labels = make((TOKENS,), torch.float64, vocab=2 * VOCAB)
    torch.save((hidden.detach(), weight.detach(), labels), tmp_path / "operands.pt")
    run_ranks(2, "verl_worker.py", tmp_path / "said.log", str(tmp_path))
    logprobs, entropy, d_hidden, d_weight = gradients(definition, hidden, weight, labels, 0.7, "none")
    ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2)]
    for rank in ranks:
        assert_rounding("logprobs", rank["logprobs"], logprobs, terms=2 * VOCAB)
        assert_rounding("entropy", rank["entropy"], entropy, terms=2 * VOCAB)
    assert_rounding("dX", ranks[0]["d_hidden"] + ranks[1]["d_hidden"], d_hidden, terms=TOKENS * VOCAB)
    assert_rounding("dW", torch.cat([rank["d_weight"] for rank in ranks]), d_weight, terms=TOKENS * VOCAB)


@pytest.mark.gpu
@pytest.mark.parametrize("reduction", ["none", "sum"])
def test_no_worse_than_verls_kernel(reduction: str) -> None:
    peer = pytest.importorskip("verl.utils.kernel.linear_cross_entropy", reason="verl is not installed")
    hidden, weight, labels = make((512,), torch.bfloat16, hidden=256, vocab=5003)  # verl's H is a multiple of 128
    operands = [t.detach().cuda().requires_grad_(t.is_floating_point()) for t in (hidden, weight / 8, labels)]
    exact = [t.detach().double().requires_grad_() if t.is_floating_point() else t for t in operands]
    ours = gradients(linear_cross_entropy, *operands, 0.7, reduction)
    theirs = gradients(peer.linear_cross_entropy, *operands, 0.7, reduction)
    truth = gradients(definition, *exact, 0.7, reduction)
    for name, a, b, c in zip(("logprobs", "entropy", "dX", "dW"), ours, truth, theirs, strict=True):
        assert a.shape == c.shape
        assert_no_worse(name, a, b, c)
