"""Skeletons over texts: scanned, counted, parsed, changed in place or copied, compared."""

from __future__ import annotations

from oorl.ir.generator import words
from oorl.ir.generator.function import Function, Lines, Text, braced, indented
from oorl.ir.generator.kinds import BOOL, CHAR, INT, UCHAR, UINT, binary, literal
from oorl.ir.generator.loops import over_text
from oorl.ir.generator.positions import exchange
from oorl.ir.generator.scope import Place
from oorl.ir.generator.statements import (
    accumulator,
    assignment,
    branches,
    change,
    conditional,
    letter_value,
    switch,
    turn,
    update,
    widened,
)


def fold_letters(f: Function, text: Text) -> Lines:
    """Accumulate over the characters."""
    kind = f.pick(((INT, 6), (UINT, 5)))
    place, line = accumulator(f, kind)
    return [line, *over_text(f, text, lambda letters, i, skips: turn(f, [place], skips=skips))]


def count_letters(f: Function, text: Text) -> Lines:
    """How many characters are of a class."""
    hits = f.scope.declare(words.COUNTS, INT, 0, 12, sure=True)

    def body(letters: list[Place], i: Place | None, skips: bool) -> Lines:
        with f.scope.hidden(hits.root):
            more = conditional(f, [f"{hits.text}++;"], depth=2)
            return [*more, *conditional(f, [f"{hits.text} += {f.rng.randint(2, 4)};"])] if f.chance(0.3) else more

    return [f"int {hits.text} = 0;", *over_text(f, text, body)]


def find_letter(f: Function, text: Text) -> Lines:
    """Where a character of a class stands, first or last."""
    if f.result is None or f.chance(0.4):
        found = f.scope.declare(("found", "last", "at", "where"), INT, -1, 11, sure=True)

        def note(letters: list[Place], i: Place, skips: bool) -> Lines:
            with f.scope.hidden(found.root):
                return conditional(f, [f"{found.text} = {i.text};", *(["break;"] if f.chance(0.4) else [])], depth=2)

        return [f"int {found.text} = -1;", *over_text(f, text, note, indexed=True)]

    def leave(letters: list[Place], i: Place, skips: bool) -> Lines:
        position = f.scope.read(i) if f.result != BOOL and not f.result.is_float else None
        return conditional(f, [f.leave(position)], depth=2)

    return over_text(f, text, leave, indexed=True)


def parse_number(f: Function, text: Text) -> Lines:
    """Digits become a number, with or without a sign, a base, a limit."""
    p = f.scope.name(("p", "cur", "at"))
    value = f.scope.declare(("value", "number", "parsed", "num"), INT, 0, 9999)
    lines = [f"const char *{p} = {text.name};", f"int {value.text} = 0;"]
    f.scope.unread.discard(text.name)
    sign = f.scope.name(("sign", "factor")) if f.chance(0.5) else ""
    if sign:
        lines += [f"int {sign} = 1;", f"if (*{p} == '-') {{", f"    {sign} = -1;", f"    {p}++;", "}"]
    step = [f"{value.text} = {value.text} * {f.rng.choice((10, 10, 10, 8, 16, 7))} + (*{p} - '0');"]
    if f.chance(0.4):
        step += [
            f"if ({value.text} > {f.rng.choice((99, 255, 1000, 9999))})",
            f"    {f.rng.choice(('break;', f'{value.text} = 0;', f'{value.text} %= 100;'))}",
        ]
    else:
        step.append(f"{value.text} %= {f.rng.choice((10007, 65521, 99991))};")
    lines += braced(f"while (*{p} >= '0' && *{p} <= '9')", [*step, f"{p}++;"])
    if sign:
        lines.append(f"{value.text} *= {sign};")
    if f.chance(0.4):
        after = f.rng.choice(("'\\0'", "','", "'-'"))
        other = f.rng.choice(("-1", f"{value.text} + 1", f"-{value.text}"))
        lines += [f"if (*{p} {f.rng.choice(('==', '!='))} {after})", f"    {value.text} = {other};"]
    return lines


