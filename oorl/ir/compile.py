"""Modules of functions: what the front ends print, many functions in one call, cut to one function and cleaned.

A trap of the ``ub`` module is turned into a flag that the harness reads.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from oorl.ir.clean import clean, externals
from oorl.ir.csource import CFile, Source, declared_names, split_c
from oorl.ir.frontend import BUILD, CHECK, CompileError, run_front_end
from oorl.ir.llvm import analysis_machine, binding, parse
from oorl.ir.signature import SCALARS, CSignature

UB_FLAG = "@oorl_ub"

# What decides whether other lines count: texts that hold it are compiled together only where they are the same.
_CONDITIONAL = re.compile(r"\s*#\s*(?!include\b|define\b)")
_SYMBOL = re.compile(r"@(?:\"[^\"]*\"|[\w.$-]+)")
_FUNCTION = re.compile(_SYMBOL.pattern + r"(?=\()")
_TRAP = re.compile(r"^\s*(?:tail )?call void @llvm\.(?:ubsan)?trap\(.*$\n\s*unreachable.*$", re.M)
_NEVER_RETURNS = re.compile(r"^\s*(?:tail )?call void (@[\w.$]+)\(.*$\n\s*unreachable.*$", re.M)
_LINKAGE = r"(?:internal |private |dso_local |hidden |linkonce_odr |weak_odr |available_externally )*"
_RESULT = re.compile(r"define [^@]*?(void|i\d+|float|double|ptr|\{[^@]*\}|\[[^@]*\]|<[^@]*>|%\S+) @")

__all__ = ["CompileError", "Modules", "compile_for_check", "compile_sources"]


@dataclass(frozen=True)
class Modules:
    """The texts of one function, cleaned, its helpers inlined; in ``ub`` a trap stores to ``@oorl_ub`` and returns."""

    b0: str
    b1: str
    ub: str


def compile_sources(sources: Sequence[Source]) -> list[Modules | CompileError]:
    """Modules for every source, in order; those that do not compile answer with the compiler's first complaint."""
    printed = _printed(sources, BUILD)
    return [
        found if isinstance(found, CompileError) else _modules(found[0], source, found[1])
        for source, found in zip(sources, printed, strict=True)
    ]


def compile_for_check(sources: Sequence[Source]) -> list[str | CompileError]:
    """The text that the compiler itself makes of every function at -O2, or its first complaint, in order."""
    printed = _printed(sources, CHECK)
    return [
        found if isinstance(found, CompileError) else _check_text(found[0]["check"], source, found[1])
        for source, found in zip(sources, printed, strict=True)
    ]


def _printed(sources: Sequence[Source], variants: tuple[str, ...]) -> list[tuple[dict[str, str], str] | CompileError]:
    """What the front end prints for every source, compiled with others in one call where that works, and the suffix
    that its functions have in there."""
    results: list[tuple[dict[str, str], str] | CompileError | None] = [None] * len(sources)
    for language, batch in batches_of(sources):
        if len(batch.members) > 1:
            code = "\n".join([*batch.declarations, *(_renamed(sources[k], k) for k in batch.members)])
            try:
                texts = run_front_end(code, language, variants)
            except CompileError:
                continue  # one bad function spoils the batch: below each is compiled alone, so that only it is refused
            for k in batch.members:
                results[k] = (texts, f"__{k}")
    for k, source in enumerate(sources):
        if results[k] is None:
            try:
                results[k] = (run_front_end(source.code, source.language, variants), "")
            except CompileError as err:
                results[k] = err
    return results


def batches_of(sources: Sequence[Source]) -> list[tuple[str, Batch]]:
    """Sources, by their places, that one call can compile: of one language, their declarations without contradiction.

    Rust sources stand in modules of their own, so nothing of theirs can contradict. Programs are in no batch: main is
    main under no other name.
    """
    batches: list[tuple[str, Batch]] = []
    for k, source in enumerate(sources):
        if source.signature.mode == "stdin":
            continue
        parts = split_c(source.code) if source.language != "rust" else CFile((), ())
        # A macro defined inside a function holds for all that follow.
        alone = any("#" in function.text for function in parts.functions)
        own = parts.declarations
        fitting = (
            batch
            for language, batch in batches
            if not alone and language == source.language and batch.accepts(own, source.code)
        )
        batch = next(fitting, None)
        if batch is None:
            batch = Batch(closed=alone)
            batches.append((source.language, batch))
        batch.add(k, own, source.code)
    return batches


