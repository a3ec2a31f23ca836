"""Loops over arrays, structs and texts, in the forms that people write."""

from __future__ import annotations

from collections.abc import Callable

from oorl.ir.generator import words
from oorl.ir.generator.function import Array, Function, Lines, Records, Text, braced, indented
from oorl.ir.generator.kinds import INT
from oorl.ir.generator.scope import Place, Rejected

# What a body may know of its loop: the places of this turn, the index (None: there is none), whether `continue` works.
Body = Callable[[list[Place], Place | None, bool], Lines]


def counter(f: Function, most: float = 8) -> Place:
    """A loop variable that lies in 0..most."""
    name = f.scope.name(words.COUNTERS)
    return Place(name, INT, 0, most, name, weight=0.8)


def ascending(i: str, stop: str | int, start: str | int = 0) -> str:
    """The head of a loop from ``start`` to below ``stop``."""
    return f"for (int {i} = {start}; {i} < {stop}; {i}++)"


def over(f: Function, array: Array, body: Body, *, others: tuple[Array, ...] = (), indexed: bool = False) -> Lines:
    """A loop over an array (and others of the same length)."""
    forms = [("for", 10), ("down", 2), ("while", 3)]
    if not others and not indexed:
        forms.append(("pointer", 4))
    if array.least > 0:
        forms.append(("do", 5))
    form = f.pick(forms)
    if form == "pointer":
        return _by_pointer(f, array, body)
    i = counter(f, 8)
    places = [array.at(i.text), *(other.at(i.text) for other in others)]
    with f.scope.inner(*places, i):
        lines = body([array.at(i.text), *(other.at(i.text) for other in others)], i, form in ("for", "down"))
    return counted(f, form, i.text, array.length, lines)


def counted(f: Function, form: str, i: str, length: str, body: Lines) -> Lines:
    """The loop in which ``i`` goes through 0..length-1; a name declared in its head is free again behind it."""
    if form in ("for", "down"):
        f.scope.names.discard(i)
    if form == "for":
        step = f.rng.choice((f"{i}++", f"{i}++", f"++{i}"))
        return braced(f"for (int {i} = 0; {i} < {length}; {step})", body)
    if form == "down":
        return braced(f"for (int {i} = {length} - 1; {i} >= 0; {i}--)", body)
    whole = [*body, f"{i}++;"]
    if form == "while":
        return [f"int {i} = 0;", f"while ({i} < {length}) {{", *indented(whole), "}"]
    return [f"int {i} = 0;", "do {", *indented(whole), f"}} while ({i} < {length});"]


def _by_pointer(f: Function, array: Array, body: Body) -> Lines:
    p, const = f.scope.name(("p", "cur", "it", "ptr")), "" if array.writable else "const "
    place = array.place(f"*{p}")
    kind = array.kind.name
    if f.chance(0.5):
        with f.scope.inner(place):
            lines = body([place], None, True)
        return braced(f"for ({const}{kind} *{p} = {array.name}; {p} < {array.name} + {array.length}; {p}++)", lines)
    end = f.scope.name(("end", "stop", "last"))
    head = [f"{const}{kind} *{p} = {array.name}, *{end} = {array.name} + {array.length};"]
    with f.scope.inner(place):
        lines = body([place], None, False)
    return [*head, f"while ({p} < {end}) {{", *indented([*lines, f"{p}++;"]), "}"]


def over_records(f: Function, records: Records, body: Body) -> Lines:
    """A loop over structs."""
    form = f.pick((("for", 6), ("down", 1), ("while", 2), ("pointer", 4), ("named", 4)))
    const = "" if records.writable else "const "
    struct = f"{const}struct {records.shape.tag} *"
    if form == "pointer":
        p = f.scope.name(("p", "it", "cur"))
        places = records.at(f"{p}->")
        with f.scope.inner(*places):
            lines = body(places, None, True)
        return braced(f"for ({struct}{p} = {records.name}; {p} < {records.name} + {records.length}; {p}++)", lines)
    i = counter(f)
    if form == "named":
        p = f.scope.name(("e", "it", "cur"))
        places = records.at(f"{p}->")
        with f.scope.inner(*places, i):
            lines = body(places, i, True)
        if not any(f"{p}->" in line for line in lines):
            raise Rejected
        lines = [f"{struct}{p} = &{records.name}[{i.text}];", *lines]
        return counted(f, "for", i.text, records.length, lines)
    places = records.at(f"{records.name}[{i.text}].")
    with f.scope.inner(*places, i):
        lines = body(places, i, form != "while")
    return counted(f, form, i.text, records.length, lines)


def over_text(f: Function, text: Text, body: Body, *, indexed: bool = False) -> Lines:
    """A loop over the characters of a text."""
    form = f.pick((("for", 6), ("while", 3), *(() if indexed else (("pointer", 5), ("pointer while", 2)))))
    if form in ("for", "while"):
        i = counter(f, 11)
        stop = f.rng.choice((f"{text.name}[{i.text}]", f"{text.name}[{i.text}] != '\\0'"))
        letter = text.letter(f"{text.name}[{i.text}]")
        with f.scope.inner(letter, i):
            lines = body([letter], i, form == "for")
        if form == "for":
            f.scope.names.discard(i.text)
            return braced(f"for (int {i.text} = 0; {stop}; {i.text}++)", lines)
        return [f"int {i.text} = 0;", f"while ({stop}) {{", *indented([*lines, f"{i.text}++;"]), "}"]
    p, const = f.scope.name(("p", "cur", "at")), "" if text.writable else "const "
    with f.scope.inner(letter := text.letter(f"*{p}")):
        lines = body([letter], None, form == "pointer")
    if form == "pointer":
        return braced(f"for ({const}char *{p} = {text.name}; *{p}; {p}++)", lines)
    return [f"{const}char *{p} = {text.name};", f"while (*{p} != '\\0') {{", *indented([*lines, f"{p}++;"]), "}"]
