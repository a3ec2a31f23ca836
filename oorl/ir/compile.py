"""The front end: C to LLVM IR through the clang inside the ``ziglang`` wheel, many functions in one call.

Three modules per function: ``b0`` (-O0), ``b1`` (-O2 with no pass run) and ``ub``, the -O0 module with the
undefined-behaviour sanitizer, whose traps are turned into a flag the harness reads.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from oorl.ir.clean import clean
from oorl.ir.csource import Source, split_c
from oorl.ir.llvm import analysis_machine, architecture, binding, parse

# zig's driver adds host features, sanitizers and a stack protector unless each is turned off here.
COMMON = (
    "-mcpu=baseline -fno-stack-protector -S -emit-llvm -g0 -fno-discard-value-names -fno-ident -ffp-contract=off -w "
    "-std=gnu17"
).split()
FLAGS = {
    "b0": ["-fno-sanitize=undefined", "-O0", "-Xclang", "-disable-O0-optnone"],
    "b1": ["-fno-sanitize=undefined", "-O2", "-Xclang", "-disable-llvm-passes"],
    "ub": ["-fsanitize=undefined", "-fsanitize-trap=undefined", "-O0", "-Xclang", "-disable-O0-optnone"],
}
# clang's own optimiser from end to end: what reverification compares with.
CHECK_FLAGS = {"check": ["-fno-sanitize=undefined", "-O2"]}
TIMEOUT_S = 120
# What generated C takes for granted; a file that includes the headers itself declares the same again.
PRELUDE = "#include <stdbool.h>\nlong long llabs(long long);\ndouble fabs(double);\n#line 1\n"
UB_FLAG = "@oorl_ub"

_SYMBOL = re.compile(r"@(?:\"[^\"]*\"|[\w.$-]+)")
_FUNCTION = re.compile(_SYMBOL.pattern + r"(?=\()")
_TRAP = re.compile(r"^\s*(?:tail )?call void @llvm\.(?:ubsan)?trap\(.*$\n\s*unreachable.*$", re.M)


@dataclass(frozen=True)
class Modules:
    """The texts of one function, cleaned, its helpers inlined; in ``ub`` a trap stores to ``@oorl_ub`` and returns."""

    b0: str
    b1: str
    ub: str


class CompileError(Exception):
    """A function that does not become a module: the message is the refusal's reason."""


def compile_sources(sources: Sequence[Source]) -> list[Modules | CompileError]:
    """Modules for every source, in order; those that do not compile answer with the compiler's first complaint."""
    results: list[Modules | CompileError | None] = [None] * len(sources)
    batch = [k for k, source in enumerate(sources) if _batchable(source)]
    if len(batch) > 1:
        try:
            texts = _run_front_end("\n".join(_renamed(sources[k], k) for k in batch))
        except CompileError:
            batch = []  # one bad function spoils the batch: below each is compiled alone, so that only it is refused
        for k in batch:
            results[k] = _modules(texts, sources[k], suffix=f"__{k}")
    for k, source in enumerate(sources):
        if results[k] is None:
            try:
                results[k] = _modules(_run_front_end(source.code), source, suffix="")
            except CompileError as err:
                results[k] = err
    return results


def compile_for_check(code: str, entry: str) -> str:
    """The text that clang itself makes of a function at -O2; raises CompileError."""
    try:
        return _inlined(_extract(_run_front_end(code, CHECK_FLAGS)["check"], f"@{entry}"))
    except ValueError as err:
        raise CompileError(f"compile: LLVM rejects the front end's text ({err})") from err


def _run_front_end(code: str, variants: dict[str, list[str]] = FLAGS) -> dict[str, str]:
    texts = {}
    with tempfile.TemporaryDirectory(prefix="oorl-ir-") as folder:
        source = Path(folder, "source.c")
        source.write_text(PRELUDE + code, encoding="utf-8")
        # zig keeps a cache of everything it compiles; ours is thrown away with the folder.
        environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": folder + "/zig", "ZIG_LOCAL_CACHE_DIR": folder + "/zig"}
        for base, flags in variants.items():
            out = Path(folder, base + ".ll")
            command = [
                *_zig(),
                "cc",
                "-target",
                f"{architecture()}-linux-gnu",
                *COMMON,
                *flags,
                str(source),
                "-o",
                str(out),
            ]
            try:
                done = subprocess.run(
                    command, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment, cwd=folder
                )
            except subprocess.TimeoutExpired as err:
                raise CompileError(f"compile: the front end took more than {TIMEOUT_S} s") from err
            if done.returncode or not out.exists():
                raise CompileError(f"compile: {_first_error(done.stderr)}")
            texts[base] = out.read_text(encoding="utf-8")
    return texts


