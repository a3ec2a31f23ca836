"""How long the prompts and members of a file of IR groups are under a tokenizer, and what a length budget leaves.

Lengths are counted, not kept: a file of any size takes the memory of one group and of a table of distinct lengths.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from oorl.data.ir_groups import IRGroup, stream_ir_groups, write_ir_groups
from oorl.errors import UserError
from oorl.policy.length_budget import LengthBudget, with_members
from oorl.policy.preference import PreferenceGroup, preference_group
from oorl.policy.prompts import Prompter

_SHOWN = 20  # languages and origins in the table; the rest share its last lines
_REST = "other origins"
_COLUMNS = f"{'count':>9}{'mean':>9}{'p50':>8}{'p90':>8}{'max':>8}"

Lengths = Counter[int]  # how many have each length


def quantile(lengths: Lengths, share: float) -> int:
    """The smallest length that at least this share of all do not exceed; 0 of none.

    >>> quantile(Counter({3: 5, 8: 4, 20: 1}), 0.9)
    8
    """
    passed = 0
    for length in sorted(lengths):
        passed += lengths[length]
        if passed >= share * lengths.total():
            return length
    return 0


def summary(lengths: Lengths) -> str:
    """One row of the table."""
    mean = sum(length * count for length, count in lengths.items()) / max(1, lengths.total())
    p50, p90, most = (quantile(lengths, share) for share in (0.5, 0.9, 1.0))
    return f"{lengths.total():>9}{mean:>9.1f}{p50:>8}{p90:>8}{most:>8}"


@dataclass
class SideLengths:
    """Lengths of one side's members, by themselves and with their prompt, which is what the budget bounds."""

    members: Lengths = field(default_factory=Counter)
    sums: Lengths = field(default_factory=Counter)

    def add(self, prompt: int, members: Sequence[Sequence[int]]) -> None:
        for member in members:
            self.members[len(member)] += 1
            self.sums[prompt + len(member)] += 1


@dataclass
class GroupLengths:
    """Lengths of the prompts and members of some groups."""

    prompts: Lengths = field(default_factory=Counter)
    winners: SideLengths = field(default_factory=SideLengths)
    losers: SideLengths = field(default_factory=SideLengths)

    def add(self, group: PreferenceGroup) -> None:
        prompt = len(group.prompt)
        self.prompts[prompt] += 1
        self.winners.add(prompt, group.members[: group.num_winners])
        self.losers.add(prompt, group.members[group.num_winners :])


@dataclass
class Epoch:
    """What one pass over the kept groups feeds to the model."""

    answers: int = 0  # tokens that are scored
    shared: int = 0  # tokens fed when a group's members share one prompt
    alone: int = 0  # when each has its own

    def add(self, group: PreferenceGroup) -> None:
        answers, count = sum(map(len, group.members)), len(group.members)
        self.answers += answers
        self.shared += len(group.prompt) + answers - count  # a member's last token is predicted, never fed
        self.alone += count * len(group.prompt) + answers - count


@dataclass
class TokenStatistics:
    """Sums over a file."""

    budget: LengthBudget
    whole: GroupLengths = field(default_factory=GroupLengths)
    parts: dict[str, GroupLengths] = field(default_factory=dict)  # by language and origin
    epoch: Epoch = field(default_factory=Epoch)

    def add(self, record: IRGroup, group: PreferenceGroup) -> IRGroup | None:
        """Count a group; returns its record as the budget leaves it, None when the group goes."""
        self.whole.add(group)
        self.parts.setdefault(part_of(record), GroupLengths()).add(group)
        places = self.budget.fit(group)
        if not places:
            return None
        self.epoch.add(group.only(places))
        return with_members(record, places)

    def table(self) -> str:
        """Lengths, the budget's effect and an epoch's tokens, for a person."""
        over = f"{'over ' + str(self.budget.max_tokens):>12}"
        whole = self.whole
        lengths = (("prompts", whole.prompts), ("winners", whole.winners.members), ("losers", whole.losers.members))
        lines = [f"{'tokens':32}{_COLUMNS}", *(f"{name:32}{summary(found)}" for name, found in lengths), ""]
        lines += [f"{'with their prompt':32}{_COLUMNS}{over}"]
        for name, part in (("all", whole), *self._largest_parts()):
            for side, found in (("winners", part.winners.sums), ("losers", part.losers.sums)):
                too_long = sum(count for length, count in found.items() if length > self.budget.max_tokens)
                lines.append(f"{f'{name[:22]}: {side}':32}{summary(found)}{too_long:>12}")
        kept = self.budget.groups - self.budget.groups_dropped
        lines += [
            "",
            f"budget: {self.budget}",
            f"an epoch: {kept} groups; {self.epoch.answers} tokens are scored, {self.epoch.shared} are fed where the "
            f"members of a group share its prompt ({self.epoch.alone} where each has its own)",
        ]
        return "\n".join(lines)

    def _largest_parts(self) -> Iterator[tuple[str, GroupLengths]]:
        ordered = sorted(self.parts, key=lambda name: (-self.parts[name].prompts.total(), name))
        for name in ordered[:_SHOWN]:
            yield name, self.parts[name]
        if rest := [self.parts[name] for name in ordered[_SHOWN:]]:
            winners = sum((part.winners.sums for part in rest), Counter())
            losers = sum((part.losers.sums for part in rest), Counter())
            yield _REST, GroupLengths(winners=SideLengths(sums=winners), losers=SideLengths(sums=losers))


def part_of(record: IRGroup) -> str:
    """Language and origin of a group; of an origin's text its first word, for what follows names the one function.

    >>> source = {"language": "c", "code": "", "entry": "f", "origin": "oorl.programs seed 7"}
    >>> part_of(IRGroup("g", source, {}, {}, {}, "numbered", (), ()))
    'c oorl.programs'
    """
    words = str(record.source.get("origin", "")).split()
    return f"{record.source['language']} {words[0] if words else 'unknown'}"


def measure(path: str | Path, prompter: Prompter, max_tokens: int, out: str | Path | None) -> TokenStatistics:
    """Read a file of groups once, and write what the budget leaves of it to ``out``, whole or not at all.

    Raises:
        UserError: the file cannot be read, holds no groups, or keeps none within the budget.
    """
    statistics = TokenStatistics(LengthBudget(max_tokens))
    kept = _kept(path, prompter, statistics)
    if out is None:
        for _ in kept:
            pass
    else:
        write_ir_groups(out, kept)
    return statistics


def _kept(path: str | Path, prompter: Prompter, statistics: TokenStatistics) -> Iterator[IRGroup]:
    empty = True
    for record in tqdm(stream_ir_groups(path), desc="tokens", unit="group", file=sys.stderr, dynamic_ncols=True):
        left = statistics.add(record, preference_group(record, prompter))
        if left is not None:
            empty = False
            yield left
    if empty:  # raised here, so that no empty file takes the place of another
        raise UserError(f"{path}: {statistics.budget.nothing_left()}; raise --max-tokens")
