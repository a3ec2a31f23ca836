"""A worker process: reads tasks as JSON lines, builds each function's group, answers with a JSON line each.

What LLVM makes is called in children only; LLVM itself works here, and an assertion of it ends this process:
whoever asked sees the answers stop, counts the function that was next, and starts another worker.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections import Counter

from oorl.ir.candidate import Refused
from oorl.ir.compile import CompileError, Modules, compile_sources
from oorl.ir.config import IRConfig
from oorl.ir.csource import Source
from oorl.ir.group import build_group

FUNCTION_CPU_S = 60  # of LLVM's own work on one function; calls of the function have their own, far smaller limit


def main() -> None:
    """Serve tasks ``{"config": ..., "sources": [...]}`` until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    answers.write("ready\n")
    answers.flush()
    with open(
        os.devnull, "wb"
    ) as nothing:  # nothing but answers on the pipe, and no assertion of LLVM's across the progress bar
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        task = json.loads(line)
        config = IRConfig(**task["config"])
        sources = [Source.from_json(row) for row in task["sources"]]
        for source, modules in zip(sources, compile_sources(sources), strict=True):
            answers.write(json.dumps(answer(source, modules, config), separators=(",", ":")) + "\n")
            answers.flush()


def answer(source: Source, modules: Modules | CompileError, config: IRConfig) -> dict:
    """What became of one function: ``{"group", "reason", "counts", "cpu_s"}``, one of group and reason being null."""
    counts: Counter = Counter()
    started = _cpu_s()
    signal.setitimer(signal.ITIMER_PROF, FUNCTION_CPU_S)
    try:
        if isinstance(modules, CompileError):
            raise Refused(str(modules))
        group, reason = build_group(source, modules, config, counts).to_json(), None
    except Refused as err:
        group, reason = None, str(err)
    signal.setitimer(signal.ITIMER_PROF, 0)
    return {"group": group, "reason": reason, "counts": counts, "cpu_s": round(_cpu_s() - started, 4)}


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
    try:
        main()
    except (KeyboardInterrupt, BrokenPipeError):  # whoever asked is gone
        sys.exit(1)
