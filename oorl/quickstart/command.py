"""``oorl quickstart``: the whole of OORL on one machine, from random weights."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", metavar="DIR", help="run directory (default runs/quickstart-SEED); again: go on there")
    parser.add_argument("--seed", type=int, default=0, help="of data, weights and sampling (default 0)")
    parser.add_argument("--smoke", action="store_true", help="a tiny run of every stage in two minutes; learns little")
    parser.add_argument(
        "--arm",
        choices=("oorl", "rl", "gepo", "permuted"),
        default="oorl",
        help="both signals (default), unit tests alone, IR groups alone, or a control with permuted rewards",
    )
    parser.add_argument(
        "--base", metavar="DIR", help="take data, warm-up and first evaluation from this run of the same seed and sizes"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.FIELD=VALUE",
        dest="overrides",
        help="change the OORL stage's recipe (quickstart.toml); may be given again",
    )


def run(args: argparse.Namespace) -> int:
    """Run the stages, print the outcome, and say where everything lies."""
    # torch and transformers load only now, so that --help is quick
    from oorl.quickstart.report import summary
    from oorl.quickstart.run import run_quickstart
    from oorl.quickstart.settings import FULL, SMOKE

    suffix = ("" if args.arm == "oorl" else f"-{args.arm}") + ("-smoke" if args.smoke else "")
    root = Path(args.out or f"runs/quickstart-{args.seed}{suffix}")
    base = Path(args.base) if args.base else None
    report = run_quickstart(root, SMOKE if args.smoke else FULL, args.seed, args.arm, tuple(args.overrides), base)
    print(f"\n{summary(report)}\n\n{root}/report.png  report.json  metrics.jsonl  model/")
    return 0
