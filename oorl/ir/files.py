"""A file of groups, built so that an interrupt loses nothing.

While it grows, groups stand in ``OUT.incomplete`` and a line for every function seen, kept or refused, in
``OUT.incomplete.log``; the log's first line says what is being built. At the end the file gets its name, and of the log
what was refused and why is left, in ``OUT.refused.jsonl``.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from oorl.data.ir_groups import IRGroup, group_from_json
from oorl.data.jsonl import read_jsonl
from oorl.errors import UsageError, UserError
from oorl.ir.config import IRConfig
from oorl.ir.csource import Source
from oorl.ir.groups import Known, Outcome, build_groups
from oorl.ir.statistics import Statistics
from oorl.ir.toolchain import require_toolchain

MOST_FUNCTIONS_PER_GROUP = 40  # a generator that keeps fewer is given up: its bounds do not fit


def build_file(
    path: str | Path,
    sources: Iterable[Source],
    config: IRConfig,
    *,
    what: str,
    wanted: int | None = None,
    jobs: int | None = None,
    resume: bool = False,
    exclude: Iterable[IRGroup] = (),
    reading: Counter | None = None,
    progress: bool = True,
) -> Statistics:
    """Build groups of ``sources`` into ``path`` and return what happened; the same arguments give the same bytes.

    Args:
        path: the JSONL file; statistics go to ``path.stats.json``.
        sources: functions, in a fixed order; endless when ``wanted`` is given.
        config: how groups are made.
        what: names the sources (files and their contents, or the generator's seed); a resumed build must have the same.
        wanted: stop after this many groups.
        jobs: worker processes; None: one per core.
        resume: go on with an interrupted build.
        exclude: groups, such as another split's, with which no group may share a program or a winner's text.
        reading: counts that ``sources`` keeps while it is read, for the statistics.
        progress: show a bar on stderr.

    Raises:
        UserError: the toolchain is missing, the file cannot be written, or the bounds keep too few functions.
        UsageError: an interrupted build is there and ``resume`` is not given, or it was another build.
    """
    require_toolchain()
    started = time.monotonic()
    known = Known(exclude)
    head = hashlib.sha256(json.dumps([asdict(config), what, known.digest()], sort_keys=True).encode()).hexdigest()
    statistics = Statistics(reading=Counter() if reading is None else reading)
    try:
        with _Partial(Path(path), head, resume) as partial:
            done = partial.replay(statistics, known)
            sources = iter(sources)
            for source in itertools.islice(sources, done):
                known.add_program(source.cluster)
            outcomes = build_groups(sources, config, jobs, known)
            with closing(outcomes):
                for outcome in _shown(_until(outcomes, wanted, statistics), wanted, statistics, progress):
                    partial.add(outcome)
            statistics.wall_s = time.monotonic() - started
            partial.finish(statistics)
    except OSError as err:
        raise UserError(
            f"cannot write {path}: {err.strerror}; free space or choose another --out, then add --resume"
        ) from err
    return statistics


def _until(outcomes: Iterator[Outcome], wanted: int | None, statistics: Statistics) -> Iterator[Outcome]:
    """Count outcomes into the statistics, up to the last one wanted."""
    while wanted is None or statistics.kept < wanted:
        outcome = next(outcomes, None)
        if outcome is None:
            return
        statistics.add(outcome.group, outcome.reason, outcome.counts, outcome.cpu_s)
        yield outcome
        if wanted is not None and statistics.functions >= MOST_FUNCTIONS_PER_GROUP * (wanted + 5):
            refused = ", ".join(f"{reason} {count}" for reason, count in sorted(statistics.refused.items()))
            raise UserError(
                f"only {statistics.kept} of {statistics.functions} functions gave a group (refused: {refused}); "
                "raise --max-chars or --max-instructions"
            )


def _shown(
    outcomes: Iterator[Outcome], wanted: int | None, statistics: Statistics, progress: bool
) -> Iterator[Outcome]:
    from tqdm import tqdm

    unit = "group" if wanted else "function"
    with tqdm(
        total=wanted, initial=statistics.kept if wanted else statistics.functions, unit=unit, disable=not progress
    ) as bar:
        for outcome in outcomes:
            yield outcome
            if outcome.group is None and not wanted:  # a person's own function; generated ones are counted
                tqdm.write(f"{outcome.source}: left out, {outcome.reason}", file=sys.stderr)
            bar.set_postfix(refused=sum(statistics.refused.values()), refresh=False)
            bar.update(1 if outcome.group or not wanted else 0)


class _Partial:
    """The growing file and its log."""

    def __init__(self, path: Path, head: str, resume: bool) -> None:
        self.path, self.head, self.resume = path, head, resume
        self.groups = path.with_name(path.name + ".incomplete")
        self.log = path.with_name(path.name + ".incomplete.log")
        self.lock = path.with_name(path.name + ".lock")
        self._files: list[TextIO] = []

    def __enter__(self) -> _Partial:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = self.lock.open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # let go of when the process ends, however it ends
        except BlockingIOError as err:
            lock.close()
            raise UsageError(
                f"{self.path} is being built by another process; wait for it, or give another --out"
            ) from err
        self._files = [lock]
        if not self.resume and self.log.exists() and len(_whole_lines(self.log)) > 1:  # one line: nothing was finished
            self.__exit__()
            raise UsageError(
                f"{self.groups} holds an interrupted build; add --resume to go on, or delete it and {self.log.name}"
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.lock.unlink(missing_ok=True)
        for file in self._files:
            file.close()

    def replay(self, statistics: Statistics, known: Known) -> int:
        """Count what the log says was done, cut what it does not know, open both files; returns the functions done."""
        rows = _whole_lines(self.log) if self.log.exists() else []
        if len(rows) > 1 and rows[0].get("build") != self.head:
            raise UsageError(
                f"{self.groups} is another build (other sources or settings); delete it and {self.log.name} first"
            )
        done = rows[1:]
        _rewrite(self.log, [{"build": self.head}, *done])
        _rewrite(self.groups, self._replayed(done, statistics, known))
        self._files += [self.groups.open("a", encoding="utf-8"), self.log.open("a", encoding="utf-8")]
        return len(done)

    def _replayed(self, done: list[dict], statistics: Statistics, known: Known) -> Iterator[dict]:
        """The rows of the groups that the log knows, one at a time: a file may be larger than memory."""
        kept = _rows(self.groups)
        for row in done:
            written = next(kept, None) if row["kept"] else None
            if row["kept"] and written is None:
                raise UserError(f"{self.groups} holds fewer groups than {self.log.name} says; delete both, build again")
            group = group_from_json(written) if written else None
            statistics.add(group, row["reason"], row["counts"], row["cpu_s"])
            if group:
                known.add(group)
                yield group.to_json()

    def add(self, outcome: Outcome) -> None:
        """Write the group, then the log: a log line means that its group is there."""
        _, groups, log = self._files
        if outcome.group:
            groups.write(_line(outcome.group.to_json()))
            groups.flush()
        log.write(
            _line({
                "source": outcome.source, "kept": outcome.group is not None, "reason": outcome.reason,
                "counts": outcome.counts, "cpu_s": outcome.cpu_s,
            })
        )  # fmt: skip
        log.flush()

    def finish(self, statistics: Statistics) -> None:
        """Give the file its name, and list what was refused."""
        refused = [row for row in _whole_lines(self.log)[1:] if not row["kept"]]
        self.__exit__()
        os.replace(self.groups, self.path)
        listed = self.path.with_name(self.path.name + ".refused.jsonl")
        listed.unlink(missing_ok=True)
        if refused:
            _rewrite(listed, ({"source": row["source"], "reason": row["reason"]} for row in refused))
        statistics.write(self.path.with_name(self.path.name + ".stats.json"))
        self.log.unlink()


def _rows(path: Path) -> Iterator[dict]:
    return (row for _, row in read_jsonl(path)) if path.exists() else iter(())


def _whole_lines(path: Path) -> list[dict]:
    """Rows of the log; a last line cut short by a kill is dropped."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            rows.append(json.loads(line))
    return rows


def _rewrite(path: Path, rows: Iterable[dict]) -> None:
    fresh = path.with_name(path.name + ".new")
    with fresh.open("w", encoding="utf-8") as file:
        file.writelines(map(_line, rows))
    os.replace(fresh, path)


def _line(row: dict) -> str:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n"
