"""``oorl doctor``: what this machine can do, what is missing, and how to get it."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence

from oorl import __version__
from oorl.errors import UserError
from oorl.reward import Job, RewardPool, Verdict
from oorl.reward.confinement import Confinement, detect_confinement
from oorl.reward.languages import LANGUAGES, missing_toolchain, toolchain_version
from oorl.reward.selfcheck import PROGRAMS, check_problem
from oorl.reward.slots import available_cores, default_cache_dir

Row = tuple[str, ...]
CHECK_S = 120.0  # for one program in every language, compilers' preparations included


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``oorl doctor`` has no arguments of its own."""
    parser.epilog = (
        "Exit status: 0 when something can be done here, 1 when there is neither torch nor a language to run."
    )


def run(args: argparse.Namespace) -> int:
    """Print the tables."""
    devices, torch_works = device_rows()
    toolchains, usable = toolchain_rows(run_self_checks())
    print(f"oorl-kernels {__version__}, Python {platform.python_version()}, {platform.system()} {platform.release()}\n")
    _print_table("Devices and kernels", devices)
    _print_table(f"Languages the reward pool can run ({usable} of {len(LANGUAGES)})", toolchains)
    _print_table("Isolation of untrusted programs", isolation_rows())
    _print_table("Building IR groups", ir_rows())
    return 0 if torch_works or usable else 1


def device_rows() -> tuple[list[Row], bool]:
    """Processors, accelerators and the kernels' back end; torch is imported only here, and only when installed."""
    memory_gb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    rows: list[Row] = [("CPU", f"{available_cores()} cores, {memory_gb:.0f} GB of memory, {platform.machine()}")]
    if importlib.util.find_spec("torch") is None:
        return [*rows, ("torch", "not installed: training and evaluation need it (pip install torch)")], False
    import torch

    rows.append(("torch", torch.__version__))
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(index)
            rows.append(
                (f"GPU {index}", f"{facts.name}, sm_{facts.major}{facts.minor}, {facts.total_memory / 2**30:.0f} GB")
            )
    else:
        rows.append(("GPU", "none that torch can use; everything runs on the CPU, slowly"))
    return [*rows, *_kernel_rows()], True


def _kernel_rows() -> list[Row]:
    """What ``python -m oorl_kernels.info`` says, in a process of its own: it may try out kernels."""
    if importlib.util.find_spec("oorl_kernels") is None:
        return [("kernels", "oorl_kernels is not importable; install the package, or put kernels/ on PYTHONPATH")]
    asked = subprocess.run([sys.executable, "-m", "oorl_kernels.info"], capture_output=True, text=True)
    if asked.returncode != 0:
        return [("kernels", f"oorl_kernels.info failed: {(asked.stderr.strip().splitlines() or ['no output'])[-1]}")]
    return [("kernels" if number == 0 else "", line) for number, line in enumerate(asked.stdout.rstrip().splitlines())]


def run_self_checks() -> dict[str, str]:
    """By language, why not even a right program passes here; the first time this also prepares the compilers."""
    present = [language_id for language_id in LANGUAGES if missing_toolchain(language_id) is None]
    jobs = [Job(name, check_problem(name), PROGRAMS[name], "none") for name in present]
    try:
        with RewardPool() as pool:
            results = pool.gather(pool.submit(jobs), CHECK_S)
    except UserError as err:
        return dict.fromkeys(present, str(err))
    return {result.job_id: result.detail for result in results if result.verdict is not Verdict.PASS}


def toolchain_rows(faults: Mapping[str, str]) -> tuple[list[Row], int]:
    """One row a language: its toolchain's version, what is missing and the package that brings it, or how it fails."""
    rows, usable = [], 0
    for language in LANGUAGES.values():
        absent, fault = missing_toolchain(language.id), faults.get(language.id)
        usable += not (absent or fault)
        state = "missing" if absent else "broken" if fault else "works"
        rows.append((language.display_name, state, absent or fault or toolchain_version(language.id)))
    return rows, usable


def ir_rows() -> list[Row]:
    """The front ends, the optimiser and the validator of IR groups; llvmlite is not loaded."""
    rows: list[Row] = []
    for package, purpose in (("ziglang", "clang, for C and C++"), ("llvmlite", "LLVM's passes and its JIT")):
        absent = importlib.util.find_spec(package) is None
        remedy = 'needed; run `pip install "oorl-kernels[train]"`'
        rows.append(
            (package, "missing" if absent else importlib.metadata.version(package), remedy if absent else purpose)
        )
    for program, purpose, remedy in (
        ("rustc", "Rust sources", "optional: sources in Rust need it (Debian: `apt install rustc`)"),
        ("alive-tv", "winners are proved where it can", "optional: winners are tested, and proved where it is on PATH"),
    ):
        path = shutil.which(program)
        rows.append((program, "works" if path else "missing", f"{purpose} ({path})" if path else remedy))
    return rows


