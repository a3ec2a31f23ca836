"""Skeletons over structs: one or two of them by pointer, or an array."""

from __future__ import annotations

from oorl.ir.generator import words
from oorl.ir.generator.function import Function, Lines, Records, braced
from oorl.ir.generator.kinds import BOOL, INT, Term, binary, chosen, literal, promoted
from oorl.ir.generator.loops import ascending, over_records
from oorl.ir.generator.scope import Place
from oorl.ir.generator.statements import (
    USUAL,
    accumulator,
    accumulator_kind,
    assignment,
    branches,
    change,
    conditional,
    switch,
    temporary,
    turn,
    update,
)


def change_fields(f: Function, one: Records) -> Lines:
    """New values for one to three fields, some under conditions."""
    fields = one.at(f"{one.name}->")
    f.scope.add(*fields)
    lines = temporary(f) if f.chance(0.3) else []
    for place in f.rng.sample(fields, min(len(fields), f.rng.choice((1, 2, 2, 3)))):
        step = assignment(f, place)
        if f.chance(0.6):
            step = conditional(f, step, assignment(f, f.rng.choice(fields), 1) if f.chance(0.35) else None, depth=2)
        lines += step
    return lines


def field_steps(f: Function, one: Records) -> Lines:
    """A value computed from the fields in a few steps."""
    f.scope.add(*one.at(f"{one.name}->"))
    total, line = from_fields(f)
    return [line, *change(f, total), *(change(f, total) if f.chance(0.7) else [])]


def from_fields(f: Function) -> tuple[Place, str]:
    """A variable that begins with something of the fields, and its declaration."""
    kind = accumulator_kind(f)
    value = f.draw.of(kind, 1)
    total = f.scope.declare(words.ACCUMULATORS, kind, *(kind.limits if kind.wraps else (-USUAL, USUAL)))
    return total, f"{kind.name} {total.text} = {value.text};"


def keep_in_order(f: Function, one: Records) -> Lines:
    """Exchange or bound two fields of a type."""
    fields = one.at(f"{one.name}->")
    twins = [(a, b) for a in fields for b in fields if a.text < b.text and a.kind == b.kind and a.kind != BOOL]
    if not twins:
        return change_fields(f, one)
    a, b = f.rng.choice(twins)
    f.scope.add(*fields)
    f.scope.unread.discard(one.name)
    test = binary(f.rng.choice(("<", ">")), a.term, b.term).text
    t = f.scope.name(("t", "tmp", "held"))
    swap = [f"{a.kind.name} {t} = {a.text};", f"{a.text} = {b.text};", f"{b.text} = {t};"]
    step = f.rng.choice((swap, [f"{a.text} = {b.text};"]))
    return [*braced(f"if ({test})", step), *assignment(f, f.rng.choice((a, b)))]


def two_structs(f: Function, one: Records) -> Lines:
    """Two structs of a type: compared field by field, or one changed by the other."""
    other = f.records(one.shape, "1", name="other")
    own, theirs = one.at(f"{one.name}->"), other.at(f"{other.name}->")
    f.scope.unread -= {one.name, other.name}
    order = f.rng.sample(range(len(own)), min(len(own), 2))
    if one.writable:
        f.scope.add(*own, *theirs)
        lines: Lines = []
        for k in order:
            if own[k].kind == BOOL:
                lines.append(f"{own[k].text} = {own[k].text} {f.rng.choice(('&&', '||'))} {theirs[k].text};")
            else:
                lines += _blend(f, own[k], theirs[k])
        return lines
    if f.result in (None, BOOL) or f.result.is_float or f.chance(0.4):
        total, line = accumulator(f)
        f.scope.add(*own, *theirs)
        lines = [line]
        for k in order:
            step = update(f, total, 1)
            op = f.rng.choice(("!=", "==") if own[k].kind == BOOL else ("<", ">", "!="))
            lines += braced(f"if ({binary(op, own[k].term, theirs[k].term).text})", step)
        return lines
    lines = []
    for k in order:
        smaller = binary(f.rng.choice(("<", ">")), own[k].term, theirs[k].term).text
        sign = f"{smaller} ? {f.rng.choice((0, 1)) if f.result.wraps else -1} : {f.rng.choice((1, 2))}"
        lines += [f"if ({own[k].text} != {theirs[k].text})", f"    return {sign};"]
    f.scope.add(*own)
    return lines


