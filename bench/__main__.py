"""``python -m bench``: measure named shapes and append one row per shape, task and provider.

Interrupted or out of budget, a run keeps the rows of every task it finished; with ``--resume`` the next run goes on
from there (same device, same source files, same versions).
"""

from __future__ import annotations

import argparse
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import torch
from tqdm import tqdm

from bench import environment, rows
from bench.harness import Bench, DeviceLost
from bench.providers import TASKS, Provider, all_providers
from bench.report import tables
from bench.shapes import SHAPES, Shape, make_problem

RESULTS = Path(__file__).resolve().parent / "results"
RESERVE_S = 90  # a task is not begun with less of the budget left than this
LEFT_OVER = 3  # exit status: all is well, but the budget ended before the last task


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.split("\n")[0])
    parser.add_argument("--shape", nargs="+", choices=SHAPES, default=["cpu"], metavar="NAME", help=", ".join(SHAPES))
    parser.add_argument("--task", nargs="+", choices=TASKS, default=list(TASKS), metavar="TASK", help=", ".join(TASKS))
    names = [provider.name for provider in all_providers("cuda")]
    parser.add_argument("--provider", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds; the median is the result (default 7)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    parser.add_argument("--workspace-mb", type=int, default=64, help="granted to providers that ask (default 64)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of result folders (default bench/results)")
    parser.add_argument("--resume", action="store_true", help="skip what the rows of --out or bench/results settle")
    parser.add_argument("--budget-s", type=float, default=float("inf"), help="begin no task near or after this time")
    args = parser.parse_args(argv)
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.exit(1, "bench: there is no CUDA device here; run with --device cpu --shape cpu\n")
    if args.rounds < 1 or args.threads < 1:
        parser.error("--rounds and --threads must be at least 1")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    device = torch.device(args.device)
    if device.type == "cpu":
        torch.set_num_threads(args.threads)
    deadline = time.monotonic() + args.budget_s
    surroundings = environment.describe(device) | {"workspace_mb": args.workspace_mb}
    folder = args.out / environment.device_folder(device)
    path = folder / f"{datetime.now(UTC):%Y-%m-%d}-{surroundings['source']}.jsonl"
    settled = rows.finished(rows.read_rows(RESULTS) + rows.read_rows(args.out)) if args.resume else set()
    providers = [p for p in all_providers(args.device) if args.provider is None or p.name in args.provider]

    measured, postponed = [], []
    try:
        for name in args.shape:
            shape = SHAPES[name]
            fields = surroundings | rows.shape_fields(shape)
            todo = {task: _unsettled(providers, fields | {"task": task}, settled) for task in args.task}
            todo = {task: chosen for task, chosen in todo.items() if chosen}
            if not todo:
                continue
            if time.monotonic() > deadline - RESERVE_S:
                postponed += [f"{name}/{task}" for task in todo]
                continue
            measured += _measure_shape(shape, todo, fields, path, args, deadline, postponed)
    except KeyboardInterrupt:
        print(f"\ninterrupted; finished tasks are in {path} (go on with --resume)", file=sys.stderr)
        return 130
    except DeviceLost as lost:
        print(f"bench: the device was lost to {lost}; go on with --resume, which leaves it out", file=sys.stderr)
        return 1
    if measured:
        print(tables(measured))
        print(f"{len(measured)} rows appended to {path}")
    if postponed:
        print(f"out of time before: {', '.join(postponed)} (go on with --resume)")
    if not measured and not postponed:
        print("nothing to do: rows for all of this are there already")
    if any(row["status"] in ("wrong", "failed") and row["provider"].startswith("oorl") for row in measured):
        return 1
    return LEFT_OVER if postponed else 0


def _measure_shape(
    shape: Shape,
    todo: dict[str, list[Provider]],
    fields: dict,
    path: Path,
    args: argparse.Namespace,
    deadline: float,
    postponed: list[str],
) -> list[dict]:
    """Measure all of ``todo`` on one shape, appending a task's rows as soon as it is done."""
    bench = Bench.prepare(make_problem(shape, args.device), args.workspace_mb)
    calls = {task: len(chosen) * (1 + args.rounds) for task, chosen in todo.items()}
    measured = []
    with tqdm(total=sum(calls.values()), desc=shape.name, file=sys.stderr, unit="call") as bar:

        def tick(label: str) -> None:
            bar.set_postfix_str(label, refresh=False)
            bar.update()

        finished = 0
        for task, chosen in todo.items():
            finished += calls[task]
            if time.monotonic() > deadline - RESERVE_S:
                postponed.append(f"{shape.name}/{task}")
                continue
            of_task = fields | {"task": task, "rounds": args.rounds}
            try:
                candidates = bench.measure(task, chosen, args.rounds, tick)
            except DeviceLost as lost:
                rows.append_rows(path, [of_task | lost.candidate.row()])
                raise
            done = [of_task | candidate.row() for candidate in candidates]
            rows.append_rows(path, done)
            measured += done
            bar.update(finished - bar.n)  # providers that were not timed took fewer calls
    return measured


def _unsettled(providers: list[Provider], fields: dict, settled: set[tuple]) -> list[Provider]:
    """Providers that do the task and have no final row for it yet."""
    return [
        provider
        for provider in providers
        if fields["task"] in provider.tasks()
        and rows.identity(fields | {"provider": provider.name, "provider_version": provider.version()}) not in settled
    ]


if __name__ == "__main__":
    sys.exit(main())
