"""A copy of an IR text that does the same and gives away what must not decide a result.

Every block takes one unit from a tank and traps when it is empty: whether a call ends does not depend on the machine
or its load. Every variable, local or global, lies between pads. Pads and locals are filled before use: a value that is
read without having been written, or from beside where it was written, follows the fill and not what happened to lie
there.
"""

from __future__ import annotations

import re

PAD = 64  # bytes on either side of a variable; keeps any alignment
FILL_GLOBAL, TANK_GLOBAL = "oorl_fill", "oorl_tank"

_LABEL = re.compile(r'(?:[\w.$-]+|"[^"]*"):')
_GLOBAL = re.compile(r"(@(?!oorl_)[\w.$-]+) = (?:(?:internal|private) )?(?:constant|global) (.*)$")
_ALLOCA = re.compile(r'  (%(?:[\w.$-]+|"[^"]*")) = alloca (.*)$')
_SUPPORT = f"""
@{FILL_GLOBAL} = linkonce_odr global i8 0
@{TANK_GLOBAL} = linkonce_odr global ptr null
define linkonce_odr void @oorl_take() noinline {{
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
    fences: list[str] = []  # lines that fill the pads of the globals, at the start of every function
    text = _with_padded_globals(text, fences)
    out: list[str] = []
    at_start = False  # of a block, where only phis may stand before the guard
    locals_here = 0
    for line in text.splitlines():
        if line.startswith("define"):
            out.append(line)
            at_start, first = line.rstrip().endswith("{"), True
            continue
        if label := _LABEL.match(line):
            at_start = True
        elif at_start and line.startswith("  ") and " = phi " not in line:
            out += ["  call void @oorl_take()", *(fences if first else ())]
            at_start = first = False
        if not label and (found := _ALLOCA.match(line)) and (lines := _padded(found[1], found[2], locals_here)):
            out += lines
            locals_here += 1
        else:
            out.append(line)
    declared = set(re.findall(r"^declare .*?(@[\w.$]+)\(", text, re.M))
    missing = "".join(line for name, line in _INTRINSICS.items() if name not in declared)
    return "\n".join(out) + "\n" + _SUPPORT + missing


def _with_padded_globals(text: str, fences: list[str]) -> str:
    """The text, its globals between pads and read there; ``fences`` gathers the lines that fill the pads."""
    names = []
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if found := _GLOBAL.match(line):
            kind = _type_before(" ", found[2])
            pad = f"[{PAD} x i8]"
            whole, own = f"{{ {pad}, {kind}, {pad} }}", f"@oorl.global{len(names)}"
            value = found[2][len(kind) + 1 :]
            lines[number] = (
                f"{own} = internal global {whole} {{ {pad} zeroinitializer, {kind} {value}, {pad} zeroinitializer }}"
            )
            behind = f"getelementptr ({whole}, ptr {own}, i32 0, i32 2)"
            for place in (own, behind):
                fences.append(f"  call void @llvm.memset.p0.i64(ptr {place}, i8 %oorl.pads, i64 {PAD}, i1 false)")
            names.append((found[1], f"getelementptr ({whole}, ptr {own}, i32 0, i32 1)"))
    if fences:
        fences.insert(0, f"  %oorl.pads = load i8, ptr @{FILL_GLOBAL}")
    text = "\n".join(lines)
    for name, place in names:
        text = re.sub(rf"{re.escape(name)}(?![\w.$-])", place, text)
    return text


def _padded(name: str, description: str, index: int) -> list[str] | None:
    """Lines for a local of fixed size between pads, everything filled; None when its size is known at run time only."""
    kind = _type_before(",", description)
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


def _type_before(end: str, description: str) -> str:
    """The type at the beginning of ``[4 x { i8, i32 }], align 16`` or ``[2 x i16] [i16 3, i16 4]``, up to ``end``."""
    depth = 0
    for position, char in enumerate(description):
        depth += {"[": 1, "{": 1, "<": 1, "]": -1, "}": -1, ">": -1}.get(char, 0)
        if char == end and depth == 0:
            return description[:position]
    return description
