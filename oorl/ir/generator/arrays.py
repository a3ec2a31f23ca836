"""Skeletons over arrays: each is a shape that people's loops have, filled with drawn conditions and expressions."""

from __future__ import annotations

from dataclasses import replace

from oorl.ir.generator import words
from oorl.ir.generator.function import Array, Function, Lines, braced, indented
from oorl.ir.generator.kinds import BOOL, INT, UCHAR, UINT, Kind, binary, literal, promoted
from oorl.ir.generator.loops import counted, counter, over
from oorl.ir.generator.scope import Place
from oorl.ir.generator.statements import (
    accumulator,
    assignment,
    branches,
    change,
    conditional,
    temporary,
    turn,
    update,
    widened,
)  # fmt: skip


def fold(f: Function, xs: Array, others: tuple[Array, ...] = ()) -> Lines:
    """Accumulate over the elements, perhaps in two variables."""
    with f.scope.inner(xs.at("0")):  # the type of what is accumulated follows the elements'
        kinds = [accumulator(f) for _ in range(f.rng.choice((1, 1, 1, 2)))]
    f.scope.add(*(place for place, _ in kinds))
    places = [place for place, _ in kinds]
    loop = over(f, xs, lambda elements, i, skips: turn(f, places, skips=skips), others=others)
    return [*(line for _, line in kinds), *loop]


def count(f: Function, xs: Array, others: tuple[Array, ...] = ()) -> Lines:
    """How many elements have a property."""
    hits = f.scope.declare(words.COUNTS, INT, 0, 9, sure=True)

    def body(elements: list[Place], i: Place | None, skips: bool) -> Lines:
        with f.scope.hidden(hits.root):
            if f.chance(0.3):
                return [f"{hits.text} += {f.draw.test(2).text};"]
            return [*(temporary(f) if f.chance(0.25) else []), *conditional(f, [f"{hits.text}++;"], depth=2)]

    return [f"int {hits.text} = 0;", *over(f, xs, body, others=others)]


def search(f: Function, xs: Array, others: tuple[Array, ...] = ()) -> Lines:
    """The first (or last) element with a property: left at once, or after the loop."""
    if f.result is None or f.result == BOOL or f.chance(0.5):

        def leave(elements: list[Place], i: Place, skips: bool) -> Lines:
            value = f.scope.read(i) if f.result and f.result != BOOL and not f.result.is_float else None
            return conditional(f, [f.leave(value)], depth=2)

        return over(f, xs, leave, others=others, indexed=True)
    found = f.scope.declare(("found", "at", "where", "pos"), INT, -1, 8, sure=True)

    def stop(elements: list[Place], i: Place, skips: bool) -> Lines:
        with f.scope.hidden(found.root):
            then = [f"{found.text} = {i.text};", *(["break;"] if f.chance(0.7) else [])]
            return conditional(f, then, depth=2)

    return [f"int {found.text} = -1;", *over(f, xs, stop, others=others, indexed=True)]


def best(f: Function, xs: Array, others: tuple[Array, ...] = ()) -> Lines:
    """The element with the greatest (or smallest) key; its value or its position."""
    op = f.rng.choice(("<", ">", ">", ">="))
    i = counter(f)
    f.scope.names.discard(i.text)
    if xs.least > 0 and f.chance(0.5):
        at = f.scope.declare(words.BESTS, INT, 0, 8, sure=True)
        f.scope.unread.discard(xs.name)
        here, there = xs.at(i.text).term, xs.at(at.text).term
        test = binary(op, here, there).text
        if f.chance(0.3):
            with f.scope.inner(xs.at(i.text), i), f.scope.hidden(at.root):
                test = f"{test} && {f.draw.test(0).within(5)}"
        loop = braced(
            f"for (int {i.text} = 1; {i.text} < {xs.length}; {i.text}++)",
            braced(f"if ({test})", [f"{at.text} = {i.text};"]),
        )
        return [f"int {at.text} = 0;", *loop]
    kind = promoted(xs.kind)
    top = f.scope.declare(words.BESTS, kind, xs.low, xs.high)

    def body(elements: list[Place], i: Place | None, skips: bool) -> Lines:
        with f.scope.hidden(top.root):
            key = f.draw.of(kind, f.rng.choice((0, 1, 2)))
        name = f.scope.name(("key", "v", "now"))
        return [f"{kind.name} {name} = {key.text};", f"if ({name} {op} {top.text})", f"    {top.text} = {name};"]

    start = literal(0 if kind.wraps or f.chance(0.5) else f.rng.choice((-100, 100)), kind)
    return [f"{kind.name} {top.text} = {start.text};", *over(f, xs, body, others=others)]


