"""Running IR: called in forked children, under limits, several memory fills and two code-generation levels.

A child answers through shared memory in frames of fixed size (``oorl.ir.layout``). Forks of a process that holds LLVM
are dear, so texts share a child, which is replaced when it dies. In a first look it does not even die: a fault ends the
text and the next one follows. ``decide`` is for mutants, which may scribble over anything: it believes a child only if
none of the texts in it misbehaved.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import mmap
import os
import resource
import signal
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from oorl.ir.guard import FILL_GLOBAL, TANK_GLOBAL, guarded
from oorl.ir.layout import FILLS, HEADER, Layout, Outcome
from oorl.ir.llvm import binding, machine, parse
from oorl.ir.signature import SCALARS, CSignature


class Way(NamedTuple):
    """One way to run a text: code-generation level, memory fill, and whether its guarded copy is run instead."""

    codegen: int
    fill: int
    guarded: bool = False


CODEGENS = (0, 2)
AS_IT_IS = tuple(Way(codegen, fill) for codegen in CODEGENS for fill in (0, 1))
GUARDED = tuple(Way(0, fill, guarded=True) for fill in (0, 2, 3))
FIRST_LOOK = GUARDED[:1]
EVERY_WAY = (*GUARDED, *AS_IT_IS)
# Blocks that one call may run: the inputs of inputs.py need hundreds, or do not end at all.
MOST_BLOCKS = 50_000
CALL_CPU_S = 2.0  # a net under the above, for a text whose guarded copy ended
CHILD_CPU_S = 20
CHILD_MEMORY_BYTES = 2 << 30  # beyond what its parent had mapped
# Each fill has its own place, so that a result made of an address differs between them, its lowest byte too.
ARENA_STEP = 1 << 14
ARENA_SHIFTS = (0x000, 0x110, 0x290, 0x3D0)

CONTROL = struct.Struct("<QQQq")  # the text being run, whether it is done, the input being run, blocks left
CONTROL_BYTES = 64  # behind them, a byte for each text's failure
FAILURES = (None, "crash", "timeout")
FAULTS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
_DRIVER_ARGUMENTS = 13


@dataclass(frozen=True)
class Run:
    """Outcomes of one text, ``runs[r][i]`` for run r and input i (None: a red zone was written), or why not."""

    failure: str | None  # "crash" or "timeout"
    runs: tuple[tuple[Outcome | None, ...], ...] = ()

    @property
    def stable(self) -> bool:
        """Whether every run shows the same outcome on every input, red zones intact."""
        return self.failure is None and None not in self.runs[0] and all(run == self.runs[0] for run in self.runs[1:])


class Harness:
    """Calls functions of one signature on a fixed list of inputs."""

    def __init__(
        self,
        signature: CSignature,
        entry: str,
        inputs: Sequence[list],
        driver: binding.ExecutionEngine | None = None,
    ) -> None:
        self._layouts = [Layout(signature, fill) for fill in range(len(FILLS))]
        if (most := max(layout.arena_bytes for layout in self._layouts)) > ARENA_STEP - 1024:
            raise ValueError(f"contract: its buffers may take {most} bytes; bound their lengths")
        self.signature, self.entry, self.inputs = signature, entry, inputs
        self._arena = mmap.mmap(-1, ARENA_STEP * len(FILLS))
        base = ctypes.addressof(ctypes.c_char.from_buffer(self._arena))
        self._arenas = [base + ARENA_STEP * k + shift for k, shift in enumerate(ARENA_SHIFTS)]
        laid = list(zip(self._layouts, FILLS, self._arenas, strict=True))
        self._before = [[layout.image(arguments, fill) for arguments in inputs] for layout, fill, _ in laid]
        self._places = [[layout.places(arguments) for arguments in inputs] for layout in self._layouts]
        self._images = [ctypes.create_string_buffer(b"".join(images) or b"\0") for images in self._before]
        slots = [b"".join(layout.slots(arguments, address) for arguments in inputs) for layout, _, address in laid]
        self._slots = [ctypes.create_string_buffer(rows or b"\0") for rows in slots]
        self._engines: dict[tuple[str, int, bool], binding.ExecutionEngine] = {}
        self._driver = driver or compile_module(driver_text(signature), 2)

    def on(self, inputs: Sequence[list]) -> Harness:
        """A harness of the same function on other inputs."""
        return Harness(self.signature, self.entry, inputs, self._driver)

    def run(self, texts: Sequence[str], plan: Sequence[Way] = EVERY_WAY, recover: bool = False) -> list[Run]:
        """Run every text in every way of ``plan``; ``recover``: the child goes on after a fault."""
        calls = [[(self._compiled(text, way), way.fill) for way in plan] for text in texts]
        block, before = self._block_bytes, CONTROL_BYTES + len(texts)
        with mmap.mmap(-1, before + max(1, len(texts) * len(plan) * block)) as shared:
            start = 0
            while start < len(texts):
                shared[:CONTROL_BYTES] = bytes(CONTROL_BYTES)
                status = self._fork(lambda: self._call(calls, range(start, len(texts)), shared, recover=recover))  # noqa: B023
                current, done, _, left = CONTROL.unpack_from(shared)
                if not done:
                    timeout = left < 0 or status == signal.SIGPROF
                    shared[CONTROL_BYTES + current] = FAILURES.index("timeout" if timeout else "crash")
                start = current + 1
            results = []
            for k in range(len(texts)):
                failure = FAILURES[shared[CONTROL_BYTES + k]]
                offsets = [before + (k * len(plan) + r) * block for r in range(len(plan))]
                frames = [(shared[o : o + block], way.fill) for o, way in zip(offsets, plan, strict=True)]
                results.append(Run(failure, () if failure else tuple(self._outcomes(*pair) for pair in frames)))
            return results

    def decide(self, texts: Sequence[str]) -> list[Run]:
        """Run mutants in every way. Where one misbehaves, the others are run again without it: what they showed may be
        its doing.
        """
        runs: dict[str, Run] = {}
        while waiting := [text for text in texts if text not in runs]:
            tried = dict(zip(waiting, self.run(waiting), strict=True))
            misbehaved = {text: run for text, run in tried.items() if not run.stable}
            runs |= misbehaved or tried
        return [runs[text] for text in texts]

    @property
    def _block_bytes(self) -> int:
        return len(self.inputs) * max(layout.frame_bytes for layout in self._layouts)

    def free_of_undefined_behaviour(self, sanitized: str, restarts: int = 12) -> list[int]:
        """Indices of the inputs on which the sanitized module ends, its flag down; empty when too many kill it."""
        calls = [[(self._compiled(sanitized, GUARDED[0]), 0)]]
        block = self._block_bytes
        before = CONTROL_BYTES + 1
        with mmap.mmap(-1, before + max(1, block)) as shared:
            killed, first, done = set(), 0, 0
            while not done and len(killed) <= restarts:
                shared[:CONTROL_BYTES] = bytes(CONTROL_BYTES)
                self._fork(lambda: self._call(calls, range(1), shared, first))  # noqa: B023
                _, done, last, _ = CONTROL.unpack_from(shared)
                if not done:
                    killed.add(last)
                    first = last + 1
            frames = shared[before : before + block]
        flags = [frames[k * self._layouts[0].frame_bytes + 8] for k in range(len(self.inputs))]
        return [k for k, flag in enumerate(flags) if not flag and k not in killed] if done else []

    def _compiled(self, text: str, way: Way) -> binding.ExecutionEngine:
        """Machine code, made in this process: only calling it needs a child, and LLVM starts slowly in each."""
        key = (text, way.codegen, way.guarded)
        if key not in self._engines:
            self._engines[key] = compile_module(guarded(text) if way.guarded else text, way.codegen)
        return self._engines[key]

    def _outcomes(self, frames: bytes, fill: int) -> tuple[Outcome | None, ...]:
        size, places, images = self._layouts[fill].frame_bytes, self._places[fill], self._before[fill]
        return tuple(
            place.outcome(frames[k * size : (k + 1) * size], image)
            for k, (place, image) in enumerate(zip(places, images, strict=True))
        )

    def _call(
        self,
        calls: list[list[tuple[binding.ExecutionEngine, int]]],
        todo: range,
        shared: mmap.mmap,
        first: int = 0,
        recover: bool = False,
    ) -> None:
        """In the child: every call is announced before it is made, so that the parent knows where a child died."""
        address = ctypes.addressof(ctypes.c_char.from_buffer(shared))
        control = ctypes.cast(address, ctypes.POINTER(ctypes.c_int64))
        failures = ctypes.cast(address + CONTROL_BYTES, ctypes.POINTER(ctypes.c_uint8))
        kind = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_uint64] * _DRIVER_ARGUMENTS)
        drive = kind(self._driver.get_function_address("oorl_drive"))
        if recover:
            for number in FAULTS:
                libc().signal(number, ctypes.c_void_p(self._driver.get_function_address("oorl_caught")))
        unused_flag = ctypes.c_uint64()
        for k in todo:
            control[0], control[1] = k, 0
            for r, (engine, fill) in enumerate(calls[k]):
                flag = engine.get_global_value_address("oorl_ub") or ctypes.addressof(unused_flag)
                frames = address + CONTROL_BYTES + len(calls) + (k * len(calls[k]) + r) * self._block_bytes
                if tank := engine.get_global_value_address(TANK_GLOBAL):
                    ctypes.c_uint64.from_address(tank).value = address + 24
                    ctypes.c_uint8.from_address(engine.get_global_value_address(FILL_GLOBAL)).value = FILLS[fill]
                signal.setitimer(signal.ITIMER_PROF, CALL_CPU_S)
                fault = drive(
                    engine.get_function_address(self.entry),
                    first,
                    len(self.inputs),
                    ctypes.addressof(self._slots[fill]),
                    ctypes.addressof(self._images[fill]),
                    self._arenas[fill],
                    self._layouts[fill].arena_bytes,
                    frames,
                    flag,
                    FILLS[fill],
                    address + 16,
                    address + 24,
                    MOST_BLOCKS,
                )
                signal.setitimer(signal.ITIMER_PROF, 0)
                if fault:
                    failures[k] = FAILURES.index("timeout" if control[3] < 0 else "crash")
                    break
            control[1] = 1

    def _fork(self, body) -> int:
        """Run ``body`` in a child under limits; returns the signal that ended it, 0 for none."""
        child = os.fork()
        if child == 0:
            try:
                limit_this_process()
                body()
                os._exit(0)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def driver_text(signature: CSignature) -> str:
    """IR of the loop over inputs: lay out the arena, dirty the stack, call, store the frame.

    It returns 1 when ``oorl_caught``, as the handler of a fault, ended a call. The stack below the call is filled as
    the arena is: a read of something never written differs between fills.
    """
    lines, arguments = [], []
    for k, p in enumerate(signature.params):
        lines.append(f"  %p{k} = getelementptr i64, ptr %slot, i64 {k}")
        kind = "ptr" if p.kind == "buffer" else p.scalar.llvm
        if kind == "i1":  # a bool is stored as a byte
            lines += [f"  %b{k} = load i8, ptr %p{k}", f"  %a{k} = trunc i8 %b{k} to i1"]
        else:
            lines.append(f"  %a{k} = load {kind}, ptr %p{k}")
        extension = "" if p.kind == "buffer" else p.scalar.extension
        arguments.append(f"{kind} {extension} %a{k}")
    ret = SCALARS[signature.ret] if signature.ret else None
    # A char's extension differs between targets: its eight bits alone are read.
    call = f"call {'' if ret.letter else ret.extension} {ret.llvm}" if ret else "call void"
    lines.append(f"  {'%r = ' if ret else ''}{call} %function({', '.join(arguments)})")
    lines += _store_result(ret)
    return (
        _DRIVER.replace("CALL", "\n".join(lines))
        .replace("SLOT_BYTES", str(8 * len(signature.params)))
        .replace("HEADER", str(HEADER))
    )


def _store_result(ret) -> list[str]:
    if ret is None:
        return ["  store i64 0, ptr %frame"]
    if not ret.is_float:
        if ret.bits == 64:
            return ["  store i64 %r, ptr %frame"]
        return [f"  %w = {'sext' if ret.signed else 'zext'} {ret.llvm} %r to i64", "  store i64 %w, ptr %frame"]
    nan = "0x7FF8000000000000"
    return [
        "  store i64 0, ptr %frame",
        f"  %nan = fcmp uno {ret.llvm} %r, %r",
        f"  %one = select i1 %nan, {ret.llvm} {nan}, {ret.llvm} %r",
        f"  store {ret.llvm} %one, ptr %frame",
    ]


_DRIVER = """
define internal void @dirty(i8 %fill) noinline {
  %area = alloca [4096 x i8]
  call void @llvm.memset.p0.i64(ptr %area, i8 %fill, i64 4096, i1 true)
  ret void
}
@oorl_place = internal global [1024 x i8] zeroinitializer, align 16
@oorl_inside = internal global i8 0
define void @oorl_caught(i32 %number) {
  %inside = load volatile i8, ptr @oorl_inside
  %ours = icmp ne i8 %inside, 0
  br i1 %ours, label %back, label %die
back:
  call void @siglongjmp(ptr @oorl_place, i32 1)
  unreachable
die:
  %old = call ptr @signal(i32 %number, ptr null)
  ret void
}
define i32 @oorl_drive(ptr %function, i64 %first, i64 %count, ptr %slots, ptr %images, ptr %arena, i64 %size,
                        ptr %frames, ptr %flag, i64 %fill, ptr %progress, ptr %tank, i64 %blocks) {
entry:
  %back = call i32 @__sigsetjmp(ptr @oorl_place, i32 1) returns_twice
  %fault = icmp ne i32 %back, 0
  br i1 %fault, label %caught, label %begin
caught:
  store volatile i8 0, ptr @oorl_inside
  ret i32 1
begin:
  store volatile i8 1, ptr @oorl_inside
  %frame_size = add i64 %size, HEADER
  %fill8 = trunc i64 %fill to i8
  br label %head
head:
  %i = phi i64 [ %first, %begin ], [ %next, %body ]
  %more = icmp ult i64 %i, %count
  br i1 %more, label %body, label %end
body:
  store volatile i64 %i, ptr %progress
  %image_at = mul i64 %i, %size
  %image = getelementptr i8, ptr %images, i64 %image_at
  call void @llvm.memcpy.p0.p0.i64(ptr %arena, ptr %image, i64 %size, i1 false)
  %frame_at = mul i64 %i, %frame_size
  %frame = getelementptr i8, ptr %frames, i64 %frame_at
  %slot_at = mul i64 %i, SLOT_BYTES
  %slot = getelementptr i8, ptr %slots, i64 %slot_at
  store volatile i8 0, ptr %flag
  store volatile i64 %blocks, ptr %tank
  call void @dirty(i8 %fill8)
CALL
  %raised = load volatile i8, ptr %flag
  %flag_at = getelementptr i8, ptr %frame, i64 8
  store i8 %raised, ptr %flag_at
  %after = getelementptr i8, ptr %frame, i64 HEADER
  call void @llvm.memcpy.p0.p0.i64(ptr %after, ptr %arena, i64 %size, i1 false)
  %next = add i64 %i, 1
  br label %head
end:
  store volatile i8 0, ptr @oorl_inside
  ret i32 0
}
declare i32 @__sigsetjmp(ptr, i32) returns_twice
declare void @siglongjmp(ptr, i32) noreturn
declare ptr @signal(i32, ptr)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
"""


def compile_module(text: str, codegen: int) -> binding.ExecutionEngine:
    """Machine code of a cleaned text at a code-generation level; ValueError when it is not valid IR."""
    engine = binding.create_mcjit_compiler(parse(text), machine(codegen))
    engine.finalize_object()
    return engine


@functools.cache
def libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def limit_this_process() -> None:
    """In a child that runs what cannot be trusted: CPU time, memory, no files, no core dump, no output."""
    gc.disable()  # a collection would touch, and so copy, every page shared with the parent
    for number in (signal.SIGPROF, signal.SIGABRT, *FAULTS):
        signal.signal(number, signal.SIG_DFL)  # each ends the process at once, whatever handlers were inherited
    for kind, limit in (
        (resource.RLIMIT_CPU, CHILD_CPU_S),
        (resource.RLIMIT_AS, _mapped_bytes() + CHILD_MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (soft, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with open(os.devnull, "wb") as nothing:  # LLVM's assertion messages are counted by the parent, not shown
        os.dup2(nothing.fileno(), 2)


def _mapped_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[0]) * resource.getpagesize()
