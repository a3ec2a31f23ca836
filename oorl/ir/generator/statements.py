"""Statements: accumulators and their updates, conditions around them, temporaries, switches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from oorl.ir.generator import words
from oorl.ir.generator.function import Function, Lines, braced, indented
from oorl.ir.generator.kinds import (
    BOOL,
    CHAR,
    DOUBLE,
    FLOAT,
    INT,
    LONG,
    SUM,
    UINT,
    ULONG,
    UNARY,
    Kind,
    Term,
    binary,
    cast,
    chosen,
    literal,
    promoted,
)
from oorl.ir.generator.scope import Place

USUAL = 600  # how large an accumulator is taken to be


def accumulator(
    f: Function, kind: Kind | None = None, pool: Sequence[str] = (), *, final: bool = True
) -> tuple[Place, str]:
    """A variable that a loop changes, and its declaration; ``final``: the result must depend on it."""
    kind = kind or accumulator_kind(f)
    low, high = kind.limits if kind.wraps else (-USUAL, USUAL)
    place = f.scope.declare(pool or (words.HASHES if kind.wraps else words.ACCUMULATORS), kind, low, high, final=final)
    return place, f"{kind.name} {place.text} = {start_of(f, place)};"


def accumulator_kind(f: Function) -> Kind:
    """A type that fits what is in scope: floats for floats, and the result's where that is a number."""
    kinds = [place.kind for place in f.scope.places if place.weight >= 1]
    if any(kind.is_float for kind in kinds) and f.chance(0.8):
        return FLOAT if all(kind == FLOAT for kind in kinds if kind.is_float) else DOUBLE
    if f.result and f.result != BOOL and f.chance(0.6):
        return promoted(f.result)
    return f.pick(((INT, 60), (LONG, 14), (UINT, 20), (ULONG, 6)))


def start_of(f: Function, place: Place) -> str:
    """A first value: mostly a number, now and then a parameter."""
    elsewhere = {other.root for other in f.scope.places if other.text != other.root}  # no element: there may be none
    params = [other for other in f.scope.places if other.root not in (*elsewhere, place.root) and not other.writable]
    if params and f.chance(0.15):
        with f.scope.hidden(place.root, *elsewhere):
            return f.draw.of(place.kind, 0).text
    if place.kind.is_float:
        return literal(f.rng.choice((0.0, 0.0, 0.0, 1.0)), place.kind).text
    if place.kind.wraps:
        return f.rng.choice(("0", "0", "1", "7", "5381", "17"))
    return f.rng.choice(("0", "0", "0", "0", "1", "-1"))


def update(f: Function, place: Place, depth: int = 2) -> Lines:
    """One change of an accumulator by what is in scope."""
    kind, draw = place.kind, f.rng.random()
    with f.scope.hidden(place.root):
        value = f.draw.of(kind, depth if f.chance(0.5) else depth - 1)
    if kind.wraps and draw < 0.5:
        return [_mixed(f, place, value)]
    if draw < 0.5:
        return [f"{place.text} {f.rng.choice(('+=', '+=', '+=', '-='))} {value.text};"]
    if draw < 0.62:
        op = f.rng.choice("<>")
        return [f"if ({binary(op, value, place.term).text})", f"    {place.text} = {value.text};"]
    if draw < 0.74 and not kind.is_float:
        base = literal(f.rng.choice((2, 3, 5, 7)), INT)
        term = binary("+", binary("*", place.term, base), value)
        return [f"{place.text} = {binary('%', term, literal(f.rng.choice((97, 101, 251, 997, 1000)), INT)).text};"]
    if draw < 0.8 and kind.is_float:
        faded = binary("*", place.term, literal(f.rng.choice((0.5, 0.25, 0.75)), kind))
        return [f"{place.text} = {binary('+', faded, value).text};"]
    if draw < 0.88 and not kind.is_float:
        return [f"{place.text} {f.rng.choice(('^=', '|=', '^='))} {value.text};"]
    test = f.draw.test(0)
    other = f.draw.number(kind)
    return [f"{place.text} += {chosen(test, value, other).text};"]


def _mixed(f: Function, place: Place, value: Term) -> str:
    """A step of a hash."""
    bits = 64 if place.kind == ULONG else 32
    times = f.rng.choice((31, 33, 131, 16777619))
    left, name = f.rng.randint(1, 13), place.text
    return f.rng.choice((
        f"{name} = {name} * {times}u + {value.within(SUM)};",
        f"{name} = ({name} ^ {value.within(UNARY)}) * {times}u;",
        f"{name} = (({name} << {left}) | ({name} >> {bits - left})) ^ {value.within(UNARY)};",
        f"{name} ^= {value.within(SUM)} + ({name} << {min(left, 6)}) + ({name} >> 2);",
    ))  # fmt: skip


def conditional(f: Function, lines: Lines, otherwise: Lines | None = None, depth: int = 1) -> Lines:
    """``if (test)`` around statements."""
    return branches(f.draw.test(depth).text, lines, otherwise)


def branches(test: str, lines: Lines, otherwise: Lines | None = None) -> Lines:
    """An if statement, perhaps with an else."""
    if not otherwise:
        return braced(f"if ({test})", lines)
    if len(lines) == 1 and len(otherwise) == 1:
        return [f"if ({test})", *indented(lines), "else", *indented(otherwise)]
    if otherwise[0].startswith("if ") and otherwise[-1].startswith(("}", "    ")):
        return [f"if ({test}) {{", *indented(lines), "} else " + otherwise[0], *otherwise[1:]]
    return [f"if ({test}) {{", *indented(lines), "} else {", *indented(otherwise), "}"]


