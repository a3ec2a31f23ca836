"""Neutral edits: another text of the same function, one token away.

As winners they keep "close to a sibling" from meaning "loser".
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from oorl.ir.listing import Edit, Instruction, Listing
from oorl.ir.mutate import BINARY_TEXT, COMPARE_TEXT, INCOMING, Operator

_COMMUTATIVE = frozenset("add mul and or xor fadd fmul".split())
_MIRROR = {"slt": "sgt", "sle": "sge", "ult": "ugt", "ule": "uge", "olt": "ogt", "ole": "oge"}
_MIRROR |= {b: a for a, b in _MIRROR.items()} | {same: same for same in ("eq", "ne", "oeq", "une")}


def commute(_: Listing, at: Instruction) -> Iterator[Edit]:
    """Exchange the operands of a commutative operation."""
    if (found := BINARY_TEXT.match(at.text)) and found[1] in _COMMUTATIVE and found[4] != found[5]:
        yield Edit("commute", at.line, at.with_text(f"{found[1]} {found[2]}{found[3]} {found[5]}, {found[4]}"))


def mirror_compare(_: Listing, at: Instruction) -> Iterator[Edit]:
    """Exchange the operands of a comparison and mirror its predicate."""
    if (found := COMPARE_TEXT.match(at.text)) and found[3] in _MIRROR:
        yield Edit(
            "mirror_compare",
            at.line,
            at.with_text(f"{found[1]} {found[2]}{_MIRROR[found[3]]} {found[4]} {found[6]}, {found[5]}"),
        )


def drop_flags(_: Listing, at: Instruction) -> Iterator[Edit]:
    """Forget that an operation does not overflow: fewer promises, the same values."""
    text = re.sub(r"^(\w+) (?:(?:nsw|nuw|nneg|exact|disjoint|samesign|inbounds|nusw) )+", r"\1 ", at.text)
    if text != at.text:
        yield Edit("drop_flags", at.line, at.with_text(text))


def negate_constant(_: Listing, at: Instruction) -> Iterator[Edit]:
    """Subtract a constant instead of adding its negative, or the reverse."""
    if (
        (found := BINARY_TEXT.match(at.text))
        and found[1] in ("add", "sub")
        and re.fullmatch(r"-?\d{1,9}", found[5])
        and found[3] != "i1"
    ):
        other = "sub" if found[1] == "add" else "add"
        yield Edit("negate_constant", at.line, at.with_text(f"{other} {found[3]} {found[4]}, {-int(found[5])}"))


def reorder_phi(_: Listing, at: Instruction) -> Iterator[Edit]:
    """Name a phi's predecessors in another order."""
    if at.opcode == "phi" and len(found := list(INCOMING.finditer(at.text))) >= 2:
        first, second = found[0], found[1]
        text = (
            at.text[: first.start()]
            + second[0]
            + at.text[first.end() : second.start()]
            + first[0]
            + at.text[second.end() :]
        )
        yield Edit("reorder_phi", at.line, at.with_text(text))


NEUTRAL_OPERATORS: tuple[Operator, ...] = (commute, mirror_compare, drop_flags, negate_constant, reorder_phi)
