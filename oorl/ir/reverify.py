"""Run a stored group again, by another road than the one that built it.

The build calls through a driver in machine code and optimises with llvmlite; here every member is called through
ctypes, alone in its process, and the source goes through clang's own -O2. Both must agree with what the record
says.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import struct

from oorl.data.ir_groups import IRGroup
from oorl.ir.clean import alpha_sha, externals
from oorl.ir.compile import CompileError, compile_for_check
from oorl.ir.execute import AS_IT_IS, compile_module, limit_this_process
from oorl.ir.layout import FILLS, Outcome, arguments_from_json, outcome_json
from oorl.ir.llvm import parse
from oorl.ir.rerun import ProgramCalls
from oorl.ir.signature import CSignature

MEMBER_CPU_S = 2.0
PAD = 64  # bytes on either side of a buffer that must not change

_CTYPES = {
    "i1": ctypes.c_bool, "i8": ctypes.c_int8, "u8": ctypes.c_uint8, "char": ctypes.c_uint8, "i16": ctypes.c_int16,
    "u16": ctypes.c_uint16, "i32": ctypes.c_int32, "u32": ctypes.c_uint32, "i64": ctypes.c_int64,
    "u64": ctypes.c_uint64, "f32": ctypes.c_float, "f64": ctypes.c_double,
}  # fmt: skip


def reverify(group: IRGroup) -> str | None:
    """None when every winner and every loser's witness reproduces, else ``Kind: what does not``.

    Kinds: SignatureMismatch, DuplicateIR, ParseError, EntryNotDefined, ToolchainMissing, ReferenceFails,
    WinnerMismatch, WitnessNotReproduced.
    """
    try:
        signature = CSignature.from_json(group.signature)
        inputs = [arguments_from_json(signature, row) for row in group.inputs["args"]]
        expected = list(group.inputs["expected"])
    except (KeyError, TypeError, ValueError) as err:
        return f"SignatureMismatch: {err}"
    entry = group.source["entry"]
    if reason := _structure(group, entry):
        return reason
    try:
        source = compile_for_check(group.source["code"], entry, group.source["language"])
    except CompileError as err:
        return f"{'ToolchainMissing' if str(err).startswith('rustc:') else 'ReferenceFails'}: {err}"
    if reason := _differs(source, entry, signature, inputs, expected):
        return f"ReferenceFails: the source {reason}"
    for winner in group.winners:
        if reason := _differs(winner["ir"], entry, signature, inputs, expected):
            return f"WinnerMismatch: {winner['id']} {reason}"
    for loser in group.losers:
        if reason := _witness(loser, entry, signature, inputs, expected):
            return f"WitnessNotReproduced: {loser['id']} {reason}"
    return None


def _structure(group: IRGroup, entry: str) -> str | None:
    seen: dict[str, str] = {}
    for member in (*group.winners, *group.losers):
        name, ir = member["id"], member["ir"]
        if alpha_sha(ir) != member.get("alpha_sha") or ir in seen:
            fault = f"that of {seen[ir]}" if ir in seen else "not the one its hash was taken of"
            return f"DuplicateIR: the text of {name} is {fault}"
        seen[ir] = name
        try:
            module = parse(ir)
        except ValueError as err:
            return f"ParseError: {name}: {err}"
        if not any(function.name == entry and not function.is_declaration for function in module.functions):
            return f"EntryNotDefined: {name} does not define {entry}"
        if externals(ir):
            return f"EntryNotDefined: {name} calls {', '.join(externals(ir))}"
    return None


def _differs(ir: str, entry: str, signature: CSignature, inputs: list[list], expected: list[dict]) -> str | None:
    runs = _run(ir, entry, signature, inputs)
    if isinstance(runs, str):
        return f"ends in a {runs}"
    for run in runs:
        for k, outcome in enumerate(run):
            if outcome != expected[k]:
                return f"answers {outcome} instead of {expected[k]} on input {k}"
    return None


def _witness(loser: dict, entry: str, signature: CSignature, inputs: list[list], expected: list[dict]) -> str | None:
    try:
        witness = loser["witness"]
        k, got = witness["input"], witness["got"]
        if witness["expected"] != expected[k]:
            return f"expects another outcome than its group on input {k}"
    except (KeyError, TypeError, IndexError) as err:
        return f"has no usable witness ({err!r})"
    runs = _run(loser["ir"], entry, signature, inputs)
    if isinstance(runs, str):
        return f"ends in a {runs}"
    for run in runs:
        if run[k] != got or run[k] == expected[k]:
            return f"answers {run[k]} on its witness, stored {got}, expected {expected[k]}"
        rate = sum(a != b for a, b in zip(run, expected, strict=True)) / len(inputs)
        if round(rate, 4) != loser.get("kill_rate"):
            return f"differs on a share of {rate:.4f} of the inputs, stored {loser.get('kill_rate')}"
    return None


def _run(ir: str, entry: str, signature: CSignature, inputs: list[list]) -> list[list[dict | None]] | str:
    """Outcomes under every codegen level and fill (None: something outside the buffers changed), or how it ended."""
    if signature.mode == "stdin":
        return ProgramCalls(inputs).run([ir])[0]
    frame = 16 + sum(p.room for p in signature.buffers)
    block = frame * len(inputs)
    with mmap.mmap(-1, 8 + block * len(AS_IT_IS)) as shared:
        child = os.fork()
        if child == 0:
            try:
                limit_this_process()
                signal.setitimer(signal.ITIMER_PROF, MEMBER_CPU_S)
                for r, (codegen, fill, _) in enumerate(AS_IT_IS):
                    engine = compile_module(ir, codegen)
                    address = engine.get_function_address(entry)
                    for k, arguments in enumerate(inputs):
                        data = _call(address, signature, arguments, FILLS[fill])
                        start = 8 + r * block + k * frame
                        shared[start : start + len(data)] = data
                shared[0] = 1
                os._exit(0)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        if not shared[0]:
            return "timeout" if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF else "crash"
        data = shared[8:]
    pieces = [data[k * frame : (k + 1) * frame] for k in range(len(AS_IT_IS) * len(inputs))]
    read = [_read(piece, signature, arguments) for piece, arguments in zip(pieces, inputs * len(AS_IT_IS), strict=True)]
    return [read[r * len(inputs) : (r + 1) * len(inputs)] for r in range(len(AS_IT_IS))]


def _call(address: int, signature: CSignature, arguments: list, fill: int) -> bytes:
    """In the child: one call through ctypes; result, whether the pads are intact, buffers, at fixed places."""
    kinds, values, buffers = [], [], []
    for p, value in zip(signature.params, arguments, strict=True):
        if p.kind == "scalar":
            kinds.append(_CTYPES[p.type])
            values.append(kinds[-1](value))
            continue
        payload = p.pack(value, fill)
        # Words, so that the buffer is aligned whatever its elements are.
        words = (ctypes.c_uint64 * ((2 * PAD + len(payload) + 7) // 8))()
        ctypes.memset(words, fill, ctypes.sizeof(words))
        ctypes.memmove(ctypes.addressof(words) + PAD, payload, len(payload))
        buffers.append((words, bytes(words), len(payload), p.room))
        kinds.append(ctypes.c_void_p)
        values.append(ctypes.c_void_p(ctypes.addressof(words) + PAD))
    kind = _CTYPES[signature.ret] if signature.ret else None
    result = ctypes.CFUNCTYPE(kind, *kinds)(address)(*values)
    data = bytearray(16 + sum(room for *_, room in buffers))
    if kind:
        packed = bytes(kind(result))
        data[: len(packed)] = packed
    intact, start = True, 16
    for words, before, length, room in buffers:
        after, end = bytes(words), PAD + length
        intact &= after[:PAD] == before[:PAD] and after[end:] == before[end:]
        data[start : start + length] = after[PAD:end]
        start += room
    struct.pack_into("<Q", data, 8, intact)
    return bytes(data)


def _read(data: bytes, signature: CSignature, arguments: list) -> dict | None:
    memory, start = [], 16
    for p, value in zip(signature.params, arguments, strict=True):
        if p.kind == "buffer":
            memory.append(data[start : start + len(value) * p.size])
            start += p.room
    return outcome_json(signature, Outcome(data[:8], tuple(memory))) if data[8] else None
