"""Worker processes that LLVM may end: tasks of several items in, an answer for every item, in the tasks' order.

A worker is ``python -m MODULE``, which reads tasks as JSON lines and answers each item with a JSON line through a
``Channel``. What LLVM makes is called in children only; LLVM itself works in the worker, and an assertion of it ends
the process. Whoever asked sees the answers stop, starts another worker, and counts the item that was next.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import resource
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import oorl

# LLVM keeps about a megabyte a function in its context, and every fork pays for it.
TASKS_PER_PROCESS = 4

T = TypeVar("T")


def serve(module: str, tasks: Iterator[tuple[T, dict]], jobs: int) -> Iterator[tuple[T, list[dict | str]]]:
    """Have ``jobs`` workers do the tasks; yields each with its answers, in order.

    Args:
        module: what the workers run.
        tasks: what the caller wants back beside the answers, and the message: ``{"items": [...], ...}``. Possibly
            endless; read a few ahead of what was yielded.
        jobs: worker processes.

    An answer is the worker's object for the item, or how the process ended (``SIGABRT``) that worked on it alone.
    Closing the generator ends the workers.
    """
    workers = [_Worker(module) for _ in range(jobs)]
    free: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
    for worker in workers:
        free.put(worker)
    threads = ThreadPoolExecutor(jobs)
    pending: deque[tuple[T, Future]] = deque()
    try:
        while True:
            # One task more than workers, so that none waits while this generator's caller writes.
            for own, message in itertools.islice(tasks, jobs + 1 - len(pending)):
                pending.append((own, threads.submit(_answers, free, message)))
            if not pending:
                return
            own, future = pending.popleft()
            yield own, future.result()
    finally:
        for worker in workers:
            worker.end()
        threads.shutdown(cancel_futures=True)


class Channel:
    """A worker's own side: reads tasks, writes answers, and leaves standard output and error to nobody."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
        self._answers.write("ready\n")
        self._answers.flush()
        # Nothing but answers on the pipe, and no assertion of LLVM's across the progress bar.
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 1)
            os.dup2(nothing.fileno(), 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def tasks(self) -> Iterator[dict]:
        """Tasks until whoever asks has no more, or is gone."""
        for line in sys.stdin:
            yield json.loads(line)

    def answer(self, row: dict) -> None:
        """Answer the next item of the task."""
        self._answers.write(json.dumps(row, separators=(",", ":")) + "\n")
        self._answers.flush()


class _Worker:
    """One worker process, started anew when it dies."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._ended = False
        self._start()

    def _start(self) -> None:
        root = str(Path(oorl.__file__).parents[1])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        # A session of its own: an interrupt at the terminal reaches this process only, which then ends the worker.
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
        self._ready, self._served = False, 0

    def answers(self, message: dict) -> list[dict | str]:
        """An answer for every item; one that alone ends the process is answered by how it ended."""
        items, found, alone = message["items"], [], False
        if self._served == TASKS_PER_PROCESS and not self._ended:
            self._stop()
            self._start()
        self._served += 1
        while len(found) < len(items) and not self._ended:
            rest = items[len(found) : len(found) + 1 if alone else None]
            try:
                self._send({**message, "items": rest})
                for _ in rest:
                    found.append(json.loads(self._process.stdout.readline()))
                alone = False
            except (OSError, ValueError):  # a broken pipe, or the end of the answers
                if not self._ended:
                    ended = self._stop()
                    self._start()
                    # Work that items share comes first, so another one may be to blame: who was next gets a try alone.
                    alone = not alone and len(rest) > 1
                    if not alone:
                        found.append(ended)
        return found

    def _send(self, message: dict) -> None:
        if not self._ready and self._process.stdout.readline() != b"ready\n" and not self._ended:
            raise RuntimeError(f"{self._module} does not start; its message stands above")
        self._ready = True
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        self._process.stdin.flush()

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


def _answers(free: queue.SimpleQueue[_Worker], message: dict) -> list[dict | str]:
    worker = free.get()
    try:
        return worker.answers(message)
    finally:
        free.put(worker)
