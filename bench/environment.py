"""What a row must say about the machine and the code it was measured on."""

from __future__ import annotations

import hashlib
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "numpy", "triton", "transformers", "liger-kernel", "cut-cross-entropy", "trl", "verl", "quack-kernels",
    "flash-attn", "llvmlite", "ziglang",
)  # fmt: skip
# What decides a figure; tables, plots and the search for launch configurations read figures.
MEASURING = ("harness", "inputs", "oracle", "peers", "providers", "real_states", "shapes", "tasks")


def describe(device: torch.device) -> dict:
    """The environment fields of a row: hardware, versions, commit, dirty flag, source hash, command, UTC date."""
    commit, dirty = _git_state()
    return {
        "device": device_name(device),
        "device_type": device.type,
        "threads": torch.get_num_threads() if device.type == "cpu" else None,
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "commit": commit,
        "dirty": dirty,
        "source": source_hash(*(f"bench/{name}.py" for name in MEASURING)),
        "command": shlex.join(["python", *sys.orig_argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def device_name(device: torch.device) -> str:
    """The hardware's own name: the GPU's, or the CPU model and its number of logical cores."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
        model = found.group(1) if found else model
    return model.strip()


def device_folder(device: torch.device) -> str:
    """`device_name` as a folder name: lower case, digits and dashes."""
    prefix = "" if device.type == "cuda" else "cpu-"
    return prefix + re.sub(r"[^a-z0-9]+", "-", device_name(device).lower()).strip("-")


def source_hash(*paths: str, tuned: bool = True) -> str:
    """First 12 hex digits of SHA-256 over the Python and JSON files of the kernels and of further files or folders.

    It names the measured code even where there is no git, and does not change with a README. ``tuned=False`` leaves the
    measured launch configurations out.
    """
    files = [path for name in ("kernels/oorl_kernels", *paths) for path in _files(ROOT / name)]
    return _digest(path for path in files if path.suffix in (".py", ".json") and (tuned or path.parent.name != "tuned"))


def pool_source_hash() -> str:
    """The same over the reward pool, with its drivers and its launcher, the programs it judges, and its benchmarks."""
    files = [path for name in ("oorl/reward", "oorl/programs", "bench/pool") for path in _files(ROOT / name)]
    return _digest(path for path in files if path.is_file() and path.suffix != ".pyc")


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _files(path: Path) -> Iterable[Path]:
    return [path] if path.is_file() else path.rglob("*")


def _git_state() -> tuple[str | None, bool | None]:
    """(commit, whether anything but results differs from it); (None, None) outside a git checkout."""
    try:
        commit = _git("rev-parse", "HEAD").strip()
        changed = _git("status", "--porcelain", "--", ".", ":!bench/results", ":!bench/plots")
    except (OSError, subprocess.CalledProcessError):
        return None, None
    return commit, bool(changed.strip())


def _git(*args: str) -> str:
    return subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
