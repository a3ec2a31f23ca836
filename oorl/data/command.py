"""``oorl data``: problems from the program generator; files of problems or IR groups checked, counted, scored."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

from tqdm import tqdm

from oorl.data import model_commands
from oorl.data.check import check_file, reasons
from oorl.data.group_checks import completeness
from oorl.data.ir_groups import group_from_json, stream_ir_groups
from oorl.data.problems import Problem, write_problems
from oorl.data.rows import read_rows, write_rows
from oorl.errors import UsageError, UserError
from oorl.programs import DEFAULT, LANGUAGES, TINY, GeneratorConfig, canonical, generate_program, make_problem, supports

TARGETS = ("python", "cpp", "java", "php", "bash", "javascript")
PRESETS = {"tiny": TINY, "default": DEFAULT}
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
    check.add_argument("file", metavar="FILE", help="rows of schema oorl.translation/1 or oorl.ir_group/1")
    check.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="OTHER",
        help="groups that must share no text with these, and no program across splits",
    )
    check.add_argument("--reverify", action="store_true", help="also run every member of every IR group again")
    check.add_argument("--jobs", type=int, help="worker processes of --reverify (default: one per core)")
    convert = actions.add_parser("convert", help="copy a file into another format; ending: .jsonl, .jsonl.gz, .parquet")
    convert.add_argument("file", metavar="IN", help="rows of schema oorl.translation/1 or oorl.ir_group/1")
    convert.add_argument("out", metavar="OUT", help="the same rows")
    stats = actions.add_parser("stats", help="what a file of IR groups holds: a table, and figures where asked for")
    stats.add_argument("file", metavar="FILE", help="rows of schema oorl.ir_group/1")
    stats.add_argument("--out", metavar="NAME", help="also write NAME.stats.json and NAME.stats.png")
    leak = actions.add_parser("leak", help="whether looks alone tell losers from winners: trees on surface features")
    leak.add_argument("file", metavar="FILE", help="rows of schema oorl.ir_group/1, of 1000 functions or more")
    leak.add_argument("--seed", type=int, default=0, help="draws folds and resamples (default 0)")
    model_commands.add_arguments(actions)


def run(args: argparse.Namespace) -> int:
    """Do one action; 1 when ``check`` refused a row, a group does not reproduce, or looks tell losers apart."""
    if args.action == "generate":
        return _generate(args)
    if args.action in model_commands.ACTIONS:
        return model_commands.run(args)
    if args.action == "stats":
        return _stats(args.file, args.out)
    if args.action == "leak":
        return _leak(args.file, args.seed)
    if args.action == "convert":
        return _convert(args.file, args.out)
    if args.jobs is not None and not (args.reverify and args.jobs >= 1):
        raise UsageError(f"--jobs is {args.jobs}; it must be at least 1, and stand beside --reverify")
    return check_file(args.file, args.against, args.reverify, args.jobs)


def _convert(source: str, out: str) -> int:
    if Path(source).resolve() == Path(out).resolve():
        raise UsageError(f"{out} is the file that is read; give another name")
    rows = (row for _, row in read_rows(source))
    count = write_rows(out, tqdm(rows, desc="rows", unit="", file=sys.stderr))
    print(f"{count} rows written to {out}")
    return 0


def _stats(path: str, out: str | None) -> int:
    from oorl.ir.figure import draw_if_possible
    from oorl.ir.statistics import Statistics

    statistics = Statistics()
    for number, row in tqdm(read_rows(path), desc="groups", unit="", file=sys.stderr):
        try:
            group = group_from_json(row)
            completeness(row)
        except ValueError as err:
            raise UserError(f"{path}:{number}: {err}; `oorl data check {path}` names every fault") from err
        statistics.add(group, None, {}, 0.0)
    if not statistics.kept:
        raise UserError(f"{path}: holds no groups; make some with `oorl build-ir --generate N --out {path}`")
    print(statistics.table())
    if out:
        try:
            statistics.write(Path(f"{out}.stats.json"))
        except OSError as err:
            raise UserError(f"cannot write {out}.stats.json: {err.strerror}") from err
        print(f"wrote {out}.stats.json")
        print(draw_if_possible(statistics, Path(f"{out}.stats.png")))
    return 0


def _leak(path: str, seed: int) -> int:
    from oorl.ir.leak import BOUNDS, leak_test

    groups = tqdm(stream_ir_groups(path), desc="groups", unit="", file=sys.stderr)
    leaks = leak_test(groups, seed)
    print("Losers told from winners by gradient-boosted trees on surface features, functions held out")
    print(f"{'a text is seen':16}{'AUC':>8}{'95% interval':>18}{'pairs ordered right':>22}")
    for leak in leaks:
        interval = f"{leak.low:.3f} to {leak.high:.3f}"
        print(f"{leak.features:16}{leak.auc:8.3f}{interval:>18}{leak.paired:22.3f}")
    if not leaks[0].within_bounds:
        print(f"the interval of the first line leaves {BOUNDS[0]} to {BOUNDS[1]}: looks tell losers from winners")
    return 0 if leaks[0].within_bounds else 1


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
    print(f"{drawn} programs drawn, {kept} problems kept in {args.out}, {counts.total()} refused" + reasons(counts))
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
