"""Run stored groups again, by another road than the one that built them.

The build calls through a driver in machine code and optimises with llvmlite; here every member is called through
ctypes, losers alone in their process, and the source goes through clang's own -O2. Both must agree with what the
record says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from oorl.data.ir_groups import IRGroup
from oorl.ir.calls import Calls, Runs
from oorl.ir.clean import alpha_sha, externals
from oorl.ir.compile import CompileError, check_signature, compile_for_check
from oorl.ir.csource import Source
from oorl.ir.layout import arguments_from_json
from oorl.ir.llvm import parse
from oorl.ir.rerun import ProgramCalls
from oorl.ir.signature import CSignature

_ASSEMBLY = re.compile(r"\basm\b")  # code that no list of functions says the effects of


def reverify(group: IRGroup) -> str | None:
    """``reverify_each`` for one group."""
    return next(reverify_each([group]))


def reverify_each(groups: Sequence[IRGroup]) -> Iterator[str | None]:
    """For every group None when every winner and every loser's witness reproduces, else ``Kind: what does not``.

    Kinds: SignatureMismatch, DuplicateIR, ParseError, EntryNotDefined, ToolchainMissing, ReferenceFails,
    WinnerMismatch, WitnessNotReproduced. Sources are compiled together, members one group after the other.
    """
    sources = [_source(group) for group in groups]
    texts = iter(compile_for_check([source for source in sources if isinstance(source, Source)]))
    for group, source in zip(groups, sources, strict=True):
        yield source if isinstance(source, str) else _fault(group, source, next(texts))


def _source(group: IRGroup) -> Source | str:
    """What is to be compiled, or why it cannot be called."""
    row = group.source
    try:
        signature = CSignature.from_json(group.signature)
        return Source(group.group_id, row["code"], row["entry"], signature, "", "", "", row["language"])
    except (KeyError, TypeError, ValueError) as err:
        return f"SignatureMismatch: {err}"


def _fault(group: IRGroup, source: Source, text: str | CompileError) -> str | None:
    signature, entry = source.signature, source.entry
    try:
        inputs = [arguments_from_json(signature, row) for row in group.inputs["args"]]
        expected = list(group.inputs["expected"])
    except (KeyError, TypeError, ValueError) as err:
        return f"SignatureMismatch: {err}"
    if reason := _structure(group, signature, entry):
        return reason
    if isinstance(text, CompileError):
        return f"{'ToolchainMissing' if str(text).startswith('rustc:') else 'ReferenceFails'}: {text}"
    calls = ProgramCalls(inputs) if signature.mode == "stdin" else Calls(signature, entry, inputs)
    equal = [("the source", text), *((winner["id"], winner["ir"]) for winner in group.winners)]
    for (name, _), runs in zip(equal, calls.run([text for _, text in equal]), strict=False):
        if reason := _differs(runs, expected):
            return f"{'ReferenceFails' if name == 'the source' else 'WinnerMismatch'}: {name} {reason}"
    for loser in group.losers:
        if reason := _witness(loser, calls, expected):
            return f"WitnessNotReproduced: {loser['id']} {reason}"
    return None


def _structure(group: IRGroup, signature: CSignature, entry: str) -> str | None:
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
        if externals(ir) or _ASSEMBLY.search(ir):
            return f"EntryNotDefined: {name} calls {', '.join(externals(ir)) or 'assembly'}"
        try:
            check_signature(ir, entry, signature)
        except CompileError as err:
            return f"SignatureMismatch: {name}: {err}"
    return None


def _differs(runs: Runs | str, expected: list[dict]) -> str | None:
    if isinstance(runs, str):
        return f"ends in a {runs}"
    for run in runs:
        for k, outcome in enumerate(run):
            if outcome != expected[k]:
                return f"answers {outcome} instead of {expected[k]} on input {k}"
    return None


def _witness(loser: dict, calls: Calls | ProgramCalls, expected: list[dict]) -> str | None:
    try:
        witness = loser["witness"]
        k, got = witness["input"], witness["got"]
        if witness["expected"] != expected[k]:
            return f"expects another outcome than its group on input {k}"
    except (KeyError, TypeError, IndexError) as err:
        return f"has no usable witness ({err!r})"
    [runs] = calls.run([loser["ir"]])
    if isinstance(runs, str):
        return f"ends in a {runs}"
    for run in runs:
        if run[k] != got or run[k] == expected[k]:
            return f"answers {run[k]} on its witness, stored {got}, expected {expected[k]}"
        rate = sum(a != b for a, b in zip(run, expected, strict=True)) / len(expected)
        if round(rate, 4) != loser.get("kill_rate"):
            return f"differs on a share of {rate:.4f} of the inputs, stored {loser.get('kill_rate')}"
    return None
