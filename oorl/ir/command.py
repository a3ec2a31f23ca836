"""``oorl build-ir``: verified IR groups from files, the library of functions, musl, SLTrans, or the generators."""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from oorl.data.ir_groups import stream_ir_groups
from oorl.errors import UsageError, UserError
from oorl.ir.config import IRConfig
from oorl.ir.csource import Source, sources_of_file
from oorl.ir.figure import draw_if_possible
from oorl.ir.files import build_file
from oorl.ir.generator import generated_sources
from oorl.ir.sltrans import LICENCE, is_sltrans, open_files
from oorl.ir.toolchain import require_toolchain

DEFAULTS = IRConfig()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument(
        "sources",
        nargs="*",
        metavar="SOURCE",
        help="C, C++ or Rust files, and SLTrans's (.parquet, .jsonl); every function with a simple signature or a "
        "contract is taken, and every program in C or C++",
    )
    parser.add_argument(
        "--library", action="store_true", help="the functions that come with the package, beside or instead of files"
    )
    parser.add_argument(
        "--musl", action="store_true", help="functions of the C library musl inside the ziglang wheel (MIT)"
    )
    parser.add_argument(
        "--generate", type=int, metavar="N", help="instead of files: generated functions, until N groups are kept"
    )
    parser.add_argument("--out", metavar="GROUPS.jsonl", help="where the groups go")
    parser.add_argument(
        "--seed", type=int, default=DEFAULTS.seed, help="draws functions, inputs and mutants (default %(default)s)"
    )
    parser.add_argument(
        "--split",
        choices=("train", "test"),
        default=DEFAULTS.split,
        help="recorded in every group (default %(default)s)",
    )
    parser.add_argument(
        "--max-chars", type=int, default=DEFAULTS.max_chars, help="longest IR text (default %(default)s)"
    )
    parser.add_argument(
        "--max-instructions",
        type=int,
        default=DEFAULTS.max_instructions,
        help="most instructions (default %(default)s)",
    )
    parser.add_argument(
        "--max-winners", type=int, default=DEFAULTS.max_winners, help="at most, at least 4 (default %(default)s)"
    )
    parser.add_argument(
        "--max-losers", type=int, default=DEFAULTS.max_losers, help="at most, at least 4 (default %(default)s)"
    )
    parser.add_argument(
        "--inputs", type=int, default=DEFAULTS.inputs, help="argument lists each member is run on (default %(default)s)"
    )
    parser.add_argument(
        "--licence", help=f"SPDX name of the sources' licence, recorded (default unknown; of SLTrans {LICENCE})"
    )
    parser.add_argument(
        "--language", choices=("c", "cpp", "rust"), help="of SLTrans files (default: by the folder, C, C++ or Rust)"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="read N rows of SLTrans files, not all of them")
    parser.add_argument(
        "--exclude", action="append", default=[], metavar="GROUPS.jsonl", help="leave out programs that this file has"
    )
    parser.add_argument("--jobs", type=int, help="worker processes (default: one per core)")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted build")


def run(args: argparse.Namespace) -> int:
    """Build; 0 when groups were written."""
    if (args.generate is None) == (not (args.sources or args.library or args.musl)):
        raise UsageError("give C files or --generate N, one of the two (--library and --musl count as files)")
    if not args.out:
        raise UsageError("say where the groups go: --out GROUPS.jsonl")
    if args.out.endswith((".gz", ".parquet")):
        raise UsageError(
            f"--out {args.out}: a build grows as JSON lines; give a name that ends in .jsonl, and then "
            f"`oorl data convert` makes {Path(args.out).name}"
        )
    for name in ("generate", "jobs", "limit"):
        if (value := getattr(args, name)) is not None and value < 1:
            raise UsageError(f"--{name} is {value}; it must be at least 1")
    if (args.language or args.limit) and not any(map(is_sltrans, args.sources)):
        raise UsageError("--language and --limit are for SLTrans files (.parquet, .jsonl), and none is given")
    require_toolchain()
    from oorl.ir.frontend import check_compilers  # which loads LLVM

    check_compilers(rust=any(path.endswith(".rs") for path in args.sources))
    config = IRConfig(
        seed=args.seed,
        split=args.split,
        max_chars=args.max_chars,
        max_instructions=args.max_instructions,
        max_winners=args.max_winners,
        max_losers=args.max_losers,
        inputs=args.inputs,
    )
    reading: Counter = Counter()
    sources, what = _sources(args, reading)
    exclude = (group for path in args.exclude for group in stream_ir_groups(path))
    try:
        statistics = build_file(
            args.out,
            sources,
            config,
            what=what,
            wanted=args.generate,
            jobs=args.jobs,
            resume=args.resume,
            exclude=exclude,
            reading=reading,
        )
    except KeyboardInterrupt:
        print(
            f"\nwhat is finished stands in {args.out}.incomplete; the same command with --resume goes on",
            file=sys.stderr,
        )
        raise
    print(statistics.table())
    if not statistics.kept:
        raise UserError(
            f"none of {statistics.functions} functions gave a group; {args.out}.stats.json counts the reasons"
        )
    print(f"wrote {args.out} and {args.out}.stats.json")
    print(draw_if_possible(statistics, Path(f"{args.out}.stats.png")))
    return 0


def _sources(args: argparse.Namespace, reading: Counter) -> tuple:
    if args.generate is not None:
        return generated_sources(args.seed), f"generated, seed {args.seed}"
    sources: list[Source] = []
    contents = ""
    for found, refused, digest in _files(args):
        sources += found
        contents += digest
        for name, reason in refused:
            print(f"{name}: left out, {reason}", file=sys.stderr)
    what = f"files {contents} {args.licence or 'unknown'}"
    if rows := [path for path in args.sources if is_sltrans(path)]:
        streamed, name = open_files(rows, args.language, args.licence or LICENCE, args.limit, reading)
        return itertools.chain(sources, streamed), f"{what} {name}"
    if not sources:
        raise UserError(
            f"no function in {', '.join(args.sources)} has a signature of scalars and pointers with lengths"
        )
    return sources, what


def _files(args: argparse.Namespace) -> Iterator[tuple[list[Source], list[tuple[str, str]], str]]:
    """Functions, those left out with reasons, and a digest, of every origin asked for."""
    for path in itertools.filterfalse(is_sltrans, args.sources):
        if path.endswith(".rs") and not shutil.which("rustc"):
            raise UserError(f"{path} needs rustc, which is not on PATH; install it (Debian: `apt install rustc`)")
        yield *sources_of_file(path, args.licence or "unknown"), hashlib.sha256(Path(path).read_bytes()).hexdigest()
    if args.library:
        from oorl.ir.library import library_sources

        found, refused = library_sources(rust=shutil.which("rustc") is not None)
        yield found, refused, _digest(found)
    if args.musl:
        from tqdm import tqdm

        from oorl.ir.musl import musl_files, musl_sources, notice

        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        Path(f"{args.out}.musl-COPYRIGHT").write_text(notice(), encoding="utf-8")
        paths = musl_files()
        for found, refused in tqdm(musl_sources(paths), total=len(paths), unit="file", desc="musl"):
            yield found, refused, _digest(found)


def _digest(sources: list[Source]) -> str:
    return hashlib.sha256(json.dumps([source.to_json() for source in sources]).encode()).hexdigest()
