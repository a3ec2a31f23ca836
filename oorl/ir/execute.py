"""Running IR: called in forked children, under limits, several memory fills and two code-generation levels.

A child answers through shared memory in frames of fixed size (``oorl.ir.layout``). Forks of a process that holds LLVM
are dear, so texts share a child, which is replaced when it dies. Mutants may scribble over anything: a first look at
their guarded copies (``oorl.ir.guard``), which trap instead, sorts out most that would; a trap ends the text and not
the child. ``decide`` then runs them as they are, and believes a child only if none of the texts in it misbehaved.
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

from oorl.ir.code import Code, compile_module, compile_together
from oorl.ir.driver import DRIVER_ARGUMENTS, driver_text
from oorl.ir.guard import guarded
from oorl.ir.layout import FILLS, Layout, Outcome
from oorl.ir.llvm import binding
from oorl.ir.memory import LOCALS, memory
from oorl.ir.signature import CSignature


class Way(NamedTuple):
    """One way to run a text: code-generation level, memory fill, and whether its guarded copy is run instead."""

    codegen: int
    fill: int
    guarded: bool = False


CODEGENS = (0, 2)
AS_IT_IS = tuple(Way(codegen, fill) for codegen in CODEGENS for fill in (0, 1))
GUARDED = tuple(Way(0, fill, guarded=True) for fill in range(len(FILLS)))
EVERY_WAY = (*GUARDED, *AS_IT_IS)
# Blocks that one call may run: the inputs of inputs.py need hundreds, or do not end at all.
MOST_BLOCKS = 50_000
CALL_CPU_S = 2.0  # a net under the above, for a text whose guarded copy ended
CHILD_CPU_S = 20
CHILD_MEMORY_BYTES = 2 << 30  # beyond what its parent had mapped
# Each fill has its own place, so that a result made of an address differs between them, its lowest byte too.
ARENA_STEP = LOCALS // len(FILLS)
ARENA_SHIFTS = (0x000, 0x110, 0x290, 0x3D0)

CONTROL = struct.Struct("<QQQq")  # the text being run, whether it is done, the input being run, blocks left
CONTROL_BYTES = 64  # behind them, a byte for each text's failure
FAILURES = (None, "crash", "timeout")
FAULTS = (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)


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
    """Calls functions of one signature on a fixed list of inputs.

    ``strict``: guarded copies trap where they read what was never written, or an address as anything else; where not,
    what such reads give differs between fills.
    """

    def __init__(
        self,
        signature: CSignature,
        entry: str,
        inputs: Sequence[list],
        strict: bool = True,
        driver: binding.ExecutionEngine | None = None,
    ) -> None:
        self._layouts = [Layout(signature, fill) for fill in range(len(FILLS))]
        if (most := max(layout.arena_bytes for layout in self._layouts)) > ARENA_STEP - 1024:
            raise ValueError(f"contract: its buffers may take {most} bytes; bound their lengths")
        self.signature, self.entry, self.inputs, self.strict = signature, entry, inputs, strict
        self._arenas = [memory().region + ARENA_STEP * k + shift for k, shift in enumerate(ARENA_SHIFTS)]
        laid = list(zip(self._layouts, FILLS, self._arenas, strict=True))
        self._before = [[layout.image(arguments, fill) for arguments in inputs] for layout, fill, _ in laid]
        self._places = [[layout.places(arguments) for arguments in inputs] for layout in self._layouts]
        self._images = [ctypes.create_string_buffer(b"".join(images) or b"\0") for images in self._before]
        marks = [b"".join(map(layout.marks, inputs)) for layout in self._layouts]
        self._marks = [ctypes.create_string_buffer(rows or b"\0") for rows in marks]
        slots = [b"".join(layout.slots(arguments, address) for arguments in inputs) for layout, _, address in laid]
        self._slots = [ctypes.create_string_buffer(rows or b"\0") for rows in slots]
        self._codes: dict[tuple[str, int, bool], Code] = {}
        self._looks: dict[str, Run] = {}
        self._known: dict[tuple[int, int, bytes], Outcome | None] = {}  # most frames are those of other texts
        self._driver = driver or compile_module(driver_text(signature), 2)

    def on(self, inputs: Sequence[list]) -> Harness:
        """A harness of the same function on other inputs."""
        return Harness(self.signature, self.entry, inputs, self.strict, self._driver)

    def run(self, texts: Sequence[str], plan: Sequence[Way] = EVERY_WAY, recover: bool = False) -> list[Run]:
        """Run every text in every way of ``plan``; ``recover``: the child goes on after a fault."""
        self._prepare(texts, plan)
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

    def look(self, texts: Sequence[str]) -> list[Run]:
        """Run the guarded copies of mutants."""
        new = [text for text in dict.fromkeys(texts) if text not in self._looks]
        self._looks |= zip(new, self.run(new, GUARDED, recover=True), strict=True)
        return [self._looks[text] for text in texts]

    def decide(self, texts: Sequence[str]) -> list[Run]:
        """Run mutants in every way. Where one misbehaves, the others are run again without it: what they showed may be
        its doing.
        """
        decided = dict(zip(texts, self.look(texts), strict=True))
        waiting = [text for text, look in decided.items() if look.stable]
        while waiting:
            tried = zip(waiting, self.run(waiting, AS_IT_IS), strict=True)
            runs = {text: Run(run.failure, self._looks[text].runs + run.runs) for text, run in tried}
            misbehaved = {text: run for text, run in runs.items() if not run.stable}
            decided |= misbehaved or runs
            waiting = [text for text in waiting if misbehaved and text not in misbehaved]
        return [decided[text] for text in texts]

    @property
    def _block_bytes(self) -> int:
        return len(self.inputs) * max(layout.frame_bytes for layout in self._layouts)

    def free_of_undefined_behaviour(self, sanitized: str, restarts: int = 12) -> list[int]:
        """Indices of the inputs on which the sanitized module ends, its flag down; empty when too many kill it."""
        self._prepare([sanitized], GUARDED[:1])
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

    def _prepare(self, texts: Sequence[str], plan: Sequence[Way]) -> None:
        """Compile what a run needs and no run before it needed. In this process: LLVM starts slowly in each child."""
        for codegen, guard in dict.fromkeys((way.codegen, way.guarded) for way in plan):
            new = [text for text in dict.fromkeys(texts) if (text, codegen, guard) not in self._codes]
            codes = compile_together([guarded(text) if guard else text for text in new], self.entry, codegen)
            self._codes |= {(text, codegen, guard): code for text, code in zip(new, codes, strict=True)}

    def _compiled(self, text: str, way: Way) -> Code:
        return self._codes[text, way.codegen, way.guarded]

    def _outcomes(self, frames: bytes, fill: int) -> tuple[Outcome | None, ...]:
        size = self._layouts[fill].frame_bytes
        return tuple(self._outcome(fill, k, frames[k * size : (k + 1) * size]) for k in range(len(self.inputs)))

    def _outcome(self, fill: int, k: int, frame: bytes) -> Outcome | None:
        key = (fill, k, frame)
        if key not in self._known:
            self._known[key] = self._places[fill][k].outcome(frame, self._before[fill][k])
        return self._known[key]

    def _call(
        self,
        calls: list[list[tuple[Code, int]]],
        todo: range,
        shared: mmap.mmap,
        first: int = 0,
        recover: bool = False,
    ) -> None:
        """In the child: every call is announced before it is made, so that the parent knows where a child died."""
        address = ctypes.addressof(ctypes.c_char.from_buffer(shared))
        control = ctypes.cast(address, ctypes.POINTER(ctypes.c_int64))
        failures = ctypes.cast(address + CONTROL_BYTES, ctypes.POINTER(ctypes.c_uint8))
        kind = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_uint64] * DRIVER_ARGUMENTS)
        drive = kind(self._driver.get_function_address("oorl_drive"))
        if recover:
            for number in FAULTS:
                libc().signal(number, ctypes.c_void_p(self._driver.get_function_address("oorl_caught")))
        unused_flag = ctypes.c_uint64()
        for k in todo:
            control[0], control[1] = k, 0
            for r, (code, fill) in enumerate(calls[k]):
                frames = address + CONTROL_BYTES + len(calls) + (k * len(calls[k]) + r) * self._block_bytes
                memory().prepare(address + 24, FILLS[fill], ARENA_SHIFTS[fill], self.strict)
                signal.setitimer(signal.ITIMER_PROF, CALL_CPU_S)
                fault = drive(
                    code.function,
                    first,
                    len(self.inputs),
                    ctypes.addressof(self._slots[fill]),
                    ctypes.addressof(self._images[fill]),
                    ctypes.addressof(self._marks[fill]),
                    self._arenas[fill],
                    self._layouts[fill].arena_bytes,
                    frames,
                    code.flag or ctypes.addressof(unused_flag),
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
