"""What a function returns: its result depends on everything that it computed."""

from __future__ import annotations

import functools

from oorl.ir.generator.function import Function, Lines
from oorl.ir.generator.kinds import BOOL, INT, Kind, Term, binary, chosen, literal, promoted
from oorl.ir.generator.scope import Place, Rejected


def ending(f: Function) -> Lines:
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
        return [f"return {f.draw.of(kind, 1).text};"]
    value = functools.reduce(functools.partial(_combined, f), [_fitting(f, f.scope.read(p), kind) for p in owed])
    if len(owed) == 1 and f.chance(0.35):
        value = _finished(f, value, kind)
    return [f"return {value.text};"]


def _fitting(f: Function, value: Term, kind: Kind) -> Term:
    """The value as something that the result's type holds; of a float that is to be an integer, a comparison."""
    if not value.kind.is_float:
        return f.draw.converted(value, kind)
    if kind.is_float:
        return value
    test = f.draw.comparison(value)
    if f.chance(0.3):
        return chosen(test, f.draw.number(INT), literal(0, INT))
    return Term(f"({test.text})", INT, 0, 1)


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
    return functools.reduce(lambda a, b: binary(f.rng.choice(("&&", "||")), a, b), tests)
