"""Whether a loser can be told from a winner without reading what the IR does: the leak test.

Gradient-boosted trees see surface features only: length, counts of instructions, tokens, labels and constants, how
values are named, attributes and flags. They are trained on the members of some functions and asked about those of
others. An area under the ROC curve of 0.5 means that nothing leaks; a model trained on such groups has to read.

"alone" sees one text. "in its group" also sees how each feature differs from the median of the text's group, which
is what a group loss compares: the harder question.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from oorl.data.ir_groups import IRGroup
from oorl.errors import UserError
from oorl.ir.candidate import surface

if TYPE_CHECKING:
    import numpy as np

BOUNDS = (0.45, 0.55)  # the interval must lie within
FOLDS, RESAMPLES = 5, 1000
FEWEST_GROUPS = 50


@dataclass(frozen=True)
class Leak:
    """Area under the ROC curve of one set of features, with its 95% interval (bootstrap over functions)."""

    features: str
    auc: float
    low: float
    high: float
    paired: float  # share of winner-loser pairs of one group that the trees order right

    @property
    def within_bounds(self) -> bool:
        return BOUNDS[0] <= self.low and self.high <= BOUNDS[1]


def leak_test(groups: Iterable[IRGroup], seed: int = 0) -> list[Leak]:
    """Measure both sets of features; UserError when scikit-learn is missing or the groups are too few."""
    try:
        import numpy as np
        from sklearn.ensemble import HistGradientBoostingClassifier
        from sklearn.model_selection import GroupKFold
    except ImportError as err:
        raise UserError(
            'the leak test needs scikit-learn, which is not installed; run `pip install "oorl-kernels[eval]"`'
        ) from err
    rows, is_loser, owner, clusters = _table(groups)
    if len(clusters) < FEWEST_GROUPS:
        raise UserError(f"the leak test needs at least {FEWEST_GROUPS} functions, found {len(clusters)}")
    alone, y, function = np.array(rows), np.array(is_loser), np.array(owner)
    members = np.split(np.argsort(function, kind="stable"), np.cumsum(np.bincount(function))[:-1])
    middle = np.stack([np.median(alone[own], axis=0) for own in members])
    leaks = []
    for name, x in (("alone", alone), ("in its group", np.hstack([alone, alone - middle[function]]))):
        scores = np.zeros(len(y))
        for train, test in GroupKFold(FOLDS, shuffle=True, random_state=seed).split(x, y, function):
            trees = HistGradientBoostingClassifier(learning_rate=0.05, max_iter=150, random_state=seed)
            scores[test] = trees.fit(x[train], y[train]).predict_proba(x[test])[:, 1]
        leaks.append(_measured(name, scores, y, function, members, seed))
    return leaks


def _table(groups: Iterable[IRGroup]) -> tuple[list[tuple[float, ...]], list[bool], list[int], dict[str, int]]:
    """Features, labels and functions of every member; groups of one cluster are one function."""
    rows, is_loser, owner = [], [], []
    clusters: dict[str, int] = {}
    for group in groups:
        index = clusters.setdefault(group.dedup_cluster or group.group_id, len(clusters))
        for side, loses in ((group.winners, False), (group.losers, True)):
            rows += [surface(member["ir"]) for member in side]
            is_loser += [loses] * len(side)
            owner += [index] * len(side)
    return rows, is_loser, owner, clusters


def _measured(
    name: str, scores: np.ndarray, y: np.ndarray, function: np.ndarray, members: Sequence[np.ndarray], seed: int
) -> Leak:
    """``function`` [N] numbers every member's function, ``members`` are the indices of each function's own."""
    import numpy as np

    _, place = np.unique(scores, return_inverse=True)
    rng = np.random.default_rng(seed)
    weights = (
        np.bincount(rng.integers(len(members), size=len(members)), minlength=len(members)) for _ in range(RESAMPLES)
    )
    low, high = np.quantile([_area(place, y, own[function]) for own in weights], (0.025, 0.975))
    pairs = [_pairs(scores[own][y[own]], scores[own][~y[own]]) for own in members]
    return Leak(name, _area(place, y, np.ones(len(y))), float(low), float(high), float(np.mean(pairs)))


def _area(place: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float:
    """Area under the ROC curve of weighted members, by the rank of their score among the distinct ones: the share of
    loser-winner pairs in order, a tie counting half.
    """
    import numpy as np

    losers = np.bincount(place, weights * y)
    winners = np.bincount(place, weights * ~y)
    below = np.cumsum(winners) - winners
    return float((losers * (below + winners / 2)).sum() / (losers.sum() * winners.sum()))


def _pairs(losers: Sequence[float], winners: Sequence[float]) -> float:
    ordered = [(loser > winner) + 0.5 * (loser == winner) for loser in losers for winner in winners]
    return sum(ordered) / len(ordered)
