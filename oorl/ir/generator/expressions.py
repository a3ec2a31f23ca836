"""Random expressions and tests over the places in scope, of a given type.

Bounds of values travel with every term, so that products stay within their type, constants are compared with where
values lie, and shifts, divisors and conversions from floats are defined.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

from oorl.ir.generator.kinds import (
    BOOL,
    CHAR,
    DOUBLE,
    INT,
    LOGICAL_AND,
    LOGICAL_OR,
    LONG,
    SCHAR,
    SHORT,
    UCHAR,
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
    truth,
)
from oorl.ir.generator.scope import Place, Rejected, Scope

UNREAD_WEIGHT = 3.0
_FACTORS = (2, 2, 3, 3, 4, 5, 7, 10)
_DIVISORS = (2, 2, 3, 3, 4, 5, 7, 8, 10)
_MASKS = (1, 3, 7, 15, 15, 31, 63, 255)
_MULTIPLIERS = (31, 33, 17, 131, 16777619, 2654435761)
_EXACT = (0.25, 0.5, 0.5, 1.5, 2.0, 2.0, 3.0, 4.0, 0.125, 10.0)
_ORDERS = ("<", ">", "<=", ">=", "<", ">")
_ABOUT = re.compile(r" (?:[<>]=?|[=!]=) ")
# Classes of characters, as a test of ``{}``.
_CLASSES = (
    ("{} >= '0' && {} <= '9'", 48, 57), ("{} >= 'a' && {} <= 'z'", 97, 122), ("{} >= 'A' && {} <= 'Z'", 65, 90),
    ("{} == ' ' || {} == '\\t'", 32, 32), ("{} == 'a' || {} == 'e' || {} == 'o'", 97, 111),
    ("{} == '-' || {} == '+'", 43, 45), ("{} >= 'a' && {} <= 'f'", 97, 102),
)  # fmt: skip


@dataclass(frozen=True)
class Helper:
    """A static function that expressions may call."""

    name: str
    kind: Kind  # of the result and of every parameter
    params: int
    low: float
    high: float


class Expressions:
    """Draws terms; reading a place counts in the scope."""

    def __init__(self, rng: random.Random, scope: Scope) -> None:
        self.rng, self.scope = rng, scope
        self.helpers: list[Helper] = []
        self.tables: list[tuple[str, Kind, int, int, int]] = []  # name, type, entries (a power of two), bounds

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def of(self, kind: Kind, depth: int) -> Term:
        """A term that reads something and whose value can be assigned to a variable of this type."""
        kind = promoted(kind)
        for _ in range(8):
            term = self._drawn(kind, depth)
            if term.fits:
                return term
        return self.leaf(kind)

    def _drawn(self, kind: Kind, depth: int) -> Term:
        if depth <= 0 or self.chance(0.2):
            return self.leaf(kind)
        if self.chance(0.12):
            return self.choice(kind, depth)
        if self.helpers and self.chance(0.3):
            return self.call(self.rng.choice(self.helpers), kind)
        if kind.is_float:
            return self._real(kind, depth)
        if self.tables and self.chance(0.3):
            return self._looked_up()
        return self._modular(kind, depth) if kind.wraps else self._integer(kind, depth)

    def leaf(self, kind: Kind) -> Term:
        """A place's value, converted where C would not do it well by itself."""
        places = [place for place in self.scope.places if self._convertible(place, kind)]
        if not places and not self.scope.places:
            raise Rejected
        if not places:  # floats alone: a condition on one of them
            place = self._picked(self.scope.places, kind)
            return chosen(self.comparison(self.scope.read(place)), self.number(kind), literal(0, kind))
        return self.converted(self.scope.read(self._picked(places, kind)), kind)

    def number(self, kind: Kind) -> Term:
        if kind.is_float:
            return literal(self.rng.choice(_EXACT), kind)
        return literal(self.rng.choice((1, 1, 2, 2, 3, 4, 5, 7, 9, 10, 16)), kind)

    def _picked(self, places: list[Place], kind: Kind) -> Place:
        weights = [
            place.weight * (UNREAD_WEIGHT if place.root in self.scope.unread else 1.0)
            * (1.0 if promoted(place.kind) == kind else 0.4)
            for place in places
        ]  # fmt: skip
        return self.rng.choices(places, weights)[0]

    def _convertible(self, place: Place, kind: Kind) -> bool:
        if kind.is_float or not place.kind.is_float:
            return True
        if kind.wraps and place.low < 0:
            return False
        return place.sure and max(abs(place.low), abs(place.high)) < 1e6

    def converted(self, term: Term, kind: Kind) -> Term:
        if term.kind == kind:
            return term
        if kind.is_float:
            return cast(kind, term) if self.chance(0.4) else term
        if kind in (UINT, ULONG):
            wide = kind == ULONG and term.kind == LONG
            return term if term.low >= 0 and not wide and not term.kind.is_float else cast(kind, term)
        if kind == LONG and term.kind in (INT, UINT):
            return cast(kind, term) if self.chance(0.3) else term
        if term.kind.wraps:
            mask, base = self.rng.choice(_MASKS[1:]), self.rng.choice(_DIVISORS[2:])
            term = binary("&", term, literal(mask, INT)) if self.chance(0.5) else binary("%", term, literal(base, INT))
        elif not term.kind.is_float and not term.sure:
            term = binary("%", term, literal(self.rng.choice((7, 10, 100, 1000)), INT))
        return cast(kind, term)

    def other(self, kind: Kind, depth: int, first: Term) -> Term:
        """A second operand: a number or another term, not the first one again."""
        for _ in range(4):
            term = self.number(kind) if self.chance(0.3) else self.of(kind, depth)
            if term.text != first.text:
                return term
        return self.number(kind)

    def _integer(self, kind: Kind, depth: int) -> Term:
        a = self.of(kind, depth - 1)
        draw = self.rng.random()
        if draw < 0.42:
            return binary(self.rng.choice("++-"), a, self.other(kind, depth - 1, a))
        if draw < 0.56:
            b = self.other(kind, depth - 1, a)
            return binary("*", a, literal(self.rng.choice(_FACTORS), kind) if b.constant else b)
        if draw < 0.68:
            op = self.rng.choice("/%")
            return a if a.magnitude < 3 else binary(op, a, literal(self._divisor(a), kind))
        if draw < 0.74:
            return self._divided(kind, a, depth)
        if draw < 0.82:
            b = literal(self.rng.choice(_MASKS), kind) if self.chance(0.6) else self.other(kind, 0, a)
            return binary(self.rng.choice("&&|^"), a, b)
        if draw < 0.88:
            right = self.chance(0.6) or a.low < 0
            return binary(">>" if right else "<<", a, literal(self.rng.randint(1, 3), INT))
        if draw < 0.93 and a.high - a.low > 1:
            sign = "-" if a.level >= UNARY and not a.text.startswith("-") and self.chance(0.6) else "~"
            low, high = (-a.high, -a.low) if sign == "-" else (-a.high - 1, -a.low - 1)
            return Term(sign + a.within(UNARY), a.kind, low, high, a.sure, UNARY)
        if draw < 0.96:
            return cast(self.rng.choice((UCHAR, UCHAR, SCHAR, SHORT)), a)
        return self.extreme(a, self.other(kind, 0, a))

    def _divisor(self, a: Term) -> int:
        return self.rng.choice([d for d in _DIVISORS if d < a.magnitude] or [2])

    def _divided(self, kind: Kind, a: Term, depth: int) -> Term:
        """A quotient or a remainder whose divisor is a term, and not zero."""
        b = self.other(kind, depth - 1, a)
        if b.constant:
            return binary("+", a, b)
        if b.sure and b.low > 0:
            divisor = b
        elif b.sure and b.low == 0:
            divisor = binary("+", b, literal(1, kind))
        elif self.chance(0.5) and b.level >= UNARY:
            zero, otherwise = literal(0, kind), literal(self.rng.choice((0, 0, 1, -1)), kind)
            return chosen(binary("!=", b, zero), binary(self.rng.choice("//%"), a, b), otherwise)
        else:
            divisor = binary("|", b, literal(1, kind))
        return binary(self.rng.choice("/%"), a, divisor)

    def _modular(self, kind: Kind, depth: int) -> Term:
        a = self.of(kind, depth - 1)
        if not a.kind.wraps:
            a = cast(kind, a)
        kind, bits = a.kind, 64 if a.kind == ULONG else 32
        draw = self.rng.random()
        if draw < 0.3:
            return binary(self.rng.choice("+-^"), a, self.other(kind, depth - 1, a))
        if draw < 0.45:
            return binary("*", a, literal(self.rng.choice(_MULTIPLIERS), UINT))
        if draw < 0.6:
            return binary(self.rng.choice("&|^"), a, literal(self.rng.choice((1, 7, 15, 0xFF, 0x55, 0xF0F0)), UINT))
        if draw < 0.75:
            return binary(self.rng.choice(("<<", ">>")), a, literal(self.rng.randint(1, 11), INT))
        if draw < 0.85 and a.level >= UNARY:
            left = self.rng.randint(1, bits - 1)
            text = f"({a.text} << {left}) | ({a.text} >> {bits - left})"
            return Term(f"({text})", kind, *kind.limits)
        if draw < 0.93:
            shifted = binary(self.rng.choice(("<<", ">>")), a, literal(self.rng.randint(1, 7), INT))
            return binary("^", a, shifted)
        return Term("~" + a.within(UNARY), kind, *kind.limits, True, UNARY)

    def _real(self, kind: Kind, depth: int) -> Term:
        a, draw = self.of(kind, depth - 1), self.rng.random()
        if draw < 0.4:
            return binary(self.rng.choice("++-"), a, self.other(kind, depth - 1, a))
        if draw < 0.7:
            b = literal(self.rng.choice(_EXACT), kind) if self.chance(0.4) else self.other(kind, depth - 1, a)
            return binary("*", a, b)
        if draw < 0.8:
            return binary("/", a, literal(self.rng.choice((2.0, 2.0, 4.0, 8.0, 3.0)), kind))
        if draw < 0.87 and a.kind.is_float:
            square = binary("*", a, a) if a.level > LOGICAL_AND else a
            return binary("/", self.of(kind, 0), binary("+", literal(1.0, kind), square))
        if draw < 0.93 and a.kind == DOUBLE and kind == DOUBLE:
            return Term(f"fabs({a.text})", kind, 0, a.magnitude, a.sure)
        return self.extreme(a, self.other(kind, 0, a))

    def extreme(self, a: Term, b: Term) -> Term:
        """The greater or the smaller of two; of a number, one that ``a`` may pass."""
        if a.high - a.low <= 1:
            return binary("+", a, b)
        b = self.threshold(a) if b.constant else b
        return chosen(binary(self.rng.choice("<>"), a, b), a, b)

    def choice(self, kind: Kind, depth: int) -> Term:
        """``test ? a : b``."""
        test = self.test(depth - 1)
        a = self.of(kind, depth - 1)
        return chosen(test, a, self.other(kind, depth - 1, a))

    def call(self, helper: Helper, kind: Kind) -> Term:
        arguments = ", ".join(self.of(helper.kind, 0).text for _ in range(helper.params))
        term = Term(f"{helper.name}({arguments})", helper.kind, helper.low, helper.high, sure=False)
        return self.converted(term, kind) if not (term.kind.is_float and not kind.is_float) else self.leaf(kind)

    def _looked_up(self) -> Term:
        name, kind, entries, low, high = self.rng.choice(self.tables)
        index = self.of(INT, 1)
        index = index if index.sure and 0 <= index.low and index.high < entries else self.masked(index, entries)
        return Term(f"{name}[{index.text}]", promoted(kind), low, high)

    def masked(self, term: Term, size: int) -> Term:
        """The term brought into 0..size-1; size is a power of two."""
        return binary("&", term, literal(size - 1, INT))

    def test(self, depth: int) -> Term:
        """A condition that reads something."""
        draw = self.rng.random()
        if depth > 0 and draw < 0.2:
            return self._both(self.test(depth - 1), self.test(depth - 1))
        flags = [place for place in self.scope.places if place.kind == BOOL]
        if flags and draw < 0.35:
            flag = self.scope.read(self.rng.choice(flags))
            return truth(flag.text if self.chance(0.6) else "!" + flag.text, UNARY)
        letters = [place for place in self.scope.places if place.kind == CHAR]
        if letters and draw < 0.6:
            return self.of_letter(self.rng.choice(letters))
        kinds = sorted(
            {promoted(place.kind) for place in self.scope.places if place.kind != BOOL}, key=lambda k: k.code
        )
        whole = [kind for kind in kinds if not kind.is_float]
        if whole and draw < 0.72:
            return self._divisible(self.rng.choice(whole))
        return self.comparison(self.of(self.rng.choice(kinds or [INT]), depth), depth)

    def _both(self, first: Term, second: Term) -> Term:
        if _ABOUT.split(first.text.lstrip("!"))[0] == _ABOUT.split(second.text.lstrip("!"))[0]:
            return first  # two conditions on one thing often decide each other
        return binary("&&" if self.chance(0.6) else "||", first, second)

    def comparison(self, a: Term, depth: int = 0) -> Term:
        """``a`` against a number that lies where its values do, or against another term that may be on either side."""
        for place in self.scope.places:
            if place.kind == CHAR and place.text == a.text:
                return self.of_letter(place)
        if not a.kind.is_float and a.high - a.low <= 1:
            return binary(self.rng.choice(("==", "!=")), a, literal(self.rng.choice((a.low, a.high)), a.kind))
        if self.chance(0.5):
            b = self.other(a.kind, min(depth, 1), a)
            overlap = min(a.high, b.high) - max(a.low, b.low)
            if not b.constant and a.kind.wraps == b.kind.wraps and overlap > 0:
                op = self.rng.choice(_ORDERS if a.kind.is_float or b.kind.is_float else (*_ORDERS, "==", "!="))
                return binary(op, a, b)
        few = not a.kind.is_float and a.high - a.low <= 24
        op = self.rng.choice(_ORDERS if not few else (*_ORDERS, "==", "!="))
        return binary(op, a, self.threshold(a))

    def threshold(self, a: Term) -> Term:
        """A number strictly inside the bounds of ``a``, a small one rather than a great one."""
        low, high = (max(a.low, -40), min(a.high, 40)) if a.high > -40 and a.low < 40 else (a.low, a.high)
        if a.kind.is_float:
            halves = int(low * 2) + 1, int(high * 2) - 1
            return literal(self.rng.randint(halves[0], max(halves)) / 2, a.kind)
        low, high = int(low), int(high)
        if high - low > 2:
            low, high = low + 1, high - 1
        if low < 0 < high and self.chance(0.3):
            return literal(0, a.kind)
        return literal(self.rng.randint(low, max(low, high)), a.kind)

    def of_letter(self, place: Place) -> Term:
        """A condition on a character: its class, or a comparison with one that may occur."""
        letter = self.scope.read(place)
        classes = [text for text, low, high in _CLASSES if letter.low <= low and high <= letter.high]
        if classes and letter.level > UNARY and self.chance(0.6):
            text = self.rng.choice(classes).replace("{}", letter.text)
            return truth(text, LOGICAL_OR if "||" in text else LOGICAL_AND)
        op = self.rng.choice(("==", "!=", "<", ">", ">=") if len(place.letters) <= 12 else ("<", ">", ">="))
        codes = sorted(map(ord, place.letters)) or list(range(int(letter.low), int(letter.high) + 1))
        codes = (
            codes[1:] if op in ("<", ">=") and len(codes) > 1 else codes[:-1] if op == ">" and len(codes) > 1 else codes
        )
        return binary(op, letter, literal(self.rng.choice(codes), CHAR))

    def _divisible(self, kind: Kind) -> Term:
        a = self.of(kind, 0)
        if self.chance(0.5):
            bits = [bit for bit in (1, 1, 1, 2, 4, 8) if bit <= max(a.magnitude, 1)]
            masked = binary("&", a, literal(self.rng.choice(bits), INT))
            return masked if self.chance(0.5) else binary("==", masked, literal(0, INT))
        bases = [base for base in (2, 2, 3, 4, 5) if base <= max(a.magnitude, 2)]
        rest = binary("%", a, literal(self.rng.choice(bases), INT))
        return binary(self.rng.choice(("==", "==", "!=")), rest, literal(self.rng.choice((0, 0, 1)), INT))
