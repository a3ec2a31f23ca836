"""Skeletons over numbers: bits, digits, bounded iterations, chains of conditions, polynomials."""

from __future__ import annotations

import re

from oorl.ir.generator import words
from oorl.ir.generator.function import Function, Lines, braced, indented
from oorl.ir.generator.kinds import BOOL, INT, LONG, PRODUCT, UINT, ULONG, Kind, binary, literal, promoted
from oorl.ir.generator.loops import ascending
from oorl.ir.generator.scope import Place
from oorl.ir.generator.statements import (
    accumulator,
    branches,
    change,
    conditional,
    switch,
    temporary,
    turn,
    update,
)


def bit_loop(f: Function) -> Lines:
    """Over the bits of a number, until none is left."""
    x = f.scalar(f.rng.choice((UINT, UINT, ULONG)))
    total, line = accumulator(f, f.rng.choice((INT, x.kind)))
    f.scope.unread.discard(x.root)
    step = f.rng.choice(
        (f"{x.text} >>= 1;", f"{x.text} >>= 1;", f"{x.text} &= {x.text} - 1;", f"{x.text} >>= 2;", f"{x.text} >>= 4;")
    )
    with f.scope.inner(Place(f"({x.text} & {f.rng.choice((1, 1, 3, 15))})", INT, 0, 1, x.root, weight=3.0)):
        body = change(f, total, 1)
    if f.chance(0.5):
        f.scope.drop(x)
        return [line, *braced(f"while ({x.text})", [*body, step])]
    bits = f.rng.choice((8, 16, 32))
    i = f.scope.name(words.COUNTERS)
    with f.scope.inner(Place(f"(({x.text} >> {i}) & 1)", promoted(x.kind), 0, 1, x.root, weight=3.0)):
        body = change(f, total, 1)
    return [line, *braced(ascending(i, bits), body)]


def digit_loop(f: Function) -> Lines:
    """Over the digits of a number in some base."""
    x = f.scalar(f.rng.choice((INT, UINT, LONG)), (0, f.rng.choice((999, 99999))))
    base = f.rng.choice((10, 10, 10, 2, 3, 7, 8, 16))
    total, line = accumulator(f, f.rng.choice((INT, INT, UINT)))
    f.scope.unread.discard(x.root)
    kind = promoted(x.kind)
    digit = f.scope.name(("digit", "d", "r"))
    f.scope.unread.add(digit)
    with f.scope.inner(Place(digit, kind, 0, base - 1, digit, weight=3.0)):
        body = change(f, total, 1)
    lines = [f"{kind.name} {digit} = {x.text} % {base};", *body, f"{x.text} /= {base};"]
    f.scope.drop(x)
    if f.chance(0.3):
        return [line, "do {", *indented(lines), f"}} while ({x.text} > 0);"]
    return [line, *braced(f"while ({x.text} {f.rng.choice(('> 0', '!= 0'))})", lines)]


def remainders(f: Function) -> Lines:
    """Euclid's algorithm, with something gathered on the way."""
    a = f.scalar(f.rng.choice((INT, UINT)), (1, 99))
    b = f.scalar(a.kind, (0, 60))
    steps, line = accumulator(f, INT, words.COUNTS)
    f.scope.unread -= {a.root, b.root}
    t = f.scope.name(("t", "rest", "tmp"))
    with f.scope.hidden(steps.root):
        gathered = f.draw.of(INT, 1).text if f.chance(0.5) else "1"
    body = [
        f"{a.kind.name} {t} = {a.text} % {b.text};",
        f"{a.text} = {b.text};",
        f"{b.text} = {t};",
        f"{steps.text} += {gathered};",
    ]
    f.scope.drop(b)
    f.scope.final.append(a)
    return [line, *braced(f"while ({b.text} {f.rng.choice(('!= 0', '> 0'))})", body)]


