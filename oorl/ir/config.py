"""How groups are made: sizes, seed, split."""

from __future__ import annotations

from dataclasses import dataclass

from oorl.errors import UsageError

FEWEST_INPUTS = 16


@dataclass(frozen=True)
class IRConfig:
    """Bounds of a group; a function that cannot fill them is refused."""

    seed: int = 0
    """Draws inputs, sites and operators."""
    max_chars: int = 3000
    """Longest text of a winner or loser, in characters."""
    max_instructions: int = 80
    """Most instructions of a winner or loser."""
    min_winners: int = 4
    max_winners: int = 8
    min_losers: int = 4
    max_losers: int = 8
    inputs: int = 64
    """Argument lists, free of undefined behaviour, that every member is run on."""
    split: str = "train"
    """Recorded in every group."""

    def __post_init__(self) -> None:
        for side, least in (("winners", 2), ("losers", 1)):
            low, high = getattr(self, f"min_{side}"), getattr(self, f"max_{side}")
            if not least <= low <= high:
                raise UsageError(
                    f"min_{side} {low} and max_{side} {high} do not fit; give {least} <= min_{side} <= max_{side}"
                )
        for name, least in (("max_chars", 40), ("max_instructions", 2), ("inputs", FEWEST_INPUTS)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be at least {least}")
