"""Merging over ranks, and the metrics file across a resume."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from oorl.errors import UserError
from oorl.training.mesh import World
from oorl.training.metrics import MetricsLog, StepMetrics, keep_steps


class TwoRanks(World):
    """A world whose other rank's value is given."""

    def gather(self, value):
        return [value, self.other]  # type: ignore[attr-defined]


def test_means_merge_by_count_sums_add_maxima_win() -> None:
    mine, theirs = StepMetrics(), StepMetrics()
    mine.mean("reward", 3.0, 4)
    theirs.mean("reward", 0.0, 2)
    theirs.mean("rewards/c-python/mean", 1.0)  # a pair this rank has not seen
    mine.mean("empty", 0.0, 0)
    mine.sum("verdicts/WA", 2)
    theirs.sum("verdicts/WA", 3)
    mine.max("lr", 1.0)
    theirs.max("lr", 2.0)
    world = TwoRanks()
    object.__setattr__(world, "other", (theirs._means, theirs._sums, theirs._maxima))
    assert mine.merged(world) == {"lr": 2.0, "reward": 0.5, "rewards/c-python/mean": 1.0, "verdicts/WA": 5.0}


def test_time_of_a_name_adds_up() -> None:
    metrics = StepMetrics()
    for _ in range(2):
        with metrics.timed("update"):
            pass
    row = metrics.merged(World())
    assert list(row) == ["time/update_s"] and row["time/update_s"] > 0


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_file_is_valid_json_even_for_nan_and_is_truncated_on_resume(tmp_path: Path) -> None:
    path = tmp_path / "run" / "metrics.jsonl"
    log = MetricsLog(path, World(), 0, 3)
    for step in range(3):
        log.write(step, {"reward": 0.5, "grad_norm": math.nan})
    log.close()
    assert read(path)[2] == {"step": 2, "reward": 0.5, "grad_norm": None}
    with path.open("a") as handle:
        handle.write('{"step": 3, "rew')  # killed in the middle of a line
    log = MetricsLog(path, World(), 1, 3)
    log.write(1, {"reward": 0.7})
    log.close()
    assert [row["step"] for row in read(path)] == [0, 1] and read(path)[1]["reward"] == 0.7


def test_keep_steps_of_a_missing_file_is_nothing(tmp_path: Path) -> None:
    keep_steps(tmp_path / "none.jsonl", 3)
    assert not list(tmp_path.iterdir())


def test_only_the_main_rank_writes(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl", World(rank=1, size=2), 0, 1)
    log.write(0, {"reward": 1.0})
    log.close()
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        MetricsLog(tmp_path / "file" / "metrics.jsonl", World(), 0, 1)
