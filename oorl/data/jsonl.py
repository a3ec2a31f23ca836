"""JSON lines: read with file and line in every error, written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from oorl.errors import UserError


def read_jsonl(path: str | Path) -> Iterator[tuple[int, dict]]:
    """Yield ``(line number, object)`` for every non-blank line; UserError names file, line and what is wrong."""
    path = Path(path)
    try:
        handle = path.open(
            "rb"
        )  # decoded line by line: a text file is decoded in blocks and loses the line of an error
    except OSError as err:
        raise UserError(f"cannot read {path}: {err.strerror}; give the path of an existing JSONL file") from err
    with handle:
        for number, line in enumerate(handle, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8"))
            except UnicodeDecodeError as err:
                raise UserError(f"{path}:{number}: not UTF-8 ({err.reason}); save the file as UTF-8") from err
            except (ValueError, RecursionError) as err:
                raise UserError(f"{path}:{number}: not valid JSON ({err}); every line must be one JSON object") from err
            if not isinstance(row, dict):
                raise UserError(f"{path}:{number}: a {type(row).__name__}, not a JSON object; every line must be one")
            yield number, row


def write_jsonl(path: str | Path, rows: Iterable[dict]) -> int:
    """Write rows to ``path`` through a sibling file renamed at the end, and return their count."""
    path = Path(path)
    partial = path.with_name(path.name + ".incomplete")
    count = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8") as handle:
            for row in rows:
                handle.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")
                count += 1
        os.replace(partial, path)
    except OSError as err:
        raise UserError(f"cannot write {path}: {err.strerror}; nothing that was there before has changed") from err
    return count
