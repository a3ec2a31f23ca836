"""IR groups in token ids, and the log-probs a policy gives their members."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from oorl.data.ir_groups import IRGroup
from oorl.policy.model import Policy
from oorl.policy.packing import PackedBatch, Tree
from oorl.policy.prompts import IR_TAG, Prompter
from oorl.policy.scoring import score_responses


@dataclass(frozen=True)
class PreferenceGroup:
    """An IR group in token ids, winners first; ``ref_scores`` are its members' under the reference, once known."""

    group_id: str
    prompt: tuple[int, ...]
    members: tuple[tuple[int, ...], ...]
    num_winners: int
    ref_scores: tuple[float, ...] = ()

    @property
    def digest(self) -> str:
        """sha256 of the token ids: what a cached score belongs to, whatever the group is called."""
        return hashlib.sha256(repr((self.prompt, self.members)).encode()).hexdigest()


def preference_group(group: IRGroup, prompter: Prompter) -> PreferenceGroup:
    """Tokenize a group: the source as the prompt, every IR as an answer."""
    members = tuple(prompter.response(member["ir"], IR_TAG) for member in (*group.winners, *group.losers))
    return PreferenceGroup(group.group_id, prompter.ir(group), members, len(group.winners))


def member_trees(groups: Sequence[PreferenceGroup]) -> list[Tree]:
    """One tree a group; members are numbered through all groups."""
    trees, first = [], 0
    for group in groups:
        trees.append(Tree(group.prompt, group.members, tuple(range(first, first + len(group.members)))))
        first += len(group.members)
    return trees


def score_members(policy: Policy, batches: Sequence[PackedBatch], *, length_normalize: bool) -> Tensor:
    """Log-prob of every member of ``member_trees``, summed (or averaged) over its tokens, no gradient: [K] float64."""
    logprobs, _ = score_responses(policy, batches)
    scores = torch.zeros(len(logprobs), dtype=torch.float64)
    for index, values in logprobs.items():
        scores[index] = values.double().mean() if length_normalize else values.double().sum()
    return scores
