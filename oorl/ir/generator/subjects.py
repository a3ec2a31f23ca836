"""What functions are about: arrays, texts, structs, matrices or numbers, and the skeletons that suit each."""

from __future__ import annotations

import re
from collections.abc import Callable

from oorl.ir.generator import arrays, matrices, positions, scalars, structs, texts, words
from oorl.ir.generator.function import Function, Lines
from oorl.ir.generator.kinds import BOOL, CHAR, DOUBLE, INT, LONG, UINT
from oorl.ir.generator.matrices import Matrix
from oorl.ir.generator.records import SHAPES
from oorl.ir.generator.statements import change

Built = tuple[list[str], Lines]  # the skeletons' names, and the statements

SUBJECTS = (("array", 34), ("text", 20), ("scalar", 20), ("record", 10), ("records", 9), ("matrix", 7))
_VERBS = (
    ("count", "count"), ("search|find|halving", "search"), ("best", "best"), ("change|mode|shifted", "change"),
    ("filter|keep", "filter"), ("copy|to_|rows_out|histogram|bins", "copy"), ("order|pairs|neighbours|across", "order"),
    ("letter|machine|depth|word|parse|classify|mirrored", "scan"), ("side_by_side|two_structs|merge", "compare"),
    ("fold|runs|ring|diagonal", "fold"),
)  # fmt: skip


def entry_name(f: Function, subject: str, skeleton: str) -> str:
    """A verb that fits the skeleton, and a noun that fits the subject."""
    verb = next((verb for pattern, verb in _VERBS if re.search(pattern, skeleton)), "compute")
    name = f"{f.rng.choice(words.VERBS[verb])}_{f.rng.choice(words.NOUNS[subject])}"
    return name if name not in f.scope.names else name + "_of"


def _more_scalars(f: Function, shares: tuple[float, ...] = (0.5, 0.15)) -> None:
    for share in shares:
        if f.chance(share):
            f.scalar()


def _over_arrays(f: Function, writes: bool) -> Built:
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
    else:  # the length stands behind what it measures
        n = f.scope.name(words.LENGTHS)
        xs = f.array(n, writable=writable, least=least)
        f.length(least, name=n)
    others = ()
    if second:
        kind = xs.kind if f.chance(0.7) else None
        others = (f.array(n, pool=words.SECOND_ARRAYS, least=least, kind=kind),)
    _more_scalars(f)
    skeletons = [first, *([f.pick(arrays.READERS)] if f.chance(0.12) else [])]
    lines = []
    if f.chance(0.08) and least == 0 and f.result:
        lines += [f"if ({n} == 0)", "    " + f.leave(None if f.result == BOOL else f.draw.number(f.result))]
    for skeleton in skeletons:
        lines += skeleton(f, xs, others)
    return [skeleton.__name__ for skeleton in skeletons], lines


def _merged(f: Function) -> Built:
    kind = f.pick(((INT, 5), (LONG, 1), (UINT, 1), (DOUBLE, 1)))
    n = f.length(0, 6)
    xs = f.array(n, kind=kind, order="sorted", bounds=(0, 12))
    m = f.length(0, 6)
    ys = f.array(m, kind=kind, order="sorted", bounds=(0, 12), pool=words.SECOND_ARRAYS)
    return ["merge"], positions.merge(f, xs, ys)


def _over_texts(f: Function, writes: bool) -> Built:
    skeleton = f.planned(texts.WRITERS if writes else texts.READERS)
    alphabet = f.rng.choice(("0-9", "0-9+-", "0-9,", "0-9-")) if skeleton is texts.parse_number else ""
    text = f.text(writable=writes, alphabet=alphabet)
    if f.chance(0.25):
        f.scalar(CHAR, (text.low, text.high) if text.low >= 33 else (97, 122))
    _more_scalars(f, (0.3,))
    return [skeleton.__name__], skeleton(f, text)


def _over_record(f: Function, writes: bool) -> Built:
    holding = [shape for shape in SHAPES if shape.arrays]
    if f.plan.random() < 0.25:
        skeleton, shape = structs.field_array, f.rng.choice(holding)
    else:
        skeleton, shape = f.planned(structs.ONE_WRITERS if writes else structs.ONE_READERS), f.rng.choice(SHAPES)
    one = f.records(shape, "1", writable=writes)
    _more_scalars(f, (0.6, 0.2))
    return [skeleton.__name__], skeleton(f, one)


def _over_records(f: Function, writes: bool) -> Built:
    skeleton = f.planned(structs.MANY_WRITERS if writes else structs.MANY_READERS)
    n = f.length(0, f.rng.choice((4, 5, 6)))
    many = f.records(f.rng.choice([shape for shape in SHAPES if not shape.arrays]), n, writable=writes)
    _more_scalars(f)
    return [skeleton.__name__], skeleton(f, many)


def _over_matrix(f: Function, writes: bool) -> Built:
    square = f.plan.random() < 0.4
    rows = f.length(0, 4)
    cols = rows if square else f.length(0, 4)
    cells = f.array(cols, size=f"{rows}*{cols}", writable=writes, pool=words.MATRICES)
    _more_scalars(f, (0.4, 0.1))
    plain = matrices.WRITERS if writes else matrices.READERS
    special = matrices.SQUARE_WRITERS if writes else matrices.SQUARE_READERS
    skeleton = f.planned((*plain, *(special if square else ())))
    return [skeleton.__name__], skeleton(f, Matrix(cells, rows, cols))


def _over_scalars(f: Function, writes: bool) -> Built:
    if f.plan.random() < 0.1 and f.result not in (BOOL, None):
        f.result = INT
        f.entry = entry_name(f, "scalar", "fold")
        _more_scalars(f, (0.3,))
        return ["repeated"], scalars.repeated(f)
    _more_scalars(f)
    skeleton = f.planned(scalars.COMPUTATIONS)
    lines = skeleton(f)
    variables = [place for place in f.scope.places if place.writable and place.text == place.root]
    if variables and f.chance(0.3):
        lines += change(f, f.rng.choice(variables), 1)
    return [skeleton.__name__], lines


BUILDERS: dict[str, Callable[[Function, bool], Built]] = {
    "array": _over_arrays, "text": _over_texts, "record": _over_record, "records": _over_records,
    "matrix": _over_matrix, "scalar": _over_scalars,
}  # fmt: skip
