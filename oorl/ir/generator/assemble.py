"""A whole function: a subject, skeletons over it, and a result that depends on what they computed."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from oorl.ir.generator import arrays, matrices, positions, scalars, structs, texts, words
from oorl.ir.generator.function import Array, Function, Lines, Text, indented
from oorl.ir.generator.identity import FIXED_WIDTHS
from oorl.ir.generator.kinds import (
    BOOL,
    CHAR,
    DOUBLE,
    FLOAT,
    INT,
    LONG,
    UINT,
    ULONG,
    Kind,
    Term,
    binary,
    chosen,
    literal,
    promoted,
)
from oorl.ir.generator.matrices import Matrix
from oorl.ir.generator.records import SHAPES
from oorl.ir.generator.scope import Place, Rejected

ATTEMPTS, ATTEMPTS_A_PLAN = 400, 40
MOST_LINES, FEWEST_LINES = 26, 3
FEWEST_ARGUMENTS = 40  # for 16 of them to be drawn and to be defined
SUBJECTS = (("array", 34), ("text", 20), ("scalar", 20), ("record", 10), ("records", 9), ("matrix", 7))
_RESULTS = ((INT, 52), (LONG, 9), (UINT, 8), (ULONG, 2), (BOOL, 8), (DOUBLE, 4), (FLOAT, 1))
_WIDTHS = re.compile("|".join(rf"\b{name}\b" for name in FIXED_WIDTHS))
_VERBS = (
    ("count", "count"), ("search|find|halving", "search"), ("best", "best"), ("change|mode|shifted", "change"),
    ("filter|keep", "filter"), ("copy|to_|rows_out|histogram|bins", "copy"), ("order|pairs|neighbours|across", "order"),
    ("letter|machine|depth|word|parse|classify|mirrored", "scan"), ("side_by_side|two_structs|merge", "compare"),
    ("fold|runs|ring|diagonal", "fold"),
)  # fmt: skip


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
    build: Callable[[Function, bool], tuple[list[str], Lines]] = _SUBJECTS[subject]
    if f.chance(0.3):
        f.helper()
    if f.chance(0.12):
        f.table()
    skeletons, lines = build(f, writes)
    f.entry = f.entry or _name(f, subject, skeletons[0])
    lines += [] if lines[-1].startswith("return") else _end(f)
    words_used = set(re.findall(r"\w+", " ".join(lines)))
    named = {re.split(r"[ *]", param)[-1] for param in f.params}
    if f.inputs < FEWEST_ARGUMENTS or f.scope.unread or not named <= words_used:
        raise Rejected
    if not all(_reads(lines, name) for name in f.scope.locals):
        raise Rejected
    if not FEWEST_LINES <= len(lines) <= MOST_LINES:
        raise Rejected
    return Drawn(_text(f, lines), f.entry, tuple(skeletons))


def _reads(lines: Lines, name: str) -> bool:
    """Whether a variable occurs other than where it is set."""
    setting = re.compile(rf"^\s*(?:[a-z][a-z ]* )?{name} (?:[-+*/%^|&]|<<|>>)?= |\b{name}\+\+;$")
    return any(re.search(rf"\b{name}\b", setting.sub("", line)) for line in lines)


def _name(f: Function, subject: str, skeleton: str) -> str:
    verb = next((verb for pattern, verb in _VERBS if re.search(pattern, skeleton)), "compute")
    name = f"{f.rng.choice(words.VERBS[verb])}_{f.rng.choice(words.NOUNS[subject])}"
    return name if name not in f.scope.names else name + "_of"


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


def _end(f: Function) -> Lines:
    """The return statement; what nothing has read so far goes into the result."""
    owed = [place for place in f.scope.places if place.root in f.scope.unread and place.text == place.root]
    owed = list({place.root: place for place in (*f.scope.final, *owed)}.values())
    if len(owed) > (3 if f.result else 0):
        raise Rejected
    if f.result is None:
        return []
    real = next((place.kind for place in owed if place.kind.is_float), None)
    if real and f.result != BOOL and f.chance(0.8):
        f.result = real  # numbers returned before convert to it
    if f.result == BOOL:
        return [f"return {_verdict(f, owed).text};"]
    kind = promoted(f.result)
    if not owed:
        return [f"return {_fitting(f, f.draw.of(kind, 1), kind).text};"]
    values = [
        _fitting(
            f, f.draw.converted(f.scope.read(place), kind) if not place.kind.is_float else f.scope.read(place), kind
        )
        for place in owed
    ]
    value = values[0]
    for other in values[1:]:
        value = _combined(f, value, other)
    if len(owed) == 1 and f.chance(0.35):
        value = _finished(f, value, kind)
    return [f"return {value.text};"]


def _fitting(f: Function, value: Term, kind: Kind) -> Term:
    """The value as something that the result's type holds: floats become integers by a comparison or rounding."""
    if value.kind.is_float and not kind.is_float:
        test = f.draw.comparison(value)
        return (
            chosen(test, f.draw.number(INT), f.draw.number(INT)) if f.chance(0.3) else Term(f"({test.text})", INT, 0, 1)
        )
    return value