def isolation_rows() -> list[Row]:
    """The level the reward pool reaches here, and layer by layer what that stops."""
    try:
        facts = detect_confinement()
    except UserError as err:
        return [("launcher", "broken", str(err))]
    return [
        ("level", facts.level, _advice(facts)),
        ("launcher", "native" if facts.native else "python", facts.command[0] if facts.native else _BUILD_ADVICE),
        (
            "limits",
            "yes" if facts.process_tree else "partly: no /proc/*/children",
            "CPU, wall and memory of the whole process tree, processes, files, output; clean environment, "
            "no inherited descriptors, no new privileges, no process left behind",
        ),
        (
            "own user",
            _word(facts.own_user),
            "a user per slot: no signals to, and no reading of, what belongs to you or to another slot"
            if facts.own_user
            else _USER_ADVICE,
        ),
        (
            "namespaces",
            _word(facts.namespaces),
            "no network, no other processes in sight, read-only files, a bounded scratch file system that vanishes"
            if facts.namespaces
            else _NAMESPACE_ADVICE,
        ),
        (
            "system calls",
            "filtered" if facts.filter else "no",
            "no tracing, no sockets, no kernel interfaces programs do not need; processes for shells and compilers only"
            if facts.filter
            else _FILTER_ADVICE
            if facts.native
            else _NATIVE_ADVICE,
        ),
        (
            "Landlock",
            f"version {facts.landlock}" if facts.landlock else "no",
            _landlock_stops(facts.landlock) if facts.landlock else _LANDLOCK_ADVICE if facts.native else _NATIVE_ADVICE,
        ),
        (
            "control groups",
            _word(facts.groups_in is not None),
            "memory and processes of a job bounded at every moment, not only when sampled"
            if facts.groups_in
            else _GROUP_ADVICE
            if facts.native
            else _NATIVE_ADVICE,
        ),
        ("not stopped", "-", _not_stopped(facts)),
        ("cache", "-", str(default_cache_dir())),
    ]


def _landlock_stops(version: int) -> str:
    """What the kernel's version bounds, and what the newer ones would."""
    bounds = [
        "files: run-times' and the program's own only",
        "TCP" * (version >= 4),
        "signals and abstract sockets" * (version >= 6),
    ]
    newer = "" if version >= 6 else f" (Linux {'6.12' if version >= 4 else '6.7'} bounds more)"
    return "; ".join(bound for bound in bounds if bound) + newer


def _not_stopped(facts: Confinement) -> str:
    gaps = [
        "" if facts.landlock else "reading files that everybody may read",
        "attacks on the part of the kernel that programs need" if facts.filter else "attacks on the kernel",
    ]
    return "; ".join(gap for gap in gaps if gap) + " (docs/reward-pool.md)"


_NATIVE_ADVICE = "needs oorl-jail"
_FILTER_ADVICE = (
    "needs x86-64 or aarch64 and a kernel built with CONFIG_SECCOMP_FILTER: programs have the whole kernel to attack"
)
_LANDLOCK_ADVICE = (
    "needs Linux 5.13 or later with landlock among the security modules (lsm= on the kernel's command line): programs "
    "can read every file that everybody may read"
)
_GROUP_ADVICE = (
    "needs a cgroup v2 directory we may write, with memory and pids in its cgroup.subtree_control (root under systemd "
    "has one, users by `systemd-run --user --scope COMMAND`): until then memory is sampled every 20 ms"
)
_BUILD_ADVICE = "oorl-jail is not built: install g++ and cmake and reinstall, or build it with cmake and set OORL_JAIL"
_USER_ADVICE = (
    "needs root: programs run as you, and can signal your processes and read your files unless namespaces hide them"
)
_NAMESPACE_ADVICE = (
    "needs oorl-jail and root, or a kernel that lets users make namespaces: programs have the network and see processes"
)


def _advice(facts: Confinement) -> str:
    if facts.level == "sealed":
        return "everything this pool can do"
    return "run code of a model you do not trust only inside a container or a virtual machine"


def _word(value: bool) -> str:
    return "yes" if value else "no"


def _print_table(title: str, rows: Sequence[Row]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    print(title)
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  " + "  ".join([*cells, row[-1]]))
    print()
