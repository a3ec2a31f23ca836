"""A copy of an IR text that does the same, and traps where the text goes beyond what a result may rest on.

Every block takes one unit from a tank and traps when it is empty: whether a call ends does not depend on the machine
or its load. Every access to memory is checked first (``memory.c``): it must lie in a buffer, a local or a variable of
the text, and what it reads must have been written. A result that rests on anything else may come out the same however
memory is filled, and otherwise elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

PAD = 64  # bytes on either side of a variable; memory.c knows it, and it keeps any alignment

_LABEL = re.compile(r'(?:[\w.$-]+|"[^"]*"):')
_GLOBAL = re.compile(r"(@(?!oorl_)[\w.$-]+) = (?:(?:internal|private) )?(constant|global) (.*)$")
_ALLOCA = re.compile(r'  (%(?:[\w.$-]+|"[^"]*")) = alloca (.*)$')
_COUNT = re.compile(r", (i\d+) ([^,]+)")
_LOAD = re.compile(r"  \S+ = load (?:volatile )?(.*)$")
_STORE = re.compile(r"  store (?:volatile )?(.*)$")
_MEMORY_CALL = re.compile(r"  (?:tail )?call void @llvm\.mem(set|cpy|move)\.[\w.]+\((.*)\)")
_FOREIGN = re.compile(r"^declare [^@]*@(?!llvm\.)| byval\(", re.M)

_VARIABLES = "ptr @oorl.variables"
_ROW = "{ ptr, i64, i64 }"
_SUPPORT = """declare void @oorl_take()
declare i64 @oorl_enter()
declare void @oorl_leave(i64)
declare ptr @oorl_local(i64)
declare void @oorl_read(ptr, i64, ptr)
declare void @oorl_write(ptr, i64, ptr)
declare void @oorl_copy(ptr, ptr, i64, ptr)
"""
_TRAP = "declare void @llvm.trap()\n"
_BYTES = {"ptr": 8, "float": 4, "double": 8}


def guarded(text: str) -> str:
    """The guarded copy of a cleaned text, to be linked with ``memory.c``."""
    text, rows = _with_padded_variables(text)
    has_locals = " = alloca " in text
    out: list[str] = []
    at_start = first = False  # of a block, where only phis may stand before the guard; of a function
    for number, line in enumerate(text.splitlines()):
        if line.startswith("define"):
            at_start = first = True
        elif _LABEL.match(line):
            at_start = True
        elif line.startswith("  ") and not (at_start and " = phi " in line):
            if at_start:
                out.append("  call void @oorl_take()")
            if first and has_locals:
                out.append("  %oorl.mark = call i64 @oorl_enter()")
            at_start = first = False
            out += _guards(line, has_locals)
            if found := _ALLOCA.match(line):
                out += _local(found[1], found[2], number)
                continue
        out.append(line)
    table = f"@oorl.variables = internal constant {{ i64, i64, [{len(rows)} x {_ROW}] }} {{ i64 {len(rows)}, "
    # Code outside of the text has memory of its own; arguments may lie on the stack.
    table += f"i64 {int(not _FOREIGN.search(text))}, [{len(rows)} x {_ROW}] [{', '.join(rows)}] }}\n"
    trap = "" if _TRAP in text else _TRAP
    return "\n".join(out) + "\n" + table + _SUPPORT + trap


def _guards(line: str, has_locals: bool) -> Iterator[str]:
    """What must come before an instruction."""
    if found := _LOAD.match(line):
        kind, place = _parts(found[1])[:2]
        if place != "ptr @oorl_ub":
            yield f"  call void @oorl_read({place}, i64 {_size(kind)}, {_VARIABLES})"
    elif found := _STORE.match(line):
        value, place = _parts(found[1])[:2]
        if place != "ptr @oorl_ub":
            yield f"  call void @oorl_write({place}, i64 {_size(_first(' ', value))}, {_VARIABLES})"
    elif found := _MEMORY_CALL.match(line):
        into, other, size = _parts(found[2])[:3]
        if found[1] == "set":
            yield f"  call void @oorl_write({into}, {size}, {_VARIABLES})"
        else:
            yield f"  call void @oorl_copy({into}, {other}, {size}, {_VARIABLES})"
    elif has_locals and line.startswith("  ret "):
        yield "  call void @oorl_leave(i64 %oorl.mark)"
    elif line == "  unreachable":
        yield "  call void @llvm.trap()"


def _local(name: str, description: str, number: int) -> Iterator[str]:
    """Lines that make a local in the region."""
    kind = _first(",", description)
    size = _size(kind)
    if count := _COUNT.match(description[len(kind) :]):
        if count[1] != "i64":
            yield f"  %oorl.count{number} = zext {count[1]} {count[2]} to i64"
        yield f"  %oorl.size{number} = mul i64 {size}, {count[2] if count[1] == 'i64' else f'%oorl.count{number}'}"
        size = f"%oorl.size{number}"
    yield f"  {name} = call ptr @oorl_local(i64 {size})"


def _with_padded_variables(text: str) -> tuple[str, list[str]]:
    """The text, its variables between pads and used there, and a row for each of them."""
    names, rows = [], []
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if found := _GLOBAL.match(line):
            kind = _first(" ", found[3])
            pad = f"[{PAD} x i8]"
            whole, own = f"{{ {pad}, {kind}, {pad} }}", f"@oorl.global{len(names)}"
            value = found[3][len(kind) + 1 :]
            lines[number] = (
                f"{own} = internal global {whole} {{ {pad} zeroinitializer, {kind} {value}, {pad} zeroinitializer }}"
            )
            place = f"getelementptr ({whole}, ptr {own}, i32 0, i32 1)"
            names.append((found[1], place))
            rows.append(f"{_ROW} {{ ptr {place}, i64 {_size(kind)}, i64 {int(found[2] == 'constant')} }}")
    text = "\n".join(lines) + "\n"
    for name, place in names:
        text = re.sub(rf"{re.escape(name)}(?![\w.$-])", place, text)
    return text, rows


def _size(kind: str) -> str:
    """The bytes that a value of a type takes in memory, as an operand."""
    if bits := re.fullmatch(r"i(\d+)", kind):
        return str(-(-int(bits[1]) // 8))
    if kind in _BYTES:
        return str(_BYTES[kind])
    vector = re.fullmatch(r"<(\d+) x (\w+)>", kind)
    if vector and vector[2] != "i1":  # those lie close together
        return str(int(vector[1]) * int(_size(vector[2])))
    return f"ptrtoint (ptr getelementptr ({kind}, ptr null, i64 1) to i64)"


def _parts(operands: str) -> list[str]:
    """Operands, which commas separate."""
    parts = []
    while operands:
        parts.append(_first(",", operands))
        operands = operands[len(parts[-1]) + 1 :].lstrip()
    return parts


def _first(end: str, text: str) -> str:
    """What stands before ``end``, outside of all brackets: of ``[4 x { i8, i32 }], align 16`` the type."""
    depth = 0
    for position, char in enumerate(text):
        depth += {"[": 1, "{": 1, "<": 1, "(": 1, "]": -1, "}": -1, ">": -1, ")": -1}.get(char, 0)
        if char == end and depth == 0:
            return text[:position]
    return text