def _blend(f: Function, own: Place, theirs: Place) -> Lines:
    draw = f.rng.random()
    if draw < 0.35:
        return [f"{own.text} {f.rng.choice(('+=', '-='))} {theirs.text};"]
    if draw < 0.7:
        op = f.rng.choice("<>")
        return [f"if ({theirs.text} {op} {own.text})", f"    {own.text} = {theirs.text};"]
    mean = binary("/", binary("+", own.term, theirs.term), literal(2, own.kind))
    return conditional(f, [f"{own.text} = {mean.text};"])


def field_array(f: Function, one: Records) -> Lines:
    """A loop over the array that a struct holds."""
    member = f.rng.choice(one.shape.arrays)
    f.scope.add(*one.at(f"{one.name}->"))
    i = f.scope.name(words.COUNTERS)
    f.scope.names.discard(i)
    place = Place(
        f"{one.name}->{member.name}[{i}]",
        member.kind,
        member.low,
        member.high,
        one.name,
        one.writable,
        not one.writable,
        3.0,
    )
    index = Place(i, INT, 0, member.count - 1, i)
    head = ascending(i, member.count)
    if one.writable and f.chance(0.6):
        with f.scope.inner(place, index):
            step = assignment(f, place)
            step = conditional(f, step) if f.chance(0.6) else step
        return braced(head, step)
    with f.scope.inner(place):
        total, line = accumulator(f)
    f.scope.add(total)
    with f.scope.inner(place, index):
        body = turn(f, [total], skips=True)
    lines = [line, *braced(head, body)]
    targets = [field for field in one.at(f"{one.name}->") if field.kind != BOOL and not field.kind.is_float]
    if one.writable and targets and not total.kind.is_float:
        target = f.rng.choice(targets)
        lines.append(f"{target.text} = {f.scope.settle(total).text};")
    return lines


def mode_of(f: Function, one: Records) -> Lines:
    """A switch that changes or weighs fields."""
    fields = one.at(f"{one.name}->")
    f.scope.add(*fields)
    if one.writable:
        return switch(f, lambda: assignment(f, f.rng.choice(fields), 1))
    total, line = from_fields(f)
    return [line, *switch(f, lambda: update(f, total, 1), apart=(total.root,))]


def fold_records(f: Function, many: Records) -> Lines:
    """Accumulate over an array of structs."""
    with f.scope.inner(*many.at(f"{many.name}[0].")):
        total, line = accumulator(f)
    f.scope.add(total)
    return [line, *over_records(f, many, lambda places, i, skips: turn(f, [total], skips=skips))]


def count_records(f: Function, many: Records) -> Lines:
    """How many structs have a property."""
    hits = f.scope.declare(words.COUNTS, INT, 0, 8, sure=True)

    def body(places: list[Place], i: Place | None, skips: bool) -> Lines:
        with f.scope.hidden(hits.root):
            return conditional(f, [f"{hits.text}++;"], depth=2)

    return [f"int {hits.text} = 0;", *over_records(f, many, body)]


def find_record(f: Function, many: Records) -> Lines:
    """The first struct with a property: its place, or one of its fields."""
    found = f.scope.declare(("found", "at", "value"), INT, -1, 8)

    def body(places: list[Place], i: Place | None, skips: bool) -> Lines:
        with f.scope.hidden(found.root):
            test = f.draw.test(2).text
            value = i.term if i and f.chance(0.6) else f.draw.of(INT, 1)
        if f.result and f.result != BOOL and not f.result.is_float and f.chance(0.5):
            return braced(f"if ({test})", [f"return {value.text};"])
        return braced(f"if ({test})", [f"{found.text} = {value.text};", *(["break;"] if f.chance(0.7) else [])])

    return [f"int {found.text} = -1;", *over_records(f, many, body)]