def change_in_place(f: Function, xs: Array, others: tuple[Array, ...] = ()) -> Lines:
    """New values for the elements, all or some, perhaps depending on a running state."""
    state, before = None, []
    if f.chance(0.4):
        with f.scope.inner(xs.at("0")):
            state, line = accumulator(f, pool=("carry", "running", "prev", "last", "state"), final=False)
        f.scope.add(state)
        before = [line]

    def body(elements: list[Place], i: Place | None, skips: bool) -> Lines:
        step_first = state is not None and f.chance(0.3)
        lines = update(f, state, 1) if step_first else temporary(f) if f.chance(0.2) else []
        step = assignment(f, elements[0])
        lines += conditional(f, step, assignment(f, elements[0]) if f.chance(0.3) else None) if f.chance(0.55) else step
        if state and not step_first:
            lines += update(f, state, 1) if f.chance(0.6) else [f"{state.text} = {elements[0].text};"]
        return lines

    return [*before, *over(f, xs, body, others=others)]


def filter_in_place(f: Function, xs: Array, others: tuple[Array, ...] = ()) -> Lines:
    """Keep the elements with a property, at the array's beginning."""
    kept = f.scope.declare(("kept", "w", "used", "next"), INT, 0, 8, sure=True)

    def body(elements: list[Place], i: Place | None, skips: bool) -> Lines:
        with f.scope.hidden(kept.root):
            test = f.draw.test(2).text
            value = elements[0].text if f.chance(0.7) else widened(elements[0], f.draw.of(xs.kind, 1)).text
        return braced(f"if ({test})", [f"{xs.name}[{kept.text}++] = {value};"])

    return [f"int {kept.text} = 0;", *over(f, xs, body, others=others)]


def filter_copy(f: Function, xs: Array, others: tuple[Array, ...] = ()) -> Lines:
    """Copy what has a property to an output buffer."""
    out = f.output(xs.length, xs.kind)
    f.scope.unread.discard(out.name)
    kept = f.scope.declare(("kept", "w", "used", "m"), INT, 0, 8, sure=True)

    def body(elements: list[Place], i: Place | None, skips: bool) -> Lines:
        with f.scope.hidden(kept.root):
            test = f.draw.test(2).text
            value = elements[0].text if f.chance(0.5) else widened(elements[0], f.draw.of(xs.kind, 2)).text
        return braced(f"if ({test})", [f"{out.name}[{kept.text}++] = {value};"])

    return [f"int {kept.text} = 0;", *over(f, xs, body, others=others)]


def map_copy(f: Function, xs: Array, others: tuple[Array, ...] = ()) -> Lines:
    """An output buffer with a value for every element, perhaps depending on a running state."""
    kind = f.rng.choice((xs.kind, xs.kind, promoted(xs.kind), INT if not xs.kind.is_float else xs.kind))
    out = f.output(xs.length, kind)
    f.scope.unread.discard(out.name)
    state, before = None, []
    if f.chance(0.4):
        with f.scope.inner(xs.at("0")):
            state, line = accumulator(f, pool=("run", "carry", "prev", "total", "level"), final=False)
        f.scope.add(state)
        before = [line]

    def body(elements: list[Place], i: Place, skips: bool) -> Lines:
        target = replace(out.at(i.text), sure=True)
        lines = update(f, state, 1) if state else []
        value = widened(target, f.draw.of(kind, 2)).text
        if f.chance(0.3):
            other = widened(target, f.draw.of(kind, 1)).text
            return [*lines, *conditional(f, [f"{target.text} = {value};"], [f"{target.text} = {other};"])]
        return [*lines, f"{target.text} = {value};"]

    return [*before, *over(f, xs, body, others=others, indexed=True)]


