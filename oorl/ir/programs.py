"""Whole programs: ``main`` run on a text as standard input, answering with its output and its exit status.

A process runs a program many times: ``stdio.c`` stands between it and the C library and brings streams, heap and
variables back to their beginning. What should leak from one input to the next all the same shows as an unstable
outcome, for the two memory fills take the inputs in opposite orders.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import re
import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from oorl.ir.execute import CALL_CPU_S, CONTROL_BYTES, Harness
from oorl.ir.frontend import run_front_end
from oorl.ir.layout import FILLS, Outcome
from oorl.ir.llvm import binding, machine, parse
from oorl.ir.signature import PROGRAM
from oorl.ir.stdin import MOST_BYTES, Writer

OUTPUT_BYTES = 2048
GUARD_BYTES = 64
VARIABLE_BYTES = 1 << 20  # all of a program's variables together
MOST_PROGRAM_INPUTS = 32  # a text asks more of a program than an argument list of a function
KILLED = 24  # drawn inputs on which a program may loop for ever or crash before it is given up

_CHANGES = re.compile(r"@\S+ = (?!external |extern_weak )(?:[\w()]+ )*?global ")
_FRAME = struct.Struct("<qQq")
_SHIMMED = "printf scanf fscanf puts putchar getchar gets malloc calloc realloc free exit".split()
_ALIASES = {
    "__isoc99_scanf": "scanf", "__isoc23_scanf": "scanf", "__isoc99_fscanf": "fscanf", "__isoc23_fscanf": "fscanf",
    "getchar_unlocked": "getchar", "putchar_unlocked": "putchar",
}  # fmt: skip
_DRAW = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_long)
_GIVEN = _DRAW()  # nobody draws: the input stands
_RUN = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long, ctypes.c_char_p, ctypes.c_long, _DRAW, ctypes.c_void_p,
    ctypes.c_long, ctypes.c_int, ctypes.c_long, ctypes.c_void_p,
)  # fmt: skip


class _Variable(ctypes.Structure):
    _fields_ = [
        ("at", ctypes.c_void_p), ("size", ctypes.c_size_t), ("initial", ctypes.c_void_p), ("guard", ctypes.c_long)
    ]  # fmt: skip


@dataclass(frozen=True)
class Program:
    """Machine code of a program: where it starts, its variables as they were, and the sanitizer's flag."""

    engine: binding.ExecutionEngine
    main: int
    variables: ctypes.Array
    flag: int | None
    kept: tuple  # what addresses in ``variables`` point to


class ProgramLayout:
    """Frames of runs: exit status, whether undefined behaviour was met, the output's length, the output."""

    signature = PROGRAM
    frame_bytes = _FRAME.size + OUTPUT_BYTES
    unanswered = _FRAME.pack(0, 0, -1) + bytes(OUTPUT_BYTES)

    def outcome(self, frame: bytes) -> Outcome | None:
        """What a frame shows, None when the program wrote more than is kept."""
        status, _, length = _FRAME.unpack(frame[: _FRAME.size])
        if not 0 <= length <= OUTPUT_BYTES:
            return None
        return Outcome(struct.pack("<q", status), (frame[_FRAME.size : _FRAME.size + length],))