def best_record(f: Function, many: Records) -> Lines:
    """The greatest key over structs, or which one has it."""
    at = f.scope.declare(words.BESTS, INT, -1, 8, sure=True)
    record = many.at(f"{many.name}[0].")
    keys = [place for place in record if place.kind != BOOL]
    key = f.rng.choice(keys)
    kind = promoted(key.kind)
    top = f.scope.name(("top", "highest", "limit", "least"))

    def body(places: list[Place], i: Place | None, skips: bool) -> Lines:
        name = f.scope.name(("key", "v", "now"))
        with f.scope.hidden(at.root):
            value: Term = f.draw.of(kind, 1)
            f.scope.unread.discard(many.name)
            test = f"{at.text} < 0 || {name} {f.rng.choice('<>')} {top}"
            index = i.text if i else f"{at.text} + 1"
        return [
            f"{kind.name} {name} = {value.text};",
            *braced(f"if ({test})", [f"{top} = {name};", f"{at.text} = {index};"]),
        ]

    return [f"int {at.text} = -1;", f"{kind.name} {top} = {literal(0, kind).text};", *over_records(f, many, body)]


def change_records(f: Function, many: Records) -> Lines:
    """New values for fields of every struct."""
    state, line = accumulator(f, final=False) if f.chance(0.3) else (None, "")

    def body(places: list[Place], i: Place | None, skips: bool) -> Lines:
        lines: Lines = []
        for place in f.rng.sample(places, min(len(places), f.rng.choice((1, 1, 2)))):
            step = assignment(f, place)
            lines += conditional(f, step) if f.chance(0.6) else step
        return [*lines, *update(f, state, 1)] if state else lines

    return [*([line] if state else []), *over_records(f, many, body)]


def keep_records(f: Function, many: Records) -> Lines:
    """Keep the structs with a property, at the array's beginning."""
    kept = f.scope.declare(("kept", "w", "used"), INT, 0, 8, sure=True)
    i = f.scope.name(words.COUNTERS)
    f.scope.names.discard(i)
    with f.scope.hidden(kept.root), f.scope.inner(*many.at(f"{many.name}[{i}].")):
        test = f.draw.test(2).text
    step = braced(f"if ({test})", [f"{many.name}[{kept.text}++] = {many.name}[{i}];"])
    return [f"int {kept.text} = 0;", *braced(ascending(i, many.length), step)]


def order_records(f: Function, many: Records) -> Lines:
    """One pass that exchanges neighbours in the wrong order of a key."""
    i = f.scope.name(words.COUNTERS)
    f.scope.names.discard(i)
    keys = [place for place in many.at(f"{many.name}[{i}].") if place.kind != BOOL]
    key = f.rng.choice(keys).text.rpartition(".")[2]
    f.scope.unread.discard(many.name)
    a, b = f"{many.name}[{i} - 1]", f"{many.name}[{i}]"
    test = f"{a}.{key} {f.rng.choice('<>')} {b}.{key}"
    second = [place.text.rpartition(".")[2] for place in keys if not place.text.endswith("." + key)]
    if second and f.chance(0.5):
        tie = f.rng.choice(second)
        test += f" || ({a}.{key} == {b}.{key} && {a}.{tie} {f.rng.choice('<>')} {b}.{tie})"
    struct = f"struct {many.shape.tag}"
    swap = [f"{struct} held = {a};", f"{a} = {b};", f"{b} = held;"]
    return braced(ascending(i, many.length, 1), braced(f"if ({test})", swap))


def to_values(f: Function, many: Records) -> Lines:
    """A number for every struct, in an output buffer."""
    kind = f.rng.choice([promoted(place.kind) for place in many.at("")] + [INT])
    out = f.output(many.length, kind)
    i = f.scope.name(words.COUNTERS)
    f.scope.names.discard(i)
    with f.scope.inner(*many.at(f"{many.name}[{i}]."), Place(i, INT, 0, 8, i, weight=0.5)):
        value = f.draw.of(kind, 2)
        lines = [f"{out.name}[{i}] = {value.text};"]
        if f.chance(0.4):
            lines = branches(
                f.draw.test(1).text,
                lines,
                [f"{out.name}[{i}] = {chosen(f.draw.test(0), f.draw.of(kind, 0), f.draw.number(kind)).text};"],
            )
    return braced(ascending(i, many.length), lines)


ONE_READERS = ((field_steps, 8), (two_structs, 6), (mode_of, 3))
ONE_WRITERS = ((change_fields, 10), (two_structs, 5), (keep_in_order, 5), (mode_of, 4))
MANY_READERS = ((fold_records, 9), (count_records, 6), (find_record, 6), (best_record, 6), (to_values, 5))
MANY_WRITERS = ((change_records, 9), (keep_records, 4), (order_records, 4))
