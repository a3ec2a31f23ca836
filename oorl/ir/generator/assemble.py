"""A whole function: a subject, skeletons over it, and a result that depends on what they computed."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from oorl.ir.generator.function import Function, Lines, indented
from oorl.ir.generator.identity import FIXED_WIDTHS
from oorl.ir.generator.kinds import BOOL, DOUBLE, FLOAT, INT, LONG, UINT, ULONG
from oorl.ir.generator.result import ending
from oorl.ir.generator.scope import Rejected
from oorl.ir.generator.subjects import BUILDERS, SUBJECTS, entry_name

ATTEMPTS, ATTEMPTS_A_PLAN = 400, 40
MOST_LINES, FEWEST_LINES = 26, 3
FEWEST_ARGUMENTS = 40  # for 16 of them to be drawn and to be defined
_RESULTS = ((INT, 52), (LONG, 9), (UINT, 8), (ULONG, 2), (BOOL, 8), (DOUBLE, 4), (FLOAT, 1))
_WIDTHS = re.compile("|".join(rf"\b{name}\b" for name in FIXED_WIDTHS))


@dataclass(frozen=True)
class Drawn:
    """A function's text with its contract, its name, and the skeletons it was made of."""

    code: str
    entry: str
    skeletons: tuple[str, ...]


def random_function(seed: int) -> Drawn:
    """The function of this seed."""
    for attempt in range(ATTEMPTS):
        try:
            # Many attempts share a plan: otherwise what is seldom rejected would prevail.
            plan = random.Random(f"{seed}/plan/{attempt // ATTEMPTS_A_PLAN}")
            return _attempt(random.Random(f"{seed}/{attempt}"), plan)
        except Rejected:
            continue
    raise AssertionError(f"no function for seed {seed} in {ATTEMPTS} attempts")


def _attempt(rng: random.Random, plan: random.Random) -> Drawn:
    f = Function(rng, plan)
    subject = f.planned(SUBJECTS)
    writes = subject != "scalar" and plan.random() < 0.4
    f.result = None if writes and plan.random() < 0.5 else f.planned(_RESULTS)
    if f.chance(0.3):
        f.helper()
    if f.chance(0.12):
        f.table()
    skeletons, lines = BUILDERS[subject](f, writes)
    f.entry = f.entry or entry_name(f, subject, skeletons[0])
    lines += [] if lines[-1].startswith("return") else ending(f)
    if f.inputs < FEWEST_ARGUMENTS or not FEWEST_LINES <= len(lines) <= MOST_LINES or not _all_read(f, lines):
        raise Rejected
    return Drawn(_text(f, lines), f.entry, tuple(skeletons))


def _all_read(f: Function, lines: Lines) -> bool:
    """Whether every parameter is used, and every variable for more than setting it."""
    used = set(re.findall(r"\w+", " ".join(lines)))
    params = {re.split(r"[ *]", param)[-1] for param in f.params}
    return not f.scope.unread and params <= used and all(_reads(lines, name) for name in f.scope.locals)


def _reads(lines: Lines, name: str) -> bool:
    """Whether a variable occurs other than where it is set."""
    setting = re.compile(rf"^\s*(?:[a-z][a-z ]* )?{name} (?:[-+*/%^|&]|<<|>>)?= |\b{name}\+\+;$")
    return any(re.search(rf"\b{name}\b", setting.sub("", line)) for line in lines)


def _text(f: Function, lines: Lines) -> str:
    result = f.result.name if f.result else "void"
    contract = f"// contract: {'; '.join(f.clauses)}" if f.clauses else ""
    head = f"{result} {f.entry}({', '.join(f.params)})"
    body = " ".join(lines)
    helpers = [text for name, text in f.helpers if f"{name}(" in body]
    statics = [text for name, text in f.statics if f"{name}[" in body]
    declarations = f.declarations
    functions = "\n".join([*helpers, contract, head, "{", *indented([*statics, *lines]), "}"])
    if f.chance(0.15) and (short := _WIDTHS.sub(lambda found: FIXED_WIDTHS[found[0]], functions)) != functions:
        declarations, functions = ["#include <stdint.h>", *declarations], short
    return "\n".join([*declarations, functions]) + "\n"
