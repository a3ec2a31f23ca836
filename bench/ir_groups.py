"""A file of IR groups as figures: its build's statistics, how it stands up to reverification, what its looks leak.

    oorl build-ir --generate 9600 --out groups.jsonl
    python -m bench.ir_groups groups.jsonl --reverify --leak --sample 50

appends one row to ``bench/results/DEVICE/ir-groups.jsonl``; the sample goes beside it. The file itself is not kept.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import torch
from tqdm import tqdm

from bench import environment, rows
from oorl.data.check import checked_rows
from oorl.data.group_checks import Seen
from oorl.data.ir_groups import stream_ir_groups
from oorl.data.rows import read_rows, write_rows
from oorl.errors import UserError
from oorl.ir.leak import leak_test
from oorl.ir.reverify_worker import reverify_rows

RESULTS = Path(__file__).resolve().parent / "results"
FILE_NAME = "ir-groups.jsonl"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.ir_groups", description="Figures of a file of IR groups.")
    parser.add_argument("file", type=Path, help="as `oorl build-ir` wrote it, its .stats.json beside it")
    parser.add_argument(
        "--reverify", type=int, nargs="?", const=0, metavar="N", help="run every group again, or N drawn at random"
    )
    parser.add_argument("--leak", action="store_true", help="train the leak test's trees")
    parser.add_argument("--sample", type=int, default=0, metavar="N", help="keep N groups, drawn at random")
    parser.add_argument("--jobs", type=int, help="worker processes of --reverify (default: one per core)")
    parser.add_argument("--note", default="", help="said in the row: what was different from the usual")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="folder of result folders (default bench/results)"
    )
    args = parser.parse_args(argv)
    device = torch.device("cpu")
    folder = args.results / environment.device_folder(device)
    try:
        row = figures(args.file, reverify=args.reverify, leak=args.leak, jobs=args.jobs)
        if args.sample:
            write_rows(folder / "ir-groups-sample.jsonl.gz", sample(args.file, args.sample))
    except UserError as err:
        print(f"error: {err}", file=sys.stderr)
        return 1
    row |= {"note": args.note, "cores": len(os.sched_getaffinity(0)), **environment.describe(device)}
    rows.append_rows(folder / FILE_NAME, [{"schema": "oorl.ir_groups_row/1", **row}])
    print(json.dumps({name: value for name, value in row.items() if name != "build"}, indent=1))
    return 0


def figures(path: Path, *, reverify: int | None, leak: bool, jobs: int | None = None) -> dict:
    """What a row says of a file; ``reverify``: groups to run again, 0 for all, None for none."""
    stats = path.with_name(path.name + ".stats.json")
    try:
        build = json.loads(stats.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise UserError(f"cannot read {stats} ({err}); `oorl build-ir` writes it beside the groups") from err
    refused = Counter(fault.split(":")[0] for _, _, fault in checked_rows(str(path), Seen()) if fault)
    row: dict = {"file": path.name, "build": build, "refused_by_check": dict(refused)}
    if reverify is not None:
        row["reverify"] = _reverified(sample(path, reverify or build["kept"]), jobs)
    if leak:
        row["leak"] = [asdict(own) for own in leak_test(stream_ir_groups(path))]
    return row


def _reverified(groups: Iterator[dict], jobs: int | None) -> dict:
    count, members, faults, named = 0, 0, Counter(), []
    started, spent = time.monotonic(), _children_cpu_s()
    verdicts = reverify_rows(groups, jobs)
    with closing(verdicts):
        for row, fault in tqdm(verdicts, desc="reverify", unit="group"):
            count += 1
            members += len(row["winners"]) + len(row["losers"])
            if fault:
                faults[fault.split(":")[0]] += 1
                named.append(f"{row['group_id']}: {fault}"[:300])
    wall, cpu = time.monotonic() - started, _children_cpu_s() - spent
    return {
        "groups": count, "members": members, "reproduce": count - faults.total(), "faults": dict(faults),
        "named": named[:20], "wall_s": round(wall, 1), "cpu_s": round(cpu, 1),
    }  # fmt: skip


def _children_cpu_s() -> float:
    """Of the workers that ended, which all have when a check is over."""
    times = os.times()
    return times.children_user + times.children_system


def sample(path: Path, count: int, seed: int = 0) -> Iterator[dict]:
    """``count`` rows of a file, each as likely as any other, in the file's order; the file is read twice."""
    total = sum(1 for _ in read_rows(path))
    chosen = set(random.Random(seed).sample(range(total), min(count, total)))
    return (row for number, (_, row) in enumerate(read_rows(path)) if number in chosen)


if __name__ == "__main__":
    sys.exit(main())
