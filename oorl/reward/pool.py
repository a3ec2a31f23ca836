"""The trainer's side of the reward pool: submits jobs to the node's supervisor, gathers results, outlives it."""

from __future__ import annotations

import json
import os
import queue
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import oorl
from oorl.errors import UserError
from oorl.reward.frames import encode_frame, read_frame
from oorl.reward.jobs import Job, Outcome, PoolConfig, Result
from oorl.reward.tasks import problem_key
from oorl.reward.verdict import Verdict

START_S = 120.0  # probing, and evicting a large cache, take time on a busy machine
RECONNECT_S = 30.0
RESUBMISSIONS = 2
JOBS_PER_FRAME, FRAME_CHARS = 256, 1 << 24


class Batch:
    """Submitted jobs and the results that have come; ``done`` says whether all have. Made by ``RewardPool.submit``."""

    def __init__(self, number: int, jobs: Sequence[Job]):
        self.number, self.jobs = number, tuple(jobs)
        self.resubmissions = 0
        self._results: list[Result | None] = [None] * len(self.jobs)
        self._arrived: list[int] = []  # indices, in order of arrival
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self.jobs)

    @property
    def done(self) -> bool:
        return self.answered == len(self.jobs)

    @property
    def answered(self) -> int:
        """How many results have come."""
        return len(self._arrived)

    def _answer(self, index: int, outcome: Outcome) -> None:
        with self._changed:
            if self._results[index] is None:  # after a restart an answer may come twice; the first counts
                self._results[index] = outcome.result(self.jobs[index])
                self._arrived.append(index)
                self._changed.notify_all()

    def _answer_rest(self, detail: str) -> None:
        """INFRA for whatever is unanswered."""
        for index in self._unanswered():
            self._answer(index, Outcome.of_all(Verdict.INFRA, len(self.jobs[index].problem.tests), detail))

    def _unanswered(self) -> list[int]:
        with self._changed:
            return [index for index, result in enumerate(self._results) if result is None]

    def _wait_for(self, count: int, deadline: float) -> bool:
        """Whether at least ``count`` results have come by ``deadline``."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._arrived) >= count, max(0.0, deadline - monotonic()))


class RewardPool:
    """A connection to the node's supervisor, which it starts unless one already listens on ``config.socket_path``.

    Use it as a context manager, or call ``close``. Who joins takes the supervisor's configuration as it
    is. Raises UserError when the supervisor cannot start: the isolation is below the configured minimum, or the cache
    directory cannot be used.
    """

    def __init__(self, config: PoolConfig | None = None):
        self.config = config or PoolConfig()
        self._batches: dict[int, Batch] = {}
        self._next_number = 0
        self._lock = threading.Lock()
        self._closing = False
        self._process: subprocess.Popen | None = None
        self._own_directory: str | None = None
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        if self.config.socket_path is None:
            self._own_directory = tempfile.mkdtemp(prefix="oorl-pool-")  # short: a socket's path has 107 bytes
            self.socket_path = os.path.join(self._own_directory, "supervisor")
        else:
            self.socket_path = os.path.abspath(self.config.socket_path)
        connection = None if self._own_directory else _try_connect(self.socket_path)
        if connection is None:
            connection = self._start_supervisor()
        self._begin(connection)

    @classmethod
    def connect(cls, socket_path: str | os.PathLike) -> RewardPool:
        """Join the supervisor another rank started (its ``pool.socket_path``); UserError when nobody answers there."""
        pool = cls.__new__(cls)
        pool.config = PoolConfig(socket_path=os.fspath(socket_path))
        pool.socket_path = os.path.abspath(socket_path)
        pool._batches, pool._next_number, pool._lock, pool._closing = {}, 0, threading.Lock(), False
        pool._process = pool._own_directory = None
        pool._outgoing = queue.SimpleQueue()
        pool._begin(_connect_patiently(pool.socket_path, RECONNECT_S))
        return pool

    def __enter__(self) -> RewardPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, jobs: Sequence[Job]) -> Batch:
        """Hand jobs to the supervisor and return at once, however many there are."""
        if self._closing:
            raise RuntimeError("the reward pool is closed")
        with self._lock:
            batch = Batch(self._next_number, jobs)
            self._next_number += 1
            self._batches[batch.number] = batch
        self._send_jobs(batch, range(len(batch.jobs)))
        return batch

    def gather(self, batch: Batch, deadline_s: float | None = None) -> list[Result]:
        """All results in submission order, at most ``deadline_s`` from now; what is unanswered then is INFRA."""
        deadline = monotonic() + (self.config.batch_deadline_s if deadline_s is None else deadline_s)
        if not batch._wait_for(len(batch.jobs), deadline):
            self._give_up(batch)
        self._forget(batch)
        return list(batch._results)

    def as_completed(self, batch: Batch, deadline_s: float | None = None) -> Iterator[Result]:
        """Results as they come; what is unanswered at the deadline comes last, as INFRA."""
        deadline = monotonic() + (self.config.batch_deadline_s if deadline_s is None else deadline_s)
        for count in range(len(batch.jobs)):
            if not batch._wait_for(count + 1, deadline):
                self._give_up(batch)
            yield batch._results[batch._arrived[count]]
        self._forget(batch)

    def cancel(self, batch: Batch) -> None:
        """Give a batch up: what is unanswered becomes INFRA, and its programs are ended."""
        self._give_up(batch, "cancelled")
        self._forget(batch)

    def close(self) -> None:
        """Disconnect; a supervisor this pool started ends, with every program it runs."""
        if self._closing:
            return
        self._closing = True
        self._outgoing.put(None)
        for batch in list(self._batches.values()):
            batch._answer_rest("the reward pool was closed")
        try:
            self._connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._reader.join(timeout=10.0)
        self._connection.close()
        self._end_supervisor()
        if self._own_directory:
            shutil.rmtree(self._own_directory, ignore_errors=True)

    # Starting and ending the supervisor

    def _start_supervisor(self) -> socket.socket:
        """Spawn, never fork: a trainer's threads and GPU state are no business of the supervisor's."""
        root = str(Path(oorl.__file__).parents[1])
        path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH", "")) if part)
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "oorl.reward.supervisor"),
                *("--socket", self.socket_path, "--config", json.dumps(self.config.to_json())),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        ready, _, _ = select.select([self._process.stdout], [], [], START_S)
        line = self._process.stdout.readline() if ready else b""
        answer = (
            json.loads(line)
            if line
            else {"ready": False, "error": "reward pool: the supervisor did not start; its errors stand above"}
        )
        if not answer["ready"]:
            self._end_supervisor()
            raise UserError(answer["error"])
        return _connect_patiently(self.socket_path, RECONNECT_S)

    def _end_supervisor(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        process.stdin.close()  # it ends when this closes
        process.stdout.close()
        try:
            process.wait(timeout=15.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    # Talking to it

    def _begin(self, connection: socket.socket) -> None:
        self._connection = connection
        hello = read_frame(connection)
        self.level, self.slots = hello["level"], hello["slots"]
        self._reader = threading.Thread(target=self._read_loop, name="reward-pool-reader", daemon=True)
        self._writer = threading.Thread(target=self._write_loop, name="reward-pool-writer", daemon=True)
        self._reader.start()
        self._writer.start()

    def _send_jobs(self, batch: Batch, indices: Sequence[int]) -> None:
        message: dict[str, Any] = {"op": "submit", "batch": batch.number, "problems": {}, "jobs": []}
        size = 0
        for index in indices:
            job = batch.jobs[index]
            key = problem_key(job.problem)
            if key not in message["problems"]:
                message["problems"][key] = job.problem.to_json()
            message["jobs"].append([index, key, job.completion, job.extract])
            size += len(job.completion)
            if len(message["jobs"]) >= JOBS_PER_FRAME or size >= FRAME_CHARS:
                self._outgoing.put(encode_frame(message))
                message, size = message | {"problems": {}, "jobs": []}, 0
        if message["jobs"]:
            self._outgoing.put(encode_frame(message))

    def _write_loop(self) -> None:
        """The only thread that waits for the supervisor to read: a submission never does."""
        while (frame := self._outgoing.get()) is not None:
            try:
                self._connection.sendall(frame)
            except OSError:  # the reader notices the same death, reconnects, and submits again
                sleep(0.05)

    def _read_loop(self) -> None:
        while not self._closing:
            try:
                message = read_frame(self._connection)
            except (OSError, EOFError, ValueError):
                if self._closing or not self._recover():
                    return
                continue
            batch = self._batches.get(message["batch"])
            for index, outcome in message["outcomes"] if batch else ():
                batch._answer(index, Outcome.from_json(outcome))

    def _recover(self) -> bool:
        """After the supervisor's death: start or find another, and submit what is unanswered, at most twice."""
        try:
            if self._process is not None:
                self._end_supervisor()
                connection = self._start_supervisor()
            else:
                connection = _connect_patiently(self.socket_path, RECONNECT_S)
            read_frame(connection)
        except (UserError, OSError, EOFError) as err:
            for batch in list(self._batches.values()):
                batch._answer_rest(f"the supervisor died and could not be started again: {err}")
            return False
        previous, self._connection = self._connection, connection
        previous.close()
        for batch in list(self._batches.values()):
            batch.resubmissions += 1
            if batch.resubmissions > RESUBMISSIONS:
                batch._answer_rest(f"the supervisor died {batch.resubmissions} times")
            else:
                self._send_jobs(batch, batch._unanswered())
        return True

    def _give_up(self, batch: Batch, reason: str = "deadline") -> None:
        self._outgoing.put(encode_frame({"op": "cancel", "batch": batch.number}))
        batch._answer_rest(reason)

    def _forget(self, batch: Batch) -> None:
        with self._lock:
            self._batches.pop(batch.number, None)


def _try_connect(path: str) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(path)
        return connection
    except OSError:
        connection.close()
        return None


def _connect_patiently(path: str, patience_s: float) -> socket.socket:
    deadline = monotonic() + patience_s
    while (connection := _try_connect(path)) is None:
        if monotonic() > deadline:
            raise UserError(f"reward pool: nobody listens on {path}; start a RewardPool there on local rank 0 first")
        sleep(0.05)
    return connection
