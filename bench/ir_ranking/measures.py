"""How well scores rank a group's winners over its losers, by what the losers are, with intervals over groups.

A *ranking* of a group is the share of its winner-loser pairs that stand right, a tie counting half, under a key: the
name of an order, or an order with a kind of loser, as ``log-prob a token; bin hard``. Groups, not pairs, are resampled.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from oorl.data.ir_groups import IRGroup
from oorl.evaluation.ranking import GroupScores
from oorl.evaluation.statistics import bootstrap_mean

TOKEN, SUM, RATIO, TOKEN_RATIO = "log-prob a token", "log-prob", "log-ratio", "log-ratio a token"
ORDERS = (TOKEN, SUM, RATIO, TOKEN_RATIO)
SHORTER = "shorter text", "fewer tokens"


@dataclass(frozen=True)
class Scores:
    """Summed log-probs of a group's members, winners first, and their lengths in tokens."""

    sums: tuple[float, ...]
    tokens: tuple[int, ...]

    def orders(self, base: Scores) -> dict[str, list[float]]:
        """What members can be ordered by; a ratio is to the model that training began with."""
        ratios = [score - start for score, start in zip(self.sums, base.sums, strict=True)]
        return {
            TOKEN: self._a_token(self.sums),
            SUM: list(self.sums),
            RATIO: ratios,
            TOKEN_RATIO: self._a_token(ratios),
        }

    def _a_token(self, values: Sequence[float]) -> list[float]:
        return [value / count for value, count in zip(values, self.tokens, strict=True)]


def rankings(group: IRGroup, orders: dict[str, list[float]]) -> dict[str, float]:
    """Every key's share of pairs ranked right in one group; a kind of loser that it lacks has no key."""
    first = len(group.winners)
    kinds = [list(kinds_of(loser)) for loser in group.losers]
    names = sorted({kind for of_loser in kinds for kind in of_loser})
    found = {}
    for order, values in orders.items():
        winners, losers = tuple(values[:first]), values[first:]
        found[order] = GroupScores(winners, tuple(losers)).share_ranked_right
        for name in names:
            chosen = tuple(value for value, of_loser in zip(losers, kinds, strict=True) if name in of_loser)
            found[f"{order}; {name}"] = GroupScores(winners, chosen).share_ranked_right
    return found


def kinds_of(loser: dict) -> Iterator[str]:
    """What a loser is, as the ends of keys."""
    yield f"bin {loser['bin']}"
    yield f"style {loser['style']}"
    yield from (f"operator {name}" for name in loser["operators"])


def baselines(group: IRGroup, tokens: Sequence[int]) -> dict[str, float]:
    """Rankings without a model: the shorter text first, or that of fewer tokens."""
    members = (*group.winners, *group.losers)
    lengths = [len(member["ir"]) for member in members], tokens
    return rankings(group, {name: [-n for n in of] for name, of in zip(SHORTER, lengths, strict=True)})


def winner_variances(scores: Sequence[Scores], base: Sequence[Scores], num_winners: Sequence[int]) -> dict[str, float]:
    """Mean over groups of the population variance of the winners' log-ratios, summed and a token."""
    found: dict[str, list[float]] = {RATIO: [], TOKEN_RATIO: []}
    for of, start, winners in zip(scores, base, num_winners, strict=True):
        orders = of.orders(start)
        for name, values in found.items():
            values.append(statistics.pvariance(orders[name][:winners]))
    return {name: statistics.fmean(values) for name, values in found.items()}


def averaged(runs: Sequence[Sequence[dict[str, float]]]) -> list[dict[str, float]]:
    """Rankings of the same groups in several runs (seeds), averaged group by group."""
    return [{key: statistics.fmean(of[key] for of in group) for key in group[0]} for group in zip(*runs, strict=True)]


def differences(new: Sequence[dict[str, float]], old: Sequence[dict[str, float]]) -> list[dict[str, float]]:
    """Paired differences, group by group."""
    return [{key: of_new[key] - of_old[key] for key in of_new} for of_new, of_old in zip(new, old, strict=True)]


def intervals(found: Sequence[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Every key's mean over the groups that have it, and the ends of its 95% bootstrap interval."""
    summary = {}
    for key in sorted({key for group in found for key in group}):
        values = [group[key] for group in found if key in group]
        mean, low, high = (round(number, 4) for number in bootstrap_mean(values))
        summary[key] = {"mean": mean, "low": low, "high": high, "groups": len(values)}
    return summary
