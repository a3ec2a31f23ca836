"""Whether what building IR groups needs is installed; loads none of it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re

from oorl.errors import UserError

PACKAGES = ("ziglang", "llvmlite", "tqdm")
OLDEST = {"ziglang": "0.13", "llvmlite": "0.45"}  # clang 18; LLVM 20, the first whose pipelines llvmlite can set


def require_toolchain() -> None:
    """Raise UserError with the remedy unless the front end, the optimiser and the progress bar are installed, and none
    is too old.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise UserError(
            f"building IR groups needs {' and '.join(missing)}, which {verb} not installed; "
            'run `pip install "oorl-kernels[train]"`'
        )
    for name, oldest in OLDEST.items():
        found = importlib.metadata.version(name)
        if _numbers(found) < _numbers(oldest):
            raise UserError(
                f"building IR groups needs {name} {oldest} or newer, found {found}; run `pip install --upgrade {name}`"
            )


def require_readable(compiler: str, its_llvm: int, our_llvm: int) -> None:
    """Raise UserError when a compiler's LLVM is newer than llvmlite's, which then rejects what it prints."""
    if its_llvm > our_llvm:
        raise UserError(
            f"{compiler} prints the IR of LLVM {its_llvm}, and llvmlite {importlib.metadata.version('llvmlite')} reads "
            f"LLVM {our_llvm} at most; run `pip install --upgrade llvmlite`, or use an older compiler"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)[:2]))
