"""``oorl data``: problems from the program generator, a check of files, and IR groups under a tokenizer or a model."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle, islice

from tqdm import tqdm

from oorl.data import model_commands
from oorl.data.ir_groups import SCHEMA as IR_SCHEMA
from oorl.data.ir_groups import group_from_json
from oorl.data.jsonl import read_jsonl
from oorl.data.problems import Problem, problem_from_json, shown, write_problems
from oorl.errors import UsageError, UserError
from oorl.programs import DEFAULT, LANGUAGES, TINY, GeneratorConfig, canonical, generate_program, make_problem, supports
from oorl.reward.languages import LANGUAGES as NAMED  # those that prompts can name
from oorl.reward.task_faults import task_fault

TARGETS = ("python", "cpp", "java", "php", "bash", "javascript")
PRESETS = {"tiny": TINY, "default": DEFAULT}
_SHOWN = 20  # faulty rows printed one by one
_FRUITLESS = 500  # draws in a row without a problem before giving up


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and their arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    generate = actions.add_parser("generate", help="draw random programs and write translation problems")
    generate.add_argument("--count", type=int, required=True, metavar="N", help="problems to write")
    generate.add_argument("--out", required=True, metavar="FILE.jsonl", help="where they go")
    generate.add_argument("--seed", type=int, default=0, help="the same seed gives the same file (default 0)")
    generate.add_argument(
        "--sources", default="python,cpp", metavar="LANGS", help="comma-separated (default python,cpp)"
    )
    generate.add_argument(
        "--targets", default=",".join(TARGETS), metavar="LANGS", help=f"comma-separated (default {','.join(TARGETS)})"
    )
    generate.add_argument(
        "--preset", choices=sorted(PRESETS), default="default", help="how rich the programs are (default: default)"
    )
    generate.add_argument("--tests", type=int, default=8, help="unit tests a problem (default 8)")
    generate.add_argument("--split", default="train", help="recorded in every problem (default train)")
    check = actions.add_parser("check", help="look at every row of a file of problems or IR groups")
    check.add_argument("file", metavar="FILE.jsonl", help="rows of schema oorl.translation/1 or oorl.ir_group/1")
    model_commands.add_arguments(actions)


def run(args: argparse.Namespace) -> int:
    """Do what was asked; 1 when ``check`` refused a row."""
    if args.action in model_commands.ACTIONS:
        return model_commands.run(args)
    return _generate(args) if args.action == "generate" else _check(args.file)


def _generate(args: argparse.Namespace) -> int:
    if args.count < 1 or args.tests < 1:
        raise UsageError("--count and --tests must be at least 1")
    pairs = language_pairs(_languages("--sources", args.sources), _languages("--targets", args.targets))
    counts: Counter[str] = Counter()
    problems = islice(
        generate_problems(PRESETS[args.preset], pairs, args.seed, args.tests, args.split, counts), args.count
    )
    kept = write_problems(args.out, tqdm(problems, total=args.count, desc="problems", unit="", file=sys.stderr))
    drawn = kept + counts.total()
    print(f"{drawn} programs drawn, {kept} problems kept in {args.out}, {counts.total()} refused" + _reasons(counts))
    return 0


def generate_problems(
    config: GeneratorConfig,
    pairs: Sequence[tuple[str, str]],
    seed: int,
    tests: int,
    split: str,
    refused: Counter[str],
) -> Iterator[Problem]:
    """Endless problems, each of another program, the pairs taking turns; ``refused`` counts the rest by reason."""
    seen: set[str] = set()
    own, fruitless = seed * 10_000_000, 0
    for source, target in cycle(pairs):
        while fruitless < _FRUITLESS:
            # The small programs use the division and modulo of their source, the large ones of both families.
            dialect = config.dialect if config.dialect == "mixed" else "python" if source == "python" else "cpp"
            program = generate_program(own, replace(config, dialect=dialect))
            own += 1
            form = canonical(program)
            reason = (
                supports(program, source) or supports(program, target) or ("drawn before" if form in seen else None)
            )
            if reason is None:
                break
            refused[reason] += 1
            fruitless += 1
        else:
            raise UserError(
                f"{fruitless} programs in a row could not become a problem {source} -> {target}; "
                "choose other languages or another preset"
            )
        seen.add(form)
        fruitless = 0
        task_id = f"programs/{split}/{program.seed}/{source}-{target}"
        yield make_problem(program, source, target, task_id=task_id, tests=tests, seed=program.seed, split=split)


def language_pairs(sources: Sequence[str], targets: Sequence[str]) -> list[tuple[str, str]]:
    """Every direction between two different languages."""
    pairs = [(source, target) for source in sources for target in targets if source != target]
    if not pairs:
        raise UsageError(
            f"--sources {','.join(sources)} and --targets {','.join(targets)} leave no pair of two languages"
        )
    return pairs


def _languages(option: str, text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in LANGUAGES:
            raise UsageError(f"{option}: {name!r} is none of {', '.join(LANGUAGES)}")
    return list(dict.fromkeys(names))


def _check(path: str) -> int:
    refused: Counter[str] = Counter()
    kept: Counter[str] = Counter()
    seen: dict[str, int] = {}
    for number, row in read_jsonl(path):
        fault = row_fault(row, seen, number)
        if fault is None:
            kept[
                "IR groups" if row.get("schema") == IR_SCHEMA else f"{row['source_lang']} -> {row['target_lang']}"
            ] += 1
            continue
        refused[fault.split(":")[0]] += 1
        if refused.total() <= _SHOWN:
            print(f"{path}:{number}: {fault}")
    if not seen and not refused:
        raise UserError(f"{path}: holds no rows; make some with `oorl data generate --count N --out {path}`")
    if refused.total() > _SHOWN:
        print(f"... and {refused.total() - _SHOWN} more")
    for name, count in sorted(kept.items()):
        print(f"  {name}: {count}")
    print(f"{kept.total() + refused.total()} rows, {kept.total()} kept, {refused.total()} refused" + _reasons(refused))
    return 1 if refused else 0


def row_fault(row: dict, seen: dict[str, int], number: int) -> str | None:
    """Why a row cannot be used (``field: reason``), or None; ``seen`` maps the ids met so far to their lines."""
    key = "group_id" if row.get("schema") == IR_SCHEMA else "task_id"
    try:
        if key == "group_id":
            group_from_json(row)
        else:
            problem = problem_from_json(row)
            if reason := task_fault(problem):
                return reason
            if problem.source_lang not in NAMED:
                return f"source_lang: {shown(problem.source_lang)} is not one of {', '.join(NAMED)}"
    except ValueError as err:
        return str(err)
    if row[key] in seen:
        return f"{key}: {row[key]!r} stands on line {seen[row[key]]} too; make it unique"
    seen[row[key]] = number
    return None


def _reasons(counts: Counter[str]) -> str:
    return ": " + ", ".join(f"{reason} ({count})" for reason, count in counts.most_common()) if counts else ""
