"""JSON lines, plain or compressed (``.gz``): read with file and line in every error, written whole or not at all."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from oorl.errors import UserError


def read_jsonl(path: str | Path) -> Iterator[tuple[int, dict]]:
    """Yield ``(line number, object)`` for every non-blank line; UserError names file, line and what is wrong."""
    for number, row in parse_jsonl(path):
        if isinstance(row, str):
            raise UserError(f"{path}:{number}: {row}")
        yield number, row


def parse_jsonl(path: str | Path) -> Iterator[tuple[int, dict | str]]:
    """``read_jsonl`` that goes on after a bad line: in the place of its object stands what is wrong with it."""
    path = Path(path)
    try:
        # Decoded line by line: a text file is decoded in blocks and loses the line of an error.
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as handle:
            for number, line in enumerate(handle, 1):
                if line.strip():
                    yield number, _parsed(line)
    except (gzip.BadGzipFile, EOFError, zlib.error) as err:
        raise UserError(f"{path}: not a whole gzip file ({err}); copy or compress it again") from err
    except OSError as err:
        raise UserError(f"cannot read {path}: {err.strerror}; give the path of an existing JSONL file") from err


def write_jsonl(path: str | Path, rows: Iterable[dict]) -> int:
    """Write rows to ``path`` through a sibling file renamed at the end, and return their count."""
    path = Path(path)
    partial = path.with_name(path.name + ".incomplete")
    count = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as raw:
            # Neither name nor time in the header: the same rows give the same bytes.
            out = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if path.suffix == ".gz" else raw
            for row in rows:
                out.write(dumps(row).encode() + b"\n")
                count += 1
            if out is not raw:
                out.close()
        os.replace(partial, path)
    except OSError as err:
        raise UserError(f"cannot write {path}: {err.strerror}; nothing that was there before has changed") from err
    return count


def dumps(value: object) -> str:
    """JSON as our files spell it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _parsed(line: bytes) -> dict | str:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as err:
        return f"not UTF-8 ({err.reason}); save the file as UTF-8"
    except (ValueError, RecursionError) as err:
        return f"not valid JSON ({err}); every line must be one JSON object"
    if not isinstance(row, dict):
        return f"a {type(row).__name__}, not a JSON object; every line must be one"
    return row
