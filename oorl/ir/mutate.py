"""Mutation operators: edits of an IR text that are likely, not certain, to change what the function computes.

Whether they do is decided by running; what LLVM's parser or verifier rejects is discarded. Each operator reads one
instruction and yields edits of it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator

from oorl.ir.listing import BINARY, FLAGS, NAME, Edit, Instruction, Listing

_SCALAR = r"(?:i\d+|double|float)"
_OPERAND = rf"(?:{NAME}|-?\d+|true|false|-?\d\.\d+e[+-]\d+|0x[0-9A-F]+)"
_FLOATING = re.compile(r"(?<=[ ,])-?\d\.\d+e[+-]\d+")  # others are written as bits
_INTEGER = re.compile(r"(?<=[ \[])-?\d+(?=[,\s\])]|$)(?! x )")
BINARY_TEXT = re.compile(rf"({'|'.join(BINARY)}) ({FLAGS})({_SCALAR}) ({_OPERAND}), ({_OPERAND})$")
COMPARE_TEXT = re.compile(
    rf"(icmp|fcmp) ({FLAGS})([a-z]+) (i\d+|double|float|ptr) ({_OPERAND}|null), ({_OPERAND}|null)$"
)
_BRANCH = re.compile(rf"br i1 (\S+), label ({NAME}), label ({NAME})$")
_SELECT = re.compile(rf"(select {FLAGS}i1 {_OPERAND}), (\S+ \S+), (\S+ \S+)$")
INCOMING = re.compile(rf"\[ (\S+), ({NAME}) \]")

_NEGATED = {
    "eq": "ne",
    "slt": "sge",
    "sgt": "sle",
    "ult": "uge",
    "ugt": "ule",
    "oeq": "une",
    "olt": "uge",
    "ogt": "ule",
    "ole": "ugt",
    "oge": "ult",
}
_NEGATED |= {b: a for a, b in _NEGATED.items()}
_BOUNDARY = {"slt": "sle", "sgt": "sge", "ult": "ule", "ugt": "uge", "olt": "ole", "ogt": "oge"}
_BOUNDARY |= {b: a for a, b in _BOUNDARY.items()}
_BINARY_SWAPS = {
    "add": ("sub", "xor"), "sub": ("add",), "mul": ("add", "shl"), "sdiv": ("udiv", "srem"), "udiv": ("sdiv", "urem"),
    "srem": ("urem", "sdiv"), "urem": ("srem", "udiv"), "and": ("or", "xor"), "or": ("and", "xor"),
    "xor": ("or", "and"), "fadd": ("fsub", "fmul"), "fsub": ("fadd",), "fmul": ("fadd", "fdiv"), "fdiv": ("fmul",),
}  # fmt: skip
_SAME_FLAGS = ({"add", "sub", "mul", "shl"}, {"sdiv", "udiv", "lshr", "ashr"}, {"fadd", "fsub", "fmul", "fdiv"})
_NOT_COMMUTATIVE = frozenset("sub sdiv udiv srem urem shl lshr ashr fsub fdiv frem".split())
_MIN_MAX = {"smax": "smin", "smin": "smax", "umax": "umin", "umin": "umax"}

Operator = Callable[[Listing, Instruction], Iterator[Edit]]


def branch_swap(_: Listing, at: Instruction) -> Iterator[Edit]:
    """Exchange the successors of a conditional branch."""
    if found := _BRANCH.match(at.text):
        yield Edit("branch_swap", at.line, f"  br i1 {found[1]}, label {found[3]}, label {found[2]}")


def constant_condition(_: Listing, at: Instruction) -> Iterator[Edit]:
    """Take the same successor always."""
    if found := _BRANCH.match(at.text):
        for value in ("true", "false"):
            yield Edit("constant_condition", at.line, f"  br i1 {value}, label {found[2]}, label {found[3]}")


def predicate_negate(_: Listing, at: Instruction) -> Iterator[Edit]:
    """Compare for the opposite."""
    yield from _predicate("predicate_negate", at, _NEGATED.get)


def predicate_boundary(_: Listing, at: Instruction) -> Iterator[Edit]:
    """Let equality change sides: < to <=."""
    yield from _predicate("predicate_boundary", at, _BOUNDARY.get)


def predicate_signedness(_: Listing, at: Instruction) -> Iterator[Edit]:
    """Compare signed values as unsigned, or the reverse."""
    other = {"s": "u", "u": "s"}
    yield from _predicate(
        "predicate_signedness",
        at,
        lambda p: other.get(p[0], "?") + p[1:] if p[1:] in ("lt", "le", "gt", "ge") else None,
    )


def _predicate(operator: str, at: Instruction, change: Callable[[str], str | None]) -> Iterator[Edit]:
    found = COMPARE_TEXT.match(at.text)
    if found and (predicate := change(found[3])) and (found[1] == "icmp" or predicate[0] in "ou"):
        if found[1] == "fcmp" and operator == "predicate_signedness":
            return
        # samesign is a promise about the old predicate's operands; it goes with it
        yield Edit(operator, at.line, at.with_text(f"{found[1]} {predicate} {found[4]} {found[5]}, {found[6]}"))


def extension_kind(_: Listing, at: Instruction) -> Iterator[Edit]:
    """Extend with the sign instead of zeros, or the reverse."""
    if found := re.match(r"(zext|sext) (?:nneg )?(.*)$", at.text):
        yield Edit("extension_kind", at.line, at.with_text(f"{'sext' if found[1] == 'zext' else 'zext'} {found[2]}"))


def shift_kind(_: Listing, at: Instruction) -> Iterator[Edit]:
    """Shift with the sign instead of zeros, or in the other direction."""
    if (found := BINARY_TEXT.match(at.text)) and found[1] in ("shl", "lshr", "ashr"):
        other = {"shl": "lshr", "lshr": "ashr", "ashr": "lshr"}[found[1]]
        yield Edit("shift_kind", at.line, at.with_text(f"{other} {found[3]} {found[4]}, {found[5]}"))


def operand_swap(_: Listing, at: Instruction) -> Iterator[Edit]:
    """Exchange the operands where their order matters."""
    if (found := BINARY_TEXT.match(at.text)) and found[1] in _NOT_COMMUTATIVE and found[4] != found[5]:
        yield Edit("operand_swap", at.line, at.with_text(f"{found[1]} {found[2]}{found[3]} {found[5]}, {found[4]}"))
    elif (found := COMPARE_TEXT.match(at.text)) and found[3] not in ("eq", "ne", "oeq", "une", "ord", "uno"):
        yield Edit(
            "operand_swap", at.line, at.with_text(f"{found[1]} {found[2]}{found[3]} {found[4]} {found[6]}, {found[5]}")
        )


def binary_swap(_: Listing, at: Instruction) -> Iterator[Edit]:
    """Another arithmetic operation on the same operands; flags that it may carry stay: their absence would show."""
    if found := BINARY_TEXT.match(at.text):
        for other in _BINARY_SWAPS.get(found[1], ()):
            if other == "shl" and re.fullmatch(r"-?\d+", found[5]) and not _shifts(int(found[5]), found[3][1:]):
                continue
            flags = found[2] if any({found[1], other} <= family for family in _SAME_FLAGS) else ""
            yield Edit("binary_swap", at.line, at.with_text(f"{other} {flags}{found[3]} {found[4]}, {found[5]}"))


def minmax_swap(_: Listing, at: Instruction) -> Iterator[Edit]:
    """Minimum for maximum."""
    if found := re.search(r"@llvm\.([su](?:min|max))\.i", at.text):
        # A declaration is needed beside it; LLVM knows its own intrinsics and the text declares both.
        yield Edit(
            "minmax_swap", at.line, at.with_text(at.text.replace(f"@llvm.{found[1]}.", f"@llvm.{_MIN_MAX[found[1]]}."))
        )


def constant_step(_: Listing, at: Instruction) -> Iterator[Edit]:
    """A constant of arithmetic, a comparison, a return, a select, a store or a call, one off."""
    if at.opcode in (*BINARY, "icmp", "ret", "select", "store", "call"):
        yield from _constants("constant_step", at, lambda value: (value + 1, value - 1))


def constant_sign(_: Listing, at: Instruction) -> Iterator[Edit]:
    """A constant with the other sign."""
    if at.opcode in (*BINARY, "icmp", "ret", "select", "store", "call"):
        yield from _constants("constant_sign", at, lambda value: (-value,) if value else ())


def gep_index(_: Listing, at: Instruction) -> Iterator[Edit]:
    """A constant index one off."""
    if at.opcode == "getelementptr":
        yield from _constants("gep_index", at, lambda value: (value + 1, value - 1))


def switch_case(_: Listing, at: Instruction) -> Iterator[Edit]:
    """A case's value one higher (switch cases stand on lines of their own)."""
    if found := re.match(rf"(i\d+) (-?\d+), label ({NAME})$", at.text):
        yield Edit("switch_case", at.line, f"    {found[1]} {int(found[2]) + 1}, label {found[3]}")


