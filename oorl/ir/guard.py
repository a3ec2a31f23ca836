"""A copy of an IR text that does the same and gives away what must not decide a result.

Every block takes one unit from a tank and traps when it is empty: whether a call ends does not depend on the machine
or its load. Every local variable lies between pads, and both are filled before use: a value that is read without
having been written, or from beside where it was written, follows the fill and not what happened to lie there.
"""

from __future__ import annotations

import re

PAD = 64  # bytes on either side of a local variable; keeps any alignment
FILL_GLOBAL, TANK_GLOBAL = "oorl_fill", "oorl_tank"

_LABEL = re.compile(r'(?:[\w.$-]+|"[^"]*"):')
_ALLOCA = re.compile(r'  (%(?:[\w.$-]+|"[^"]*")) = alloca (.*)$')
_SUPPORT = f"""
@{FILL_GLOBAL} = global i8 0
@{TANK_GLOBAL} = global ptr null
define internal void @oorl_take() noinline {{
  %tank = load ptr, ptr @{TANK_GLOBAL}
  %left = load i64, ptr %tank
  %less = add i64 %left, -1
  store i64 %less, ptr %tank
  %empty = icmp slt i64 %less, 0
  br i1 %empty, label %stop, label %go
stop:
  call void @llvm.trap()
  unreachable
go:
  ret void
}}
"""
_INTRINSICS = {
    "@llvm.trap": "declare void @llvm.trap()\n",
    "@llvm.memset.p0.i64": "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)\n",
}


def guarded(text: str) -> str:
    """The guarded copy of a cleaned text; before a call, ``@oorl_fill`` holds the fill and ``@oorl_tank`` points to the
    blocks that may still be run.
    """
    out: list[str] = []
    at_start = False  # of a block, where only phis may stand before the guard
    locals_here = 0
    for line in text.splitlines():
        if line.startswith("define"):
            at_start = line.rstrip().endswith("{")
        elif _LABEL.match(line):
            at_start = True
        elif at_start and line.startswith("  ") and " = phi " not in line:
            out.append("  call void @oorl_take()")
            at_start = False
        if (found := _ALLOCA.match(line)) and (lines := _padded(found[1], found[2], locals_here)):
            out += lines
            locals_here += 1
        else:
            out.append(line)
    declared = set(re.findall(r"^declare .*?(@[\w.$]+)\(", text, re.M))
    missing = "".join(line for name, line in _INTRINSICS.items() if name not in declared)
    return "\n".join(out) + "\n" + _SUPPORT + missing


def _padded(name: str, description: str, index: int) -> list[str] | None:
    """Lines for a local of fixed size between pads, everything filled; None when its size is known at run time only."""
    kind = _first_type(description)
    if re.match(r", i\d+ ", description[len(kind) :]):
        return None
    own = f"%oorl.local{index}"
    whole = f"{{ [{PAD} x i8], {kind}, [{PAD} x i8] }}"
    size = f"ptrtoint (ptr getelementptr ({whole}, ptr null, i64 1) to i64)"
    return [
        f"  {own} = alloca {whole}, align {PAD}" if "<" in kind else f"  {own} = alloca {whole}",
        f"  {own}.fill = load i8, ptr @{FILL_GLOBAL}",
        f"  call void @llvm.memset.p0.i64(ptr {own}, i8 {own}.fill, i64 {size}, i1 false)",
        f"  {name} = getelementptr {whole}, ptr {own}, i32 0, i32 1",
    ]


def _first_type(description: str) -> str:
    """The type at the beginning of ``[4 x { i8, i32 }], align 16``."""
    depth = 0
    for position, char in enumerate(description):
        depth += {"[": 1, "{": 1, "<": 1, "]": -1, "}": -1, ">": -1}.get(char, 0)
        if char == "," and depth == 0:
            return description[:position]
    return description