def neighbours(f: Function, xs: Array, others: tuple[Array, ...] = ()) -> Lines:
    """Every two neighbouring elements: compared, added up, or exchanged."""
    i = counter(f)
    f.scope.names.discard(i.text)
    i = replace(i, low=1)
    pair = (xs.at(f"{i.text} - 1"), xs.at(i.text))
    if xs.writable and f.chance(0.6):
        with f.scope.inner(*pair, i):
            body = _exchange_if(f, xs, *pair)
    else:
        total, line = accumulator(f, f.rng.choice((INT, promoted(xs.kind))))
        with f.scope.inner(*pair, i):
            body = [*(temporary(f) if f.chance(0.4) else []), *change(f, total)]
        return [line, *braced(f"for (int {i.text} = 1; {i.text} < {xs.length}; {i.text}++)", body)]
    return braced(f"for (int {i.text} = 1; {i.text} < {xs.length}; {i.text}++)", body)


def _exchange_if(f: Function, xs: Array, a: Place, b: Place) -> Lines:
    """Exchange two elements if they stand in the wrong order, perhaps under a further condition."""
    f.scope.unread.discard(xs.name)
    test = binary(f.rng.choice(("<", ">")), a.term, b.term)
    if f.chance(0.4):
        test = binary("&&", test, f.draw.test(0))
    return braced(f"if ({test.text})", exchange(f, xs.kind, a, b))


def exchange(f: Function, kind: Kind, a: Place, b: Place) -> Lines:
    """Exchange two places' values."""
    t = f.scope.name(("t", "tmp", "swap", "held"))
    f.scope.names.discard(t)
    return [f"{kind.name} {t} = {a.text};", f"{a.text} = {b.text};", f"{b.text} = {t};"]


def pairs(f: Function, xs: Array, others: tuple[Array, ...] = ()) -> Lines:
    """Every pair of elements: counted, searched for, or put in order."""
    i, j = counter(f), counter(f)
    f.scope.names -= {i.text, j.text}
    both = (xs.at(i.text), xs.at(j.text))
    heads = (
        f"for (int {i.text} = 0; {i.text} < {xs.length}; {i.text}++)",
        f"for (int {j.text} = {i.text} + 1; {j.text} < {xs.length}; {j.text}++)",
    )
    if xs.writable and f.chance(0.6):
        with f.scope.inner(*both):
            return braced(heads[0], braced(heads[1], _exchange_if(f, xs, *both)))
    total, line = accumulator(f, f.rng.choice((INT, promoted(xs.kind))))
    with f.scope.inner(*both, i, j):
        test = f.draw.comparison(f.draw.of(xs.kind, 1), 1).text
        step = [f"{total.text}++;"] if f.chance(0.5) else update(f, total, 1)
        f.scope.unread.discard(xs.name)
        if f.chance(0.6):
            test = f"{both[0].text} {f.rng.choice(('>', '<', '==', '!='))} {both[1].text}" + (
                f" && {test}" if f.chance(0.4) and "||" not in test else ""
            )
    return [line, *braced(heads[0], braced(heads[1], braced(f"if ({test})", step)))]


