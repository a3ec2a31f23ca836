"""The Parquet mirror of JSON lines: the same rows in columns, and back without a loss.

Arrow's columns hold values of one type, and arguments are of many. So text stays text, and whatever else a row holds
stands as JSON text; of a group's source, winners and losers the fields that a reader looks for have columns of their
own, and ``json`` beside them holds the rest. ``rest`` is the JSON of fields that the schema does not know.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oorl.data.jsonl import dumps
from oorl.errors import UserError

if TYPE_CHECKING:
    import pyarrow

ROWS_AT_A_TIME = 256  # of a row group: some megabytes of groups
TEXT, JSON = "text", "json"
# By schema, in the order of its fields: text, JSON, or an object (in a list: objects) by the fields that are columns.
COLUMNS: dict[str, dict[str, Any]] = {
    "oorl.ir_group/1": {
        "schema": TEXT, "group_id": TEXT, "source": ("language", "code", "entry"), "signature": JSON, "inputs": JSON,
        "toolchain": JSON, "naming": TEXT, "winners": ["id", "ir"], "losers": ["id", "ir"], "split": TEXT,
        "dedup_cluster": TEXT, "ref_scores": JSON,
    },
    "oorl.translation/1": {
        "schema": TEXT, "task_id": TEXT, "origin": JSON, "source_lang": TEXT, "source_code": TEXT,
        "target_lang": TEXT, "target_decl": TEXT, "entry": TEXT, "mode": TEXT, "signature": JSON, "tests": JSON,
        "comparator": JSON, "limits": JSON, "prompt_template": TEXT,
    },
}  # fmt: skip


def read_parquet(path: str | Path) -> Iterator[tuple[int, dict]]:
    """Yield ``(row number from 1, object)`` for every row, a few at a time; UserError names file and row."""
    arrow = _arrow()
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            schema = _schema_of(path, file.schema_arrow)
            batches = file.iter_batches(batch_size=ROWS_AT_A_TIME)
            for number, row in enumerate((row for batch in batches for row in batch.to_pylist()), 1):
                try:
                    yield number, _row(row, COLUMNS[schema])
                except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as err:
                    raise UserError(f"{path}:{number}: a column holds no JSON of its field ({err})") from err
    except arrow.ArrowException as err:
        raise UserError(f"{path}: not a whole Parquet file ({str(err).splitlines()[0]}); write it again") from err
    except OSError as err:
        raise UserError(f"cannot read {path}: {err.strerror or err}; give the path of an existing file") from err


def write_parquet(path: str | Path, rows: Iterable[dict]) -> int:
    """Write rows of one schema through a sibling file renamed at the end, and return their count."""
    arrow = _arrow()
    from pyarrow import parquet

    path = Path(path)
    partial = path.with_name(path.name + ".incomplete")
    rows = iter(rows)
    count, schema = 0, None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        first = next(rows, None)
        if first is None:
            raise UserError(f"{path}: there are no rows to write; a Parquet file needs the schema of its first")
        schema = first.get("schema")
        if schema not in COLUMNS:
            raise UserError(f"{path}: rows of schema {schema!r} have no columns; known are {', '.join(COLUMNS)}")
        arrow_schema = arrow.schema([(name, _type(kind)) for name, kind in (COLUMNS[schema] | {"rest": JSON}).items()])
        rows = itertools.chain([first], rows)
        with parquet.ParquetWriter(partial, arrow_schema, compression="zstd") as writer:
            while chunk := list(itertools.islice(rows, ROWS_AT_A_TIME)):
                columns = [_columns(row, schema, f"{path}: row {count + k}") for k, row in enumerate(chunk, 1)]
                writer.write_table(arrow.Table.from_pylist(columns, arrow_schema))
                count += len(chunk)
        os.replace(partial, path)
    except OSError as err:
        raise UserError(f"cannot write {path}: {err.strerror}; nothing that was there before has changed") from err
    return count


def _arrow() -> pyarrow:
    try:
        import pyarrow
    except ModuleNotFoundError as err:
        raise UserError(
            'reading and writing Parquet needs pyarrow, which is not installed; run `pip install "oorl-kernels[train]"`'
        ) from err
    return pyarrow


def _schema_of(path: str | Path, found: pyarrow.Schema) -> str:
    for schema, columns in COLUMNS.items():
        if found.names == [*columns, "rest"]:
            return schema
    raise UserError(
        f"{path}: its columns ({', '.join(found.names)[:200]}) are not those of {' or '.join(COLUMNS)}; "
        "`oorl data convert` writes such files"
    )


def _type(kind: Any) -> pyarrow.DataType:
    arrow = _arrow()
    if isinstance(kind, str):
        return arrow.string()
    fields = arrow.struct([(name, arrow.string()) for name in (*kind, "json")])
    return arrow.list_(fields) if isinstance(kind, list) else fields


def _columns(row: dict, schema: str, place: str) -> dict:
    """A row as Arrow takes it; a field that is missing is null."""
    if row.get("schema") != schema:
        raise UserError(f"{place}: schema {row.get('schema')!r} in a file of {schema}; convert the two apart")
    out: dict[str, Any] = {}
    for name, kind in COLUMNS[schema].items():
        if name not in row:
            continue
        value = row[name]
        try:
            if kind == TEXT:
                out[name] = _text(value)
            elif kind == JSON:
                out[name] = dumps(value)
            elif isinstance(kind, list):
                out[name] = [_object(item, kind) for item in value]
            else:
                out[name] = _object(value, kind)
        except (AttributeError, KeyError, TypeError) as err:
            raise UserError(f"{place}: {name}: not what {schema} says ({err}); `oorl data check` names all") from err
    if rest := {name: value for name, value in row.items() if name not in COLUMNS[schema]}:
        out["rest"] = dumps(rest)
    return out


def _object(value: dict, names: Iterable[str]) -> dict:
    rest = {name: part for name, part in value.items() if name not in names}
    return {name: _text(value[name]) for name in names} | {"json": dumps(rest)}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} in the place of text")
    return value


def _row(columns: dict, kinds: dict[str, Any]) -> dict:
    row: dict[str, Any] = {}
    for name, kind in kinds.items():
        value = columns[name]
        if value is None:
            continue
        if kind == TEXT:
            row[name] = value
        elif kind == JSON:
            row[name] = json.loads(value)
        elif isinstance(kind, list):
            row[name] = [_whole(item) for item in value]
        else:
            row[name] = _whole(value)
    return row | json.loads(columns["rest"] or "{}")


def _whole(item: dict) -> dict:
    rest = json.loads(item.pop("json"))
    return item | rest
