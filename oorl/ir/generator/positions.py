"""Skeletons over several positions of an array at once: neighbours, pairs, both ends, halves, two arrays in step."""

from __future__ import annotations

from dataclasses import replace

from oorl.ir.generator.function import Array, Function, Lines, braced, indented
from oorl.ir.generator.kinds import INT, Kind, Term, binary, promoted
from oorl.ir.generator.loops import ascending, counter
from oorl.ir.generator.scope import Place
from oorl.ir.generator.statements import (
    accumulator,
    assignment,
    branches,
    change,
    conditional,
    temporary,
    update,
    widened,
)


def exchange(f: Function, kind: Kind, a: Place, b: Place) -> Lines:
    """Exchange two places' values."""
    t = f.scope.name(("t", "tmp", "swap", "held"))
    f.scope.names.discard(t)
    return [f"{kind.name} {t} = {a.text};", f"{a.text} = {b.text};", f"{b.text} = {t};"]


def _exchange_if(f: Function, xs: Array, a: Place, b: Place) -> Lines:
    """Exchange two elements if they stand in the wrong order, perhaps under a further condition."""
    f.scope.unread.discard(xs.name)
    test = binary(f.rng.choice(("<", ">")), a.term, b.term)
    if f.chance(0.4):
        test = binary("&&", test, f.draw.test(0))
    return braced(f"if ({test.text})", exchange(f, xs.kind, a, b))


def neighbours(f: Function, xs: Array, others: tuple[Array, ...] = ()) -> Lines:
    """Every two neighbouring elements: compared, added up, or exchanged."""
    i = counter(f)
    f.scope.names.discard(i.text)
    i, head = replace(i, low=1), ascending(i.text, xs.length, 1)
    pair = (xs.at(f"{i.text} - 1"), xs.at(i.text))
    if xs.writable and f.chance(0.6):
        with f.scope.inner(*pair, i):
            return braced(head, _exchange_if(f, xs, *pair))
    total, line = accumulator(f, f.rng.choice((INT, promoted(xs.kind))))
    with f.scope.inner(*pair, i):
        body = [*(temporary(f) if f.chance(0.4) else []), *change(f, total)]
    return [line, *braced(head, body)]


def pairs(f: Function, xs: Array, others: tuple[Array, ...] = ()) -> Lines:
    """Every pair of elements: counted, searched for, or put in order."""
    i, j = counter(f), counter(f)
    f.scope.names -= {i.text, j.text}
    one, other = xs.at(i.text), xs.at(j.text)
    outer, inner = ascending(i.text, xs.length), ascending(j.text, xs.length, f"{i.text} + 1")
    if xs.writable and f.chance(0.6):
        with f.scope.inner(one, other):
            return braced(outer, braced(inner, _exchange_if(f, xs, one, other)))
    total, line = accumulator(f, f.rng.choice((INT, promoted(xs.kind))))
    with f.scope.inner(one, other, i, j):
        test = _of_pair(f, xs, one, other)
        step = [f"{total.text}++;"] if f.chance(0.5) else update(f, total, 1)
    return [line, *braced(outer, braced(inner, braced(f"if ({test.text})", step)))]


def _of_pair(f: Function, xs: Array, one: Place, other: Place) -> Term:
    """A condition on two elements."""
    if f.chance(0.4):
        return f.draw.comparison(f.draw.of(xs.kind, 1), 1)
    f.scope.unread.discard(xs.name)
    test = binary(f.rng.choice((">", "<", "==", "!=")), one.term, other.term)
    return binary("&&", test, f.draw.test(0)) if f.chance(0.4) else test


