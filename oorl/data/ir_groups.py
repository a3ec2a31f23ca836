"""IR groups, schema ``oorl.ir_group/1``: a function, LLVM IRs equivalent to it (winners), and others (losers)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from oorl.data.group_checks import SCHEMA, Seen, structure
from oorl.data.rows import read_rows, write_rows
from oorl.errors import UserError

__all__ = ["SCHEMA", "IRGroup", "group_from_json", "read_ir_groups", "stream_ir_groups", "write_ir_groups"]


@dataclass(frozen=True)
class IRGroup:
    """One verified group; winners and losers are the schema's objects, each with at least ``id`` and ``ir``."""

    group_id: str
    source: dict  # language, code, entry, sha256, licence, origin
    signature: dict  # {"ret": type, "params": [{"kind", "type", ...}]} and, where there is one, "contract": text
    inputs: dict  # seed, generator_version, n, n_ub_dropped, args, expected
    toolchain: dict  # frontend, optimizer, llvm, target, cpu
    naming: str
    winners: tuple[dict, ...]
    losers: tuple[dict, ...]
    split: str = "train"
    dedup_cluster: str = ""
    # key of the reference -> {member id: {"score": its log-prob, "tokens": digest of the token ids that had it}}
    ref_scores: dict = field(default_factory=dict)

    def to_json(self) -> dict:
        row = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {"schema": SCHEMA, **row, "winners": list(self.winners), "losers": list(self.losers)}


def group_from_json(row: dict) -> IRGroup:
    """Build an IRGroup from one row; ValueError reads ``Kind: field: reason``. Checks structure; nothing is run."""
    structure(row)
    names = set(IRGroup.__dataclass_fields__) - {"winners", "losers"}
    return IRGroup(
        **{name: row[name] for name in names if name in row}, winners=tuple(row["winners"]), losers=tuple(row["losers"])
    )


def read_ir_groups(path: str | Path) -> list[IRGroup]:
    """Read a file of groups (JSONL, ``.jsonl.gz`` or Parquet); UserError names file, line, field and reason."""
    return list(stream_ir_groups(path))


def stream_ir_groups(path: str | Path) -> Iterator[IRGroup]:
    """``read_ir_groups`` one by one, for files larger than memory."""
    number, seen = 0, Seen()
    for number, row in read_rows(path):
        try:
            group = group_from_json(row)
        except ValueError as err:
            raise UserError(f"{path}:{number}: {err}") from err
        if fault := seen.fault(row, texts=False):
            raise UserError(f"{path}:{number}: {fault}")
        seen.add(row, f"line {number}", texts=False)
        yield group
    if not number:
        raise UserError(f"{path}: holds no groups; make some with `oorl build-ir --generate N --out {path}`")


def write_ir_groups(path: str | Path, groups: Iterable[IRGroup]) -> int:
    """Write groups (JSONL, ``.jsonl.gz`` or Parquet), whole or not at all; returns the count."""
    return write_rows(path, (group.to_json() for group in groups))
