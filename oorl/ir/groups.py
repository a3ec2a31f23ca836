"""Groups from many functions: worker processes, outcomes in the order of the sources whatever the number of workers."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass

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
    tasks = ((chunk, _task(chunk, config)) for chunk in _chunks(sources, set(exclude)))
    with closing(serve("oorl.ir.worker", tasks, jobs)) as served:
        for chunk, answers in served:
            answered = iter(answers)
            for item in chunk:
                yield _outcome(item, next(answered)) if isinstance(item, Source) else item


def _task(chunk: list[Source | Outcome], config: IRConfig) -> dict:
    return {"config": asdict(config), "items": [item.to_json() for item in chunk if isinstance(item, Source)]}


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


def _outcome(source: Source, answer: dict | str) -> Outcome:
    if isinstance(answer, str):
        return Outcome(source.name, None, f"llvm: the worker process ended with {answer}", {}, 0.0)
    group = group_from_json(answer["group"]) if answer["group"] else None
    return Outcome(source.name, group, answer["reason"], answer["counts"], answer["cpu_s"])
