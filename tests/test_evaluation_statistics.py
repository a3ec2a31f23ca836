"""pass@k against enumeration, bootstrap intervals against the normal approximation they must approach."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oorl.evaluation.statistics import bootstrap_mean, pass_at_k


@pytest.mark.parametrize(
    "n, c, k", [(1, 0, 1), (1, 1, 1), (5, 2, 1), (5, 2, 3), (6, 1, 6), (7, 3, 2), (8, 0, 4), (8, 8, 1)]
)
def test_pass_at_k_is_the_share_of_k_subsets_with_a_pass(n, c, k):
    outcomes = [True] * c + [False] * (n - c)
    subsets = list(itertools.combinations(outcomes, k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(any(s) for s in subsets) / len(subsets), abs=1e-12)


@given(st.integers(1, 40), st.data())
def test_pass_at_k_grows_with_passes_and_k(n, data):
    c, k = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    value = pass_at_k(n, c, k)
    assert 0.0 <= value <= 1.0
    assert c == n or pass_at_k(n, c + 1, k) >= value
    assert k == n or pass_at_k(n, c, k + 1) >= value


@pytest.mark.parametrize("n, c, k", [(4, 5, 1), (4, -1, 1), (4, 2, 5), (0, 0, 1), (4, 2, 0)])
def test_impossible_counts_are_refused(n, c, k):
    with pytest.raises(ValueError, match="cannot be|needs at least"):
        pass_at_k(n, c, k)


def test_bootstrap_interval_is_the_normal_one_for_many_problems():
    values = np.random.default_rng(3).random(2000)
    interval = bootstrap_mean(values)
    half = 1.96 * values.std() / np.sqrt(values.size)
    assert interval.mean == pytest.approx(values.mean())
    # the ends are quantiles of 10,000 resamples: their own standard error is about 2.7% of the half width
    assert interval.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_bootstrap_is_reproducible_and_degenerate_data_has_no_width():
    assert bootstrap_mean([0, 1, 1]) == bootstrap_mean([0, 1, 1])
    assert bootstrap_mean([0.25] * 7) == (0.25, 0.25, 0.25)
    with pytest.raises(ValueError, match="no problems"):
        bootstrap_mean([])
