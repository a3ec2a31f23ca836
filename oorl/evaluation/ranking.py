"""How well a policy tells equivalent IR from inequivalent: winner-loser pairs ranked by log-prob a token."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from oorl.data.ir_groups import IRGroup
from oorl.policy.length_budget import LengthBudget
from oorl.policy.model import Policy
from oorl.policy.preference import member_trees, preference_group, score_members
from oorl.policy.prompts import Prompter
from oorl.policy.scoring import Budget


@dataclass(frozen=True)
class GroupScores:
    """Mean token log-prob of each of a group's members under a policy.

    The mean, not the sum: members differ in length, and the shorter of two would win whatever it says.
    """

    winners: tuple[float, ...]
    losers: tuple[float, ...]

    @property
    def share_ranked_right(self) -> float:
        """Share of winner-loser pairs whose winner has the higher score; a tie counts half."""
        pairs = [(w > loser) + 0.5 * (w == loser) for w in self.winners for loser in self.losers]
        return sum(pairs) / len(pairs)

    def winner_variance(self, reference: GroupScores) -> float:
        """Population variance of the winners' log-ratios against ``reference``, which GEPO keeps small."""
        return statistics.pvariance([w - ref for w, ref in zip(self.winners, reference.winners, strict=True)])


def score_groups(
    policy: Policy, prompter: Prompter, groups: Sequence[IRGroup], budget: Budget, length: LengthBudget | None = None
) -> list[GroupScores]:
    """Score every member of every group without gradient, of those that ``length`` leaves, which counts the others."""
    tokenized = [preference_group(group, prompter) for group in groups]
    if length is not None:
        tokenized = [kept for group in tokenized if (kept := length.keep(group)) is not None]
    scores = score_members(policy, budget.pack(member_trees(tokenized)), length_normalize=True)
    parts = scores.split([len(group.members) for group in tokenized])
    return [
        GroupScores(tuple(part[: group.num_winners].tolist()), tuple(part[group.num_winners :].tolist()))
        for group, part in zip(tokenized, parts, strict=True)
    ]