def _constants(operator: str, at: Instruction, change: Callable[[int], tuple[int, ...]]) -> Iterator[Edit]:
    shift = re.match(rf"(?:shl|lshr|ashr) {FLAGS}i(\d+) ", at.text)
    for found in _INTEGER.finditer(at.text):
        for value in change(int(found[0])):
            if shift and found.end() == len(at.text) and not _shifts(value, shift[1]):
                continue
            yield Edit(operator, at.line, at.with_text(at.text[: found.start()] + str(value) + at.text[found.end() :]))


def _shifts(amount: int, width: str) -> bool:
    """Whether a shift by so much has a value; else its code takes whatever lies in a register."""
    return 0 <= amount < int(width)


def phi_constant(_: Listing, at: Instruction) -> Iterator[Edit]:
    """A constant that a phi takes, one off."""
    if at.opcode == "phi" and re.match(r"phi i(?!1 )", at.text):
        for found in INCOMING.finditer(at.text):
            if re.fullmatch(r"-?\d+", found[1]):
                for value in (int(found[1]) + 1, int(found[1]) - 1):
                    yield Edit(
                        "phi_constant",
                        at.line,
                        at.with_text(at.text[: found.start(1)] + str(value) + at.text[found.end(1) :]),
                    )


def phi_swap(_: Listing, at: Instruction) -> Iterator[Edit]:
    """Exchange the values a phi takes from its first two predecessors."""
    if at.opcode == "phi" and len(found := list(INCOMING.finditer(at.text))) >= 2 and found[0][1] != found[1][1]:
        first, second = found[0], found[1]
        text = (
            at.text[: first.start(1)]
            + second[1]
            + at.text[first.end(1) : second.start(1)]
            + first[1]
            + at.text[second.end(1) :]
        )
        yield Edit("phi_swap", at.line, at.with_text(text))


