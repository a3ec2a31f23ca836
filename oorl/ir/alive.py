"""Alive2's translation validator, used when ``alive-tv`` is on PATH: does a winner refine the function's -O0 text?

What runs agree on is tested; what alive-tv proves holds for every input, with loops unrolled ``UNROLL`` times. Its
"no" is not proof of a fault (it knows no contract, and an input outside of it may be what it found), but a winner is
cheap and is left out. Time out, memory, an instruction it does not know, a text that its LLVM cannot read: undecided.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from oorl.ir.llvm import target_header

NAME = "alive-tv"
UNROLL = 3
QUERY_S = 5
CALL_S = 60  # of wall time for one pair: a pair takes several queries
MEMORY_MB = 1024

_SUMMARY = re.compile(
    r"^ *(\d+) (correct|incorrect|failed-to-prove) transformations?$|^ *(\d+) (?:Alive2 )?errors$", re.M
)
_OPEN = re.compile(
    r"^ERROR: (?:Timeout|SMT|Out of memory|Couldn't prove|Could not translate|program doesn't type)", re.M
)


def alive_tv() -> str | None:
    """The validator's path, or None where there is none."""
    return shutil.which(NAME)


def validate(reference: str, texts: Sequence[str], counts: Counter) -> list[dict | None]:
    """For every text what its record says under ``check.validator``; None without alive-tv.

    Args:
        reference: the -O0 text of the function; ``texts`` define the same function.
        counts: gathers ``validator VERDICT``.
    """
    command = alive_tv()
    if command is None:
        return [None] * len(texts)
    verdicts = []
    for text in texts:
        verdict = compare(command, reference, text)
        counts[f"validator {verdict}"] += 1
        verdicts.append({"name": NAME, "verdict": verdict})
    return verdicts


def compare(command: str, source: str, target: str) -> str:
    """``proved``, ``refuted`` or ``undecided``: whether ``target`` refines ``source``."""
    options = [f"--smt-to={1000 * QUERY_S}", f"--smt-max-mem={MEMORY_MB}", f"--src-unroll={UNROLL}"]
    options += [f"--tgt-unroll={UNROLL}", "--disable-undef-input", "--disable-poison-input"]
    with tempfile.TemporaryDirectory(prefix="oorl-alive-") as folder:
        paths = [Path(folder, name) for name in ("src.ll", "tgt.ll")]
        for path, text in zip(paths, (source, target), strict=True):
            path.write_text(target_header() + text, encoding="utf-8")
        try:
            done = subprocess.run(
                [command, *options, *map(str, paths)], capture_output=True, text=True, errors="replace", timeout=CALL_S
            )
        except (OSError, subprocess.TimeoutExpired):
            return "undecided"
    return verdict_of(done.stdout + done.stderr)


def verdict_of(said: str) -> str:
    """The verdict in alive-tv's answer: its summary's, unless the errors it prints say that it could not decide."""
    counted = {found[2] or "errors": int(found[1] or found[3]) for found in _SUMMARY.finditer(said)}
    if not counted or counted.get("errors") or counted.get("failed-to-prove") or _OPEN.search(said):
        return "undecided"
    if counted.get("incorrect"):
        return "refuted"
    return "proved" if counted.get("correct") else "undecided"
