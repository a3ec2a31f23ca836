"""The compilers: clang inside the ``ziglang`` wheel for C and C++, rustc on PATH for Rust; each to LLVM IR text.

Three modules per function: ``b0`` (-O0), ``b1`` (-O2 with no pass run) and ``ub``, an -O0 module whose traps say that
an input is outside what the language defines: clang's undefined-behaviour sanitizer. Rust has none and needs less:
integer overflow wraps by definition here, and what stands in are its panics (an index out of bounds, a division by
zero, an ``unwrap`` of nothing) and, through debug assertions, the preconditions that the standard library checks.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from oorl.ir.llvm import architecture, binding
from oorl.ir.toolchain import require_readable

# zig's driver adds host features, sanitizers and a stack protector unless each is turned off here.
CLANG = "-mcpu=baseline -fno-stack-protector -S -emit-llvm -g0 -fno-discard-value-names -fno-ident -ffp-contract=off -w"
RUSTC = (
    "--crate-type=lib --crate-name=source --edition=2021 --emit=llvm-ir -C panic=abort -C overflow-checks=off "
    "-C codegen-units=1 -C debuginfo=0 --cap-lints=allow"
)
LANGUAGES = {
    "c": ("source.c", ["cc", *CLANG.split(), "-std=gnu17"]),
    "cpp": ("source.cpp", ["c++", *CLANG.split(), "-std=gnu++20", "-fno-exceptions", "-fno-rtti"]),
    "rust": ("source.rs", RUSTC.split()),
}
_PLAIN = ["-fno-sanitize=undefined"]
_NO_OPTNONE = ["-O0", "-Xclang", "-disable-O0-optnone"]
CLANG_FLAGS = {
    "b0": [*_PLAIN, *_NO_OPTNONE],
    "b1": [*_PLAIN, "-O2", "-Xclang", "-disable-llvm-passes"],
    "ub": ["-fsanitize=undefined", "-fsanitize-trap=undefined", *_NO_OPTNONE],
    # The compiler's own optimiser from end to end: what reverification compares with.
    "check": [*_PLAIN, "-O2"],
}
RUST_FLAGS = {
    "b0": ["-C", "opt-level=0"],
    "b1": ["-C", "opt-level=2", "-C", "no-prepopulate-passes"],
    "ub": ["-C", "opt-level=0", "-C", "debug-assertions=on"],
    "check": ["-C", "opt-level=2"],
}
BUILD = ("b0", "b1", "ub")
CHECK = ("check",)
TIMEOUT_S = 120
# What generated C takes for granted; a file that includes the headers itself declares the same again.
PRELUDE = {"c": "#include <stdbool.h>\nlong long llabs(long long);\ndouble fabs(double);\n#line 1\n"}


class CompileError(Exception):
    """A function that does not become a module: the message is the refusal's reason."""


def run_front_end(code: str, language: str, variants: tuple[str, ...]) -> dict[str, str]:
    """The compiler's text for every variant; raises CompileError with its first complaint."""
    name, base = LANGUAGES[language]
    texts = {}
    with tempfile.TemporaryDirectory(prefix="oorl-ir-") as folder:
        source = Path(folder, name)
        source.write_text(PRELUDE.get(language, "") + code, encoding="utf-8")
        for variant in variants:
            out = Path(folder, variant + ".ll")
            if language == "rust":
                command = [_rustc(), *base, *RUST_FLAGS[variant], str(source), "-o", str(out)]
            else:
                command = zig(*base, "-target", f"{architecture()}-linux-gnu", *CLANG_FLAGS[variant], str(source))
                command += ["-o", str(out)]
            done = run_compiler(command, folder)
            if done.returncode or not out.exists():
                raise CompileError(f"compile: {_first_error(done.stderr)}")
            texts[variant] = out.read_text(encoding="utf-8")
    return texts


def run_compiler(command: list[str], folder: str) -> subprocess.CompletedProcess[str]:
    """Run a compiler in a folder that is thrown away, zig's cache of everything it compiles with it."""
    environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": folder + "/zig", "ZIG_LOCAL_CACHE_DIR": folder + "/zig"}
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment, cwd=folder)
    except subprocess.TimeoutExpired as err:
        raise CompileError(f"compile: the front end took more than {TIMEOUT_S} s") from err


def zig(*arguments: str) -> list[str]:
    """A command of the zig inside the wheel."""
    import ziglang

    native = Path(ziglang.__file__).with_name("zig")  # what `python -m ziglang` runs, without a second Python
    return [*([str(native)] if native.exists() else [sys.executable, "-m", "ziglang"]), *arguments]


@functools.cache
def _rustc() -> str:
    if found := shutil.which("rustc"):
        return found
    raise CompileError("rustc: it is not on PATH; install it (Debian: `apt install rustc`) to build from Rust")


@functools.cache
def rustc_version() -> str:
    """``rustc 1.95.0``; raises CompileError when there is none."""
    done = subprocess.run([_rustc(), "--version"], capture_output=True, text=True, timeout=TIMEOUT_S)
    return " ".join(done.stdout.split()[:2])


def check_compilers(rust: bool) -> None:
    """Raise UserError when clang's LLVM, or rustc's where it is used, is newer than the one that reads its text."""
    ours = binding.llvm_version_info[0]
    clang = subprocess.run(zig("cc", "--version"), capture_output=True, text=True, timeout=TIMEOUT_S).stdout
    if found := re.search(r"clang version (\d+)", clang):
        require_readable("clang in the ziglang wheel", int(found[1]), ours)
    if rust:
        rustc = subprocess.run([_rustc(), "-vV"], capture_output=True, text=True, timeout=TIMEOUT_S).stdout
        if found := re.search(r"LLVM version: (\d+)", rustc):
            require_readable("rustc", int(found[1]), ours)


def _first_error(stderr: str) -> str:
    lines = stderr.splitlines()
    for k, line in enumerate(lines):
        if re.match(r"error(?:\[E\d+\])?: ", line):  # rustc's: the place stands in the next line
            place = re.search(r"source\.rs:(\d+):", " ".join(lines[k : k + 3]))
            return (f"line {place[1]}: {line}" if place else line).strip()[:200]
        if "error:" in line:
            return re.sub(r"^.*?source\.\w+:(\d+):\d+: ", r"line \1: ", line).strip()[:200]
    return (stderr.strip().splitlines() or ["the front end failed without a message"])[-1][:200]
