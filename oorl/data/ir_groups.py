"""IR groups, schema ``oorl.ir_group/1``: a function, LLVM IRs equivalent to it (winners), and others (losers)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oorl.data.jsonl import read_jsonl, write_jsonl
from oorl.data.ref_scores import check_ref_scores
from oorl.errors import UserError

SCHEMA = "oorl.ir_group/1"
FEWEST_WINNERS, FEWEST_LOSERS = 2, 1  # of a group: a lone winner has no variance, no loser leaves no pair


@dataclass(frozen=True)
class IRGroup:
    """One verified group; winners and losers are the schema's objects, each with at least ``id`` and ``ir``."""

    group_id: str
    source: dict  # language, code, entry, sha256, licence, origin
    signature: dict  # {"ret": type, "params": [{"kind", "type", ...}]} and, where there is one, "contract": text
    inputs: dict  # seed, generator_version, n, n_ub_dropped
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
    """Build an IRGroup from one row; ValueError reads ``field: reason``. Checks structure only; nothing is run."""
    if row.get("schema") != SCHEMA:
        raise ValueError(f"schema: {row.get('schema')!r} is not {SCHEMA!r}")
    for name in ("group_id", "naming"):
        _expect(row, name, str)
    for name in ("source", "signature", "inputs", "toolchain"):
        _expect(row, name, dict)
    for name in ("code", "entry", "language"):
        _expect(row["source"], name, str, prefix="source.")
    for side, fewest in (("winners", FEWEST_WINNERS), ("losers", FEWEST_LOSERS)):
        members = _expect(row, side, list)
        if len(members) < fewest:
            raise ValueError(f"{side}: {len(members)} of them; a group needs at least {fewest}")
        for index, member in enumerate(members):
            if not isinstance(member, dict):
                raise ValueError(f"{side}[{index}]: not an object")
            for name in ("id", "ir"):
                _expect(member, name, str, prefix=f"{side}[{index}].")
    texts = [member["ir"] for side in ("winners", "losers") for member in row[side]]
    if len(set(texts)) < len(texts):
        raise ValueError("winners, losers: the same IR stands twice in the group")
    check_ref_scores(row.get("ref_scores", {}))
    names = set(IRGroup.__dataclass_fields__) - {"winners", "losers"}
    return IRGroup(
        **{name: row[name] for name in names if name in row}, winners=tuple(row["winners"]), losers=tuple(row["losers"])
    )


def read_ir_groups(path: str | Path) -> list[IRGroup]:
    """Read a JSONL file of groups; UserError names file, line, field and reason."""
    return list(stream_ir_groups(path))


def stream_ir_groups(path: str | Path) -> Iterator[IRGroup]:
    """``read_ir_groups`` one by one, for files larger than memory."""
    number = 0
    for number, row in read_jsonl(path):
        try:
            group = group_from_json(row)
        except ValueError as err:
            raise UserError(f"{path}:{number}: {err}") from err
        yield group
    if not number:
        raise UserError(f"{path}: holds no groups; make some with `oorl build-ir --generate N --out {path}`")


def write_ir_groups(path: str | Path, groups: Iterable[IRGroup]) -> int:
    """Write groups as JSONL, whole or not at all; returns the count."""
    return write_jsonl(path, (group.to_json() for group in groups))


def _expect(row: dict, name: str, kind: type, prefix: str = "") -> Any:
    value = row.get(name)
    if not isinstance(value, kind) or (kind is str and not value):
        raise ValueError(f"{prefix}{name}: expected {kind.__name__}, found {value!r}"[:300])
    return value