def machine(f: Function, text: Text) -> Lines:
    """A state that the characters move: a small automaton."""
    state = f.scope.declare(("state", "mode", "phase", "st"), INT, 0, 3, sure=True, final=False)
    events = f.scope.declare(words.COUNTS, INT, 0, 12)
    states = f.rng.choice((2, 3, 3))

    def body(letters: list[Place], i: Place | None, skips: bool) -> Lines:
        lines: Lines = []
        for k in range(states):
            with f.scope.hidden(state.root, events.root):
                test = f.draw.test(1).text
            goal = f.rng.choice([s for s in range(states) if s != k])
            then = [f"{state.text} = {goal};"] + ([f"{events.text}++;"] if f.chance(0.5) or k == states - 1 else [])
            step = branches(test, then, [f"{events.text} += {f.rng.randint(2, 3)};"] if f.chance(0.25) else None)
            label = "default:" if k == states - 1 else f"case {k}:"
            lines += [label, *indented(step), "    break;"]
        return [f"switch ({state.text}) {{", *lines, "}"]

    return [f"int {state.text} = 0, {events.text} = 0;", *over_text(f, text, body)]


def depth(f: Function, text: Text) -> Lines:
    """A level that some characters raise and others lower, and its greatest value."""
    level = f.scope.declare(("depth", "level", "open"), INT, -12, 12, final=False)
    most = f.scope.declare(("deepest", "most", "peak"), INT, 0, 12)
    f.scope.unread.discard(level.root)

    def body(letters: list[Place], i: Place | None, skips: bool) -> Lines:
        with f.scope.hidden(level.root, most.root):
            up, down = f.draw.test(1).text, f.draw.test(0).text
        fall = down if f.chance(0.5) else f"{level.text} > 0"
        lines = [f"if ({up})", f"    {level.text}++;", f"else if ({fall})", f"    {level.text}--;"]
        return [*lines, f"if ({level.text} > {most.text})", f"    {most.text} = {level.text};"]

    return [f"int {level.text} = 0, {most.text} = 0;", *over_text(f, text, body)]


def word_starts(f: Function, text: Text) -> Lines:
    """Where runs of characters begin: words, fields, groups."""
    inside = f.scope.declare(("inside", "in_word", "open", "prev"), INT, 0, 1, sure=True, final=False)
    hits = f.scope.declare(("words", "groups", "starts", "fields"), INT, 0, 12)
    f.scope.unread.discard(inside.root)

    def body(letters: list[Place], i: Place | None, skips: bool) -> Lines:
        with f.scope.hidden(inside.root, hits.root):
            test = f.draw.test(1).text
            step = [f"{hits.text}++;"] if f.chance(0.6) else update(f, hits, 1)
        begins = [*braced(f"if (!{inside.text})", step), f"{inside.text} = 1;"]
        return branches(f"!({test})" if f.chance(0.3) else test, begins, [f"{inside.text} = 0;"])

    return [f"int {inside.text} = 0, {hits.text} = 0;", *over_text(f, text, body)]


def change_letters(f: Function, text: Text) -> Lines:
    """New characters in the place of some."""

    def body(letters: list[Place], i: Place | None, skips: bool) -> Lines:
        step = [f"{letters[0].text} = {letter_value(f, letters[0]).text};"]
        if f.chance(0.2):
            return conditional(f, step, assignment(f, letters[0]))
        return conditional(f, step) if f.chance(0.75) else step

    changed = f.scope.declare(("changed", "edits", "touched"), INT, 0, 12, sure=True) if f.chance(0.4) else None
    if not changed:
        return over_text(f, text, body)

    def counted(letters: list[Place], i: Place | None, skips: bool) -> Lines:
        with f.scope.hidden(changed.root):
            return conditional(f, [f"{letters[0].text} = {letter_value(f, letters[0]).text};", f"{changed.text}++;"])

    return [f"int {changed.text} = 0;", *over_text(f, text, counted)]


def keep_letters(f: Function, text: Text) -> Lines:
    """Copy characters with a property, in place or to an output buffer that ends with a NUL."""
    if text.writable:
        target = text.name
    else:
        target = f.output(f"len({text.name})+1", CHAR).name
    kept = f.scope.declare(("kept", "w", "o", "used", "m"), INT, 0, 12, sure=True)

    def body(letters: list[Place], i: Place | None, skips: bool) -> Lines:
        with f.scope.hidden(kept.root):
            value = letters[0].text if f.chance(0.6) else letter_value(f, letters[0]).text
            if skips and f.chance(0.4):
                return [f"if ({f.draw.test(1).text})", "    continue;", f"{target}[{kept.text}++] = {value};"]
            return conditional(f, [f"{target}[{kept.text}++] = {value};"])

    return [f"int {kept.text} = 0;", *over_text(f, text, body), f"{target}[{kept.text}] = '\\0';"]


