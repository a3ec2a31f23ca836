"""Run a program's text again, by another road than ``programs.py``: the C library's own streams, heap and ``exit``.

Every input has a process of its own, which costs milliseconds; therefore the levels of code generation and the memory
fills take turns from one input to the next. Standard input and output are files in memory.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import signal
import struct
from collections.abc import Sequence

from oorl.ir.execute import compile_module, limit_this_process
from oorl.ir.layout import FILLS, Outcome, outcome_json
from oorl.ir.llvm import binding, machine, parse
from oorl.ir.programs import OUTPUT_BYTES
from oorl.ir.signature import PROGRAM

PLAN = ((0, 0), (2, 1))  # code-generation level and memory fill, by turns
INPUT_CPU_S = 0.5

_M_PERTURB = -6  # of glibc's mallopt: what allocated memory holds
_ROW = struct.Struct("<qq")  # exit status and length of the output
_ROW_BYTES = _ROW.size + OUTPUT_BYTES
_DIRTY = """
define void @oorl_dirty(i8 %fill) {
  %area = alloca [32768 x i8]
  call void @llvm.memset.p0.i64(ptr %area, i8 %fill, i64 32768, i1 true)
  ret void
}
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
"""


class ProgramCalls:
    """Runs programs on a fixed list of texts."""

    def __init__(self, inputs: Sequence[str]) -> None:
        self.inputs = inputs

    def run(self, texts: Sequence[str]) -> list[list[list[dict | None]] | str]:
        """Of every text its only run, outcomes by input (None: too long an output), or how it ended instead."""
        return [self._run(text) for text in texts]

    def _run(self, ir: str) -> list[list[dict | None]] | str:
        with mmap.mmap(-1, 8 + _ROW_BYTES * len(self.inputs)) as shared:
            child = os.fork()
            if child == 0:
                try:
                    limit_this_process()
                    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
                    resource.setrlimit(resource.RLIMIT_FSIZE, (OUTPUT_BYTES + 1, hard))
                    shared[0] = _run_all(ir, self.inputs, shared)
                    os._exit(0)
                finally:
                    os._exit(1)
            os.waitpid(child, 0)
            if shared[0] != 1:
                return "timeout" if shared[0] == 2 else "crash"
            return [[_read(shared[at : at + _ROW_BYTES]) for at in range(8, len(shared), _ROW_BYTES)]]


def _run_all(ir: str, inputs: Sequence[str], shared: mmap.mmap) -> int:
    """In the child: 1 when the program came to its end on every input, 2 for a timeout, 0 for a crash."""
    dirty = compile_module(_DIRTY, 0)
    compiled = [(_compiled(ir, codegen), FILLS[fill]) for codegen, fill in PLAN]
    files = os.memfd_create("stdin"), os.memfd_create("stdout")
    for k, text in enumerate(inputs):
        for file, content in zip(files, (text.encode("latin-1"), b""), strict=True):
            os.ftruncate(file, 0)
            os.pwrite(file, content, 0)
            os.lseek(file, 0, os.SEEK_SET)
        (engine, leave), fill = compiled[k % len(compiled)]
        process = os.fork()
        if process == 0:
            try:
                os.dup2(files[0], 0)
                os.dup2(files[1], 1)
                _start(engine, dirty, fill, leave)
            finally:
                os._exit(1)
        _, status = os.waitpid(process, 0)
        if os.WIFSIGNALED(status):
            return 2 if os.WTERMSIG(status) == signal.SIGPROF else 0
        row = _ROW.pack(os.WEXITSTATUS(status), os.fstat(files[1]).st_size) + os.pread(files[1], OUTPUT_BYTES, 0)
        at = 8 + k * _ROW_BYTES
        shared[at : at + len(row)] = row
    return 1


def _compiled(ir: str, codegen: int) -> tuple[binding.ExecutionEngine, object]:
    """Machine code, and what stands for ``exit``: it leaves out the handlers that Python and LLVM have set up."""
    libc = ctypes.CDLL(None)

    @ctypes.CFUNCTYPE(None, ctypes.c_int)
    def leave(status: int) -> None:
        libc.fflush(None)
        os._exit(status & 255)

    module = parse(ir)
    engine = binding.create_mcjit_compiler(module, machine(codegen))
    for function in module.functions:
        if function.is_declaration and function.name == "exit":
            engine.add_global_mapping(function, ctypes.cast(leave, ctypes.c_void_p).value)
    engine.finalize_object()
    return engine, leave


def _start(engine: binding.ExecutionEngine, dirty: binding.ExecutionEngine, fill: int, leave) -> None:
    """In the input's own process: memory filled, the clock set, ``main`` called."""
    ctypes.CDLL(None).mallopt(_M_PERTURB, fill)
    words = (ctypes.c_char_p * 2)(b"program", None)
    main = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p)(engine.get_function_address("main"))
    signal.setitimer(signal.ITIMER_PROF, INPUT_CPU_S)
    ctypes.CFUNCTYPE(None, ctypes.c_uint8)(dirty.get_function_address("oorl_dirty"))(fill)
    leave(main(1, words))


def _read(row: bytes) -> dict | None:
    status, length = _ROW.unpack(row[: _ROW.size])
    if length > OUTPUT_BYTES:
        return None
    return outcome_json(PROGRAM, Outcome(struct.pack("<q", status), (row[_ROW.size : _ROW.size + length],)))