class ProgramHarness(Harness):
    """``Harness`` for programs; inputs are texts."""

    def __init__(self, inputs: Sequence[str]) -> None:
        self.layout = ProgramLayout()
        self.inputs = inputs
        self._texts = [text.encode("latin-1") for text in inputs]
        self._engines: dict[tuple[str, int], Program] = {}

    def free_of_undefined_behaviour(self, sanitized: str, restarts: int = KILLED) -> list[int]:
        """Indices of the inputs on which the sanitized program ends, its flag down, the same under either fill."""
        seen = [self._outcomes_that_end(sanitized, fill, restarts) for fill in range(len(FILLS))]
        return [k for k, own in enumerate(zip(*seen, strict=True)) if own[0] is not None and len(set(own)) == 1]

    def _outcomes_that_end(self, sanitized: str, fill: int, restarts: int) -> list[Outcome | None]:
        """By input what the program answers, None where it dies, raises the flag, or writes too much."""
        calls, size = [[(self._compiled(sanitized, 0), fill)]], self.layout.frame_bytes
        with mmap.mmap(-1, CONTROL_BYTES + max(1, len(self.inputs) * size)) as shared:
            shared[CONTROL_BYTES:] = self.layout.unanswered * len(self.inputs) or b"\0"
            todo = self._order(fill)
            while todo and restarts >= 0:
                shared[:CONTROL_BYTES] = bytes(CONTROL_BYTES)
                self._fork(lambda: self._call(calls, range(1), shared, len(self.inputs) * size, todo))  # noqa: B023
                _, done, last = struct.unpack("<QQQ", shared[:24])
                todo = () if done else todo[todo.index(last) + 1 :]
                restarts -= 1
            frames = shared[CONTROL_BYTES : CONTROL_BYTES + len(self.inputs) * size]
        pieces = [frames[k * size : (k + 1) * size] for k in range(len(self.inputs))]
        return [None if piece[8] else self.layout.outcome(piece) for piece in pieces]

    def _order(self, fill: int) -> range:
        """The second fill takes the inputs from the last to the first."""
        return range(len(self.inputs))[:: -1 if fill else 1]

    def written(self, sanitized: str, writers: Sequence[Writer]) -> list[str]:
        """The texts that writers give a program that asks for them; of those on which it never ends, none."""
        program, slot = self._compiled(sanitized, 0), MOST_BYTES + 8
        with mmap.mmap(-1, CONTROL_BYTES + slot * max(1, len(writers))) as shared:
            first = killed = 0
            while first < len(writers) and killed <= KILLED:
                self._fork(lambda: self._write(program, writers, first, shared))  # noqa: B023
                first = struct.unpack("<Q", shared[:8])[0] + 1
                killed += first < len(writers)
            rows = [shared[k : k + slot] for k in range(CONTROL_BYTES, CONTROL_BYTES + slot * len(writers), slot)]
        lengths = [struct.unpack("<Q", row[:8])[0] for row in rows]
        return [row[8 : 8 + length].decode("latin-1") for row, length in zip(rows, lengths, strict=True) if length]

    def _write(self, program: Program, writers: Sequence[Writer], first: int, shared: mmap.mmap) -> None:
        """In the child: run on what each writer answers, and leave its text behind when the program ends."""
        frame = ctypes.create_string_buffer(self.layout.frame_bytes)
        for k in range(first, len(writers)):
            shared[:8] = struct.pack("<Q", k)
            writer = writers[k]

            def answer(asked: bytes | None, into: int, room: int, writer: Writer = writer) -> int:
                text = writer.answer(asked)[:room]
                ctypes.memmove(into, text, len(text))
                return len(text)

            _start(program, b"", 0, frame, _DRAW(answer))
            if text := writer.text():
                at = CONTROL_BYTES + k * (MOST_BYTES + 8)
                shared[at : at + 8 + len(text)] = struct.pack("<Q", len(text)) + text

    def _compiled(self, text: str, codegen: int) -> Program:
        key = (text, codegen)
        if key not in self._engines:
            self._engines[key] = compile_program(text, codegen)
        return self._engines[key]

    def _outcomes(self, frames: bytes, fill: int) -> tuple[Outcome | None, ...]:
        size = self.layout.frame_bytes
        return tuple(self.layout.outcome(frames[k * size : (k + 1) * size]) for k in range(len(self.inputs)))

    def _call(
        self,
        calls: list[list[tuple[Program, int]]],
        todo: range,
        shared: mmap.mmap,
        block: int,
        order: range | None = None,
    ) -> None:
        """In the child, as ``Harness`` does it."""
        address = ctypes.addressof(ctypes.c_char.from_buffer(shared))
        control = ctypes.cast(address, ctypes.POINTER(ctypes.c_uint64))
        for k in todo:
            control[0], control[1] = k, 0
            for r, (program, fill) in enumerate(calls[k]):
                frames = address + CONTROL_BYTES + (k * len(calls[k]) + r) * block
                for i in self._order(fill) if order is None else order:
                    control[2] = i
                    _start(program, self._texts[i], fill, ctypes.c_void_p(frames + i * self.layout.frame_bytes))
            control[1] = 1


def _start(program: Program, text: bytes, fill: int, frame, draw: ctypes._CFuncPtr = _GIVEN) -> None:
    unused_flag = ctypes.c_uint64()
    _runtime().run(
        program.main, program.variables, len(program.variables), text, len(text), draw, frame, OUTPUT_BYTES,
        FILLS[fill], round(CALL_CPU_S * 1e6), program.flag or ctypes.addressof(unused_flag),
    )  # fmt: skip


@dataclass(frozen=True)
class _Runtime:
    engine: binding.ExecutionEngine
    run: ctypes._CFuncPtr
    places: dict[str, int]  # of the functions and streams that programs are given


