"""The quickstart's IR groups: generated C functions, verified winners and losers, split by canonical form."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

from tqdm import tqdm

from oorl.data.ir_groups import IRGroup
from oorl.ir.config import IRConfig
from oorl.ir.generator import program_sources
from oorl.ir.groups import build_groups
from oorl.quickstart.settings import QuickstartSettings

MEMBERS = 4  # winners, and losers, of a group


def build_split_groups(settings: QuickstartSettings, seed: int) -> tuple[list[IRGroup], list[IRGroup]]:
    """Build the training and the held-out groups; no program (by canonical form) stands in two of them."""
    config = IRConfig(seed=seed, max_chars=settings.ir_max_chars, max_winners=MEMBERS, max_losers=MEMBERS)
    wanted = settings.num_train_groups + settings.num_heldout_groups
    groups: list[IRGroup] = []
    with (
        closing(build_groups(program_sources(seed), config)) as outcomes,
        tqdm(total=wanted, desc="LLVM IR groups", unit="group", dynamic_ncols=True) as bar,
    ):
        for outcome in outcomes:
            if outcome.group is not None:
                groups.append(outcome.group)
                bar.update()
            if len(groups) == wanted:
                break
    heldout = [replace(group, split="test") for group in groups[settings.num_train_groups :]]
    return groups[: settings.num_train_groups], heldout
