"""Whether what building IR groups needs is installed; loads none of it."""

from __future__ import annotations

import importlib.util

from oorl.errors import UserError

PACKAGES = ("ziglang", "llvmlite", "tqdm")


def require_toolchain() -> None:
    """Raise UserError with the remedy unless the front end, the optimiser and the progress bar are installed."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise UserError(
            f"building IR groups needs {' and '.join(missing)}, which {verb} not installed; "
            'run `pip install "oorl-kernels[train]"`'
        )
