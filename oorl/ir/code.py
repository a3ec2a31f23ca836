"""Machine code of cleaned texts, made in this process; calling it is for children."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from oorl.ir.frontend import run_front_end
from oorl.ir.llvm import binding, machine, parse

UB_GLOBAL = "oorl_ub"


@dataclass(frozen=True)
class Code:
    """Where a text's function lies, and the flag that it raises for undefined behaviour (0: it has none)."""

    engine: binding.ExecutionEngine  # which owns both
    function: int
    flag: int


def compile_module(text: str, codegen: int) -> binding.ExecutionEngine:
    """Machine code of a cleaned text at a code-generation level; ValueError when it is not valid IR."""
    return _engine(parse(text), codegen)


def compile_together(texts: Sequence[str], entry: str, codegen: int) -> list[Code]:
    """Machine code of texts that define the same function, all in one module: a module of its own costs each of them
    twice as much as the code in it. ValueError when one is not valid IR.
    """
    whole = None
    for k, text in enumerate(texts):
        module = parse(text)
        module.get_function(entry).name = _own(entry, k)
        if whole is None:
            whole = module
        else:
            try:
                whole.link_in(module)
            except RuntimeError:  # a global that two of them define, and neither keeps to itself
                return [code for one in texts for code in compile_together([one], entry, codegen)]
    if whole is None:
        return []
    engine = _engine(whole, codegen)
    flag = engine.get_global_value_address(UB_GLOBAL)
    return [Code(engine, engine.get_function_address(_own(entry, k)), flag) for k in range(len(texts))]


@functools.cache
def support(name: str) -> binding.ExecutionEngine:
    """Machine code of one of this package's own C files."""
    text = run_front_end(Path(__file__).with_name(name).read_text(encoding="utf-8"), "c", ("check",))["check"]
    engine = binding.create_mcjit_compiler(binding.parse_assembly(text), machine(2))
    engine.finalize_object()
    return engine


def _own(entry: str, index: int) -> str:
    return f"{entry}.{index}"


def _engine(module: binding.ModuleRef, codegen: int) -> binding.ExecutionEngine:
    engine = binding.create_mcjit_compiler(module, machine(codegen))
    engine.finalize_object()
    return engine
