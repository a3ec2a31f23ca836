"""LLVM through llvmlite: parse, verify, print and compile modules for the machine this runs on."""

from __future__ import annotations

import functools
import importlib.metadata
import platform

from oorl.ir.toolchain import require_toolchain

require_toolchain()

import llvmlite.binding as binding  # noqa: E402 - after the sentence that says how to get it

binding.initialize_native_target()
binding.initialize_native_asmprinter()
binding.initialize_native_asmparser()


def architecture() -> str:
    """The architecture's name as clang's target triples spell it."""
    return {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())


def machine(codegen: int) -> binding.TargetMachine:
    """A target machine for the baseline processor: results do not depend on the host's features."""
    target = binding.Target.from_triple(binding.get_process_triple())
    return target.create_target_machine(opt=codegen, reloc="pic", codemodel="jitdefault", jit=True)


@functools.cache
def analysis_machine() -> binding.TargetMachine:
    """The machine that passes ask about costs; shared, for an execution engine never owns it."""
    return machine(2)


@functools.cache
def target_header() -> str:
    """The two target lines that cleaned texts leave out."""
    return f'target datalayout = "{analysis_machine().target_data}"\ntarget triple = "{binding.get_process_triple()}"\n'


def parse(text: str) -> binding.ModuleRef:
    """Parse and verify a cleaned text; ValueError carries the line of LLVM's answer that says what is wrong."""
    try:
        module = binding.parse_assembly(target_header() + text)
        module.verify()
    except RuntimeError as err:
        lines = str(err).strip().splitlines()
        raise ValueError(next((line for line in lines if "error: " in line), lines[0])) from err
    return module


def versions() -> dict:
    """The toolchain object of the group record."""
    return {
        "frontend": f"ziglang {importlib.metadata.version('ziglang')}",
        "optimizer": f"llvmlite {importlib.metadata.version('llvmlite')}",
        "llvm": ".".join(map(str, binding.llvm_version_info)),
        "target": f"{architecture()}-linux-gnu",
        "cpu": "baseline",
    }
