"""What is wrong with the row of an IR group: ``Kind: field: reason``. Structure only; nothing is run.

Loading asks for what every reader needs, and that whatever else stands there is of its type (``structure``). A file
to be published or trusted holds everything the schema has, and it fits together (``completeness``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from oorl.data.ref_scores import check_ref_scores

SCHEMA = "oorl.ir_group/1"
FEWEST = {"winners": 2, "losers": 1}
GRADES = ("hard", "mid", "easy")
TYPE_NAMES = {str: "text", int: "a whole number", float: "a number", list: "a list", dict: "an object"}

_GROUP = {
    "group_id": str, "source": dict, "signature": dict, "inputs": dict, "toolchain": dict, "naming": str,
    "winners": list, "losers": list, "split": str, "dedup_cluster": str,
}  # fmt: skip
_SOURCE = {"language": str, "code": str, "entry": str, "sha256": str, "licence": str, "origin": str}
_INPUTS = {"generator_version": int, "n": int, "n_ub_dropped": int, "args": list, "expected": list}
_TOOLCHAIN = {"frontend": str, "optimizer": str, "llvm": str, "target": str, "cpu": str}
_MEMBER = {"id": str, "ir": str, "n_insts": int, "alpha_sha": str}
_MEMBERS = {
    "winners": {**_MEMBER, "base": str, "pipeline": list, "check": dict},
    "losers": {
        **_MEMBER, "parent": str, "operators": list, "site": int, "style": str, "reopt_pipeline": list,
        "witness": dict, "kill_rate": float, "distance_parent": float, "distance_nearest": float, "bin": str,
    },
}  # fmt: skip
_WITNESS = {"input": int, "kind": str, "expected": dict, "got": dict}
_NEEDED = {  # by every reader
    "": {"group_id", "source", "signature", "inputs", "toolchain", "naming", "winners", "losers"},
    "source.": {"language", "code", "entry"},
    "member": {"id", "ir"},
}
_MAY_BE_EMPTY = {"split", "dedup_cluster", "origin", "licence"}


def structure(row: Mapping[str, Any]) -> None:
    """Raise ValueError (``Kind: field: reason``) unless the row can be read as a group."""
    if row.get("schema") != SCHEMA:
        raise ValueError(f"SchemaVersion: schema: {_shown(row.get('schema'))} is not {SCHEMA!r}")
    _typed(row, _GROUP, "", _NEEDED[""])
    _typed(row["source"], _SOURCE, "source.", _NEEDED["source."])
    _typed(row["inputs"], _INPUTS, "inputs.", ())
    _typed(row["toolchain"], _TOOLCHAIN, "toolchain.", ())
    check_ref_scores(row.get("ref_scores", {}))
    _whole_text(row)
    ids: dict[str, str] = {}
    texts: dict[str, str] = {}
    for side, fewest in FEWEST.items():
        if len(row[side]) < fewest:
            kind = "TooFewWinners" if side == "winners" else "NoLosers"
            raise ValueError(f"{kind}: {side}: {len(row[side])} of them; a group needs at least {fewest}")
        for index, member in enumerate(row[side]):
            place = f"{side}[{index}]"
            if not isinstance(member, dict):
                raise ValueError(f"WrongType: {place}: expected an object, found {_shown(member)}")
            _member(member, side, place)
            _distinct(ids, member["id"], f"{place}.id", "DuplicateId")
            overlap = not texts.get(member["ir"], side).startswith(side)
            _distinct(texts, member["ir"], f"{place}.ir", "WinnerLoserOverlap" if overlap else "DuplicateIR")


def completeness(row: Mapping[str, Any]) -> None:
    """Raise ValueError unless a row of sound structure has every field of the schema, and they fit together."""
    _typed(row, _GROUP, "", _GROUP)
    if not row["source"].get("licence"):
        raise ValueError("LicenceMissing: source.licence: give the SPDX name of the sources' licence, or 'unknown'")
    _typed(row["source"], _SOURCE, "source.", _SOURCE)
    _typed(row["toolchain"], _TOOLCHAIN, "toolchain.", _TOOLCHAIN)
    _inputs(row)
    for side, names in _MEMBERS.items():
        for index, member in enumerate(row[side]):
            if side == "losers" and "witness" not in member:
                raise ValueError(f"WitnessMissing: losers[{index}].witness: nothing shows that it is a loser")
            _typed(member, names, f"{side}[{index}].", names)
    for index, loser in enumerate(row["losers"]):
        _typed(loser["witness"], _WITNESS, f"losers[{index}].witness.", _WITNESS)
        if loser["witness"]["expected"] == loser["witness"]["got"]:
            raise ValueError(f"WitnessMissing: losers[{index}].witness: expected and got are the same")


@dataclass
class Seen:
    """What stands in the rows read so far, to find what may not stand twice; places read ``line 3``, ``file:3``."""

    ids: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)  # by alpha_sha
    clusters: dict[str, tuple[str, str]] = field(default_factory=dict)  # split and place

    def fault(self, row: Mapping[str, Any], ids: bool = True, texts: bool = True) -> str | None:
        """Why the row may not stand beside those before it, or None."""
        group_id, cluster, split = row["group_id"], row.get("dedup_cluster"), row.get("split", "train")
        if ids and group_id in self.ids:
            return f"DuplicateId: group_id: {group_id!r} stands on {self.ids[group_id]} too; make it unique"
        if cluster and self.clusters.get(cluster, (split,))[0] != split:
            other, place = self.clusters[cluster]
            return f"SplitLeak: dedup_cluster: split {split!r} has the program that stands in {other!r} on {place}"
        for member in self._members(row) if texts else ():
            if place := self.texts.get(member["alpha_sha"]):
                return f"DuplicateIR: {member['id']}.ir: stands on {place} too"
        return None

    def add(self, row: Mapping[str, Any], place: str, texts: bool = True) -> None:
        self.ids[row["group_id"]] = place
        if row.get("dedup_cluster"):
            self.clusters.setdefault(row["dedup_cluster"], (row.get("split", "train"), place))
        if texts:
            self.texts.update((member["alpha_sha"], place) for member in self._members(row))

    @staticmethod
    def _members(row: Mapping[str, Any]) -> list[dict]:
        return [member for side in FEWEST for member in row[side] if member.get("alpha_sha")]


def _member(member: dict, side: str, place: str) -> None:
    _typed(member, _MEMBERS[side], f"{place}.", _NEEDED["member"])
    if side == "losers":
        if isinstance(member.get("witness"), dict):
            _typed(member["witness"], _WITNESS, f"{place}.witness.", ())
        if not 0 < member.get("kill_rate", 1) <= 1:
            raise ValueError(f"WrongValue: {place}.kill_rate: {member['kill_rate']} is not above 0 and at most 1")
        if member.get("bin", GRADES[0]) not in GRADES:
            raise ValueError(f"WrongValue: {place}.bin: {_shown(member['bin'])} is none of {', '.join(GRADES)}")
        for name in ("distance_parent", "distance_nearest"):
            if not 0 <= member.get(name, 0) <= 1:
                raise ValueError(f"WrongValue: {place}.{name}: {member[name]} is not between 0 and 1")


def _inputs(row: Mapping[str, Any]) -> None:
    """That the signature parses, that the arguments fit it, and that lengths and witnesses' indices agree."""
    # oorl.ir reads groups through this package: the two cannot load each other at once.
    from oorl.ir.layout import arguments_from_json
    from oorl.ir.signature import CSignature

    inputs = row["inputs"]
    _typed(inputs, _INPUTS, "inputs.", _INPUTS)
    lengths = {inputs["n"], len(inputs["args"]), len(inputs["expected"])}
    if len(lengths) > 1 or not inputs["n"]:
        counts = f"n {inputs['n']}, {len(inputs['args'])} args, {len(inputs['expected'])} expected"
        raise ValueError(f"WrongValue: inputs: {counts}; all three are the number of inputs, at least 1")
    try:
        signature = CSignature.from_json(row["signature"])
        for arguments in inputs["args"]:
            arguments_from_json(signature, arguments)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as err:
        raise ValueError(f"SignatureMismatch: {err}"[:400]) from err
    for index, outcome in enumerate(inputs["expected"]):
        if not isinstance(outcome, dict):
            raise ValueError(f"WrongType: inputs.expected[{index}]: expected an object, found {_shown(outcome)}")
    for index, loser in enumerate(row["losers"]):
        witness = loser.get("witness")
        if isinstance(witness, dict) and not 0 <= witness.get("input", 0) < inputs["n"]:
            raise ValueError(
                f"WrongValue: losers[{index}].witness.input: {witness['input']} is none of the {inputs['n']} inputs"
            )


