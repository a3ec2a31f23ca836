"""Prompts and their completions laid out in rows, so that no shared prompt is computed twice and little is padding.

A *tree* is a prompt followed by completions of it: ``[prompt | c1 | ... | cG]``. Every completion attends to the
prompt and to itself, and its position ids go on where the prompt's ended, so its log-probs are exactly those of
``prompt + completion`` alone. A row holds as many trees as fit, each blind to the others. The prompt's last token
predicts the first token of every completion, and a completion's last token predicts nothing, so it is not fed at all.

Dimensions: R rows, T row length, S completions, N response tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tree:
    """A prompt and completions of it; ``indices`` are the completions' places in the caller's batch."""

    prompt: Sequence[int]
    responses: tuple[Sequence[int], ...]
    indices: tuple[int, ...]

    @property
    def length(self) -> int:
        """Tokens this tree takes in a row."""
        return len(self.prompt) + sum(len(response) - 1 for response in self.responses)


@dataclass(frozen=True)
class PackedBatch:
    """One forward's worth of rows, and where the response tokens' predictions stand in them."""

    input_ids: Tensor  # [R, T] int64
    position_ids: Tensor  # [R, T] int64
    attention_mask: Tensor  # [R, 1, T, T] bool, True = may attend
    predict_index: Tensor  # [N] int64: position in the flattened [R * T] whose hidden state predicts the token
    target_ids: Tensor  # [N] int64: the response tokens, completion after completion
    cu_seqlens: Tensor  # [S + 1] int32: where each completion starts among the N tokens
    indices: tuple[
        int, ...
    ]  # the completions' places in the caller's batch; empty for a batch that only keeps ranks in step

    def to(self, device: torch.device) -> PackedBatch:
        tensors = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **tensors)

    def sum_per_sequence(self, values: Tensor) -> Tensor:
        """Add up token values [N] within each completion: [S], differentiable."""
        lengths = self.cu_seqlens.diff().to(values.device)
        owner = torch.repeat_interleave(torch.arange(len(lengths), device=values.device), lengths)
        return values.new_zeros(len(lengths)).index_add(0, owner, values)


def split_tree(tree: Tree, row_tokens: int) -> list[Tree]:
    """Cut a tree's completions into runs that fit ``row_tokens`` with the prompt, or one completion where none do."""
    parts, start, length = [], 0, len(tree.prompt)
    for stop, response in enumerate(tree.responses):
        if stop > start and length + len(response) - 1 > row_tokens:
            parts.append(Tree(tree.prompt, tree.responses[start:stop], tree.indices[start:stop]))
            start, length = stop, len(tree.prompt)
        length += len(response) - 1
    if start < len(tree.responses):
        parts.append(Tree(tree.prompt, tree.responses[start:], tree.indices[start:]))
    return parts


def pack(trees: Sequence[Tree], *, row_tokens: int, batch_tokens: int) -> list[PackedBatch]:
    """Lay trees out in rows of about ``row_tokens`` and rows in batches of at most ``batch_tokens`` padded tokens.

    Deterministic. A row longer than ``batch_tokens`` is a batch of its own. Every response needs at least one token,
    every prompt too.
    """
    parts = [part for tree in trees for part in split_tree(tree, row_tokens)]
    rows: list[list[Tree]] = []
    room: list[int] = []
    for tree in sorted(parts, key=lambda part: -part.length):  # first-fit decreasing; sorted() is stable
        fitting = next((row for row, free in enumerate(room) if free >= tree.length), None)
        if fitting is None:
            rows.append([tree])
            room.append(row_tokens - tree.length)
        else:
            rows[fitting].append(tree)
            room[fitting] -= tree.length
    rows.sort(key=lambda row: -sum(tree.length for tree in row))
    batches: list[PackedBatch] = []
    start = 0
    while start < len(rows):
        width = sum(tree.length for tree in rows[start])
        count = max(1, batch_tokens // width)
        batches.append(_lay_out(rows[start : start + count], width))
        start += count
    return batches


def idle_batch() -> PackedBatch:
    """The smallest batch a model can run: a rank with nothing left runs it, weighted by zero, beside the others."""
    batch = _lay_out([[Tree((0,), ((0,),), (0,))]], 1)
    return replace(batch, indices=())


def _lay_out(rows: Sequence[Sequence[Tree]], width: int) -> PackedBatch:
    input_ids = torch.zeros(len(rows), width, dtype=torch.long)
    position_ids = torch.zeros(len(rows), width, dtype=torch.long)
    tree_id = torch.full((len(rows), width), -1)
    branch_id = torch.zeros(len(rows), width, dtype=torch.long)  # 0 is the prompt, which the whole tree sees
    predict, targets, lengths, indices = [], [], [], []
    for r, row in enumerate(rows):
        at = 0
        for number, tree in enumerate(row):
            prompt = len(tree.prompt)
            span = slice(at, at + tree.length)
            tokens, positions, branches = list(tree.prompt), list(range(prompt)), [0] * prompt
            for branch, response in enumerate(tree.responses, 1):
                first = r * width + at + len(tokens)  # flat position of this completion's first fed token
                predict += [r * width + at + prompt - 1, *range(first, first + len(response) - 1)]
                tokens += response[:-1]
                positions += range(prompt, prompt + len(response) - 1)
                branches += [branch] * (len(response) - 1)
                targets += response
                lengths.append(len(response))
            input_ids[r, span] = torch.tensor(tokens)
            position_ids[r, span] = torch.tensor(positions)
            branch_id[r, span] = torch.tensor(branches)
            tree_id[r, span] = number
            indices += tree.indices
            at += tree.length
    same_tree = tree_id[:, :, None] == tree_id[:, None, :]  # padding sees padding: a softmax over nothing would be NaN
    visible = (branch_id[:, None, :] == 0) | (branch_id[:, :, None] == branch_id[:, None, :])
    causal = torch.ones(width, width, dtype=torch.bool).tril()
    cu_seqlens = torch.zeros(len(lengths) + 1, dtype=torch.int32)
    cu_seqlens[1:] = torch.tensor(lengths).cumsum(0)
    return PackedBatch(
        input_ids=input_ids,
        position_ids=position_ids,
        attention_mask=(same_tree & visible & causal)[:, None],
        predict_index=torch.tensor(predict),
        target_ids=torch.tensor(targets),
        cu_seqlens=cu_seqlens,
        indices=tuple(indices),
    )
