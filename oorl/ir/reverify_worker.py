"""Many stored groups run again: worker processes, verdicts in the order of the groups, and the workers' own side.

An assertion of LLVM on a member ends a worker and not the check: the group is named, and another worker goes on.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing

from oorl.data.ir_groups import group_from_json
from oorl.ir.toolchain import require_toolchain
from oorl.ir.workers import Channel, serve

CHUNK = 16  # groups whose sources one call of the front end compiles
GROUP_CPU_S = 60  # of LLVM's own work on one group; calls of its members have their own, far smaller limit


def reverify_rows(rows: Iterable[dict], jobs: int | None = None) -> Iterator[tuple[dict, str | None]]:
    """Every group, in order, with None when it reproduces, else ``Kind: what does not`` (``reverify_each``; and LLVM).

    Args:
        rows: groups as JSON holds them, their structure checked; read a few chunks ahead.
        jobs: worker processes; None: one per core this process may use.

    Raises:
        UserError: ziglang, llvmlite or tqdm is not installed.

    Closing the generator ends the workers.
    """
    require_toolchain()
    rows = iter(rows)
    tasks = ((chunk, {"items": chunk}) for chunk in iter(lambda: list(itertools.islice(rows, CHUNK)), []))
    with closing(serve("oorl.ir.reverify_worker", tasks, jobs or len(os.sched_getaffinity(0)))) as served:
        for chunk, answers in served:
            for row, answer in zip(chunk, answers, strict=True):
                died = isinstance(answer, str)
                yield row, f"LLVM: the worker process ended with {answer} on a member" if died else answer["fault"]


def main() -> None:
    """Serve tasks ``{"items": [group, ...]}`` until the input ends."""
    from oorl.ir.reverify import reverify_each

    channel = Channel()
    for task in channel.tasks():
        signal.setitimer(signal.ITIMER_PROF, GROUP_CPU_S)
        for fault in reverify_each([group_from_json(row) for row in task["items"]]):
            channel.answer({"fault": fault})
            signal.setitimer(signal.ITIMER_PROF, GROUP_CPU_S)
        signal.setitimer(signal.ITIMER_PROF, 0)


if __name__ == "__main__":
    try:
        main()
    except (KeyboardInterrupt, BrokenPipeError):  # whoever asked is gone
        sys.exit(1)
