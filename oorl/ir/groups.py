"""Groups from many functions: worker processes, outcomes in the order of the sources whatever the number of workers."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import oorl
from oorl.data.ir_groups import IRGroup, group_from_json
from oorl.ir.config import IRConfig
from oorl.ir.csource import Source
from oorl.ir.toolchain import require_toolchain

# Functions compiled by one call of the front end: a constant, so that no result depends on the number of workers.
CHUNK = 8
# LLVM keeps about a megabyte a function in its context, and every fork pays for it.
CHUNKS_PER_PROCESS = 16


@dataclass(frozen=True)
class Outcome:
    """What became of one source: a group, or the reason (``kind: detail``) why there is none."""

    source: str
    group: IRGroup | None
    reason: str | None
    counts: dict[str, int]
    cpu_s: float


def build_groups(
    sources: Iterable[Source], config: IRConfig, jobs: int | None = None, exclude: Iterable[str] = ()
) -> Iterator[Outcome]:
    """Build one group per source in ``jobs`` worker processes; yields an Outcome for every source, in order.

    Args:
        sources: functions, possibly endless; read a few chunks ahead of what was yielded.
        config: sizes, seed and split.
        jobs: worker processes; None: one per core this process may use.
        exclude: clusters refused as duplicates from the start.

    Raises:
        UserError: ziglang, llvmlite or tqdm is not installed.

    The same sources and config give the same outcomes (``cpu_s`` aside). A source whose cluster came before is refused
    as a duplicate. Closing the generator ends the workers.
    """
    require_toolchain()
    jobs = jobs or len(os.sched_getaffinity(0))
    chunks = _chunks(sources, set(exclude))
    workers = [_Worker() for _ in range(jobs)]
    free: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
    for worker in workers:
        free.put(worker)
    threads = ThreadPoolExecutor(jobs)
    pending: deque[tuple[list[Source | Outcome], Future]] = deque()
    try:
        while True:
            # One chunk more than workers, so that none waits while this generator's caller writes.
            for chunk in itertools.islice(chunks, jobs + 1 - len(pending)):
                pending.append(
                    (chunk, threads.submit(_serve, free, [s for s in chunk if isinstance(s, Source)], config))
                )
            if not pending:
                return
            chunk, future = pending.popleft()
            answers = iter(future.result())
            for item in chunk:
                yield next(answers) if isinstance(item, Source) else item
    finally:
        for worker in workers:
            worker.end()
        threads.shutdown(cancel_futures=True)


class _Worker:
    """One ``oorl.ir.worker`` process, started anew when it dies."""

    def __init__(self) -> None:
        self._ended = False
        self._start()

    def _start(self) -> None:
        root = str(Path(oorl.__file__).parents[1])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        # A session of its own: an interrupt at the terminal reaches this process only, which then ends the worker.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "oorl.ir.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
        self._ready, self._served = False, 0

    def build(self, sources: list[Source], config: IRConfig) -> list[Outcome]:
        """Outcomes of the sources; one on which the worker dies is refused, and a new worker goes on after it."""
        outcomes: list[Outcome] = []
        if self._served == CHUNKS_PER_PROCESS and not self._ended:
            self._stop()
            self._start()
        self._served += 1
        while len(outcomes) < len(sources) and not self._ended:
            rest = sources[len(outcomes) :]
            try:
                self._wait_until_ready()
                task = {"config": asdict(config), "sources": [source.to_json() for source in rest]}
                self._process.stdin.write(json.dumps(task).encode() + b"\n")
                self._process.stdin.flush()
                for source in rest:
                    outcomes.append(_outcome(source, json.loads(self._process.stdout.readline())))
            except (OSError, ValueError):  # a broken pipe, or the end of the answers
                if not self._ended:
                    reason = f"llvm: the worker process ended with {self._stop()}"
                    outcomes.append(Outcome(sources[len(outcomes)].name, None, reason, {}, 0.0))
                    self._start()
        return outcomes

    def _wait_until_ready(self) -> None:
        if not self._ready and self._process.stdout.readline() != b"ready\n" and not self._ended:
            raise RuntimeError("oorl.ir.worker does not start; its message stands above")
        self._ready = True

    def _stop(self) -> str:
        """End the process if it still runs, and say how it ended."""
        self._process.kill()
        status = self._process.wait()
        with contextlib.suppress(BrokenPipeError):  # a task it never read
            self._process.stdin.close()
        self._process.stdout.close()
        return signal.Signals(-status).name if status < 0 else f"exit status {status}"

    def end(self) -> None:
        """Kill the worker and everything it started."""
        self._ended = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _serve(free: queue.SimpleQueue[_Worker], sources: list[Source], config: IRConfig) -> list[Outcome]:
    worker = free.get()
    try:
        return worker.build(sources, config)
    finally:
        free.put(worker)


def _chunks(sources: Iterable[Source], seen: set[str]) -> Iterator[list[Source | Outcome]]:
    def marked() -> Iterator[Source | Outcome]:
        for source in sources:
            if source.cluster in seen:
                yield Outcome(source.name, None, "duplicate: the same program came before", {}, 0.0)
            else:
                seen.add(source.cluster)
                yield source

    items = marked()
    while chunk := list(itertools.islice(items, CHUNK)):
        yield chunk


def _outcome(source: Source, answer: dict) -> Outcome:
    group = group_from_json(answer["group"]) if answer["group"] else None
    return Outcome(source.name, group, answer["reason"], answer["counts"], answer["cpu_s"])
