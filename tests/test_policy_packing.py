"""Rows, masks and places of the packer, and that a packed model says what it says unpacked."""

from __future__ import annotations

import pytest
import tiny
import torch

from oorl.policy.model import Policy
from oorl.policy.packing import Tree, idle_batch, pack, split_tree
from oorl.policy.scoring import score_responses

BUDGETS = [(4, 1), (16, 40), (64, 64), (512, 2048)]


def unpacked_logprobs(policy: Policy, tree: Tree, response: tuple[int, ...]) -> torch.Tensor:
    """The definition: log-softmax of the model's own logits on prompt + response alone."""
    ids = torch.tensor([tree.prompt + response])
    logits = policy.model(input_ids=ids, use_cache=False).logits[0, len(tree.prompt) - 1 : -1]
    return logits.log_softmax(-1).gather(-1, torch.tensor(response)[:, None])[:, 0]


@pytest.mark.parametrize(("row_tokens", "batch_tokens"), BUDGETS)
def test_every_response_token_is_predicted_once(row_tokens: int, batch_tokens: int) -> None:
    trees = tiny.random_trees()
    responses = {
        index: response for tree in trees for index, response in zip(tree.indices, tree.responses, strict=True)
    }
    seen = {}
    for batch in pack(trees, row_tokens=row_tokens, batch_tokens=batch_tokens):
        parts = batch.target_ids.split(batch.cu_seqlens.diff().tolist())
        seen |= {index: tuple(part.tolist()) for index, part in zip(batch.indices, parts, strict=True)}
        assert len(set(batch.indices)) == len(batch.indices)
        rows, width = batch.input_ids.shape
        assert rows == 1 or rows * width <= batch_tokens
    assert seen == responses


def test_row_budget_holds_unless_one_completion_exceeds_it() -> None:
    tree = Tree((1, 2, 3), ((4, 5), (6, 7, 8), (9,) * 30, (1, 2)), (0, 1, 2, 3))
    parts = split_tree(tree, row_tokens=8)
    assert [part.indices for part in parts] == [(0, 1), (2,), (3,)]
    assert [part.length for part in parts] == [3 + 1 + 2, 3 + 29, 3 + 1]


def test_mask_is_the_tree() -> None:
    """Two trees in one row; checked entry by entry against the rule."""
    first, second = Tree((10, 11), ((20, 21, 22), (30, 31)), (0, 1)), Tree((12,), ((40, 41),), (2,))
    (batch,) = pack([first, second], row_tokens=16, batch_tokens=16)
    assert batch.input_ids.tolist() == [[10, 11, 20, 21, 30, 12, 40]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 2, 0, 1]]
    path = {0: [0], 1: [0, 1], 2: [0, 1, 2], 3: [0, 1, 2, 3], 4: [0, 1, 4], 5: [5], 6: [5, 6]}
    for query, keys in path.items():
        assert batch.attention_mask[0, 0, query].nonzero().flatten().tolist() == keys
    assert batch.predict_index.tolist() == [1, 2, 3, 1, 4, 5, 6]  # the prompt's end predicts both first tokens
    assert batch.target_ids.tolist() == [20, 21, 22, 30, 31, 40, 41]


@pytest.mark.parametrize(("row_tokens", "batch_tokens"), BUDGETS)
def test_packed_logprobs_equal_unpacked(row_tokens: int, batch_tokens: int) -> None:
    """float64, so that only a wrong mask or position could make a difference: 1e-12 is thousands of roundings."""
    policy = Policy(tiny.tiny_model().double())
    trees = tiny.random_trees()
    scored, _ = score_responses(policy, pack(trees, row_tokens=row_tokens, batch_tokens=batch_tokens))
    with torch.no_grad():
        for tree in trees:
            for index, response in zip(tree.indices, tree.responses, strict=True):
                torch.testing.assert_close(scored[index], unpacked_logprobs(policy, tree, response), rtol=0, atol=1e-12)


def test_packed_gradients_equal_unpacked() -> None:
    """Qwen3's norms compute in fp32 whatever the weights: some roundoffs of 6e-8 of the largest gradient."""
    policy = Policy(tiny.tiny_model().double())
    trees = tiny.random_trees()
    weights = torch.randn(64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for batch in pack(trees, row_tokens=32, batch_tokens=64):
        logprobs, _ = policy.score(batch)
        (batch.sum_per_sequence(logprobs) * weights[list(batch.indices)]).sum().backward()
    packed = [parameter.grad.clone() for parameter in policy.parameters()]
    policy.zero_grad()
    for tree in trees:
        for index, response in zip(tree.indices, tree.responses, strict=True):
            (unpacked_logprobs(policy, tree, response).sum() * weights[index]).backward()
    for got, parameter in zip(packed, policy.parameters(), strict=True):
        torch.testing.assert_close(got, parameter.grad, rtol=0, atol=5e-7 * float(parameter.grad.abs().max()))


def test_padding_never_makes_nan() -> None:
    policy = Policy(tiny.tiny_model())
    batches = pack([Tree((1,), ((2, 3, 4, 5),), (0,)), Tree((1,), ((2,),), (1,))], row_tokens=4, batch_tokens=64)
    scored, _ = score_responses(policy, batches)
    assert all(values.isfinite().all() for values in scored.values())


def test_idle_batch_runs_and_belongs_to_nobody() -> None:
    policy = Policy(tiny.tiny_model())
    batch = idle_batch()
    assert batch.indices == ()
    logprobs, _ = policy.score(batch)
    (logprobs.sum() * 0.0).backward()
    assert all(p.grad is not None and not p.grad.any() for p in policy.parameters())
