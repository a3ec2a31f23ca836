"""SLTrans: whole online-judge files, each cut into its pure functions and, in C and C++, its program.

Files are named by path; a row is known by the hash of its ``Source_Code``, for the data set has no identifiers and its
two splits hold the same sources in different orders. ``IR_Original`` is not read: groups are compiled here.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from oorl.errors import UsageError, UserError
from oorl.ir.csource import Source
from oorl.ir.excerpts import excerpts

COLUMN = "Source_Code"
LICENCE = "CC-BY-SA-4.0"
ENDINGS = (".parquet", ".jsonl")
LANGUAGES = {"C": "c", "C++": "cpp", "Rust": "rust"}
MOST_SHOWN = 20  # bad rows that are named; further ones are counted
BATCH_ROWS = 256

_CPP = re.compile(
    r"#\s*include\s*<(?:iostream|bits/stdc\+\+\.h|vector|string|algorithm|map|c(?:stdio|math|string|stdlib))>"
    r"|\busing\s+namespace\s+std\b|\btemplate\s*<|\bstd::"
)
_RUST = re.compile(r"\bfn\s+\w+\s*(?:<[^>]*>)?\s*\([^)]*\)\s*(?:->[^{;]*)?\{")
_C_BODY = re.compile(r"\)\s*(?:const\s*)?\{")


def is_sltrans(path: str) -> bool:
    return path.endswith(ENDINGS)


def language_of(path: str, stated: str | None) -> str:
    """The language of a file: the one stated, or that of a folder on its path; UsageError when neither says it."""
    if stated:
        return stated
    found = [LANGUAGES[part] for part in Path(path).parts if part in LANGUAGES]
    if not found:
        raise UsageError(
            f"{path}: no folder on its path is named after a language ({', '.join(LANGUAGES)}); say it with --language"
        )
    return found[-1]


def open_files(
    paths: Sequence[str], language: str | None, licence: str, limit: int | None, reading: Counter
) -> tuple[Iterator[Source], str]:
    """``sltrans_sources``, and what names the build; UserError at once for a file that cannot serve."""
    digests = []
    for path in paths:
        if language_of(path, language) == "rust" and not shutil.which("rustc"):
            raise UserError(f"{path} needs rustc, which is not on PATH; install it (Debian: `apt install rustc`)")
        check_file(path)
        with open(path, "rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    what = f"sltrans {' '.join(digests)} {language} {limit}"
    return sltrans_sources(paths, language, licence, limit, reading), what


def check_file(path: str) -> None:
    """Raise UserError unless the file can be read, holds rows and has the column."""
    if path.endswith(".parquet"):
        file = _parquet(path)
        if COLUMN not in file.schema_arrow.names:
            names = ", ".join(file.schema_arrow.names)[:200]
            raise UserError(f"{path} has no column {COLUMN} (its columns: {names}); give a Parquet file of SLTrans")
        count = file.metadata.num_rows
    else:
        try:
            with open(path, "rb") as file:
                count = any(line.strip() for line in file)
        except OSError as err:
            raise UserError(f"cannot read {path}: {err.strerror}; give the path of an existing file") from err
    if not count:
        raise UserError(f"{path} holds no rows; give a file of SLTrans, or leave it out")


def sltrans_sources(
    paths: Sequence[str], language: str | None, licence: str, limit: int | None, reading: Counter
) -> Iterator[Source]:
    """Functions and programs of the files' rows, read one after the other and never held.

    ``reading`` counts ``rows``, ``bad``, ``repeated``, and by its kind why a function was left out.
    """
    seen: set[int] = set()
    for path in paths:
        own = language_of(path, language)
        for number, code, fault in texts(path):
            if limit is not None and reading["rows"] >= limit:
                return
            reading["rows"] += 1
            if reason := fault or _fault(code, own):
                _report(f"{path}: row {number}: {reason}", reading)
                continue
            sha = hashlib.sha256(code.encode("utf-8", "surrogatepass")).hexdigest()
            if (key := int(sha[:16], 16)) in seen:
                reading["repeated"] += 1
                continue
            seen.add(key)
            sources, left_out = excerpts(code, own, f"sltrans-{sha[:10]}", licence)
            reading.update(reason.split(":", 1)[0] for reason in left_out)
            origin = f"SLTrans {'/'.join(Path(path).parts[-2:])} row {number}, {COLUMN} sha256 {sha}"
            yield from (replace(source, origin=origin) for source in sources)


def _report(what: str, reading: Counter) -> None:
    reading["bad"] += 1
    if reading["bad"] <= MOST_SHOWN:
        print(what, file=sys.stderr)
    if reading["bad"] == MOST_SHOWN:
        print("further bad rows are counted, not shown", file=sys.stderr)


def _fault(code: object, language: str) -> str | None:
    """What is wrong with a row's field, None for a text in the language."""
    if code is None:
        return f"{COLUMN}: null"
    if not isinstance(code, str):
        return f"{COLUMN}: not text but {type(code).__name__}"
    if not code.strip():
        return f"{COLUMN}: empty"
    if language == "rust":
        return None if _RUST.search(code) else f"{COLUMN}: not Rust, it defines no fn"
    if _RUST.search(code):
        return f"{COLUMN}: not C or C++ but Rust"
    if not _C_BODY.search(code):
        return f"{COLUMN}: not C or C++, it defines no function"
    if language == "c" and (found := _CPP.search(code)):
        return f"{COLUMN}: not C but C++ ({found[0]})"
    return None


def texts(path: str) -> Iterator[tuple[int, object, str | None]]:
    """Row numbers from 1, what stands in ``Source_Code``, and why nothing does."""
    if path.endswith(".jsonl"):
        yield from _json_texts(path)
        return
    number = 0
    try:
        for batch in _parquet(path).iter_batches(BATCH_ROWS, columns=[COLUMN]):
            for value in batch.column(0):
                number += 1
                yield number, value.as_py(), None
    except (OSError, ValueError) as err:  # pyarrow's errors are ValueErrors; a text that is not UTF-8 is one, too
        raise UserError(f"{path} cannot be read after row {number} ({_first_line(err)}); fetch the file again") from err


def _json_texts(path: str) -> Iterator[tuple[int, object, str | None]]:
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as err:
                yield number, None, f"not valid JSON ({err})"[:200]
                continue
            if not isinstance(row, dict):
                yield number, None, f"not a JSON object but {type(row).__name__}"
            else:
                yield number, row.get(COLUMN), None if COLUMN in row else f"{COLUMN}: missing"


def _parquet(path: str):
    try:
        from pyarrow import parquet
    except ImportError as err:
        raise UserError(
            f'reading {path} needs pyarrow, which is not installed; run `pip install "oorl-kernels[train]"`'
        ) from err
    try:
        return parquet.ParquetFile(path)
    except (OSError, ValueError) as err:
        raise UserError(f"cannot read {path} as Parquet ({_first_line(err)}); fetch the file again") from err


def _first_line(err: Exception) -> str:
    return (str(err).strip().splitlines() or [type(err).__name__])[0][:200]