def _combined(f: Function, a: Term, b: Term) -> Term:
    draw = f.rng.random()
    if draw < 0.5:
        return binary(f.rng.choice("+-"), a, b)
    if draw < 0.65 and not (a.kind.is_float or b.kind.is_float):
        return binary("^", a, b)
    if draw < 0.8:
        scaled = binary("*", a, literal(f.rng.choice((2, 3, 5, 10)), a.kind))
        return binary("+", scaled, b)
    return chosen(f.draw.comparison(a), a, b)


def _finished(f: Function, value: Term, kind: Kind) -> Term:
    """A last touch: scaled, bounded, or replaced under a condition."""
    draw = f.rng.random()
    if draw < 0.35:
        return f.draw.extreme(value, f.draw.number(kind))
    if draw < 0.7:
        return chosen(f.draw.test(1), value, f.draw.other(kind, 0, value))
    return binary(f.rng.choice("+-"), value, f.draw.other(kind, 1, value))


def _verdict(f: Function, owed: list[Place]) -> Term:
    """A condition over what the result must depend on."""
    if not owed:
        return f.draw.test(1)
    tests = [f.scope.read(place) if place.kind == BOOL else f.draw.comparison(f.scope.read(place)) for place in owed]
    value = tests[0]
    for test in tests[1:]:
        value = binary(f.rng.choice(("&&", "||")), value, test)
    return value


def _more_scalars(f: Function, shares: tuple[float, ...] = (0.5, 0.15)) -> None:
    for share in shares:
        if f.chance(share):
            f.scalar()


def _over_arrays(f: Function, writes: bool) -> tuple[list[str], Lines]:
    first = f.planned(arrays.WRITERS if writes else arrays.READERS)
    special = f.plan.random()
    least = 1 if first is positions.shifted or f.chance(0.3) else 0
    if not writes and special < 0.06:
        return _merged(f)
    if not writes and special < 0.11:
        n = f.length(least)
        xs = f.array(n, order="sorted", least=least)
        _more_scalars(f, (0.8, 0.1))
        return ["halving"], positions.halving(f, xs)
    writable = writes or (f.result is None)
    second = f.chance(0.25)
    if f.chance(0.5):
        n = f.length(least)
        xs = f.array(n, writable=writable, least=least)
    else:
        n = f.scope.name(words.LENGTHS)
        xs = f.array(n, writable=writable, least=least)
        f.scope.names.discard(n)
        n = _length_named(f, n, least)
    others = (
        (f.array(n, pool=words.SECOND_ARRAYS, least=least, kind=xs.kind if f.chance(0.7) else None),) if second else ()
    )
    _more_scalars(f)
    lines, names = [], []
    if f.chance(0.08) and least == 0 and f.result:
        lines += [f"if ({n} == 0)", "    " + f.leave(f.draw.number(f.result) if f.result != BOOL else None)]
    for skeleton in [first] + ([f.pick(arrays.READERS)] if f.chance(0.12) else []):
        lines += skeleton(f, xs, others)
        names.append(skeleton.__name__)
    return names, lines


