"""The data order: each item once an epoch, the same for every number of ranks, and resumable from a cursor alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oorl.data.order import epoch_order, share, take


@given(count=st.integers(1, 40), seed=st.integers(0, 2**31), chunks=st.lists(st.integers(0, 17), max_size=12))
def test_any_chunking_walks_the_same_permutations(count: int, seed: int, chunks: list[int]) -> None:
    walked, cursor = [], 0
    for number in chunks:
        walked += take(count, seed, cursor, number)
        cursor += number
    assert walked == take(count, seed, 0, cursor)
    for epoch in range(cursor // count):
        assert sorted(walked[epoch * count : (epoch + 1) * count]) == list(range(count))


@given(items=st.integers(0, 50), size=st.integers(1, 9))
def test_shares_join_to_the_whole_and_differ_by_one_at_most(items: int, size: int) -> None:
    parts = [share(range(items), rank, size) for rank in range(size)]
    assert [item for part in parts for item in part] == list(range(items))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_epochs_and_seeds_differ_and_the_order_is_pinned() -> None:
    """The literal pins the order across versions: a checkpoint's cursor means the same tomorrow."""
    assert epoch_order(8, seed=0, epoch=0) == [0, 2, 1, 4, 6, 7, 3, 5]
    assert epoch_order(30, 0, 0) != epoch_order(30, 0, 1)
    assert epoch_order(30, 0, 0) != epoch_order(30, 1, 0)


def test_nothing_to_order_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing to order"):
        take(0, 0, 0, 1)