def fuelled(f: Function) -> Lines:
    """A number that goes up and down until it reaches something, for a bounded number of steps."""
    x = f.scalar(INT, f.rng.choice(((1, 30), (-20, 60), (0, 99))))
    kind = f.rng.choice((INT, INT, LONG))
    v = f.scope.declare(("v", "cur", "w", "value"), kind, -99, 99, final=False)
    fuel = f.rng.choice((8, 12, 16, 20))
    steps = f.scope.declare(("steps", "rounds", "turns"), INT, 0, fuel - 2, sure=True, final=False)
    start = f.scope.read(x)
    test = binary(f.rng.choice(("!=", ">")), v.term, literal(f.rng.choice((1, 0, 3)), INT))
    f.scope.unread.discard(v.root)
    with f.scope.hidden(steps.root):
        condition = f.rng.choice(
            (
                f"{v.text} % 2 == 0",
                f"{v.text} & 1",
                f"{v.text} % 3 == 0",
                f"{v.text} > {x.text if f.chance(0.3) else 20}",
            )
        )
        moves = (f"{v.text} /= 2;", f"{v.text} -= {f.rng.randint(2, 7)};", f"{v.text} = {v.text} / 3 + 1;")
        rises = (
            f"{v.text} = 3 * {v.text} + 1;",
            f"{v.text} += {f.draw.of(INT, 0).text};",
            f"{v.text} = {v.text} - {f.rng.randint(1, 4)};",
        )
    body = [*branches(condition, [f.rng.choice(moves)], [f.rng.choice(rises)]), f"{steps.text}++;"]
    f.scope.final.append(f.rng.choice((v, steps)))
    return [
        f"{kind.name} {v.text} = {start.text};",
        f"int {steps.text} = 0;",
        *braced(f"while ({test.text} && {steps.text} < {fuel})", body),
    ]


def recurrence(f: Function) -> Lines:
    """Two numbers that make the next one, a number of times."""
    n = f.scalar(INT, (0, f.rng.choice((8, 10, 12))), ("n", "steps", "rounds", "k"))
    kind = f.rng.choice((INT, LONG, UINT))
    bounds = kind.limits if kind.wraps else (-600, 600)
    a = f.scope.declare(("a", "prev", "x", "older"), kind, *bounds, final=False)
    b = f.scope.declare(("b", "cur", "y", "newer"), kind, *bounds)
    with f.scope.hidden(a.root, b.root):
        starts = [f.draw.of(kind, 0).text if f.chance(0.4) else str(f.rng.randint(0, 3)) for _ in range(2)]
        extra = f.draw.of(kind, 1)
    t, i = f.scope.name(("next", "t", "sum")), f.scope.name(words.COUNTERS)
    f.scope.unread -= {n.root, a.root}
    grown = f.rng.choice(
        (f"{a.text} + {b.text}", f"2 * {b.text} - {a.text}", f"{a.text} + {b.text} % 7", f"{b.text} - {a.text}")
    )
    if f.chance(0.5):
        grown += f" + {extra.within(PRODUCT)}"
    body = [f"{kind.name} {t} = {grown};", f"{a.text} = {b.text};", f"{b.text} = {t};"]
    if f.chance(0.4):
        body.insert(1, f"if ({t} > {f.rng.choice((100, 500, 1000))})")
        body.insert(2, f"    {t} -= {f.rng.choice((97, 100, 499))};")
    return [
        f"{kind.name} {a.text} = {starts[0]}, {b.text} = {starts[1]};",
        *braced(ascending(i, n.text), body),
    ]


def power(f: Function) -> Lines:
    """Repeated squaring or multiplication, modulo something."""
    base, exponent = (
        f.scalar(f.rng.choice((UINT, INT)), (0, 40)),
        f.scalar(f.rng.choice((UINT, INT)), (0, 20), ("e", "exponent", "times")),
    )
    r = f.scope.declare(("r", "result", "power", "acc"), base.kind, 0, 1000)
    f.scope.unread -= {base.root, exponent.root}
    modulus = f.rng.choice((97, 101, 251, 1009))
    with f.scope.hidden(r.root, base.root, exponent.root):
        start = "1" if f.chance(0.7) else f"{f.rng.randint(2, 5)}"
    f.scope.drop(base, exponent)
    square = f"{base.text} = {base.text} * {base.text} % {modulus};"
    take = [f"{r.text} = {r.text} * {base.text} % {modulus};"]
    test = f.rng.choice((f"{exponent.text} & 1", f"{exponent.text} % 2 == 1"))
    shrink = f.rng.choice((f"{exponent.text} >>= 1;", f"{exponent.text} /= 2;"))
    return [
        f"{base.kind.name} {r.text} = {start};",
        *braced(f"while ({exponent.text} > 0)", [*branches(test, take), square, shrink]),
    ]


