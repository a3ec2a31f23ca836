"""The command: run or go on with a study, append its rows, print its tables, draw its figure."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from bench import environment, rows
from bench.ir_ranking.report import FILE_NAME, PLOT, draw, study_rows, tables
from bench.ir_ranking.settings import Settings
from bench.ir_ranking.study import Study, run_study
from oorl.errors import UserError

RESULTS = Path(__file__).resolve().parents[1] / "results"
SOURCES = ("bench/ir_ranking", "oorl/training", "oorl/policy", "oorl/quickstart", "oorl/evaluation")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.ir_ranking", description="GEPO against DPO on held-out IR groups of one file."
    )
    parser.add_argument("--groups", type=Path, required=True, help="JSONL of IR groups, as `oorl build-ir` writes it")
    parser.add_argument("--out", type=Path, required=True, help="the study's folder; the same one again: go on there")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default 1)")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="folder of result folders (default bench/results)"
    )
    parser.add_argument("--plot", type=Path, default=PLOT, help="where the figure goes")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    try:
        study = Study(args.out, args.groups, Settings())
        found = study_rows(study, run_study(study, sorted(set(args.seeds))))
    except UserError as err:
        print(f"error: {err}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"stopped; what is finished stands in {args.out}, and the same command goes on", file=sys.stderr)
        return 130
    device = torch.device("cpu")
    surroundings = environment.describe(device) | {"source": environment.source_hash(*SOURCES)}
    found = [surroundings | row for row in found]
    rows.append_rows(args.results / environment.device_folder(device) / FILE_NAME, found)
    print(tables(found))
    draw(found, args.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