def _typed(row: Mapping[str, Any], types: Mapping[str, type], prefix: str, needed: Any) -> None:
    """Raise unless the needed fields are there, and all that are there are of their types."""
    for name, kind in types.items():
        if name not in row:
            if name in needed:
                raise ValueError(f"MissingField: {prefix}{name}: expected {TYPE_NAMES[kind]}, found nothing")
            continue
        value = row[name]
        right = isinstance(value, (int, float) if kind is float else kind) and not isinstance(value, bool)
        if not right or (kind is float and not math.isfinite(value)):
            raise ValueError(f"WrongType: {prefix}{name}: expected {TYPE_NAMES[kind]}, found {_shown(value)}")
        if kind is str and not value and name not in _MAY_BE_EMPTY:
            raise ValueError(f"MissingField: {prefix}{name}: expected {TYPE_NAMES[kind]}, found none")


def _distinct(seen: dict[str, str], key: str, place: str, kind: str) -> None:
    if key in seen:
        raise ValueError(f"{kind}: {place}: the same stands in {seen[key]}")
    seen[key] = place


def _whole_text(row: Mapping[str, Any]) -> None:
    """Raise unless all text is made of whole code points: no file holds a lone surrogate."""
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as err:
        raise ValueError(f"WrongType: a text holds a lone surrogate, {_shown(err.object[err.start])}") from err
    except RecursionError as err:
        raise ValueError("WrongType: its values are nested too deeply") from err


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."