@dataclass
class Batch:
    """Sources compiled together: every declaration once, in the order in which they came."""

    members: list[int] = field(default_factory=list)
    declarations: dict[str, set[str]] = field(default_factory=dict)  # each with the names that it introduces
    words: set[str] = field(default_factory=set)
    closed: bool = False  # to others

    def accepts(self, declarations: Sequence[str], code: str) -> bool:
        """Whether a source's declarations can stand beside those that are here."""
        new = [line for line in declarations if line not in self.declarations]
        if self.closed:
            return False
        if list(declarations) == list(self.declarations):
            return True
        if any(map(_CONDITIONAL.match, (*declarations, *self.declarations))):
            return False
        here, there = set().union(*self.declarations.values()), set().union(*map(declared_names, new))
        # A macro changes whatever text it stands in, so its name must be nowhere else.
        own = set().union(*(declared_names(line) for line in new if line.startswith("#")))
        others = set().union(*(names for line, names in self.declarations.items() if line.startswith("#")))
        strange = others - set().union(*(declared_names(line) for line in declarations))
        return not (here & there or own & self.words or strange & set(re.findall(r"\w+", code)))

    def add(self, index: int, declarations: Sequence[str], code: str) -> None:
        self.members.append(index)
        self.declarations |= {line: declared_names(line) for line in declarations}
        self.words |= set(re.findall(r"\w+", code))


def _renamed(source: Source, index: int) -> str:
    """The source's functions, renamed, so that equal names of two sources stay apart."""
    if source.language == "rust":
        code = source.code.replace("#[no_mangle]", f'#[export_name = "{source.entry}__{index}"]')
        return f"mod s{index} {{\n{code}\n}}"
    parts = split_c(source.code)
    names = [function.name for function in parts.functions]
    return "\n".join(
        [f"#define {name} {name}__{index}" for name in names]
        + [function.text for function in parts.functions]
        + [f"#undef {name}" for name in names]
    )


def _modules(texts: dict[str, str], source: Source, suffix: str) -> Modules | CompileError:
    try:
        parts = {base: _part(text, source, suffix) for base, text in texts.items()}
        parts["ub"] = _flagged_traps(parts["ub"])
        modules = Modules(**{base: _inlined(text) for base, text in parts.items()})
        check_signature(modules.b0, source.entry, source.signature)
        return modules
    except CompileError as err:
        return err
    except ValueError as err:
        return CompileError(f"compile: LLVM rejects the front end's text ({err})")


def _check_text(text: str, source: Source, suffix: str) -> str | CompileError:
    try:
        return _inlined(_part(text, source, suffix))
    except CompileError as err:
        return err
    except ValueError as err:
        return CompileError(f"compile: LLVM rejects the front end's text ({err})")


def _part(text: str, source: Source, suffix: str) -> str:
    """A source's part of what the front end printed, under its own names."""
    part = _extract(_without_panics(text, source.language), f"@{source.entry}{suffix}")
    return re.sub(rf"(@[\w.$-]+?){suffix}\b", r"\1", part) if suffix else part


def check_signature(text: str, entry: str, signature: CSignature) -> None:
    """Raise CompileError unless the function is passed, and returns, what its signature says."""
    found = re.search(rf"^define (.*?) ?@{re.escape(entry)}\((.*)\)", text, re.M)
    if not found:
        raise CompileError(f"signature: the text holds no plain definition of {entry}")
    expected = ["ptr" if p.kind == "buffer" else p.scalar.llvm for p in signature.params]
    own = [part.split()[0] for part in found[2].split(",")] if found[2].strip() else []
    if signature.mode == "stdin" and own == ["i32", "ptr"]:
        return  # a program may take the arguments of its command; it is given none
    if own != expected or " sret" in found[2] or " byval" in found[2]:
        raise CompileError(f"signature: the compiler passes ({', '.join(own)}), not ({', '.join(expected)})")
    ret = SCALARS[signature.ret].llvm if signature.ret else "void"
    if found[1].split()[-1:] != [ret]:
        raise CompileError(f"signature: the compiler returns {found[1].split()[-1]}, not {ret}")


