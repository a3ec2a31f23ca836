"""The worker process of a build (``oorl.ir.workers``): one group, or the reason why there is none, a function."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter

from oorl.ir.candidate import Refused
from oorl.ir.compile import CompileError, Modules, compile_sources
from oorl.ir.config import IRConfig
from oorl.ir.csource import Source
from oorl.ir.group import build_group
from oorl.ir.workers import Channel

FUNCTION_CPU_S = 60  # of LLVM's own work on one function; calls of the function have their own, far smaller limit


def main() -> None:
    """Serve tasks ``{"config": ..., "items": [source, ...]}`` until the input ends."""
    channel = Channel()
    for task in channel.tasks():
        config = IRConfig(**task["config"])
        sources = [Source.from_json(row) for row in task["items"]]
        started = _cpu_s()
        compiled = compile_sources(sources)
        front_end_s = (_cpu_s() - started) / len(sources)
        for source, modules in zip(sources, compiled, strict=True):
            channel.answer(answer(source, modules, config, front_end_s))


def answer(source: Source, modules: Modules | CompileError, config: IRConfig, front_end_s: float = 0.0) -> dict:
    """What became of one function: ``{"group", "reason", "counts", "cpu_s"}``, one of group and reason being null.

    ``front_end_s``: its share of the CPU time in which modules were made, part of ``cpu_s``.
    """
    counts: Counter = Counter()
    started = _cpu_s() - front_end_s
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
