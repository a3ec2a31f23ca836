"""IR groups in token ids, and the log-probs a policy gives their members."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
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
    prompt: Sequence[int]
    members: tuple[Sequence[int], ...]
    num_winners: int
    ref_scores: tuple[float, ...] = ()

    @property
    def digests(self) -> tuple[str, ...]:
        """What each member's cached score belongs to: 64 bits over prompt's and member's token ids, whatever its name.

        A score is never taken for another text, prompt wording or tokenizer.
        """
        prompt = hashlib.sha256(_little_endian(self.prompt)).digest()
        return tuple(hashlib.sha256(prompt + _little_endian(member)).hexdigest()[:16] for member in self.members)

    def only(self, places: Sequence[int]) -> PreferenceGroup:
        """The group with the members at ``places`` alone, which must be in order."""
        members = tuple(self.members[place] for place in places)
        scores = tuple(self.ref_scores[place] for place in places) if self.ref_scores else ()
        winners = sum(place < self.num_winners for place in places)
        return replace(self, members=members, num_winners=winners, ref_scores=scores)

    @property
    def longest(self) -> int:
        """Tokens of the prompt and the longest member."""
        return len(self.prompt) + max(map(len, self.members))


def preference_group(group: IRGroup, prompter: Prompter) -> PreferenceGroup:
    """Tokenize a group: the source as the prompt, every IR as an answer.

    Ids are held in four bytes each; as Python's integers the paper's 9600 groups would take gigabytes.
    """
    irs = [member["ir"] for member in (*group.winners, *group.losers)]
    members = tuple(array("I", response) for response in prompter.responses(irs, IR_TAG))
    return PreferenceGroup(group.group_id, array("I", prompter.ir(group)), members, len(group.winners))


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


def _little_endian(ids: Sequence[int]) -> bytes:
    return np.asarray(ids, dtype="<u4").tobytes()
