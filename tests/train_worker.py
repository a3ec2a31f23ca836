"""One of several ranks: a whole run, the same run interrupted and resumed, and a step judged by the real reward pool.

python train_worker.py DIRECTORY section.field=value ...      (run by test_training_ranks)
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import tiny
import torch

from oorl.config import load_config
from oorl.training import loop
from oorl.training.checkpoint import save_checkpoint


@contextmanager
def fake_pool(*_: object):
    yield tiny.FakePool()


def interrupt_at_second(root: Path, policy, optimizer, progress, *rest: object) -> None:
    """Save, then stop as Ctrl-C would."""
    save_checkpoint(root, policy, optimizer, progress, *rest)
    if progress.step == 2:
        raise KeyboardInterrupt


def main() -> None:
    torch.set_num_threads(1)
    directory, *assignments = sys.argv[1:]

    def config(name: str, *more: str):
        return load_config("cpu_tiny", [*assignments, f"training.out_dir={directory}/{name}", *more])

    def train(*arguments: object, **options: object) -> None:
        # One process joins several worlds here: on one port a fast rank could still meet the store of the world before.
        os.environ["MASTER_PORT"] = str(int(os.environ["MASTER_PORT"]) + 1)
        loop.train(*arguments, **options)

    with mock.patch.object(loop, "open_pool", fake_pool):
        train(config("whole"))
        with mock.patch.object(loop, "save_checkpoint", interrupt_at_second):
            try:
                train(config("cut"))
            except KeyboardInterrupt:
                pass
        train(config("cut"), resume=True)
    train(config("judged", "training.steps=1"))


if __name__ == "__main__":
    main()
