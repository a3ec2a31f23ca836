"""How well a policy tells equivalent IR from inequivalent: winner-loser pairs ranked by log-prob a token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from oorl.data.ir_groups import IRGroup
from oorl.policy.model import Policy
from oorl.policy.packing import Tree
from oorl.policy.prompts import IR_TAG, Prompter
from oorl.policy.scoring import Budget, score_responses


@dataclass(frozen=True)
class GroupScores:
    """Summed and mean token log-probs of one group's members under a policy."""

    winner_sums: tuple[float, ...]
    winner_means: tuple[float, ...]
    loser_means: tuple[float, ...]

    @property
    def share_ranked_right(self) -> float:
        """Share of winner-loser pairs whose winner has the higher mean token log-prob; a tie counts half.

        The mean, not the sum: members differ in length, and the shorter of two would win whatever it says.
        """
        pairs = [(w > loser) + 0.5 * (w == loser) for w in self.winner_means for loser in self.loser_means]
        return sum(pairs) / len(pairs)


def score_groups(policy: Policy, prompter: Prompter, groups: Sequence[IRGroup], budget: Budget) -> list[GroupScores]:
    """Score every member of every group without gradient."""
    trees, lengths = [], []
    for group in groups:
        members = [prompter.response(member["ir"], IR_TAG) for member in (*group.winners, *group.losers)]
        first = len(lengths)
        trees.append(Tree(prompter.ir(group), tuple(members), tuple(range(first, first + len(members)))))
        lengths += map(len, members)
    logprobs, _ = score_responses(policy, budget.pack(trees))
    sums = [logprobs[index].sum().item() for index in range(len(lengths))]
    means = [total / length for total, length in zip(sums, lengths, strict=True)]
    scores = []
    for group, tree in zip(groups, trees, strict=True):
        first, middle, last = tree.indices[0], tree.indices[0] + len(group.winners), tree.indices[-1] + 1
        scores.append(GroupScores(tuple(sums[first:middle]), tuple(means[first:middle]), tuple(means[middle:last])))
    return scores