def two_ends(f: Function, xs: Array, others: tuple[Array, ...] = ()) -> Lines:
    """Two positions that move towards each other."""
    lo, hi = f.scope.name(("lo", "left", "i", "head")), f.scope.name(("hi", "right", "j", "tail"))
    first, last = xs.at(lo), xs.at(hi)
    places = (first, last, *(Place(name, INT, 0, 8, name, weight=0.4) for name in (lo, hi)))
    start, head = f"int {lo} = 0, {hi} = {xs.length} - 1;", f"while ({lo} < {hi})"
    f.scope.unread.discard(xs.name)
    if xs.writable:
        with f.scope.inner(*places):
            swaps = f.chance(0.7)
            step = exchange(f, xs.kind, first, last) if swaps else [*assignment(f, first), *assignment(f, last, 1)]
            step = conditional(f, step) if f.chance(0.5) else step
        return [start, *braced(head, [*step, f"{lo}++;", f"{hi}--;"])]
    total, line = accumulator(f)
    with f.scope.inner(*places):
        step = change(f, total, 1)
        both = binary("+", first.term, last.term)
        test = f.draw.comparison(both) if f.chance(0.5) else binary("<", first.term, last.term)
    return [line, start, *braced(head, [*step, *branches(test.text, [f"{lo}++;"], [f"{hi}--;"])])]


def shifted(f: Function, xs: Array, others: tuple[Array, ...] = ()) -> Lines:
    """Move elements by a place, the first one to the end."""
    kind, first = promoted(xs.kind), f.scope.name(("first", "carry", "saved"))
    i = counter(f)
    f.scope.names.discard(i.text)
    f.scope.unread.discard(xs.name)
    here, after = xs.at(i.text), xs.at(f"{i.text} + 1")
    value = after.term
    if f.chance(0.5):
        with f.scope.inner(i):
            value = binary(f.rng.choice("+-"), value, f.draw.of(xs.kind, 0))
    move = [f"{here.text} = {widened(here, value).text};"]
    return [
        f"{kind.name} {first} = {xs.name}[0];",
        *braced(f"for (int {i.text} = 0; {i.text} + 1 < {xs.length}; {i.text}++)", move),
        f"{xs.name}[{xs.length} - 1] = {first};",
    ]


def halving(f: Function, xs: Array) -> Lines:
    """Binary search for where a property of a sorted array turns."""
    lo, hi = f.scope.name(("lo", "left", "low")), f.scope.name(("hi", "right", "high"))
    mid = f.scope.name(("mid", "half", "m"))
    middle = xs.at(mid)
    with f.scope.inner(middle):
        key = f.draw.of(xs.kind, 0)
        same = key.text == middle.text
        test = f.draw.comparison(key) if same else binary(f.rng.choice(("<", "<=")), middle.term, key)
    f.scope.unread.discard(xs.name)
    place = Place(lo, INT, 0, 9, lo)
    f.scope.add(place)
    f.scope.final.append(place)
    half = f.rng.choice((f"({lo} + {hi}) / 2", f"{lo} + ({hi} - {lo}) / 2"))
    moves = branches(test.text, [f"{lo} = {mid} + 1;"], [f"{hi} = {mid};"])
    return [f"int {lo} = 0, {hi} = {xs.length};", *braced(f"while ({lo} < {hi})", [f"int {mid} = {half};", *moves])]


def merge(f: Function, xs: Array, ys: Array) -> Lines:
    """Walk through two sorted arrays side by side."""
    i, j = f.scope.name(("i", "a_pos", "p")), f.scope.name(("j", "b_pos", "q"))
    a, b = xs.at(i), ys.at(j)
    f.scope.unread -= {xs.name, ys.name}
    total, line = accumulator(f)
    with f.scope.inner(a, b):
        lower = [*([] if f.chance(0.6) else update(f, total, 1)), f"{i}++;"]
        equal = update(f, total, 1) if f.chance(0.5) else [f"{total.text}++;"]
    if f.chance(0.5):
        inner = branches(f"{a.text} {f.rng.choice(('<', '<='))} {b.text}", lower, [*equal, f"{j}++;"])
    else:
        rest = branches(f"{b.text} < {a.text}", [f"{j}++;"], [*equal, f"{i}++;", f"{j}++;"])
        inner = branches(f"{a.text} < {b.text}", lower, rest)
    head = f"while ({i} < {xs.length} && {j} < {ys.length}) {{"
    return [line, f"int {i} = 0, {j} = 0;", head, *indented(inner), "}"]
