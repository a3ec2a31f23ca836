"""Skeletons over arrays: each is a shape that people's loops have, filled with drawn conditions and expressions."""

from __future__ import annotations

from dataclasses import replace

from oorl.ir.generator import words
from oorl.ir.generator.function import Array, Function, Lines, braced
from oorl.ir.generator.kinds import BOOL, EQUALITY, INT, UCHAR, UINT, binary, literal, promoted
from oorl.ir.generator.loops import ascending, counted, counter, over
from oorl.ir.generator.positions import neighbours, pairs, shifted, two_ends
from oorl.ir.generator.scope import Place, Rejected
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
)


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
                test = f"{test} && {f.draw.test(0).within(EQUALITY)}"
        loop = braced(
            ascending(i.text, xs.length, 1),
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


def _running(f: Function, xs: Array, pool: tuple[str, ...]) -> tuple[Place | None, Lines]:
    """Now and then a state that goes along with a loop, and its declaration."""
    if f.chance(0.6):
        return None, []
    with f.scope.inner(xs.at("0")):
        state, line = accumulator(f, pool=pool, final=False)
    f.scope.add(state)
    return state, [line]


def change_in_place(f: Function, xs: Array, others: tuple[Array, ...] = ()) -> Lines:
    """New values for the elements, all or some, perhaps depending on a running state."""
    state, before = _running(f, xs, ("carry", "running", "prev", "last", "state"))

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
    state, before = _running(f, xs, ("run", "carry", "prev", "total", "level"))

    def body(elements: list[Place], i: Place, skips: bool) -> Lines:
        target = replace(out.at(i.text), sure=True)
        lines = update(f, state, 1) if state else []
        value = widened(target, f.draw.of(kind, 2)).text
        if f.chance(0.3):
            other = widened(target, f.draw.of(kind, 1)).text
            return [*lines, *conditional(f, [f"{target.text} = {value};"], [f"{target.text} = {other};"])]
        return [*lines, f"{target.text} = {value};"]

    return [*before, *over(f, xs, body, others=others, indexed=True)]


def runs(f: Function, xs: Array, others: tuple[Array, ...] = ()) -> Lines:
    """The longest (or last) run of elements with a property."""
    run = f.scope.declare(("run", "streak", "here"), INT, 0, 9, final=False)
    longest = f.scope.declare(("longest", "best", "most"), INT, 0, 9)
    f.scope.unread.discard(run.root)

    def body(elements: list[Place], i: Place | None, skips: bool) -> Lines:
        with f.scope.hidden(run.root, longest.root):
            test = f.draw.test(2)
        reset = f.rng.choice(("0", "0", f"{run.text} / 2", f"{run.text} > 2 ? 1 : 0"))
        keep = [f"if ({run.text} > {longest.text})", f"    {longest.text} = {run.text};"]
        if f.chance(0.5):
            return [f"{run.text} = {test.within(EQUALITY)} ? {run.text} + 1 : {reset};", *keep]
        return branches(test.text, [f"{run.text}++;", *keep], [f"{run.text} = {reset};"])

    return [f"int {run.text} = 0, {longest.text} = 0;", *over(f, xs, body, others=others)]


def histogram(f: Function, xs: Array, others: tuple[Array, ...] = ()) -> Lines:
    """Count elements into buckets."""
    size = f.rng.choice((4, 8))
    kind = f.rng.choice((INT, UINT, UCHAR))
    bins = f.array(str(size), writable=True, kind=kind, pool=("bins", "counts", "freq", "buckets"), bounds=(0, 9))
    f.scope.unread.discard(bins.name)  # written below, in every case

    def body(elements: list[Place], i: Place | None, skips: bool) -> Lines:
        index = f.draw.masked(f.draw.of(INT if not xs.kind.wraps else xs.kind, 1), size).text
        step = f"{bins.name}[{index}]{f.rng.choice(('++', '++', f' += {f.rng.randint(2, 5)}'))};"
        return conditional(f, [step]) if f.chance(0.4) else [step]

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
        if not any(slot.text in line for line in body):
            raise Rejected
        with f.scope.hidden(name):
            value = f.draw.of(kind, 1)
    body = [*body, f"{slot.text} = {value.text};"]
    return [f"{kind.name} {name}[4] = {{0}};", line, *counted(f, "for", i.text, xs.length, body)]


READERS = (
    (fold, 14), (count, 8), (search, 8), (best, 8), (neighbours, 6), (pairs, 5), (two_ends, 4), (runs, 5), (ring, 7),
    (map_copy, 9), (filter_copy, 5), (histogram, 4),
)  # fmt: skip
WRITERS = (
    (change_in_place, 10), (filter_in_place, 5), (neighbours, 4), (pairs, 3), (two_ends, 5), (shifted, 3),
)  # fmt: skip
