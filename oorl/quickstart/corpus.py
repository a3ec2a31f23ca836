"""The quickstart's data: programs split by canonical form, a warm-up corpus with the faults of scraped code, problems.

Scraped parallel code is often a careless transliteration. Where source and target language differ in meaning,
``wrong_share`` of the warm-up's targets carry the source's operators over (plausible, and wrong on some input); the
rest are right. Which is which is told nowhere: only the unit tests know.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import count, islice
from multiprocessing import get_context
from pathlib import Path

from oorl.data.jsonl import read_jsonl, write_jsonl
from oorl.data.problems import Problem, problem_from_json
from oorl.programs import (
    TINY,
    Program,
    canonical,
    divergences,
    generate_program,
    make_problem,
    render,
    supports,
    transliterate,
)
from oorl.quickstart.settings import PAIRS, QuickstartSettings

# Short enough for a model of a million parameters; two thirds have a construct that languages disagree on.
SHORT = replace(TINY, nodes=(4, 13), divergent=(0, 2))
DRAWN_AT_ONCE = 768
CPP_EVERY = 4  # one program in so many uses C++'s division and modulo, and is a source in C++; the others use Python's


@dataclass(frozen=True)
class WarmupExample:
    """One parallel pair of the warm-up corpus; ``wrong`` is known to the report, never to the model."""

    problem: Problem  # carries the prompt; it has no tests
    target_code: str
    wrong: bool


@dataclass(frozen=True)
class Corpus:
    """Everything drawn before training, and the counts the report states."""

    warmup: tuple[WarmupExample, ...]
    train_problems: tuple[Problem, ...]
    heldout_problems: tuple[Problem, ...]
    statistics: dict


@dataclass(frozen=True)
class Drawn:
    """A program, the language whose meaning its operators have, and its canonical form."""

    program: Program
    source: str
    form: str


def build_corpus(settings: QuickstartSettings, seed: int) -> Corpus:
    """Draw all programs and make the corpus; the same seed gives the same corpus."""
    with closing(_distinct_programs(seed)) as programs:
        heldout = _problems(programs, settings.num_heldout_problems, settings, split="test")
        train = list(islice(programs, settings.num_train_programs))
    train_problems = _problems(iter(train), settings.num_rl_problems, settings, split="train")
    rng = random.Random(f"warmup/{seed}")
    examples = _warmup_examples(train, settings.wrong_share, rng)
    warmup = tuple(islice(examples, settings.warmup_steps * settings.warmup_batch))
    return Corpus(warmup, train_problems, heldout, _statistics(warmup, train, train_problems, heldout))


def write_warmup(path: Path, examples: Sequence[WarmupExample]) -> None:
    """Keep the warm-up corpus as JSON lines, for the later stage and for whoever wants to look."""
    rows = ({"wrong": e.wrong, "target_code": e.target_code, "problem": e.problem.to_json()} for e in examples)
    write_jsonl(path, rows)


def read_warmup(path: Path) -> list[WarmupExample]:
    """Read what ``write_warmup`` wrote."""
    rows = (row for _, row in read_jsonl(path))
    return [WarmupExample(problem_from_json(row["problem"]), row["target_code"], row["wrong"]) for row in rows]


def _distinct_programs(seed: int) -> Iterator[Drawn]:
    """Endless programs of pairwise different canonical form: whoever takes one takes its form from everybody else."""
    seen: set[str] = set()
    first = seed * 10_000_000
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as executor:
        for start in count(first, DRAWN_AT_ONCE):
            for drawn in executor.map(_draw, range(start, start + DRAWN_AT_ONCE), chunksize=32):
                if drawn.form not in seen:
                    seen.add(drawn.form)
                    yield drawn


def _draw(seed: int) -> Drawn:
    source = "python" if seed % CPP_EVERY else "cpp"
    program = generate_program(seed, replace(SHORT, dialect=source))
    return Drawn(program, source, canonical(program))


def _problems(
    programs: Iterator[Drawn], wanted: int, settings: QuickstartSettings, *, split: str
) -> tuple[Problem, ...]:
    """Make ``wanted`` problems, one a program at most, as many of every pair; programs of no use are passed over."""
    missing = Counter({pair: wanted // len(PAIRS) for pair in PAIRS})
    problems: list[Problem] = []
    while missing.total():
        drawn = next(programs)
        pairs = [pair for pair in PAIRS if missing[pair] and _can_hold(drawn, pair)]
        if pairs:
            source, target = pair = max(pairs, key=missing.__getitem__)
            missing[pair] -= 1
            task_id = f"{split}/{len(problems)}/{source}-{target}"
            tests = settings.tests_per_problem
            problems.append(
                make_problem(
                    drawn.program, source, target, task_id=task_id, tests=tests, seed=len(problems), split=split
                )
            )
    return tuple(problems)


def _can_hold(drawn: Drawn, pair: tuple[str, str]) -> bool:
    source, target = pair
    return source == drawn.source and not supports(drawn.program, source) and not supports(drawn.program, target)


def _warmup_examples(programs: Sequence[Drawn], wrong_share: float, rng: random.Random) -> Iterator[WarmupExample]:
    by_pair = {pair: [drawn for drawn in programs if _can_hold(drawn, pair)] for pair in PAIRS}
    for number in count():
        source, target = pair = rng.choice(PAIRS)
        program = rng.choice(by_pair[pair]).program
        wrong = bool(divergences(program, source, target)) and rng.random() < wrong_share
        code = transliterate(program, source, target) if wrong else render(program, target)
        problem = make_problem(program, source, target, task_id=f"warmup/{number}", tests=0, seed=0)
        yield WarmupExample(problem, code, wrong)


def _statistics(
    warmup: Sequence[WarmupExample], train: Sequence[Drawn], train_problems: Sequence, heldout: Sequence
) -> dict:
    pairs = Counter(f"{e.problem.source_lang}->{e.problem.target_lang}" for e in warmup)
    wrong = Counter(f"{e.problem.source_lang}->{e.problem.target_lang}" for e in warmup if e.wrong)
    constructs: Counter[str] = Counter()
    divergent: Counter[str] = Counter()
    held: Counter[str] = Counter()
    for drawn in train:
        for pair in PAIRS:
            if _can_hold(drawn, pair):
                names = divergences(drawn.program, *pair)
                held["->".join(pair)] += 1
                divergent["->".join(pair)] += bool(names)
                constructs.update(names)
    return {
        "train_programs": len(train),
        "train_problems": len(train_problems),
        "heldout_problems": len(heldout),
        "warmup_examples": len(warmup),
        "warmup_wrong_share": round(sum(wrong.values()) / len(warmup), 4),
        "warmup_wrong_share_by_pair": {pair: round(wrong[pair] / pairs[pair], 4) for pair in sorted(pairs)},
        "divergent_share_by_pair": {pair: round(divergent[pair] / held[pair], 4) for pair in sorted(held)},
        "divergent_constructs": dict(constructs.most_common()),
    }