def _without_panics(text: str, language: str) -> str:
    """Rust: a call that ends the process becomes a trap; C and C++ call nothing of the kind unasked."""
    if language != "rust":
        return text
    # Panics abort here: what would go on unwinding stands in blocks that nothing reaches.
    text = re.sub(r"^  resume .*$", "  unreachable", re.sub(r" personality ptr @\w+", "", text), flags=re.M)
    declared = set(re.findall(r"^declare .*?(@[\w.$]+)\(", text, re.M))

    def trap(found: re.Match) -> str:
        if found[1] not in declared or found[1].startswith("@llvm."):
            return found[0]
        return "  call void @llvm.trap()\n  unreachable"

    text = _NEVER_RETURNS.sub(trap, text)
    known = "@llvm.trap" in declared
    return text if known or "@llvm.trap()" not in text else text + "declare void @llvm.trap()\n"


def _extract(text: str, entry: str) -> str:
    """A module holding ``entry`` and what it reaches; every other function in it becomes internal, to be inlined."""
    blocks = {}
    text = _without_type_names(re.sub(r" comdat(?:\([^()]*\))?", "", text))
    for block in re.findall(r"^define .*?^}\n|^declare .*?\n|^@.*?\n", text, re.M | re.S):
        name = _SYMBOL.match(block) or _FUNCTION.search(block)
        blocks[name[0]] = block
    if entry not in blocks:
        raise CompileError(f"compile: the code does not define {entry[1:].split('__')[0]}")
    reached, queue = {entry}, [entry]
    while queue:
        for name in _SYMBOL.findall(blocks[queue.pop()]):
            if name in blocks and name not in reached:
                reached.add(name)
                queue.append(name)
    pieces = []
    for name, block in blocks.items():
        if name in reached:
            if block.startswith("define") and name != entry:
                block = re.sub(rf"^define {_LINKAGE}", "define internal ", block)
                block = re.sub(r"\)[^()\n]*\{\n", ") alwaysinline {\n", block, count=1)
            elif block.startswith("define"):
                block = re.sub(rf"^define {_LINKAGE}", "define ", block)
            pieces.append(block)
    # Globals, functions, declarations: where the front end put a declaration depends on what else was in the batch.
    order = {"@": 0, "define": 1, "declare": 2}
    pieces.sort(key=lambda block: (order[re.match(r"@|\w+", block)[0]], block * block.startswith("declare")))
    text = "".join(pieces)
    if re.search(r"\bcall .*\basm\b", text):
        raise CompileError("assembly: the function holds inline assembly")
    return clean(text)


def _without_type_names(text: str) -> str:
    """Struct types written out where they are used: a name would tell of the source, and LLVM renumbers them."""
    types = dict(re.findall(r"^(%[\w.$:-]+|%\"[^\"]*\") = type (.*)$", text, re.M))
    name = re.compile(r"%(?:\"[^\"]*\"|[\w.$:-]+)")
    if not types:
        return text

    def written_out(found: re.Match) -> str:
        body = types.get(found[0])
        return name.sub(written_out, body) if body else found[0]

    return name.sub(written_out, re.sub(r"^%.* = type .*\n", "", text, flags=re.M))


def _flagged_traps(text: str) -> str:
    """Turn every sanitizer trap into ``flag = 1; return 0``: the process lives on and the input is dropped."""

    def in_function(match: re.Match) -> str:
        result = _RESULT.match(match[0])
        if not result:
            raise CompileError("compile: a function's result has no plain type")
        zero = "void" if result[1] == "void" else f"{result[1]} zeroinitializer"
        return _TRAP.sub(f"  store i8 1, ptr {UB_FLAG}\n  ret {zero}", match[0])

    text = re.sub(r"^define .*?^}\n", in_function, text, flags=re.M | re.S)
    text = re.sub(r"^declare void @llvm\.(?:ubsan)?trap\(.*\n", "", text, flags=re.M)
    return f"{UB_FLAG} = global i8 0\n{text}"


def _inlined(text: str) -> str:
    module = parse(text)
    _passes(module, "always_inliner", "global_dead_code_eliminate", "strip_dead_prototype")
    text = clean(str(module))
    if externals(text):  # perhaps in branches that a constant closes
        _passes(module, "simplify_cfg", "strip_dead_prototype")
        text = clean(str(module))
    return text


def _passes(module: binding.ModuleRef, *names: str) -> None:
    builder = binding.create_pass_builder(analysis_machine(), binding.create_pipeline_tuning_options(0))
    passes = binding.create_new_module_pass_manager()
    for name in names:
        getattr(passes, f"add_{name}_pass")()
    passes.run(module, builder)
