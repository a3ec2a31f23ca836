"""Files of rows by their ending: ``.jsonl`` and ``.jsonl.gz`` (any other: JSON lines), or ``.parquet``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from oorl.data.jsonl import parse_jsonl, read_jsonl, write_jsonl
from oorl.data.parquet import read_parquet, write_parquet


def read_rows(path: str | Path) -> Iterator[tuple[int, dict]]:
    """Yield ``(line or row number, object)``, a few at a time; UserError names file, line and what is wrong."""
    return read_parquet(path) if _is_parquet(path) else read_jsonl(path)


def parse_rows(path: str | Path) -> Iterator[tuple[int, dict | str]]:
    """``read_rows`` that goes on after a bad line: in the place of its object stands what is wrong with it."""
    return read_parquet(path) if _is_parquet(path) else parse_jsonl(path)


def write_rows(path: str | Path, rows: Iterable[dict]) -> int:
    """Write rows, whole or not at all; returns their count."""
    return write_parquet(path, rows) if _is_parquet(path) else write_jsonl(path, rows)


def _is_parquet(path: str | Path) -> bool:
    return Path(path).suffix == ".parquet"
