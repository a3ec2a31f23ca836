"""Groups from many functions: worker processes, outcomes in the order of the sources whatever the number of workers."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace

from oorl.data.ir_groups import IRGroup, group_from_json
from oorl.ir.config import IRConfig
from oorl.ir.csource import Source
from oorl.ir.toolchain import require_toolchain
from oorl.ir.workers import serve

# Functions compiled by one call of the front end: a constant, so that no result depends on the number of workers.
CHUNK = 8


@dataclass(frozen=True)
class Outcome:
    """What became of one source: a group, or the reason (``kind: detail``) why there is none."""

    source: str
    group: IRGroup | None
    reason: str | None
    counts: dict[str, int]
    cpu_s: float


class Known:
    """What groups hold already: neither their programs nor their winners' texts, whatever the entry is called, make
    another group.
    """

    def __init__(self, groups: Iterable[IRGroup] = ()) -> None:
        self._clusters: set[str] = set()
        self._texts: set[bytes] = set()
        for group in groups:
            self.add(group)

    def add(self, group: IRGroup) -> None:
        self._clusters.add(group.dedup_cluster)
        self._texts |= self._texts_of(group)

    def add_program(self, cluster: str) -> bool:
        """Whether a program is new; from now on it is known."""
        new = cluster not in self._clusters
        self._clusters.add(cluster)
        return new

    def has_text_of(self, group: IRGroup) -> bool:
        """Whether a winner of the group is a winner of another: the same function from another source."""
        return not self._texts.isdisjoint(self._texts_of(group))

    def digest(self) -> str:
        """Equal for equal contents."""
        return hashlib.sha256(repr((sorted(self._clusters), sorted(self._texts))).encode()).hexdigest()

    @staticmethod
    def _texts_of(group: IRGroup) -> set[bytes]:
        name = re.compile(rf"@{re.escape(group.source['entry'])}\b")
        return {hashlib.sha256(name.sub("@f", winner["ir"]).encode()).digest() for winner in group.winners}


def build_groups(
    sources: Iterable[Source], config: IRConfig, jobs: int | None = None, known: Known | None = None
) -> Iterator[Outcome]:
    """Build one group per source in ``jobs`` worker processes; yields an Outcome for every source, in order.

    Args:
        sources: functions, possibly endless; read a few chunks ahead of what was yielded.
        config: sizes, seed and split.
        jobs: worker processes; None: one per core this process may use.
        known: what groups built before hold; grows with those built here.

    Raises:
        UserError: ziglang, llvmlite or tqdm is not installed.

    The same sources and config give the same outcomes (``cpu_s`` aside). A source that is a program, or whose group
    shares a winner's text with a group, that came before is refused as a duplicate. Closing the generator ends the
    workers.
    """
    require_toolchain()
    jobs = jobs or len(os.sched_getaffinity(0))
    known = known or Known()
    tasks = ((chunk, _task(chunk, config)) for chunk in _chunks(sources, known))
    with closing(serve("oorl.ir.worker", tasks, jobs)) as served:
        for chunk, answers in served:
            answered = iter(answers)
            for item in chunk:
                yield _new(_outcome(item, next(answered)), known) if isinstance(item, Source) else item


def _new(outcome: Outcome, known: Known) -> Outcome:
    """The outcome, its group refused if it says what an earlier one says."""
    if outcome.group is None:
        return outcome
    if known.has_text_of(outcome.group):
        return replace(outcome, group=None, reason="duplicate: a winner is one of an earlier group")
    known.add(outcome.group)
    return outcome


def _task(chunk: list[Source | Outcome], config: IRConfig) -> dict:
    return {"config": asdict(config), "items": [item.to_json() for item in chunk if isinstance(item, Source)]}


def _chunks(sources: Iterable[Source], known: Known) -> Iterator[list[Source | Outcome]]:
    def marked() -> Iterator[Source | Outcome]:
        for source in sources:
            if known.add_program(source.cluster):
                yield source
            else:
                yield Outcome(source.name, None, "duplicate: the same program came before", {}, 0.0)

    items = marked()
    while chunk := list(itertools.islice(items, CHUNK)):
        yield chunk


def _outcome(source: Source, answer: dict | str) -> Outcome:
    if isinstance(answer, str):
        return Outcome(source.name, None, f"llvm: the worker process ended with {answer}", {}, 0.0)
    group = group_from_json(answer["group"]) if answer["group"] else None
    return Outcome(source.name, group, answer["reason"], answer["counts"], answer["cpu_s"])
