"""Whole programs: ``main`` run on a text as standard input, answering with its output and its exit status.

A process runs a program many times: ``stdio.c`` stands between it and the C library and brings streams, heap and
variables back to their beginning. What should leak from one input to the next all the same shows as an unstable
outcome, for memory fills take the inputs in opposite orders by turns.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import re
import signal
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from oorl.ir.code import support
from oorl.ir.execute import ARENA_SHIFTS, CALL_CPU_S, CONTROL_BYTES, FAILURES, FAULTS, GUARDED, Harness, Run, Way, libc
from oorl.ir.guard import guarded
from oorl.ir.layout import FILLS, OUTPUT_BYTES, Outcome, outcome_json
from oorl.ir.llvm import binding, machine, parse
from oorl.ir.memory import memory
from oorl.ir.rerun import ProgramCalls
from oorl.ir.signature import PROGRAM
from oorl.ir.stdin import MOST_BYTES, Writer

GUARD_BYTES = 64
VARIABLE_BYTES = 1 << 20  # all of a program's variables together
MOST_PROGRAM_INPUTS = 32  # a text asks more of a program than an argument list of a function
CONFIRMED_INPUTS = 8  # on which a loser goes the road of reverification, too: a process each is dear
PROGRAM_BLOCKS = 200_000  # blocks that a guarded run may take
MOST_DEATHS = 12  # of processes in which a program runs on one input after the other, before it is given up

_HEAD = struct.Struct("<qQq")  # of a frame: exit status, whether undefined behaviour was met, the output's length
FRAME_BYTES = _HEAD.size + OUTPUT_BYTES
_UNANSWERED = _HEAD.pack(0, 0, -1) + bytes(OUTPUT_BYTES)
_CHANGES = re.compile(r"@(?!oorl_)\S+ = (?!external |extern_weak )(?:[\w()]+ )*?global ")
_SHIMMED = "printf scanf fscanf puts putchar getchar gets malloc calloc realloc free exit".split()
_ALIASES = {
    "__isoc99_scanf": "scanf", "__isoc23_scanf": "scanf", "__isoc99_fscanf": "fscanf", "__isoc23_fscanf": "fscanf",
    "getchar_unlocked": "getchar", "putchar_unlocked": "putchar",
}  # fmt: skip
_DRAW = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_long)
_GIVEN = _DRAW()  # nobody draws: the input stands
_RUN = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long, ctypes.c_char_p, ctypes.c_long, _DRAW,
    ctypes.c_void_p, ctypes.c_long, ctypes.c_int, ctypes.c_void_p,
)  # fmt: skip


class _Variable(ctypes.Structure):
    _fields_ = [
        ("at", ctypes.c_void_p), ("size", ctypes.c_size_t), ("initial", ctypes.c_void_p), ("guard", ctypes.c_long)
    ]  # fmt: skip


@dataclass(frozen=True)
class Program:
    """Machine code of a program: where it starts, its variables as they were, and what watches it."""

    engine: binding.ExecutionEngine
    main: int
    variables: ctypes.Array
    kept: tuple  # what addresses in ``variables`` point to

    def run(self, text: bytes, fill: int, frame: int, control: int, draw: ctypes._CFuncPtr = _GIVEN) -> int:
        """In a child: run once into a frame; not 0 when a fault or an empty tank ended it."""
        place, tank = self.engine.get_global_value_address, control + 24
        ctypes.c_int64.from_address(tank).value = PROGRAM_BLOCKS
        memory().prepare(tank, FILLS[fill], ARENA_SHIFTS[fill], strict=False)
        unused_flag = ctypes.c_uint64()
        return _runtime().run(
            self.main, self.variables, len(self.variables), text, len(text), draw, frame, OUTPUT_BYTES, FILLS[fill],
            place("oorl_ub") or ctypes.addressof(unused_flag),
        )  # fmt: skip


class ProgramHarness(Harness):
    """``Harness`` for programs; inputs are texts, frames hold exit status, flag and output."""

    def __init__(self, inputs: Sequence[str], programs: dict[tuple[str, int, bool], Program] | None = None) -> None:
        self.signature, self.entry, self.inputs = PROGRAM, "main", inputs
        self.strict = False  # scanf writes unseen
        self._texts = [text.encode("latin-1") for text in inputs]
        self._programs = {} if programs is None else programs
        self._looks: dict[str, Run] = {}
        memory()  # guarded copies are linked with it

    def on(self, inputs: Sequence[str]) -> ProgramHarness:
        return ProgramHarness(inputs, self._programs)

    def decide(self, texts: Sequence[str]) -> list[Run]:
        """``Harness``'s, but unstable is also what answers otherwise by the road of reverification: a mutant may read
        what is not the program's, a stream's own memory, say.
        """
        runs = zip(texts, super().decide(texts), strict=True)
        return [replace(run, runs=(*run.runs, ())) if self._strays(text, run) else run for text, run in runs]

    def _strays(self, text: str, run: Run) -> bool:
        if not run.stable:
            return False
        step = -(-len(self.inputs) // CONFIRMED_INPUTS)
        expected = [outcome_json(PROGRAM, one) for one in run.runs[0][::step]]
        return ProgramCalls(self.inputs[::step]).run([text]) != [[expected]]

    def free_of_undefined_behaviour(self, sanitized: str, restarts: int = MOST_DEATHS) -> list[int]:
        """Indices of the inputs on which the sanitized program ends, its flag down, the same under every fill."""
        seen = [self._answers(sanitized, way, restarts) for way in GUARDED]
        return [k for k, own in enumerate(zip(*seen, strict=True)) if own[0] is not None and len(set(own)) == 1]

    def _answers(self, sanitized: str, way: Way, restarts: int) -> list[Outcome | None]:
        """By input what the program answers, None where it faults, raises the flag, or writes too much."""
        program = self._compiled(sanitized, way)

        def answer(k: int, control: int) -> None:
            program.run(self._texts[k], way.fill, control + CONTROL_BYTES + k * FRAME_BYTES, control)

        with mmap.mmap(-1, CONTROL_BYTES + max(1, self._block_bytes)) as shared:
            shared[CONTROL_BYTES : CONTROL_BYTES + self._block_bytes] = _UNANSWERED * len(self.inputs)
            self._each(self._order(way.fill), answer, shared, restarts)
            frames = shared[CONTROL_BYTES : CONTROL_BYTES + self._block_bytes]
        flags = frames[8::FRAME_BYTES]
        return [None if up else one for up, one in zip(flags, self._outcomes(frames, way.fill), strict=True)]

    def written(self, sanitized: str, writers: Sequence[Writer]) -> list[str]:
        """The texts that writers give a program that asks for them; of those on which it does not end, none."""
        program, slot = self._compiled(sanitized, GUARDED[0]), MOST_BYTES + 8

        def write(k: int, control: int) -> None:
            def answer(asked: bytes | None, into: int, room: int) -> int:
                text = writers[k].answer(asked)[:room]
                ctypes.memmove(into, text, len(text))
                return len(text)

            frame = ctypes.create_string_buffer(FRAME_BYTES)
            if not program.run(b"", GUARDED[0].fill, ctypes.addressof(frame), control, _DRAW(answer)):
                text = writers[k].text()
                row = struct.pack("<Q", len(text)) + text
                ctypes.memmove(control + CONTROL_BYTES + k * slot, row, len(row))

        with mmap.mmap(-1, CONTROL_BYTES + slot * max(1, len(writers))) as shared:
            self._each(range(len(writers)), write, shared, MOST_DEATHS)
            rows = [shared[at : at + slot] for at in range(CONTROL_BYTES, CONTROL_BYTES + slot * len(writers), slot)]
        lengths = [struct.unpack_from("<Q", row)[0] for row in rows]
        return [row[8 : 8 + length].decode("latin-1") for row, length in zip(rows, lengths, strict=True) if length]

    def _each(self, order: Sequence[int], one: Callable[[int, int], None], shared: mmap.mmap, deaths: int) -> None:
        """``one`` for every index in a child that goes on after a fault; where it dies, another goes on behind it."""

        def body(todo: Sequence[int]) -> None:
            control = ctypes.addressof(ctypes.c_char.from_buffer(shared))
            words = ctypes.cast(control, ctypes.POINTER(ctypes.c_uint64))
            _recover()
            for k in todo:
                words[2] = k
                signal.setitimer(signal.ITIMER_PROF, CALL_CPU_S)
                one(k, control)
            words[1] = 1

        while order and deaths >= 0:
            shared[:CONTROL_BYTES] = bytes(CONTROL_BYTES)
            self._fork(lambda: body(order))  # noqa: B023
            done, last = struct.unpack_from("<QQ", shared, 8)
            order = () if done else order[order.index(last) + 1 :]
            deaths -= 1

    @property
    def _block_bytes(self) -> int:
        return len(self.inputs) * FRAME_BYTES

    def _order(self, fill: int) -> range:
        return range(len(self.inputs))[:: -1 if fill % 2 else 1]

    def _prepare(self, texts: Sequence[str], plan: Sequence[Way]) -> None:
        """Nothing: a program has globals, so each has a module of its own, compiled when it is asked for."""

    def _compiled(self, text: str, way: Way) -> Program:
        key = (text, way.codegen, way.guarded)
        if key not in self._programs:
            self._programs[key] = compile_program(guarded(text) if way.guarded else text, way.codegen)
        return self._programs[key]

    def _outcomes(self, frames: bytes, fill: int) -> tuple[Outcome | None, ...]:
        return tuple(_outcome(frames[at : at + FRAME_BYTES]) for at in range(0, self._block_bytes, FRAME_BYTES))

    def _call(
        self,
        calls: list[list[tuple[Program, int]]],
        todo: range,
        shared: mmap.mmap,
        first: int = 0,
        recover: bool = False,
    ) -> None:
        """In the child, as ``Harness`` does it."""
        address = ctypes.addressof(ctypes.c_char.from_buffer(shared))
        control = ctypes.cast(address, ctypes.POINTER(ctypes.c_int64))
        failures = ctypes.cast(address + CONTROL_BYTES, ctypes.POINTER(ctypes.c_uint8))
        if recover:
            _recover()
        for k in todo:
            control[0], control[1] = k, 0
            for r, (program, fill) in enumerate(calls[k]):
                frames = address + CONTROL_BYTES + len(calls) + (k * len(calls[k]) + r) * self._block_bytes
                signal.setitimer(signal.ITIMER_PROF, CALL_CPU_S)
                if any(program.run(self._texts[i], fill, frames + i * FRAME_BYTES, address) for i in self._order(fill)):
                    failures[k] = FAILURES.index("timeout" if control[3] < 0 else "crash")
                    break
            control[1] = 1


def _outcome(frame: bytes) -> Outcome | None:
    """What a frame shows, None when the program wrote more than is kept, or beside its variables."""
    status, _, length = _HEAD.unpack_from(frame)
    if not 0 <= length <= OUTPUT_BYTES:
        return None
    return Outcome(struct.pack("<q", status), (frame[_HEAD.size : _HEAD.size + length],))


def _recover() -> None:
    """In a child: faults end the program that runs, not the child."""
    for number in FAULTS:
        libc().signal(number, ctypes.c_void_p(_runtime().caught))


@dataclass(frozen=True)
class _Runtime:
    engine: binding.ExecutionEngine
    run: ctypes._CFuncPtr
    caught: int
    places: dict[str, int]  # of the functions and streams that programs are given


@functools.cache
def _runtime() -> _Runtime:
    engine = support("stdio.c")
    places = {name: engine.get_function_address(f"oorl_{name}") for name in _SHIMMED}
    places |= {name: places[own] for name, own in _ALIASES.items()}
    places |= {name: engine.get_global_value_address(f"oorl_{name}") for name in ("stdin", "stdout", "stderr")}
    run, caught = engine.get_function_address("oorl_run"), engine.get_function_address("oorl_caught")
    return _Runtime(engine, _RUN(run), caught, places)


def compile_program(text: str, codegen: int) -> Program:
    """Machine code of a program's text; ValueError when it is not valid IR, or its variables take too much room."""
    text, names, guards = _between_guards(text)
    # LLVM, and the JIT's search for symbols, know things about a function called main.
    module = parse(re.sub(r"@main(?=\()", "@oorl_main", text) + _addresses(names + guards))
    size_of = binding.create_target_data(module.data_layout).get_abi_size
    own = [variable for variable in module.global_variables if _CHANGES.match(str(variable))]
    sizes = [size_of(variable.global_value_type) for variable in own]
    if sum(sizes) > VARIABLE_BYTES:
        raise ValueError(f"memory: the program's variables take {sum(sizes)} bytes, more than {VARIABLE_BYTES}")
    engine = binding.create_mcjit_compiler(module, machine(codegen))
    for declared in (*module.functions, *module.global_variables):
        if place := declared.is_declaration and _runtime().places.get(declared.name):
            engine.add_global_mapping(declared, place)
    engine.finalize_object()
    places = (ctypes.c_void_p * len(names + guards))()
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(engine.get_function_address("oorl_addresses"))(places)
    own_places, guard_places = places[: len(names)], places[len(names) :]
    initial = [ctypes.string_at(at, size) for at, size in zip(own_places, sizes, strict=True)]
    kept = tuple(ctypes.create_string_buffer(values) if any(values) else None for values in initial)
    rows = [
        _Variable(at, size, values and ctypes.addressof(values), 0)
        for at, size, values in zip(own_places, sizes, kept, strict=True)
    ]
    rows += [_Variable(at, GUARD_BYTES, None, 1) for at in guard_places]
    return Program(engine, engine.get_function_address("oorl_main"), (_Variable * len(rows))(*rows), kept)


def _between_guards(text: str) -> tuple[str, list[str], list[str]]:
    """The text with a guard on either side of every variable, the variables' names, and the guards'."""
    lines, names, guards = [], [], []
    for line in text.splitlines():
        if not _CHANGES.match(line):
            lines.append(line)
            continue
        names.append(line.partition(" = ")[0])
        # Variables of zeros stand in a section of their own; their guards must, too.
        value = "zeroinitializer" if line.endswith(" zeroinitializer") else 'c"' + "~" * GUARD_BYTES + '"'
        guards += [f"@oorl_guard{len(guards)}", f"@oorl_guard{len(guards) + 1}"]
        before, after = (f"{guard} = global [{GUARD_BYTES} x i8] {value}, align 1" for guard in guards[-2:])
        lines += [before, line, after]
    return "\n".join(lines) + "\n", names, guards


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
