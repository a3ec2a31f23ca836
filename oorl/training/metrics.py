"""Metrics: gathered on every rank, merged once a step, written as one JSON line and a progress bar."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from oorl.errors import UserError
from oorl.training.mesh import World


class StepMetrics:
    """One step's values on one rank. A mean is kept as its sum and count, so that merging ranks loses nothing."""

    def __init__(self) -> None:
        self._means: dict[str, tuple[float, float]] = {}
        self._sums: dict[str, float] = {}
        self._maxima: dict[str, float] = {}

    def mean(self, name: str, total: float, count: float = 1.0) -> None:
        """Add ``count`` values that sum to ``total``; the metric is their mean, left out when nothing was counted."""
        old_total, old_count = self._means.get(name, (0.0, 0.0))
        self._means[name] = (old_total + float(total), old_count + float(count))

    def sum(self, name: str, value: float) -> None:
        """Add ``value``; the metric is the sum over the step and the ranks."""
        self._sums[name] = self._sums.get(name, 0.0) + float(value)

    def max(self, name: str, value: float) -> None:
        """The metric is the largest value over the step and the ranks."""
        self._maxima[name] = max(self._maxima.get(name, -math.inf), float(value))

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Add the block's wall time to ``time/<name>_s``; over ranks the slowest counts."""
        start = time.perf_counter()
        yield
        key = f"time/{name}_s"
        self._maxima[key] = self._maxima.get(key, 0.0) + time.perf_counter() - start

    def merged(self, world: World) -> dict[str, float]:
        """The metrics of the whole step, the same on every rank."""
        merged = StepMetrics()
        for means, sums, maxima in world.gather((self._means, self._sums, self._maxima)):
            for name, (total, count) in means.items():
                merged.mean(name, total, count)
            for name, value in sums.items():
                merged.sum(name, value)
            for name, value in maxima.items():
                merged.max(name, value)
        row = {name: total / count for name, (total, count) in merged._means.items() if count}
        return dict(sorted((row | merged._sums | merged._maxima).items()))


class MetricsLog:
    """``metrics.jsonl`` and the progress bar, on the main rank only; a line is written out before the next step."""

    def __init__(self, path: Path, world: World, first_step: int, total_steps: int) -> None:
        self._file = None
        if not world.is_main:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            keep_steps(path, first_step)
            self._file = path.open("a", encoding="utf-8")
        except OSError as err:
            raise UserError(f"cannot write {path}: {err.strerror}; choose another training.out_dir") from err
        self._bar = tqdm(
            total=total_steps, initial=first_step, desc="oorl", unit="step", file=sys.stderr, dynamic_ncols=True
        )

    def write(self, step: int, row: dict[str, float]) -> None:
        if self._file is None:
            return
        finite = {name: value if math.isfinite(value) else None for name, value in row.items()}  # JSON has no NaN
        try:
            self._file.write(json.dumps({"step": step, **finite}) + "\n")
            self._file.flush()
        except OSError as err:
            raise UserError(f"cannot write {self._file.name}: {err.strerror}; free some space and resume") from err
        shown = {"reward": "reward", "loss": "loss", "gepo/pair_accuracy": "pairs", "eval/pass_at_1": "pass@1"}
        self._bar.set_postfix(
            {short: f"{row[name]:.3g}" for name, short in shown.items() if name in row}, refresh=False
        )
        self._bar.update()

    def close(self) -> None:
        if self._file is not None:
            self._bar.close()
            self._file.close()


def keep_steps(path: Path, first_step: int) -> None:
    """Drop the lines of steps from ``first_step`` on, and any cut short: a resumed run writes those steps again."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] < first_step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue
    partial = path.with_name(path.name + ".incomplete")
    partial.write_text("".join(kept), encoding="utf-8")
    os.replace(partial, path)
