"""The order in which data is seen: a permutation of (seed, epoch) and a cursor, the same for every number of ranks."""

from __future__ import annotations

import random
from collections.abc import Sequence


def epoch_order(count: int, seed: int, epoch: int) -> list[int]:
    """The permutation of ``range(count)`` that ``epoch`` walks; it depends on nothing else.

    >>> sorted(epoch_order(5, seed=3, epoch=0))
    [0, 1, 2, 3, 4]
    """
    order = list(range(count))
    random.Random(f"{seed}/{epoch}").shuffle(order)  # a text seed is hashed by SHA-512: the same on every platform
    return order


def take(count: int, seed: int, cursor: int, number: int) -> list[int]:
    """The ``number`` indices at positions cursor, cursor + 1, ... of the endless walk through epoch after epoch.

    Each index comes once an epoch. The caller's next cursor is ``cursor + number``: nothing else needs to be saved.
    """
    if count < 1:
        raise ValueError("there is nothing to order: count must be at least 1")
    indices: list[int] = []
    while len(indices) < number:
        epoch, offset = divmod(cursor + len(indices), count)
        indices += epoch_order(count, seed, epoch)[offset : offset + number - len(indices)]
    return indices


def share(items: Sequence, rank: int, world_size: int) -> list:
    """The contiguous part of a global batch that belongs to ``rank``; the parts differ in length by one at most."""
    return list(items[len(items) * rank // world_size : len(items) * (rank + 1) // world_size])