def mirrored(f: Function, text: Text) -> Lines:
    """From both ends: a palindrome of some kind, or the characters exchanged."""
    lo, hi = f.scope.name(("i", "lo", "left")), f.scope.name(("j", "hi", "right"))
    lines = [f"int {lo} = 0, {hi} = 0;", f"while ({text.name}[{hi}])", f"    {hi}++;"]
    a, b = text.letter(f"{text.name}[{lo}]"), text.letter(f"{text.name}[{hi}]")
    head = f"for ({hi}--; {lo} < {hi}; {lo}++, {hi}--)"
    f.scope.unread.discard(text.name)
    if text.writable:
        with f.scope.inner(a):
            swap = exchange(f, CHAR, a, b)
            return [*lines, *braced(head, conditional(f, swap) if f.chance(0.5) else swap)]
    total, line = accumulator(f, INT)
    with f.scope.inner(a, b):
        step = update(f, total, 1) if f.chance(0.6) else [f"{total.text}++;"]
    test = binary(f.rng.choice(("!=", "==", "<")), a.term, b.term).text
    return [line, *lines, *braced(head, braced(f"if ({test})", step))]


def side_by_side(f: Function, text: Text) -> Lines:
    """Two texts, character by character."""
    other = f.text(pool=words.SECOND_TEXTS, alphabet=f.rng.choice(("a-c", "a-z ", "AaBb ", "01")))
    i = f.scope.name(("i", "k", "pos"))
    place = Place(i, INT, 0, 11, i, sure=True)
    a, b = text.letter(f"{text.name}[{i}]"), other.letter(f"{other.name}[{i}]")
    f.scope.unread -= {text.name, other.name}
    if f.chance(0.4):
        bound = f" && {i} < {f.rng.randint(3, 8)}" if f.chance(0.3) else ""
        lines = [f"int {i} = 0;", f"while ({a.text} && {a.text} == {b.text}{bound})", f"    {i}++;"]
        f.scope.add(place)
        f.scope.final.append(place)
        if f.result and f.result != BOOL and not f.result.is_float and not f.result.wraps and f.chance(0.5):
            lines += [f"if ({a.text} != {b.text})", f"    return {a.text} {f.rng.choice(('<', '-'))} {b.text};"]
        return lines
    total, line = accumulator(f, f.rng.choice((INT, UINT)))
    with f.scope.inner(a, b, place):
        body = change(f, total, 1)
        if f.chance(0.5):
            body = braced(f"if ({a.text} {f.rng.choice(('!=', '=='))} {b.text})", body)
    return [line, *braced(f"for (int {i} = 0; {a.text} && {b.text}; {i}++)", body)]


def classify(f: Function, text: Text) -> Lines:
    """A switch over every character."""
    total, line = accumulator(f, f.rng.choice((INT, INT, UINT)))

    def body(letters: list[Place], i: Place | None, skips: bool) -> Lines:
        return switch(f, lambda: update(f, total, 1))

    return [line, *over_text(f, text, body)]


def letter_bins(f: Function, text: Text) -> Lines:
    """Count characters into buckets."""
    bins = f.array("8", writable=True, kind=f.rng.choice((INT, UCHAR)), pool=("freq", "counts", "bins"), bounds=(0, 9))
    f.scope.unread.discard(bins.name)  # written below, in every case

    def body(letters: list[Place], i: Place | None, skips: bool) -> Lines:
        letter = f.scope.read(letters[0])
        from_first = binary("-", letter, literal(letter.low, CHAR))
        index = f.rng.choice((binary("&", letter, literal(7, INT)), binary("%", from_first, literal(8, INT))))
        step = [f"{bins.name}[{index.text}]{f.rng.choice(('++', '++', ' += 2'))};"]
        return conditional(f, step) if f.chance(0.4) else step

    return over_text(f, text, body)


def to_codes(f: Function, text: Text) -> Lines:
    """A number for every character, in an output buffer."""
    kind = f.rng.choice((UCHAR, INT))
    out = f.output(f"len({text.name})+1", kind)
    state, line = accumulator(f, f.rng.choice((INT, UINT)), ("acc", "key", "prev", "run"), final=False)

    def body(letters: list[Place], i: Place, skips: bool) -> Lines:
        target = out.at(i.text)
        step = update(f, state, 1)
        return [*step, f"{target.text} = {widened(target, binary('+', f.scope.read(state), f.draw.of(kind, 1))).text};"]

    return [line, *over_text(f, text, body, indexed=True)]


READERS = (
    (fold_letters, 10), (count_letters, 9), (find_letter, 7), (parse_number, 6), (machine, 6), (depth, 5),
    (word_starts, 6), (mirrored, 3), (side_by_side, 6), (classify, 7), (keep_letters, 6), (letter_bins, 3),
    (to_codes, 3),
)  # fmt: skip
WRITERS = ((change_letters, 8), (keep_letters, 6), (mirrored, 3))
