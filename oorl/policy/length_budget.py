"""The length budget of IR groups: one rule for training, ranking, reference scores and statistics.

A member fits when its prompt and its response together take at most ``max_tokens``. One that does not is dropped
whole, since half an IR is equivalent to nothing; and a group is dropped when fewer winners or losers fit than a group
must have. Losers are mutants of winners, but the long members of a group need not be as many on either side, so what
was dropped is counted by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

from oorl.data.group_checks import FEWEST
from oorl.data.ir_groups import IRGroup
from oorl.policy.preference import PreferenceGroup


@dataclass
class SideCounts:
    """Members of one side: all, those that do not fit, and those that fit but went with their group."""

    seen: int = 0
    too_long: int = 0
    with_group: int = 0

    @property
    def kept(self) -> int:
        return self.seen - self.too_long - self.with_group


@dataclass
class LengthBudget:
    """Longest prompt and response, in tokens, and counts of what it has dropped so far."""

    max_tokens: int
    groups: int = 0
    groups_dropped: int = 0
    winners: SideCounts = field(default_factory=SideCounts)
    losers: SideCounts = field(default_factory=SideCounts)
    least: int | None = None  # the smallest budget that would keep one of the groups seen

    def fit(self, group: PreferenceGroup) -> tuple[int, ...]:
        """Places of the members to keep, none when the group must go; counted."""
        room = self.max_tokens - len(group.prompt)
        lengths = [len(member) for member in group.members]
        self.groups += 1
        needed = 0
        sides = (
            (self.winners, lengths[: group.num_winners], FEWEST["winners"]),
            (self.losers, lengths[group.num_winners :], FEWEST["losers"]),
        )
        for counts, members, fewest in sides:
            counts.seen += len(members)
            counts.too_long += sum(length > room for length in members)
            needed = max(needed, sorted(members)[fewest - 1])
        needed += len(group.prompt)
        self.least = min(needed, self.least or needed)
        if needed > self.max_tokens:
            self.groups_dropped += 1
            for counts, members, _ in sides:
                counts.with_group += sum(length <= room for length in members)
            return ()
        return tuple(place for place, length in enumerate(lengths) if length <= room)

    def keep(self, group: PreferenceGroup) -> PreferenceGroup | None:
        """The group with the members that fit, or None when it must go; counted."""
        places = self.fit(group)
        return group.only(places) if places else None

    @property
    def dropped_anything(self) -> bool:
        return bool(self.winners.too_long or self.losers.too_long)

    def __str__(self) -> str:
        lost = self.winners.with_group + self.losers.with_group
        return (
            f"{self.winners.too_long} of {self.winners.seen} winners and {self.losers.too_long} of {self.losers.seen} "
            f"losers take more than {self.max_tokens} tokens with their prompt and are left out; "
            f"{self.groups_dropped} of {self.groups} groups keep fewer than {FEWEST['winners']} winners or no loser "
            f"and are left out whole, with {lost} members that fit"
        )

    def nothing_left(self) -> str:
        """Why no group is left, for a message that goes on with what to raise."""
        return (
            f"none of {self.groups} groups has {FEWEST['winners']} winners and a loser of at most {self.max_tokens} "
            f"tokens with their prompt; the shortest needs {self.least}"
        )

    def to_json(self) -> dict:
        """The counts, for a run's record."""
        return asdict(self)


def with_members(record: IRGroup, places: Sequence[int]) -> IRGroup:
    """A record with the members at ``places`` (winners first) alone, and only their reference scores."""
    members, count = (*record.winners, *record.losers), len(record.winners)
    winners = tuple(members[place] for place in places if place < count)
    losers = tuple(members[place] for place in places if place >= count)
    names = {member["id"] for member in (*winners, *losers)}
    scores = {
        key: {name: entry for name, entry in entries.items() if name in names}
        for key, entries in record.ref_scores.items()
    }
    return replace(record, winners=winners, losers=losers, ref_scores=scores)
