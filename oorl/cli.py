"""The ``oorl`` command: one function a sub-command, and a person's mistakes told in one sentence."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from oorl import __version__
from oorl.errors import UsageError, UserError

# Each module has add_arguments(parser) and run(args) -> exit status; it is imported only when its command is asked for.
COMMANDS = {
    "quickstart": (
        "oorl.quickstart.command",
        "learn from scratch on this machine: data, warm-up, OORL, evaluation, plots",
    ),
    "train": ("oorl.training.command", "train a model from a recipe"),
    "score": ("oorl.reward.command", "run completions against their unit tests"),
    "evaluate": ("oorl.evaluation.command", "pass@k of a model on problems, by language pair"),
    "build-ir": ("oorl.ir.command", "build verified groups of equivalent and inequivalent LLVM IR"),
    "data": ("oorl.data.command", "problems and IR groups: generate, check, count tokens, score under a reference"),
    "doctor": ("oorl.doctor", "what this machine can do, and what is missing"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    argv = list(sys.argv[1:] if argv is None else argv)
    parser = _parser(argv)
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help()
        return 2
    try:
        return importlib.import_module(COMMANDS[args.command][0]).run(args)
    except KeyboardInterrupt:
        print("\ninterrupted; what was written so far is whole", file=sys.stderr)
        return 130
    except UserError as err:
        if args.debug:
            raise
        return _explain(args.command, err, 2 if isinstance(err, UsageError) else 1)
    except ModuleNotFoundError as err:
        if args.debug or (err.name or "").startswith("oorl"):
            raise
        extra = 'install what it needs with: pip install "oorl-kernels[eval]"'
        return _explain(args.command, f"the Python package {err.name} is missing; {extra}", 1)


def _explain(command: str, reason: object, status: int) -> int:
    print(f"oorl {command}: {reason}", file=sys.stderr)
    return status


def _parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="oorl",
        description="OORL: on-policy RL with group equivalent preferences for code models (arXiv 2505.12723)",
    )
    parser.add_argument("--version", action="version", version=f"oorl-kernels {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    asked = next((word for word in argv if not word.startswith("-")), None)
    for name, (module, summary) in COMMANDS.items():
        sub = subparsers.add_parser(name, help=summary, description=summary)
        sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
        if name == asked:
            importlib.import_module(module).add_arguments(sub)
    return parser


if __name__ == "__main__":
    sys.exit(main())