def _zig() -> list[str]:
    import ziglang

    native = Path(ziglang.__file__).with_name("zig")  # what `python -m ziglang` runs, without a second Python
    return [str(native)] if native.exists() else [sys.executable, "-m", "ziglang"]


def _first_error(stderr: str) -> str:
    for line in stderr.splitlines():
        if "error:" in line:
            return re.sub(r"^.*?source\.c:(\d+):\d+: ", r"line \1: ", line).strip()[:200]
    return (stderr.strip().splitlines() or ["the front end failed without a message"])[-1][:200]


def _batchable(source: Source) -> bool:
    """Only functions and system headers: anything else at the top level could clash with another source's."""
    lines = split_c(source.code).preamble.splitlines()
    return all(re.fullmatch(r"#\s*include\s*<[\w./]+>\s*", line) for line in lines)


def _renamed(source: Source, index: int) -> str:
    """The source with its functions renamed by the preprocessor, so that equal names of two sources stay apart."""
    parts = split_c(source.code)
    names = [function.name for function in parts.functions]
    return "\n".join(
        [parts.preamble]
        + [f"#define {name} {name}__{index}" for name in names]
        + [function.text for function in parts.functions]
        + [f"#undef {name}" for name in names]
    )


def _modules(texts: dict[str, str], source: Source, suffix: str) -> Modules | CompileError:
    try:
        parts = {base: _extract(text, f"@{source.entry}{suffix}") for base, text in texts.items()}
        if suffix:
            parts = {base: re.sub(rf"(@[\w.$-]+?){suffix}\b", r"\1", text) for base, text in parts.items()}
        parts["ub"] = _flagged_traps(parts["ub"])
        return Modules(**{base: _inlined(text) for base, text in parts.items()})
    except CompileError as err:
        return err
    except ValueError as err:
        return CompileError(f"compile: LLVM rejects the front end's text ({err})")


def _extract(text: str, entry: str) -> str:
    """A module holding ``entry`` and what it reaches; every other function in it becomes internal, to be inlined."""
    blocks = {}
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
                block = re.sub(r"^define (?:internal |dso_local |hidden |linkonce_odr )*", "define internal ", block)
                block = re.sub(r"\)[^()\n]*\{\n", ") alwaysinline {\n", block, count=1)
            pieces.append(block)
    # Globals, functions, declarations: where the front end put a declaration depends on what else was in the batch.
    pieces.sort(key=lambda block: ("@", "define", "declare").index(re.match(r"@|\w+", block)[0]))
    text = "".join(pieces)
    if re.search(r"\bcall .*\basm\b", text):
        raise CompileError("assembly: the function holds inline assembly")
    return clean(text)


def _flagged_traps(text: str) -> str:
    """Turn every sanitizer trap into ``flag = 1; return 0``: the process lives on and the input is dropped."""

    def in_function(match: re.Match) -> str:
        result = re.match(r"define (?:internal )?(?:\w+ )*?(void|i\d+|float|double|ptr) @", match[0])
        if not result:
            raise CompileError("compile: a function returns neither a scalar nor a pointer")
        zero = {"void": "void", "ptr": "ptr null", "float": "float 0.0", "double": "double 0.0"}.get(
            result[1], f"{result[1]} 0"
        )
        return _TRAP.sub(f"  store i8 1, ptr {UB_FLAG}\n  ret {zero}", match[0])

    text = re.sub(r"^define .*?^}\n", in_function, text, flags=re.M | re.S)
    text = re.sub(r"^declare void @llvm\.(?:ubsan)?trap\(.*\n", "", text, flags=re.M)
    return f"{UB_FLAG} = global i8 0\n{text}"


def _inlined(text: str) -> str:
    module = parse(text)
    builder = binding.create_pass_builder(analysis_machine(), binding.create_pipeline_tuning_options(0))
    passes = binding.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.add_global_dead_code_eliminate_pass()
    passes.add_strip_dead_prototype_pass()
    passes.run(module, builder)
    return clean(str(module))
