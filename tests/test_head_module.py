"""LinearTokenLogprobs: a linear layer in every respect, log-probs with targets, and sharded like any module."""

from __future__ import annotations

import copy
from pathlib import Path

import head_worker
import pytest
import torch
from oorl_kernels import LinearTokenLogprobs, linear_token_logprobs
from oorl_kernels.reference import linear_token_logprobs as definition
from ranks import run_ranks
from tolerances import assert_rounding
from torch import nn
from torch.utils.checkpoint import checkpoint

HIDDEN, VOCAB = 8, 23


def make(bias: bool = False, dtype: torch.dtype = torch.float64) -> tuple[nn.Linear, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    target_ids = torch.randint(VOCAB, (2, 5))
    target_ids[0, 1] = -100
    return nn.Linear(HIDDEN, VOCAB, bias=bias, dtype=dtype), torch.randn(2, 5, HIDDEN, dtype=dtype), target_ids


@pytest.mark.parametrize("bias", [False, True])
def test_log_probs_and_gradients_are_the_definitions(bias: bool) -> None:
    linear, hidden_states, target_ids = make(bias)
    expected, entropy, _ = definition(
        hidden_states.flatten(0, 1), linear.weight, target_ids.flatten(), bias=linear.bias, temperature=0.7
    )
    wanted = torch.autograd.grad((expected + entropy).sum(), list(linear.parameters()))
    head = LinearTokenLogprobs.convert(linear)
    scored = head(hidden_states, target_ids, temperature=0.7, entropy="grad")
    (scored.logprobs + scored.entropy).sum().backward()
    assert_rounding("logprobs", scored.logprobs.flatten(), expected, terms=VOCAB + HIDDEN)
    for (name, parameter), gradient in zip(head.named_parameters(), wanted, strict=True):
        assert_rounding(name, parameter.grad, gradient, terms=10 * VOCAB)


def test_without_targets_it_is_the_linear_layer_it_was() -> None:
    linear, hidden_states, _ = make(bias=True)
    expected, keys, weight = linear(hidden_states), list(linear.state_dict()), linear.weight
    calls = []
    linear.register_forward_pre_hook(lambda *_: calls.append(1))
    head = LinearTokenLogprobs.convert(linear)
    assert torch.equal(head(hidden_states), expected) and calls == [1]
    assert head is linear and head.weight is weight and list(head.state_dict()) == keys == ["weight", "bias"]
    assert LinearTokenLogprobs.convert(head) is head
    fresh = LinearTokenLogprobs(HIDDEN, VOCAB, bias=True, dtype=torch.float64)
    fresh.load_state_dict(head.state_dict())
    assert torch.equal(copy.deepcopy(fresh)(hidden_states), expected)


def test_a_tied_embedding_stays_tied() -> None:
    model = nn.ModuleDict({"embed": nn.Embedding(VOCAB, HIDDEN), "lm_head": nn.Linear(HIDDEN, VOCAB, bias=False)})
    model["lm_head"].weight = model["embed"].weight
    LinearTokenLogprobs.convert(model["lm_head"])
    assert len(list(model.parameters())) == 1
    ids = torch.tensor([3, 4])
    model["lm_head"](model["embed"](ids), ids).logprobs.sum().backward()
    assert model["embed"].weight.grad is model["lm_head"].weight.grad is not None


def test_a_wider_head_widens_its_input_exactly_and_autocast_decides_where_it_is_on() -> None:
    linear, hidden_states, target_ids = make(dtype=torch.float32)
    head, half = LinearTokenLogprobs.convert(linear), hidden_states.bfloat16()
    wide = head(half.float(), target_ids).logprobs
    assert torch.equal(head(half, target_ids).logprobs, wide)
    assert torch.equal(head(half), head(half.float()))
    with torch.autocast("cpu", torch.bfloat16):
        cast = head(half, target_ids).logprobs
        assert head(half).dtype is torch.bfloat16
    expected = linear_token_logprobs(half, linear.weight.detach().bfloat16(), target_ids).logprobs
    assert torch.equal(cast, expected) and not torch.equal(cast, wide)


def test_checkpointing_and_compilation_change_nothing() -> None:
    linear, hidden_states, target_ids = make(bias=True)
    head = LinearTokenLogprobs.convert(linear)

    def gradients(call) -> list[torch.Tensor]:
        leaf = hidden_states.clone().requires_grad_()
        scored = call(leaf)
        return torch.autograd.grad(scored.logprobs.sum() - scored.entropy.sum(), [leaf, head.weight, head.bias])

    expected = gradients(lambda leaf: head(leaf, target_ids, entropy="grad"))
    recomputed = gradients(lambda leaf: checkpoint(head, leaf, target_ids, entropy="grad", use_reentrant=False))
    compiled = torch.compile(head, fullgraph=True, backend="aot_eager")
    for got in (recomputed, gradients(lambda leaf: compiled(leaf, target_ids, entropy="grad"))):
        assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


@pytest.mark.slow
def test_sharded_over_two_ranks_its_gradients_are_the_unsharded_ones(tmp_path: Path) -> None:
    """In float64; only the order of sums over four rows differs. FSDP averages over ranks, here over micro-batches."""
    run_ranks(2, "head_worker.py", tmp_path / "said.log", str(tmp_path / "gradients.pt"))
    found = torch.load(tmp_path / "gradients.pt", weights_only=True)
    for case, (tied, _, checkpointed) in head_worker.CASES.items():
        # Two ranks of two micro-batches of one row each: FSDP's mean over ranks of sums over micro-batches.
        expected = head_worker.gradients(head_worker.Model(tied, checkpointed), head_worker.batch())
        assert found[case].keys() == expected.keys(), case
        for name, gradient in expected.items():
            assert_rounding(f"{case}: {name}", found[case][name], gradient, terms=10 * VOCAB)


class Adapter(nn.Linear):
    pass


@pytest.mark.parametrize(
    "call, error, sentence",
    [
        (lambda: LinearTokenLogprobs.convert(nn.Embedding(3, 4)), TypeError, "plain torch.nn.Linear, not .*Embedding"),
        (lambda: LinearTokenLogprobs.convert(Adapter(3, 4)), TypeError, "not test_head_module.Adapter: an adapter"),
        (lambda: LinearTokenLogprobs(3, 4)(torch.ones(2, 3), temperature=2.0), TypeError, "temperature given without"),
        (lambda: LinearTokenLogprobs(3, 4)(torch.ones(2, 2), torch.tensor([0, 1])), ValueError, "hidden size 3"),
        (lambda: LinearTokenLogprobs(3, 4)(torch.ones(2, 3).double(), torch.tensor([0, 1])), TypeError, "float64"),
    ],
)
def test_what_cannot_be_right_is_refused(call, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        call()


def test_a_layer_with_a_forward_of_its_own_is_refused() -> None:
    linear = nn.Linear(3, 4)
    linear.forward = lambda hidden_states: hidden_states
    with pytest.raises(ValueError, match="forward of its own"):
        LinearTokenLogprobs.convert(linear)
