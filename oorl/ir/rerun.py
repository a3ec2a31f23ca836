"""Run a program's text again, by another road than ``programs.py``: the C library's own streams, heap and ``exit``.

Every input has a process of its own (``rerun.c``), which costs milliseconds; therefore the levels of code generation
and the memory fills take turns from one input to the next. Standard input and output are files in memory.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import signal
import struct
from collections.abc import Sequence

from oorl.ir.code import support
from oorl.ir.execute import limit_this_process
from oorl.ir.layout import FILLS, OUTPUT_BYTES, Outcome, outcome_json
from oorl.ir.llvm import binding, machine, parse
from oorl.ir.signature import PROGRAM

PLAN = ((0, 0), (2, 1))  # code-generation level and memory fill, by turns
INPUT_CPU_S = 0.5

_ROW = struct.Struct("<qq")  # exit status and length of the output
_ROW_BYTES = _ROW.size + OUTPUT_BYTES


class ProgramCalls:
    """Runs programs on a fixed list of texts."""

    def __init__(self, inputs: Sequence[str]) -> None:
        self.inputs = inputs
        self._helper = support("rerun.c")

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
                    shared[0] = self._run_all(ir, shared)
                    os._exit(0)
                finally:
                    os._exit(1)
            os.waitpid(child, 0)
            if shared[0] != 1:
                return "timeout" if shared[0] == 2 else "crash"
            return [[_read(shared[at : at + _ROW_BYTES]) for at in range(8, len(shared), _ROW_BYTES)]]

    def _run_all(self, ir: str, shared: mmap.mmap) -> int:
        """In the child: 1 when the program came to its end on every input, 2 for a timeout, 0 for a crash."""
        leave = self._helper.get_function_address("oorl_leave")
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
        start = kind(self._helper.get_function_address("oorl_run"))
        engines = [(_compiled(ir, codegen, leave), FILLS[fill]) for codegen, fill in PLAN]
        source, target = os.memfd_create("stdin"), os.memfd_create("stdout")
        for k, text in enumerate(self.inputs):
            for file, content in ((source, text.encode("latin-1")), (target, b"")):
                os.ftruncate(file, 0)
                os.pwrite(file, content, 0)
                os.lseek(file, 0, os.SEEK_SET)
            engine, fill = engines[k % len(engines)]
            status = start(engine.get_function_address("main"), source, target, fill, round(INPUT_CPU_S * 1e6))
            if not os.WIFEXITED(status):
                return 2 if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF else 0
            row = _ROW.pack(os.WEXITSTATUS(status), os.fstat(target).st_size) + os.pread(target, OUTPUT_BYTES, 0)
            at = 8 + k * _ROW_BYTES
            shared[at : at + len(row)] = row
        return 1


def _compiled(ir: str, codegen: int, leave: int) -> binding.ExecutionEngine:
    module = parse(ir)
    engine = binding.create_mcjit_compiler(module, machine(codegen))
    for function in module.functions:
        if function.is_declaration and function.name == "exit":
            engine.add_global_mapping(function, leave)
    engine.finalize_object()
    return engine


def _read(row: bytes) -> dict | None:
    status, length = _ROW.unpack(row[: _ROW.size])
    if length > OUTPUT_BYTES:
        return None
    return outcome_json(PROGRAM, Outcome(struct.pack("<q", status), (row[_ROW.size : _ROW.size + length],)))