@functools.cache
def _runtime() -> _Runtime:
    text = run_front_end(Path(__file__).with_name("stdio.c").read_text(encoding="utf-8"), "c", ("b0",))["b0"]
    engine = binding.create_mcjit_compiler(binding.parse_assembly(text), machine(2))
    engine.finalize_object()
    places = {name: engine.get_function_address(f"oorl_{name}") for name in _SHIMMED}
    places |= {name: places[own] for name, own in _ALIASES.items()}
    places |= {name: engine.get_global_value_address(f"oorl_{name}") for name in ("stdin", "stdout", "stderr")}
    return _Runtime(engine, _RUN(engine.get_function_address("oorl_run")), places)


def compile_program(text: str, codegen: int) -> Program:
    """Machine code of a program's text; ValueError when it is not valid IR, or its variables take too much room."""
    module = parse(text)
    size_of = binding.create_target_data(module.data_layout).get_abi_size
    own = [v for v in module.global_variables if _CHANGES.match(str(v)) and v.name != "oorl_ub"]
    sizes = {str(v).partition(" = ")[0]: size_of(v.global_value_type) for v in own}
    if sum(sizes.values()) > VARIABLE_BYTES:
        raise ValueError(
            f"memory: the program's variables take {sum(sizes.values())} bytes, more than {VARIABLE_BYTES}"
        )
    text, guards = _guarded(text, sizes)
    # LLVM, and the JIT's search for symbols, know things about a function called main.
    module = parse(re.sub(r"@main(?=\()", "@oorl_main", text) + _addresses([*sizes, *guards]))
    engine = binding.create_mcjit_compiler(module, machine(codegen))
    for declared in (*module.functions, *module.global_variables):
        if place := declared.is_declaration and _runtime().places.get(declared.name):
            engine.add_global_mapping(declared, place)
    engine.finalize_object()
    places = (ctypes.c_void_p * (len(sizes) + len(guards)))()
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(engine.get_function_address("oorl_addresses"))(places)
    own_places, guard_places = places[: len(sizes)], places[len(sizes) :]
    initial = [ctypes.string_at(at, size) for at, size in zip(own_places, sizes.values(), strict=True)]
    kept = [ctypes.create_string_buffer(values) if any(values) else None for values in initial]
    rows = [
        _Variable(at, size, values and ctypes.addressof(values), 0)
        for at, size, values in zip(own_places, sizes.values(), kept, strict=True)
    ]
    rows += [_Variable(at, GUARD_BYTES, None, 1) for at in guard_places]
    main, flag = engine.get_function_address("oorl_main"), engine.get_global_value_address("oorl_ub") or None
    return Program(engine, main, (_Variable * len(rows))(*rows), flag, tuple(kept))


def _guarded(text: str, names: Collection[str]) -> tuple[str, list[str]]:
    """The text with a guard on either side of every variable, and the guards' names."""
    lines, guards = [], []
    for line in text.splitlines():
        if line.partition(" = ")[0] not in names:
            lines.append(line)
            continue
        # Variables of zeros stand in a section of their own; their guards must, too.
        value = "zeroinitializer" if line.endswith(" zeroinitializer") else 'c"' + "~" * GUARD_BYTES + '"'
        guards += [f"@oorl_guard{len(guards)}", f"@oorl_guard{len(guards) + 1}"]
        before, after = (f"{guard} = global [{GUARD_BYTES} x i8] {value}, align 1" for guard in guards[-2:])
        lines += [before, line, after]
    return "\n".join(lines) + "\n", guards


def _addresses(names: Sequence[str]) -> str:
    """A function that writes the addresses of variables, named or not, into a table."""
    stores = "".join(
        f"  %at{k} = getelementptr ptr, ptr %table, i64 {k}\n  store ptr {name}, ptr %at{k}\n"
        for k, name in enumerate(names)
    )
    return f"define void @oorl_addresses(ptr %table) {{\n{stores}  ret void\n}}\n"


def program_inputs(sanitized: str, seed: str, constants: list[int], count: int) -> list[str]:
    """Texts that the program reads to their end; ValueError when it reads nothing."""
    writers = [Writer(f"{seed}:{k}", constants) for k in range(count)]
    texts = list(dict.fromkeys(ProgramHarness([]).written(sanitized, writers)))
    if texts == ["\n"]:
        raise ValueError("constant: the program reads nothing")
    return texts