def _length_named(f: Function, name: str, least: int) -> str:
    """A length parameter after the array that it measures."""
    f.scope.names.add(name)
    f.params.append(f"int {name}")
    f.clauses.append(f"{name} in {least}..{f.rng.choice((6, 8, 9))}")
    f.scope.add(Place(name, INT, least, 9, name, weight=0.3))
    return name


def _merged(f: Function) -> tuple[list[str], Lines]:
    kind = f.pick(((INT, 5), (LONG, 1), (UINT, 1), (DOUBLE, 1)))
    n = f.length(0, 6)
    xs = f.array(n, kind=kind, order="sorted", bounds=(0, 12))
    m = f.length(0, 6)
    ys = f.array(m, kind=kind, order="sorted", bounds=(0, 12), pool=words.SECOND_ARRAYS)
    return ["merge"], positions.merge(f, xs, ys)


def _over_texts(f: Function, writes: bool) -> tuple[list[str], Lines]:
    skeleton = f.planned(texts.WRITERS if writes else texts.READERS)
    alphabet = f.rng.choice(("0-9", "0-9+-", "0-9,", "0-9-")) if skeleton is texts.parse_number else ""
    text: Text = f.text(writable=writes, alphabet=alphabet)
    if f.chance(0.25):
        f.scalar(CHAR, (text.low, text.high) if text.low >= 33 else (97, 122))
    _more_scalars(f, (0.3,))
    lines, names = skeleton(f, text), [skeleton.__name__]
    return names, lines


def _over_record(f: Function, writes: bool) -> tuple[list[str], Lines]:
    holding = [shape for shape in SHAPES if shape.arrays]
    if f.plan.random() < 0.25:
        skeleton, shape = structs.field_array, f.rng.choice(holding)
    else:
        skeleton, shape = f.planned(structs.ONE_WRITERS if writes else structs.ONE_READERS), f.rng.choice(SHAPES)
    one = f.records("1", writable=writes, shape=shape)
    _more_scalars(f, (0.6, 0.2))
    return [skeleton.__name__], skeleton(f, one)


def _over_records(f: Function, writes: bool) -> tuple[list[str], Lines]:
    skeleton = f.planned(structs.MANY_WRITERS if writes else structs.MANY_READERS)
    n = f.length(0, f.rng.choice((4, 5, 6)))
    many = f.records(n, writable=writes, shape=f.rng.choice([shape for shape in SHAPES if not shape.arrays]))
    _more_scalars(f)
    return [skeleton.__name__], skeleton(f, many)


def _over_matrix(f: Function, writes: bool) -> tuple[list[str], Lines]:
    square = f.plan.random() < 0.4
    rows = f.length(0, 4)
    cols = rows if square else f.length(0, 4)
    cells: Array = f.array(cols, size=f"{rows}*{cols}", writable=writes, pool=words.MATRICES)
    _more_scalars(f, (0.4, 0.1))
    plain, special = (
        (matrices.WRITERS, matrices.SQUARE_WRITERS) if writes else (matrices.READERS, matrices.SQUARE_READERS)
    )
    skeleton = f.planned((*plain, *(special if square else ())))
    return [skeleton.__name__], skeleton(f, Matrix(cells, rows, cols))


def _over_scalars(f: Function, writes: bool) -> tuple[list[str], Lines]:
    if f.plan.random() < 0.1 and f.result not in (BOOL, None):
        f.result = INT
        f.entry = _name(f, "scalar", "fold")
        _more_scalars(f, (0.3,))
        return ["repeated"], scalars.repeated(f)
    _more_scalars(f)
    skeleton = f.planned(scalars.COMPUTATIONS)
    lines, names = skeleton(f), [skeleton.__name__]
    if f.chance(0.3):
        lines += [line for line in _extra(f)]
    return names, lines


def _extra(f: Function) -> Lines:
    """A change of a local variable on the way to the end."""
    locals_ = [place for place in f.scope.places if place.writable and place.text == place.root]
    return scalars.change(f, f.rng.choice(locals_), 1) if locals_ else []


_SUBJECTS = {
    "array": _over_arrays, "text": _over_texts, "record": _over_record, "records": _over_records,
    "matrix": _over_matrix, "scalar": _over_scalars,
}  # fmt: skip
