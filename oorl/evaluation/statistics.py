"""pass@k and its uncertainty: estimators over ``(samples, passes)`` counts per problem, bootstrap over problems.

Problems, not samples, are the unit of resampling: samples of one problem are far from independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 10_000


class Interval(NamedTuple):
    """A point estimate with the ends of its percentile bootstrap interval."""

    mean: float
    low: float
    high: float


def pass_at_k(num_samples: int, num_passed: int, k: int) -> float:
    """The unbiased estimate of the chance that one of ``k`` samples passes.

    ``1 - C(n - c, k) / C(n, k)`` (Chen et al., arXiv 2107.03374, eq. 1), as a running product.

    Raises:
        ValueError: ``num_samples < k`` (nothing can be said), or counts that cannot be.
    """
    if not 0 <= num_passed <= num_samples:
        raise ValueError(f"{num_passed} passes among {num_samples} samples cannot be")
    if not 1 <= k <= num_samples:
        raise ValueError(f"pass@{k} needs at least {k} samples a problem; there are {num_samples}")
    if num_samples - num_passed < k:
        return 1.0
    failures = np.arange(num_samples - num_passed + 1, num_samples + 1)
    return float(1.0 - np.prod(1.0 - k / failures))


def bootstrap_mean(values: Sequence[float], *, level: float = 0.95, seed: int = 0) -> Interval:
    """Mean over problems with its percentile bootstrap interval; pass paired differences to compare two models.

    Args:
        values: one number a problem.
        level: coverage of the interval, in (0, 1).
        seed: of the resampling; the same seed gives the same interval.
    """
    data = np.asarray(values, dtype=np.float64)
    if data.size == 0:
        raise ValueError("there are no problems to take a mean over")
    generator = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for start in range(0, RESAMPLES, 1000):  # in slices: 1000 x problems indices at a time
        means[start : start + 1000] = data[generator.integers(0, data.size, (1000, data.size))].mean(axis=1)
    tail = (1.0 - level) / 2
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return Interval(float(data.mean()), float(low), float(high))