def temporary(f: Function, kind: Kind | None = None) -> Lines:
    """A local variable that holds a value of this moment."""
    kinds = [promoted(place.kind) for place in f.scope.places if place.weight >= 2] or [INT]
    kind = kind or f.rng.choice(kinds)
    value = f.draw.of(kind, 2)
    place = f.scope.declare(words.TEMPORARIES, kind, value.low, value.high, sure=value.sure, weight=3.0, final=False)
    return [f"{kind.name} {place.text} = {value.text};"]


def turn(f: Function, accumulators: Sequence[Place], *, skips: bool, depth: int = 2) -> Lines:
    """What a loop does in a turn: updates, some under conditions, after perhaps a temporary or a `continue`."""
    lines: Lines = []
    if f.chance(0.25):
        lines += temporary(f)
    if skips and f.chance(0.15):
        lines += [f"if ({f.draw.test(1).text})", "    continue;"]
    for place in accumulators:
        lines += change(f, place, depth)
    if f.chance(0.08):
        lines += [f"if ({f.draw.test(1).text})", "    break;"]
    return lines


def change(f: Function, place: Place, depth: int = 2) -> Lines:
    """An update, or one of two under a condition."""
    draw = f.rng.random()
    if draw < 0.45:
        return update(f, place, depth)
    if draw < 0.7:
        return conditional(f, update(f, place, depth - 1))
    if draw < 0.88:
        return conditional(f, update(f, place, depth - 1), update(f, place, depth - 1))
    if draw < 0.94:
        return switch(f, lambda: update(f, place, 1))
    third = conditional(f, update(f, place, 1), update(f, place, 1) if f.chance(0.5) else None)
    return conditional(f, update(f, place, 1), third)


def switch(f: Function, case: Callable[[], Lines], apart: Sequence[str] = ()) -> Lines:
    """A switch over something small; ``case()`` draws what stands at a label. ``apart`` are roots not switched over."""
    with f.scope.hidden(*apart):
        selector, labels = _selector(f)
    lines: Lines = []
    for label in labels:
        lines += [f"case {label}:", *indented(case())]
        if not lines[-1].strip().startswith(("return", "continue")) and (f.chance(0.9) or label == labels[-1]):
            lines.append("    break;")
    return [f"switch ({selector}) {{", *lines, "default:", *indented(case()), "    break;", "}"]


def _selector(f: Function) -> tuple[str, Lines]:
    letters = [place for place in f.scope.places if place.kind == CHAR and place.letters]
    if letters and f.chance(0.7):
        place = f.rng.choice(letters)
        letter = f.scope.read(place)
        codes = f.rng.sample(place.letters, k=min(3, len(place.letters)))
        return letter.text, [literal(ord(code), CHAR).text for code in sorted(codes)]
    value, size = f.draw.of(INT, 1), f.rng.choice((3, 4, 4, 5))
    if value.high - value.low < 2:
        value = binary("+", value, f.draw.other(INT, 1, value))
    if not (value.sure and 0 <= value.low and value.high <= 6):
        value = f.draw.masked(value, 4) if size == 4 else binary("%", value, literal(size, INT))
    return value.text, [str(k) for k in range(f.rng.choice((0, 0, 1)), 3)]


def widened(place: Place, value: Term) -> Term:
    """The value as it is stored: narrowed by hand where a person would say so."""
    low, high = place.kind.limits
    if place.kind.code in ("u8", "i8", "i16", "u16", "char") and not (low <= value.low and value.high <= high):
        return cast(place.kind, value)
    return value


def assignment(f: Function, place: Place, depth: int = 2) -> Lines:
    """A new value of a place that can be written."""
    kind = place.kind
    if kind == BOOL:
        return [f"{place.text} = {f.draw.test(1).text};"]
    draw = f.rng.random()
    if kind == CHAR:
        return [f"{place.text} = {letter_value(f, place).text};"]
    if draw < 0.3:
        value = f.draw.other(promoted(kind), 1, place.term)
        return [f"{place.text} {f.rng.choice(('+=', '-=', '+='))} {value.text};"]
    if draw < 0.42 and not kind.is_float:
        one_more = f"(*{place.text[1:]})++;" if place.text.startswith("*") else f"{place.text}++;"
        small = f.rng.choice((one_more, f"{place.text} /= 2;", f"{place.text} ^= 1;", f"{place.text} *= 2;"))
        return [small]
    return [f"{place.text} = {widened(place, f.draw.other(promoted(kind), depth, place.term)).text};"]


def letter_value(f: Function, place: Place) -> Term:
    """A character made of one: shifted within the alphabet, replaced, or with its case changed."""
    letter = f.scope.read(place)
    draw = f.rng.random()
    if draw < 0.35 and 97 <= letter.low:
        by = literal(f.rng.randint(1, 13), INT)
        inside = binary("%", binary("+", binary("-", letter, literal(97, CHAR)), by), literal(26, INT))
        return (
            cast(CHAR, binary("+", literal(97, CHAR), inside))
            if f.chance(0.5)
            else binary("+", literal(97, CHAR), inside)
        )
    if draw < 0.6:
        return cast(CHAR, binary("^", letter, literal(f.rng.choice((1, 2, 32)), INT)))
    fresh = literal(f.rng.choice((95, 42, 45, 35, 120, 48)), CHAR)
    return chosen(f.draw.test(0), fresh, letter) if draw < 0.85 else fresh