def operand_reuse(listing: Listing, at: Instruction) -> Iterator[Edit]:
    """Read another, earlier value of the same type."""
    if at.opcode in ("br", "switch", "phi"):
        return
    for found in re.finditer(NAME, at.text):
        for other in _earlier(listing, at, listing.types.get(found[0])):
            if other != found[0]:
                yield Edit(
                    "operand_reuse", at.line, at.with_text(at.text[: found.start()] + other + at.text[found.end() :])
                )


def drop_instruction(listing: Listing, at: Instruction) -> Iterator[Edit]:
    """Leave an instruction out and forward one of its operands of the same type."""
    if at.result and at.opcode not in ("phi", "alloca", "load") and at.type:
        for operand in dict.fromkeys(re.findall(NAME, at.text)):
            if listing.types.get(operand) == at.type:
                yield Edit("drop_instruction", at.line, None, (at.result, operand))


def drop_store(_: Listing, at: Instruction) -> Iterator[Edit]:
    """Leave a store out."""
    if at.opcode == "store":
        yield Edit("drop_store", at.line, None)


def wrong_return(listing: Listing, at: Instruction) -> Iterator[Edit]:
    """Return another value of the same type."""
    if found := re.match(rf"ret ({_SCALAR}) (\S+)$", at.text):
        for other in _earlier(listing, at, found[1]):
            if other != found[2]:
                yield Edit("wrong_return", at.line, f"  ret {found[1]} {other}")


