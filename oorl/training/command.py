"""``oorl train RECIPE.toml``; on many ranks ``torchrun --nproc-per-node N -m oorl train RECIPE.toml``."""

from __future__ import annotations

import argparse
import os
import shlex
import sys

from oorl.config import load_config, override


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", help="TOML file, or the name of a packaged recipe such as cpu_tiny")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.FIELD=VALUE", help="override a setting; may be repeated"
    )
    parser.add_argument("--out", metavar="DIR", help="run directory (training.out_dir)")
    parser.add_argument(
        "--resume", action="store_true", help="continue the run in the run directory from its latest checkpoint"
    )


def run(args: argparse.Namespace) -> int:
    config = load_config(args.recipe, args.set)
    if args.out is not None:
        config = override(config, [f"training.out_dir={args.out}"])
    from oorl.training.loop import train  # only now: a mistyped recipe is refused before torch is loaded

    out_dir = config.training.out_dir
    try:
        result = train(config, resume=args.resume)
    except KeyboardInterrupt:
        settings = [part for item in args.set for part in ("--set", item)]
        again = shlex.join(["oorl", "train", args.recipe, *settings, "--out", out_dir, "--resume"])
        print(
            f"\ninterrupted: the step under way is abandoned, the last checkpoint is whole; go on with\n  {again}",
            file=sys.stderr,
        )
        return 130
    if int(os.environ.get("RANK", 0)) == 0:
        reward = f", reward {result.last['reward']:.3f}" if "reward" in result.last else ""
        print(f"{result.steps} steps done{reward}; model in {result.model_dir}, metrics in {result.metrics_path}")
    return 0
