"""``oorl data tokens`` and ``oorl data reference``: IR groups under a tokenizer or a model, loaded when asked for."""

from __future__ import annotations

import argparse
import sys

from oorl.config import GepoConfig
from oorl.errors import UsageError

TEMPLATES = ("auto", "chat", "plain")
ACTIONS = ("tokens", "reference")


def add_arguments(actions: argparse._SubParsersAction) -> None:
    """Declare the two actions and their arguments."""
    tokens = actions.add_parser("tokens", help="count the tokens of IR groups, and apply a length budget to them")
    _add_common(tokens, "members of more tokens, their prompt included, are dropped (default %(default)s)")
    tokens.add_argument("--tokenizer", required=True, metavar="DIR", help="directory of a tokenizer, or of its model")
    tokens.add_argument("--out", metavar="KEPT.jsonl", help="write the groups that the budget leaves")
    reference = actions.add_parser("reference", help="score IR groups under the model that training will start from")
    _add_common(reference, "members of more tokens, their prompt included, are not scored (default %(default)s)")
    reference.add_argument("--model", required=True, metavar="DIR", help="the reference: training's model.path")
    reference.add_argument("--out", metavar="SCORED.jsonl", help="where they go (default: into the file itself)")
    reference.add_argument(
        "--length-normalize", action="store_true", help="mean instead of sum, for gepo.length_normalize"
    )
    reference.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="cuda scores in bfloat16, cpu in float32; choose the one training runs on (default: cuda if there is one)",
    )


def run(args: argparse.Namespace) -> int:
    """Measure or score; returns 0."""
    if args.max_tokens < 2:
        raise UsageError(f"--max-tokens is {args.max_tokens}; it must be at least 2")
    return _tokens(args) if args.action == "tokens" else _reference(args)


def _add_common(parser: argparse.ArgumentParser, budget: str) -> None:
    parser.add_argument("groups", metavar="GROUPS.jsonl", help="groups, schema oorl.ir_group/1")
    parser.add_argument(
        "--template", choices=TEMPLATES, default="auto", help="wording of the prompt (default: as the tokenizer has it)"
    )
    parser.add_argument(
        "--max-tokens", type=int, default=GepoConfig().max_tokens, metavar="N", help=f"gepo.max_tokens: {budget}"
    )


def _tokens(args: argparse.Namespace) -> int:
    from oorl.policy.model import load_tokenizer
    from oorl.policy.prompts import Prompter
    from oorl.policy.token_statistics import measure

    prompter = Prompter(load_tokenizer(args.tokenizer), args.template)
    statistics = measure(args.groups, prompter, args.max_tokens, args.out)
    print(statistics.table())
    if args.out:
        print(f"wrote {args.out}")
    return 0


def _reference(args: argparse.Namespace) -> int:
    from oorl.training.mesh import join_world
    from oorl.training.reference_file import journal_of, score_file

    out = args.out or args.groups
    try:
        with join_world(device=args.device) as world:
            found = score_file(
                args.groups,
                args.model,
                out,
                world,
                template=args.template,
                length_normalize=args.length_normalize,
                max_tokens=args.max_tokens,
            )
    except KeyboardInterrupt:
        print(f"\nscores found so far stand in {journal_of(out)}; the same command goes on", file=sys.stderr)
        raise
    if world.is_main:
        print(found)
    return 0
