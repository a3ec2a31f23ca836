"""Machine code of cleaned texts, made in this process; calling it is for children."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from oorl.ir.guard import FILL_GLOBAL, TANK_GLOBAL
from oorl.ir.llvm import binding, machine, parse

UB_GLOBAL = "oorl_ub"


@dataclass(frozen=True)
class Code:
    """Where a text's function and what it shares with its caller lie; 0: it has no such thing."""

    engine: binding.ExecutionEngine  # which owns all of it
    function: int
    flag: int  # raised for undefined behaviour
    tank: int  # the address of the blocks left, of a guarded text
    fill: int


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
    shared = [engine.get_global_value_address(name) for name in (UB_GLOBAL, TANK_GLOBAL, FILL_GLOBAL)]
    return [Code(engine, engine.get_function_address(_own(entry, k)), *shared) for k in range(len(texts))]


def _own(entry: str, index: int) -> str:
    return f"{entry}.{index}"


def _engine(module: binding.ModuleRef, codegen: int) -> binding.ExecutionEngine:
    engine = binding.create_mcjit_compiler(module, machine(codegen))
    engine.finalize_object()
    return engine