def chain(f: Function) -> Lines:
    """A chain of conditions that chooses a value."""
    _operands(f)
    kind = f.result if f.result and f.result != BOOL else INT
    kind = promoted(kind)
    value = f.scope.declare(("value", "grade", "level", "r", "out", "rate"), kind, -99, 99)
    with f.scope.hidden(value.root):
        if f.chance(0.4) and f.result:
            steps: Lines = []
            for _ in range(f.rng.choice((1, 2, 2))):
                steps += [f"if ({f.draw.test(2).text})", "    " + f.leave()]
            return [*steps, f"{kind.name} {value.text} = {f.draw.of(kind, 2).text};"]
        cases = [[f"{value.text} = {f.draw.of(kind, 2).text};"] for _ in range(f.rng.choice((2, 3, 3)))]
        lines = cases[-1]
        for case in reversed(cases[:-1]):
            lines = branches(f.draw.test(1).text, case, lines)
    return [f"{kind.name} {value.text};", *lines]


def selection(f: Function) -> Lines:
    """A switch over an operation."""
    _operands(f)
    op = f.scalar(INT, (0, f.rng.choice((3, 4, 5))), ("op", "mode", "kind", "action"))
    kind = promoted(f.result if f.result and f.result != BOOL else INT)
    if f.result and f.result != BOOL and f.chance(0.5):
        lines = [f"switch ({f.scope.read(op).text}) {{"]
        for k in range(f.rng.choice((2, 3, 3))):
            lines.append(f"case {k}: return {f.draw.of(kind, 2).text};")
        value = f.scope.declare(("r", "rest", "value"), kind, -99, 99)
        with f.scope.hidden(value.root):
            return [*lines, "default: break;", "}", f"{kind.name} {value.text} = {f.draw.of(kind, 2).text};"]
    value = f.scope.declare(("r", "result", "value"), kind, -99, 99)
    with f.scope.hidden(value.root):
        return [
            f"{kind.name} {value.text} = {f.draw.number(kind).text};",
            *switch(f, lambda: [f"{value.text} = {f.draw.of(kind, 2).text};"], apart=(value.root,)),
        ]


def steps(f: Function) -> Lines:
    """A few temporaries, each made of those before it, changed under conditions."""
    _operands(f)
    kinds = [promoted(place.kind) for place in f.scope.places if place.kind != BOOL] or [INT]
    lines: Lines = []
    for _ in range(f.rng.choice((2, 2, 3))):
        lines += temporary(f, f.rng.choice(kinds))
        if f.chance(0.5):
            place = f.scope.places[-1]
            f.scope.places[-1] = Place(
                place.text, place.kind, min(place.low, -99), max(place.high, 99), place.root, True, False, 3.0
            )
            lines += change(f, f.scope.places[-1], 1)
    return lines


def horner(f: Function) -> Lines:
    """A polynomial, its coefficients numbers or parameters."""
    x = f.scalar(f.rng.choice((*_REAL, INT)), (-4, 4), ("x", "t", "z", "u"))
    kind = promoted(x.kind)
    y = f.scope.declare(("y", "p", "value", "acc"), kind, -900, 900)
    f.scope.unread.discard(x.root)
    if not [place for place in f.scope.places if place.root not in (x.root, y.root)]:
        f.scalar(kind, (-8, 8))
    lines = []
    for k in range(f.rng.choice((2, 3, 3, 4))):
        with f.scope.hidden(x.root, y.root):
            c = f.draw.leaf(kind) if f.chance(0.5) else f.draw.number(kind)
        op = "-" if f.chance(0.3) else "+"
        lines.append(
            f"{kind.name} {y.text} = {c.text};"
            if k == 0
            else f"{y.text} = {y.text} * {x.text} {op} {c.within(PRODUCT)};"
        )
        if k == 1 and f.chance(0.3):
            lines += conditional(f, [f"{x.text} = -{x.text};"])
    return lines


