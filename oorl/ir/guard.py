"""A copy of an IR text that does the same, and traps where the text goes beyond what a result may rest on.

Every block takes one unit from a tank and traps when it is empty: whether a call ends does not depend on the machine
or its load. Every access to memory is checked first (``memory.c``): it must lie in a buffer, a local or a variable of
the text; what it reads must have been written, and as an address only if it is read as one. For undef and poison stands
what fills memory. A result that rests on any of these may come out the same however often here, otherwise elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

PAD = 64  # bytes on either side of a variable; memory.c knows it, and it keeps any alignment

_LABEL = re.compile(r'(?:[\w.$-]+|"[^"]*"):')
_GLOBAL = re.compile(r"(@(?!oorl_)[\w.$-]+) = (?:(?:internal|private) )?(constant|global) (.*)$")
_ALLOCA = re.compile(r'  (%(?:[\w.$-]+|"[^"]*")) = alloca (.*)$')
_COUNT = re.compile(r", (i\d+) ([^,]+)")
_ORDER = r"(?: syncscope\(.*?\))?(?: (?:unordered|monotonic|acquire|release|acq_rel|seq_cst))*"
_LOAD = re.compile(rf"  \S+ = load (?:atomic )?(?:volatile )?(.*?){_ORDER}(?:, align \d+)?$")
_STORE = re.compile(rf"  store (?:atomic )?(?:volatile )?(.*?){_ORDER}(?:, align \d+)?$")
_EXCHANGE = re.compile(r"  \S+ = (?:cmpxchg (?:weak )?(?:volatile )?|atomicrmw (?:volatile )?\w+ )(.*)$")
_MEMORY_CALL = re.compile(r"  (?:tail )?call void @llvm\.mem(set|cpy|move)\.[\w.]+\((.*)\)")
_SCALAR = r"(i\d+|float|double|ptr)"
# In vectors and structs they stand for parts that nobody reads.
_TYPED_UNDEF = re.compile(rf"<[^<>]*>|{{[^{{}}]*}}|\[[^\[\]]*\]|\b{_SCALAR} (?:undef|poison)\b")
_FIRST_TYPE = re.compile(rf"  \S+ = [\w ]*?\b{_SCALAR} ")
_BARE_UNDEF = re.compile(r"(?<=[,\[] )(?:undef|poison)\b")
_FOREIGN = re.compile(r"^declare [^@]*@(?!llvm\.)| byval\(", re.M)

_VARIABLES = "ptr @oorl.variables"
_ROW = "{ ptr, i64, i64 }"
_SUPPORT = """declare void @oorl_take()
declare i64 @oorl_enter()
declare void @oorl_leave(i64)
declare ptr @oorl_local(i64)
declare i64 @oorl_unwritten()
declare void @oorl_read(ptr, i64, i32, ptr)
declare void @oorl_write(ptr, i64, i32, ptr)
declare void @oorl_copy(ptr, ptr, i64, ptr)
"""
_TRAP = "declare void @llvm.trap()\n"
_BYTES = {"ptr": 8, "float": 4, "double": 8}


def guarded(text: str) -> str:
    """The guarded copy of a cleaned text, to be linked with ``memory.c``."""
    text, rows = _with_padded_variables(text)
    text, at_entry = _with_filled_undef(text)
    if has_locals := " = alloca " in text:
        at_entry.append("  %oorl.mark = call i64 @oorl_enter()")
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
            if first:
                out += at_entry
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
        yield from _check("read", kind, place)
    elif found := _STORE.match(line):
        value, place = _parts(found[1])[:2]
        yield from _check("write", _first(" ", value), place)
    elif found := _EXCHANGE.match(line):
        place, value = _parts(found[1])[:2]
        yield from _check("read", _first(" ", value), place)
        yield from _check("write", _first(" ", value), place)
    elif found := _MEMORY_CALL.match(line):
        into, other, size = _parts(found[2])[:3]
        if found[1] == "set":
            yield f"  call void @oorl_write({into}, {size}, i32 0, {_VARIABLES})"
        else:
            yield f"  call void @oorl_copy({into}, {other}, {size}, {_VARIABLES})"
    elif has_locals and line.startswith("  ret "):
        yield "  call void @oorl_leave(i64 %oorl.mark)"
    elif line == "  unreachable":
        yield "  call void @llvm.trap()"


def _check(access: str, kind: str, place: str) -> Iterator[str]:
    if place != "ptr @oorl_ub":
        address = int("ptr" in kind)
        yield f"  call void @oorl_{access}({place}, i64 {_size(kind)}, i32 {address}, {_VARIABLES})"


def _local(name: str, description: str, number: int) -> Iterator[str]:
    """Lines that make a local in the region."""
    kind = _first(",", description)
    size = _size_with_padding(kind)
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
            rows.append(f"{_ROW} {{ ptr {place}, i64 {_size_with_padding(kind)}, i64 {int(found[2] == 'constant')} }}")
    text = "\n".join(lines) + "\n"
    for name, place in names:
        text = re.sub(rf"{re.escape(name)}(?![\w.$-])", place, text)
    return text, rows


def _with_filled_undef(text: str) -> tuple[str, list[str]]:
    """The text with a value in place of every undef and poison that is a scalar, and the lines that make these."""
    if "undef" not in text and "poison" not in text:
        return text, []
    lines, kinds = text.splitlines(), set()

    def value(kind: str) -> str:
        kinds.add(kind)
        return f"%oorl.unwritten.{kind}"

    for number, line in enumerate(lines):
        if line.startswith("  "):
            line = _TYPED_UNDEF.sub(lambda found: f"{found[1]} {value(found[1])}" if found[1] else found[0], line)
            if kind := _FIRST_TYPE.match(line):
                line = _BARE_UNDEF.sub(lambda _: value(kind[1]), line)  # noqa: B023
            lines[number] = line
    return "\n".join(lines) + "\n", [made for kind in sorted(kinds) for made in _unwritten(kind)]


def _unwritten(kind: str) -> Iterator[str]:
    """Lines that make a value of a type out of what fills memory."""
    own = f"%oorl.unwritten.{kind}"
    yield f"  {own}.bytes = call i64 @oorl_unwritten()"
    if kind == "float":
        yield f"  {own}.bits = trunc i64 {own}.bytes to i32"
        yield f"  {own} = bitcast i32 {own}.bits to float"
    elif kind == "ptr":
        yield f"  {own} = inttoptr i64 {own}.bytes to ptr"
    elif kind in ("double", "i64"):
        yield f"  {own} = bitcast i64 {own}.bytes to {kind}"
    else:
        yield f"  {own} = {'zext' if int(kind[1:]) > 64 else 'trunc'} i64 {own}.bytes to {kind}"


def _size(kind: str) -> str:
    """The bytes that a load or a store of a type touches, as an operand."""
    if bits := re.fullmatch(r"i(\d+)", kind):
        return str(-(-int(bits[1]) // 8))
    if kind in _BYTES:
        return str(_BYTES[kind])
    vector = re.fullmatch(r"<(\d+) x (\w+)>", kind)
    if vector and vector[2] != "i1":  # those lie close together
        return str(int(vector[1]) * int(_size(vector[2])))
    return _size_with_padding(kind)


def _size_with_padding(kind: str) -> str:
    """The bytes from one value of a type to the next in an array, as an operand."""
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