def two_ends(f: Function, xs: Array, others: tuple[Array, ...] = ()) -> Lines:
    """Two positions that move towards each other."""
    lo, hi = f.scope.name(("lo", "left", "i", "head")), f.scope.name(("hi", "right", "j", "tail"))
    before = [f"int {lo} = 0, {hi} = {xs.length} - 1;"]
    ends = (xs.at(lo), xs.at(hi))
    index = [Place(name, INT, 0, 8, name, weight=0.4) for name in (lo, hi)]
    if xs.writable:
        with f.scope.inner(*ends, *index):
            swap = (
                exchange(f, xs.kind, *ends) if f.chance(0.7) else [*assignment(f, ends[0]), *assignment(f, ends[1], 1)]
            )
            body = [*(conditional(f, swap) if f.chance(0.5) else swap), f"{lo}++;", f"{hi}--;"]
        return [*before, *braced(f"while ({lo} < {hi})", body)]
    total, line = accumulator(f)
    f.scope.unread.discard(xs.name)
    with f.scope.inner(*ends, *index):
        step = change(f, total, 1)
        compare = (
            f.draw.comparison(binary("+", ends[0].term, ends[1].term))
            if f.chance(0.5)
            else binary("<", ends[0].term, ends[1].term)
        )
    moves = branches(compare.text, [f"{lo}++;"], [f"{hi}--;"])
    return [line, *before, *braced(f"while ({lo} < {hi})", [*step, *moves])]


def runs(f: Function, xs: Array, others: tuple[Array, ...] = ()) -> Lines:
    """The longest (or last) run of elements with a property."""
    run = f.scope.declare(("run", "streak", "here"), INT, 0, 9, final=False)
    longest = f.scope.declare(("longest", "best", "most"), INT, 0, 9)
    f.scope.unread.discard(run.root)

    def body(elements: list[Place], i: Place | None, skips: bool) -> Lines:
        with f.scope.hidden(run.root, longest.root):
            test = f.draw.test(2).text
        reset = f.rng.choice(("0", "0", f"{run.text} / 2", f"{run.text} > 2 ? 1 : 0"))
        keep = [f"if ({run.text} > {longest.text})", f"    {longest.text} = {run.text};"]
        if f.chance(0.5):
            return [
                f"{run.text} = {test if '&&' not in test and '||' not in test else f'({test})'} ? {run.text} + 1 : {reset};",
                *keep,
            ]
        return branches(test, [f"{run.text}++;", *keep], [f"{run.text} = {reset};"])

    return [f"int {run.text} = 0, {longest.text} = 0;", *over(f, xs, body, others=others)]


def histogram(f: Function, xs: Array, others: tuple[Array, ...] = ()) -> Lines:
    """Count elements into buckets."""
    size = f.rng.choice((4, 8))
    kind = f.rng.choice((INT, UINT, UCHAR))
    bins = f.array(str(size), writable=True, kind=kind, pool=("bins", "counts", "freq", "buckets"), bounds=(0, 9))

    def body(elements: list[Place], i: Place | None, skips: bool) -> Lines:
        index = f.draw.masked(f.draw.of(INT if not xs.kind.wraps else xs.kind, 1), size).text
        step = f.rng.choice(
            (f"{bins.name}[{index}]++;", f"{bins.name}[{index}]++;", f"{bins.name}[{index}] += {f.rng.randint(2, 5)};")
        )
        return conditional(f, [step]) if f.chance(0.4) else [step]

    f.scope.unread.discard(bins.name)
    return over(f, xs, body, others=others)


def ring(f: Function, xs: Array, others: tuple[Array, ...] = ()) -> Lines:
    """A small local array that remembers the last elements."""
    kind = promoted(xs.kind)
    name = f.scope.name(("window", "recent", "ring", "past"))
    total, line = accumulator(f, kind)
    i = counter(f)
    f.scope.names.discard(i.text)
    slot = Place(f"{name}[{i.text} & 3]", kind, xs.low, xs.high, name, weight=3.0, sure=False)
    with f.scope.inner(slot, xs.at(i.text)):
        body = change(f, total)
        value = f.draw.of(kind, 1)
    body = [*body, f"{slot.text} = {value.text};"]
    return [f"{kind.name} {name}[4] = {{0}};", line, *counted(f, "for", i.text, xs.length, body)]