def select_swap(_: Listing, at: Instruction) -> Iterator[Edit]:
    """Exchange the arms of a select."""
    if found := _SELECT.match(at.text):
        yield Edit("select_swap", at.line, at.with_text(f"{found[1]}, {found[3]}, {found[2]}"))


def narrowing(_: Listing, at: Instruction) -> Iterator[Edit]:
    """Keep the lower half of a result only."""
    if found := BINARY_TEXT.match(at.text):
        half = {"i64": "i32", "i32": "i16"}.get(found[3])
        if half and at.result:
            lines = (
                f"  {at.result}.wide = {at.text}",
                f"  {at.result}.half = trunc {found[3]} {at.result}.wide to {half}",
                f"  {at.result} = sext {half} {at.result}.half to {found[3]}",
            )
            yield Edit("narrowing", at.line, "\n".join(lines))


def branch_condition(listing: Listing, at: Instruction) -> Iterator[Edit]:
    """Branch on another, earlier truth."""
    if found := _BRANCH.match(at.text):
        for other in _earlier(listing, at, "i1"):
            if other != found[1]:
                yield Edit("branch_condition", at.line, f"  br i1 {other}, label {found[2]}, label {found[3]}")


def float_constant(_: Listing, at: Instruction) -> Iterator[Edit]:
    """A floating-point constant one off, or with the other sign."""
    for found in _FLOATING.finditer(at.text):
        value = float(found[0])
        for other in (value + 1.0, -value):
            if other != value:
                bits = struct.unpack("<Q", struct.pack("<d", other))[0]
                text = f"{at.text[: found.start()]}0x{bits:016X}{at.text[found.end() :]}"
                yield Edit("float_constant", at.line, at.with_text(text))


def reorder_memory(listing: Listing, at: Instruction) -> Iterator[Edit]:
    """Exchange a store and the load or store that follows it."""
    if at.opcode == "store":
        behind = next((i for i in listing.instructions if i.line == at.line + 1), None)
        if behind and behind.opcode in ("load", "store"):
            lines = (listing.lines[behind.line], listing.lines[at.line])
            yield Edit("reorder_memory", at.line, "\n".join(lines), lines=2)


def _earlier(listing: Listing, at: Instruction, kind: str | None, most: int = 6) -> list[str]:
    """The latest values of a type defined above an instruction (whether they dominate it, the verifier says)."""
    if kind is None:
        return []
    above = {i.result for i in listing.instructions if i.line < at.line}
    defined = {i.result for i in listing.instructions if i.result}
    return [name for name, own in listing.types.items() if own == kind and (name in above or name not in defined)][
        -most:
    ]


OPERATORS: tuple[Operator, ...] = (
    branch_swap, constant_condition, predicate_negate, predicate_boundary, predicate_signedness, extension_kind,
    shift_kind, operand_swap, binary_swap, minmax_swap, constant_step, constant_sign, gep_index, switch_case,
    phi_constant, phi_swap, operand_reuse, drop_instruction, drop_store, wrong_return, select_swap,
    narrowing, branch_condition, float_constant, reorder_memory,
)  # fmt: skip


def edits_of(listing: Listing, operators: tuple[Operator, ...] = OPERATORS) -> dict[str, list[Edit]]:
    """Every edit of a text, by operator; operators without a site in it are absent."""
    found: dict[str, list[Edit]] = {}
    for operator in operators:
        edits = [edit for at in listing.instructions for edit in operator(listing, at)]
        if edits:
            found[operator.__name__] = edits
    return found
