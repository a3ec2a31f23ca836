"""A progress bar where tqdm is installed, and silence where it is not: beside a GPU little more than torch may be."""

from __future__ import annotations

import sys


class Progress:
    """Counts calls on standard error; use as a context manager."""

    def __init__(self, total: int, label: str, unit: str = "call"):
        try:
            from tqdm import tqdm
        except ImportError:
            self.bar = None
        else:
            self.bar = tqdm(total=total, desc=label, file=sys.stderr, unit=unit)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_exception: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def step(self, label: str = "", by: int = 1) -> None:
        """One call (or ``by`` of them) is done."""
        if self.bar is not None:
            self.bar.set_postfix_str(label, refresh=False)
            self.bar.update(by)
