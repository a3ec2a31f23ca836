"""Groups into training, validation and held-out parts that share no program."""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from bench.ir_ranking.settings import Settings
from oorl.data.ir_groups import IRGroup
from oorl.errors import UserError


class Parts(NamedTuple):
    train: list[IRGroup]
    validation: list[IRGroup]
    heldout: list[IRGroup]


def split_groups(groups: Sequence[IRGroup], settings: Settings, path: str) -> Parts:
    """Deal clusters out, in an order that depends on their names alone; ``path`` is for messages.

    What a part has no room for is left out, never put into another. Training groups keep ``train_members`` of each
    side at most: more functions for the same work.
    """
    clusters: dict[str, list[IRGroup]] = defaultdict(list)
    for group in groups:
        if not group.dedup_cluster:
            raise UserError(
                f"{path}: group {group.group_id} has no dedup_cluster, so nothing tells whether another group is of "
                "the same program; build the groups again with `oorl build-ir`"
            )
        clusters[group.dedup_cluster].append(group)
    order = sorted(clusters, key=lambda name: hashlib.sha256(name.encode()).digest())
    remaining = iter(order)
    sizes = Parts(settings.train_groups, settings.validation_groups, settings.heldout_groups)
    parts = Parts([], [], [])
    for what in ("heldout", "validation", "train"):
        part, size = getattr(parts, what), getattr(sizes, what)
        while len(part) < size and (name := next(remaining, None)) is not None:
            part.extend(clusters[name][: size - len(part)])
        if len(part) < size:
            raise UserError(
                f"{path}: {len(groups)} groups of {len(clusters)} programs leave {len(part)} {what} groups where "
                f"{size} are needed; build at least {sum(sizes)} with `oorl build-ir --generate N`"
            )
    return parts._replace(train=[thinned(group, settings.train_members) for group in parts.train])


def thinned(group: IRGroup, members: int) -> IRGroup:
    """The group with at most ``members`` winners and losers, drawn by its name, in their old order."""
    rng = random.Random(f"members/{group.group_id}")
    kept = {}
    for side in ("winners", "losers"):
        all_of = getattr(group, side)
        chosen = sorted(rng.sample(range(len(all_of)), min(members, len(all_of))))
        kept[side] = tuple(all_of[index] for index in chosen)
    return replace(group, **kept)
