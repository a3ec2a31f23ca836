"""Unit tests and problem records of generated programs."""

from __future__ import annotations

import random

from oorl.data.problems import Problem
from oorl.errors import UserError
from oorl.programs.check import divergent_names, run, sample_args
from oorl.programs.nodes import Program
from oorl.programs.render import declaration, render

_CANDIDATES = 60


def make_tests(program: Program, seed: int, count: int) -> list[dict]:
    """``count`` unit tests ``{"args", "returns"}`` with distinct arguments, by running the reference interpreter.

    The first ones separate meanings: for each construct that languages read differently, arguments on which the other
    reading gives another value. The rest prefer results not seen yet.

    Raises:
        UserError: the program is defined on too few arguments.
    """
    if count == 0:  # a prompt alone is wanted; looking for separating arguments costs milliseconds
        return []
    if count == 0:
        return []
    rng = random.Random(f"tests/{seed}/{program.seed}")
    tests: dict[str, dict] = {}
    for _ in range(_CANDIDATES):
        args = sample_args(program, rng)
        value = run(program, args)
        if value is not None:
            tests.setdefault(repr(args), {"args": args, "returns": value})
    ranked = list(tests.values())
    chosen: list[dict] = []
    for name in sorted(divergent_names(program)):
        separating = [t for t in ranked if repr(run(program, t["args"], frozenset({name}))) != repr(t["returns"])]
        chosen += [test for test in separating if test not in chosen][:2]
    seen = {repr(test["returns"]) for test in chosen}
    for test in ranked:
        if repr(test["returns"]) not in seen:
            seen.add(repr(test["returns"]))
            chosen.append(test)
    chosen += [test for test in ranked if test not in chosen]
    if len(chosen) < min(count, 2):
        raise UserError(f"program {program.seed}: only {len(chosen)} arguments give a defined result; use another seed")
    return chosen[:count]


def make_problem(
    program: Program,
    source_lang: str,
    target_lang: str,
    *,
    task_id: str,
    seed: int,
    tests: int = 8,
    split: str = "train",
) -> Problem:
    """A translation problem in call mode; its tests decide between the meanings languages give the source's operators.

    Raises:
        UserError: a language cannot hold the program.
    """
    return Problem(
        task_id=task_id,
        source_lang=source_lang,
        source_code=render(program, source_lang),
        target_lang=target_lang,
        target_decl=declaration(program, target_lang),
        entry=program.entry,
        mode="call",
        tests=tuple(make_tests(program, seed, tests)),
        signature=program.signature,
        origin={"dataset": "oorl.programs", "row": program.seed, "split": split, "licence": "Apache-2.0", "url": ""},
    )
