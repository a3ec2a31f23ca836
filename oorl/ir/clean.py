"""One spelling for every IR text: it holds the function, and nothing about the machine or the optimiser.

Dropped: comments, target and source lines, metadata, attribute groups, attributes that LLVM inferred, default
alignments, lifetime marks. Kept: the ABI's attributes (zeroext, signext) and poison flags (nsw, nuw, inbounds ...).
``canonical`` also strips names, so that every member of a group is numbered the same way and naming betrays
nothing.
"""

from __future__ import annotations

import hashlib
import re

from oorl.ir.libc import LIBRARY
from oorl.ir.llvm import analysis_machine, binding, parse

NAMING = "numbered"

_DROPPED_LINE = re.compile(
    r"^(?:;|source_filename|target |attributes |!|\s*$|.*@llvm\.(?:lifetime\.|experimental\.noalias\.scope\.decl))"
)
_COMMENT = re.compile(r"\s+; preds = .*$|\s+; No predecessors!.*$")
_METADATA = re.compile(r",? ![\w.]+ !\d+")
_GROUP = re.compile(r" #\d+\b")
_AT_THE_END = re.compile(
    r"(?: #\d+)?(?:, ![\w.]+ !\d+)*$"
)  # of a line with names or text in quotes, which may hold both
_ALIGN = re.compile(r", align \d+")
_WORDS = re.compile(
    r" (?:dso_local|local_unnamed_addr|unnamed_addr|hidden|fastcc|noundef|nonnull|nocapture|readonly|writeonly|readnone"
    r"|returned|nofree|noalias|nocallback|nosync|nounwind|mustprogress|willreturn|norecurse|noinline|writable"
    r"|dead_on_return|dead_on_unwind)\b"
)
_CALLS = re.compile(
    r" (?:captures|range|initializes|memory|dereferenceable|dereferenceable_or_null|align|nofpclass)"
    r"\((?:[^()]|\([^()]*\))*\)"
)
_OFFERED = re.compile(r"^define (?!internal |private )[^@\n]*@([\w.$-]+)\(", re.M)
_PARAM_ALIGN = re.compile(r"(?<=ptr) align \d+")


def clean(text: str) -> str:
    """Drop what is not the function; the result parses to the same function (its own fixed point)."""
    lines = []
    for line in text.splitlines():
        if _DROPPED_LINE.match(line):
            continue
        line = _COMMENT.sub("", line)
        line = _AT_THE_END.sub("", line, count=1) if '"' in line else _GROUP.sub("", _METADATA.sub("", line))
        if line.startswith(("define", "declare")) or " call " in line or "\tcall " in line:
            line = _PARAM_ALIGN.sub("", _CALLS.sub("", _WORDS.sub("", line)))
        elif line.startswith("@"):
            head, mark, string = line.partition(' c"')  # a string's letters are no attributes
            line = _WORDS.sub("", head) + mark + string
        if " atomic " not in line and ("x " not in line or not re.search(r"<\d+ x ", line)):
            # A vector's default alignment exceeds that of the array it is loaded from: there the number is meaning.
            line = _ALIGN.sub("", line)
        lines.append(line.rstrip())
    return "\n".join(lines) + "\n"


def canonical(module: binding.ModuleRef) -> str:
    """The stored text of a module: names stripped, cleaned."""
    builder = binding.create_pass_builder(analysis_machine(), binding.create_pipeline_tuning_options(0))
    passes = binding.create_new_module_pass_manager()
    passes.add_strip_dead_prototype_pass()
    passes.add_strip_symbols_pass()
    passes.run(module, builder)
    return clean(str(module))


def alpha_sha(text: str) -> str:
    """The hash under which two canonical texts are the same IR."""
    return hashlib.sha256(text.encode()).hexdigest()


def instruction_count(text: str) -> int:
    """Instructions of all functions in a canonical text."""
    return sum(line.startswith("  ") for line in text.splitlines())


def externals(text: str) -> list[str]:
    """Functions and variables a text uses and does not define, LLVM's intrinsics aside.

    A program (``main`` is all that its text offers) may use the harmless part of the C library; a function, nothing.
    """
    found = re.findall(r"^declare .*?@([\w.$-]+)\(|^@([\w.$-]+) = (?:external|extern_weak) ", text, re.M)
    allowed = LIBRARY if _OFFERED.findall(text) == ["main"] else ()
    return [a or b for a, b in found if not a.startswith("llvm.") and (a or b) not in allowed]


def named(text: str) -> str:
    """A canonical text with explicit names (``%v3``, a label on the entry block): its lines can be edited singly."""
    out = []
    for line in text.splitlines():
        if line.startswith("define"):
            parameters = len(re.findall(r"%\d+", line))
            out += [re.sub(r"%(\d+)", r"%v\1", line), f"v{parameters}:"]
        elif re.match(r"\d+:", line):
            out.append("v" + line)
        else:  # a global's string may hold what a format writes like a value: %5d
            out.append(line if line.startswith("@") else re.sub(r"%(\d+)", r"%v\1", line))
    return "\n".join(out) + "\n"


def reparsed(text: str) -> str:
    """The canonical text of an edited text; ValueError when LLVM's parser or verifier rejects it."""
    return canonical(parse(text))