def shifted(f: Function, xs: Array, others: tuple[Array, ...] = ()) -> Lines:
    """Move elements by a place, from one end to the other."""
    first = f.scope.declare(("first", "carry", "saved"), promoted(xs.kind), xs.low, xs.high, final=False)
    i = counter(f)
    f.scope.names.discard(i.text)
    f.scope.unread -= {first.root, xs.name}
    here, after = xs.at(i.text), xs.at(f"{i.text} + 1")
    with f.scope.inner(replace(after, writable=False), replace(i, low=0)):
        with f.scope.hidden(xs.name):
            extra = f.draw.of(xs.kind, 0)
        value = after.term if f.chance(0.5) else binary(f.rng.choice("+-"), after.term, extra)
    last = literal(1, INT).text
    lines = [f"{first.kind.name} {first.text} = {xs.name}[0];"]
    lines += braced(
        f"for (int {i.text} = 0; {i.text} + 1 < {xs.length}; {i.text}++)",
        [f"{here.text} = {widened(here, value).text};"],
    )
    return [*lines, f"{xs.name}[{xs.length} - {last}] = {first.text};"]


def halving(f: Function, xs: Array, others: tuple[Array, ...] = ()) -> Lines:
    """Binary search for where a property of a sorted array turns."""
    lo, hi, mid = (
        f.scope.name(("lo", "left", "low")),
        f.scope.name(("hi", "right", "high")),
        f.scope.name(("mid", "half", "m")),
    )
    with f.scope.inner(xs.at(mid)):
        key = f.draw.of(xs.kind, 0)
        test = (
            f.draw.comparison(key)
            if key.text == xs.at(mid).text
            else binary(f.rng.choice(("<", "<=")), xs.at(mid).term, key)
        )
    f.scope.unread.discard(xs.name)
    moves = branches(test.text, [f"{lo} = {mid} + 1;"], [f"{hi} = {mid};"])
    place = Place(lo, INT, 0, 9, lo)
    f.scope.add(place)
    f.scope.final.append(place)
    return [
        f"int {lo} = 0, {hi} = {xs.length};",
        f"while ({lo} < {hi}) {{",
        *indented([f"int {mid} = {f.rng.choice((f'({lo} + {hi}) / 2', f'{lo} + ({hi} - {lo}) / 2'))};", *moves]),
        "}",
    ]


def merge(f: Function, xs: Array, others: tuple[Array, ...] = ()) -> Lines:
    """Walk through two sorted arrays side by side."""
    ys = others[0]
    i, j = f.scope.name(("i", "a_pos", "p")), f.scope.name(("j", "b_pos", "q"))
    a, b = xs.at(i), ys.at(j)
    f.scope.unread -= {xs.name, ys.name}
    total, line = accumulator(f)
    with f.scope.inner(a, b):
        step = update(f, total, 1)
        equal = update(f, total, 1) if f.chance(0.5) else [f"{total.text}++;"]
    op = f.rng.choice(("<", "<="))
    lower = [f"{i}++;"] if f.chance(0.6) else [*step, f"{i}++;"]
    lines = [line, f"int {i} = 0, {j} = 0;", f"while ({i} < {xs.length} && {j} < {ys.length}) {{"]
    if f.chance(0.5):
        inner = branches(f"{a.text} {op} {b.text}", lower, [*equal, f"{j}++;"])
    else:
        other = branches(f"{b.text} < {a.text}", [f"{j}++;"], [*equal, f"{i}++;", f"{j}++;"])
        inner = branches(f"{a.text} < {b.text}", lower, other)
    return [*lines, *indented(inner), "}"]


READERS = (
    (fold, 14), (count, 8), (search, 8), (best, 8), (neighbours, 6), (pairs, 5), (two_ends, 4), (runs, 5), (ring, 4),
    (map_copy, 9), (filter_copy, 5), (histogram, 4),
)  # fmt: skip
WRITERS = (
    (change_in_place, 10), (filter_in_place, 5), (neighbours, 4), (pairs, 3), (two_ends, 5), (shifted, 3),
)  # fmt: skip
LONG_ENOUGH = (shifted,)  # need an element