def averaging(f: Function) -> Lines:
    """An approximation that comes nearer in a few steps."""
    kind = f.rng.choice(_REAL)
    x = f.scalar(kind, (0, 100), ("x", "value", "square", "goal"))
    guess = f.scope.declare(("guess", "root", "y", "estimate"), kind, 0, 100)
    suffix = "f" if kind.code == "f32" else ""
    f.scope.unread -= {x.root, guess.root}
    i = f.scope.name(words.COUNTERS)
    weight = f.rng.choice(("0.5", "0.25", "0.125"))
    nearer = f.rng.choice((
        f"{guess.text} = {weight}{suffix} * ({guess.text} + {x.text} / {guess.text});",
        f"{guess.text} += ({x.text} - {guess.text}) * {weight}{suffix};",
        f"{guess.text} -= ({guess.text} * {guess.text} - {x.text}) / (2.0{suffix} * {guess.text} + 1.0{suffix});",
    ))  # fmt: skip
    with f.scope.hidden(x.root, guess.root):
        stop = (
            [f"if ({guess.text} {f.rng.choice('<>')} {f.draw.leaf(kind).text})", "    break;"] if f.chance(0.4) else []
        )
    return [
        f"{kind.name} {guess.text} = {x.text} > 1.0{suffix} ? {x.text} : 1.0{suffix};",
        *braced(ascending(i, f.rng.randint(2, 6)), [nearer, *stop]),
    ]


def mixing(f: Function) -> Lines:
    """Rounds of bit mixing."""
    _operands(f, (UINT, UINT, ULONG, INT))
    h, line = accumulator(f, f.rng.choice((UINT, UINT, ULONG)))
    lines = [line]
    for _ in range(f.rng.choice((2, 2, 3))):
        lines += update(f, h, 1)
    if f.chance(0.4):
        i = f.scope.name(words.COUNTERS)
        with f.scope.inner(Place(i, INT, 0, 7, i)):
            return [
                *lines,
                *braced(ascending(i, f.rng.choice((3, 4, 8))), turn(f, [h], skips=True)),
            ]
    return lines


def grid_count(f: Function) -> Lines:
    """Nested loops over small ranges: how many pairs have a property, or their sum."""
    n = f.scalar(INT, (0, f.rng.choice((6, 8, 10))), ("n", "limit", "size"))
    f.scope.unread.discard(n.root)
    total, line = accumulator(f, INT)
    i, j = f.scope.name(("i", "a", "x")), f.scope.name(("j", "b", "y"))
    start = f.rng.choice(("1", "0", i, f"{i} + 1"))
    with f.scope.inner(Place(i, INT, 0, 10, i, weight=3.0), Place(j, INT, 0, 10, j, weight=3.0)):
        body = change(f, total, 1)
    inner = braced(f"for (int {j} = {start}; {j} <= {n.text}; {j}++)", body)
    return [line, *braced(f"for (int {i} = 1; {i} <= {n.text}; {i}++)", inner)]


def repeated(f: Function) -> Lines:
    """A call to itself in the last place: a loop in another form. ``f.entry`` is the function's own name."""
    x = f.scalar(INT, (0, 99), ("n", "x", "rest"))
    total = f.scalar(INT, (-9, 9), ("acc", "total", "sofar"))
    f.scope.unread -= {x.root, total.root}
    base = f.draw.of(INT, 1) if f.chance(0.4) else total.term
    divisor = f.rng.choice((2, 3, 5, 10))
    with f.scope.inner(Place(f"({x.text} % {divisor})", INT, 0, divisor - 1, x.root, weight=4.0)):
        next_totals = [binary(f.rng.choice("+-^+"), total.term, f.draw.of(INT, 1)) for _ in range(2)]
        test = f.draw.test(1)
    calls = []
    for next_total in next_totals:
        given = {x.text: f"{x.text} / {divisor}", total.text: next_total.text}
        names = [re.split(r"[ *]", param)[-1] for param in f.params]
        calls.append(f"return {f.entry}({', '.join(given.get(name, name) for name in names)});")
    lines = [f"if ({x.text} <= {f.rng.choice((0, 0, 1))})", f"    return {base.text};"]
    return [*lines, *([f"if ({test.text})", f"    {calls[0]}"] if f.chance(0.6) else []), calls[1]]


def _operands(f: Function, kinds: tuple[Kind, ...] = ()) -> None:
    """Parameters, so that there are two to four places."""
    missing = f.rng.choice((2, 2, 3)) - sum(place.weight >= 1 for place in f.scope.places)
    for _ in range(max(0, missing)):
        f.scalar(f.rng.choice(kinds) if kinds else None)


_REAL = (Kind("double", "f64"), Kind("double", "f64"), Kind("float", "f32"))
COMPUTATIONS = (
    (bit_loop, 8), (digit_loop, 8), (remainders, 4), (fuelled, 6), (recurrence, 5), (power, 4), (chain, 8),
    (selection, 7), (steps, 10), (horner, 6), (averaging, 4), (mixing, 6), (grid_count, 4),
)  # fmt: skip
