"""One C function under construction: its parameters and their contract, helpers, tables, and what it returns."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from oorl.ir.contract import letters_of
from oorl.ir.generator import words
from oorl.ir.generator.expressions import Expressions, Helper
from oorl.ir.generator.kinds import (
    BOOL,
    CHAR,
    DOUBLE,
    FLOAT,
    INT,
    LONG,
    SCHAR,
    SHORT,
    UCHAR,
    UINT,
    ULONG,
    USHORT,
    Kind,
    Term,
    binary,
    literal,
)
from oorl.ir.generator.records import Shape, edge
from oorl.ir.generator.scope import Place, Scope

Lines = list[str]

_ELEMENTS = (
    (INT, 40), (LONG, 8), (UINT, 7), (UCHAR, 10), (SHORT, 8), (USHORT, 4), (SCHAR, 3), (DOUBLE, 9), (FLOAT, 6),
)  # fmt: skip
_PLAIN = ((INT, 45), (UINT, 10), (LONG, 10), (ULONG, 4), (UCHAR, 6), (SHORT, 5), (BOOL, 7), (DOUBLE, 7), (FLOAT, 4))
_RANGES = {
    "i32": ((-20, 20), (0, 9), (-50, 50), (0, 100), (1, 12), (-5, 30), (-100, 100), (0, 255), (-1000, 1000)),
    "i64": ((-100, 100), (0, 40), (-1000, 1000), (-9, 99), (0, 100000)),
    "u32": ((0, 31), (0, 255), (0, 1000), (0, 2**32 - 1)), "u64": ((0, 63), (0, 1000), (0, 2**64 - 1)),
    "u8": ((0, 255), (0, 255), (0, 9)), "i8": ((-128, 127), (-20, 20)), "i16": ((-300, 300), (-20, 20), (0, 99)),
    "u16": ((0, 500), (0, 65535)), "f64": ((-8, 8), (0, 10), (-100, 100), (0, 1)), "f32": ((-8, 8), (0, 10), (-40, 40)),
}  # fmt: skip
ALPHABETS = (
    "a-z ",
    "a-c",
    "0-9",
    "0-9+-",
    "a-zA-Z",
    "a-zA-Z0-9_",
    "()a",
    "01",
    "a-f0-9",
    "a-c ,",
    "a-z.,;",
    "0-9,",
    "AaBb ",
)


@dataclass(frozen=True)
class Array:
    """A buffer parameter and its length; ``least`` elements for certain."""

    name: str
    kind: Kind
    length: str
    low: float
    high: float
    writable: bool = False
    least: int = 0

    def at(self, index: str) -> Place:
        return self.place(f"{self.name}[{index}]")

    def place(self, text: str) -> Place:
        """An element, however it is spelled."""
        return Place(text, self.kind, self.low, self.high, self.name, self.writable, not self.writable, 3.0)


@dataclass(frozen=True)
class Records:
    """A pointer to structs, and how many there are."""

    name: str
    shape: Shape
    length: str
    writable: bool

    def at(self, prefix: str) -> list[Place]:
        places = self.shape.places(prefix, self.name, self.writable)
        return [replace(place, weight=3.0) for place in places]  # what a body is about


@dataclass(frozen=True)
class Text:
    """A text parameter, and the characters that it is made of."""

    name: str
    writable: bool
    letters: str

    @property
    def low(self) -> int:
        return min(map(ord, self.letters))

    @property
    def high(self) -> int:
        return max(map(ord, self.letters))

    def letter(self, text: str) -> Place:
        return Place(text, CHAR, self.low, self.high, self.name, self.writable, not self.writable, 3.0, self.letters)


@dataclass
class Function:
    """Draws and collects the parts of a function; skeletons add statements."""

    rng: random.Random
    plan: random.Random  # draws what several attempts share: the skeletons
    result: Kind | None = None
    params: list[str] = field(default_factory=list)
    clauses: list[str] = field(default_factory=list)
    declarations: list[str] = field(default_factory=list)
    helpers: list[tuple[str, str]] = field(default_factory=list)  # name and text; those that nothing calls are left out
    statics: list[tuple[str, str]] = field(default_factory=list)  # tables, likewise
    entry: str = ""
    inputs: float = 1  # about how many different arguments there are

    def __post_init__(self) -> None:
        self.scope = Scope(self.rng)
        self.draw = Expressions(self.rng, self.scope)

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def pick(self, weighted: Sequence[tuple[Any, int]]) -> Any:
        """One of the items, by weight."""
        return _picked(self.rng, weighted)

    def planned(self, weighted: Sequence[tuple[Any, int]]) -> Any:
        """One of the items, by weight, the same in the other attempts of this plan."""
        return _picked(self.plan, weighted)

    def _parameter(self, declaration: str, name: str, clause: str | None, values: float = 99) -> None:
        self.params.append(declaration)
        self.inputs *= values
        self.scope.unread.add(name)
        if clause:
            self.clauses.append(clause)

    def scalar(
        self, kind: Kind | None = None, bounds: tuple[float, float] | None = None, pool: Sequence[str] = ()
    ) -> Place:
        """A scalar parameter."""
        kind = kind or self.pick(_PLAIN)
        name = self.scope.name(pool or self._pool_of(kind))
        low, high = bounds or self.bounds_of(kind)
        whole = (low, high) == kind.limits
        clause = None if whole or kind == BOOL else f"{name} in {edge(low, kind)}..{edge(high, kind)}"
        self._parameter(f"{kind.name} {name}", name, clause, 99 if kind.is_float else high - low + 1)
        place = Place(name, kind, low, high, name, weight=1.5)
        self.scope.add(place)
        return place

    def _pool_of(self, kind: Kind) -> Sequence[str]:
        if kind == BOOL:
            return words.FLAGS
        if kind.is_float:
            return words.FLOATS
        if kind == CHAR:
            return words.LETTERS
        return words.SCALARS if self.chance(0.5) else words.INTEGERS

    def bounds_of(self, kind: Kind) -> tuple[float, float]:
        if kind == BOOL:
            return 0, 1
        if kind == CHAR:
            return self.rng.choice(((97, 122), (48, 57), (97, 101)))
        return self.rng.choice(_RANGES[kind.code])

    def length(self, least: int = 0, most: int = 0, name: str = "") -> str:
        """A length parameter; it counts as read by the loops over what it measures."""
        name = name or self.scope.name(words.LENGTHS)
        most = most or self.rng.choice((6, 8, 8, 9))
        self.params.append(f"int {name}")
        self.clauses.append(f"{name} in {least}..{most}")
        # A sure and small number, now and then worth reading for itself.
        self.scope.add(Place(name, INT, least, most, name, weight=0.3))
        return name

    def array(
        self, length: str, *, writable: bool = False, kind: Kind | None = None, pool: Sequence[str] = words.ARRAYS,
        least: int = 0, order: str = "", bounds: tuple[float, float] | None = None, size: str = "",
    ) -> Array:  # fmt: skip
        """A buffer of as many elements as ``length`` (in the contract: ``size``, where that differs) says."""
        kind = kind or self.pick(_ELEMENTS)
        name = self.scope.name(pool)
        low, high = bounds or self.bounds_of(kind)
        clause = f"{name}[{size or length}]"
        if (low, high) != kind.limits:
            clause += f" in {edge(low, kind)}..{edge(high, kind)}"
        clause += f" {order}" if order else ""
        const = "" if writable else "const "
        self._parameter(f"{const}{kind.name} *{name}", name, clause)
        return Array(name, kind, length, low, high, writable, least)

    def output(self, length: str, kind: Kind) -> Array:
        """An output buffer; whoever asks for it writes it."""
        name = self.scope.name(words.OUTPUTS)
        self._parameter(f"{kind.name} *{name}", name, f"{name}[{length}] out")
        self.scope.unread.discard(name)
        return Array(name, kind, length, *kind.limits, writable=True)

    def text(self, *, writable: bool = False, alphabet: str = "", pool: Sequence[str] = words.TEXTS) -> Text:
        """A text."""
        name = self.scope.name(pool)
        alphabet = alphabet or self.rng.choice(ALPHABETS)
        size = self.rng.choice(("", "", " 1..8", " 0..9"))
        self._parameter(f"{'' if writable else 'const '}char *{name}", name, f'{name} text{size} of "{alphabet}"')
        return Text(name, writable, letters_of(alphabet))

    def records(self, shape: Shape, length: str, *, writable: bool = False, name: str = "") -> Records:
        """A pointer to one struct (``length`` 1), or to so many."""
        name = self.scope.name((name or (shape.one if length == "1" else shape.many),))
        declaration = shape.declaration
        if declaration not in self.declarations:
            self.declarations.append(declaration)
        self.clauses.append(f"{name}[{length}]")
        self.clauses += shape.clauses(name)
        self._parameter(f"{'' if writable else 'const '}struct {shape.tag} *{name}", name, None)
        return Records(name, shape, length, writable)

    def helper(self) -> None:
        """A static function for expressions to call."""
        kind = self.pick(((INT, 6), (LONG, 1), (UINT, 1), (DOUBLE, 2)))
        own = Function(self.rng, self.plan)
        names = self.rng.choice((("x",), ("v",), ("a", "b")))
        bound = {"u32": (0, 2**32 - 1), "f64": (-60, 60)}.get(kind.code, (-1000, 1000))
        own.scope.add(*(Place(name, kind, *bound, name, sure=False) for name in names))
        own.scope.unread |= set(names)
        body: Lines = []
        if self.chance(0.6):
            body = [f"if ({own.draw.test(0).text})", f"    return {own.draw.of(kind, 1).text};"]
        result = own.draw.of(kind, 2)
        for place in own.scope.places:
            if place.root in own.scope.unread:
                result = binary("+", result, own.scope.read(place))
        name = self.scope.name(words.HELPERS)
        head = ", ".join(f"{kind.name} {own_name}" for own_name in names)
        lines = [f"static {kind.name} {name}({head})", "{", *indented([*body, f"return {result.text};"]), "}"]
        self.helpers.append((name, "\n".join(lines)))
        low, high = (0, 2**32 - 1) if kind.wraps else (-500, 500)
        self.draw.helpers.append(Helper(name, kind, len(names), low, high))

    def table(self) -> None:
        """A static table of a power of two of numbers."""
        size = self.rng.choice((4, 8, 8))
        kind = self.rng.choice((INT, INT, UCHAR, SHORT))
        numbers = [self.rng.randint(0, 30) for _ in range(size)]
        name = self.scope.name(words.TABLES)
        self.statics.append((name, f"static const {kind.name} {name}[{size}] = {{{', '.join(map(str, numbers))}}};"))
        self.draw.tables.append((name, kind, size, min(numbers), max(numbers)))

    def leave(self, value: Term | None = None) -> str:
        """A return statement out of the middle: of the value, or of something the result's type allows."""
        if self.result is None:
            return "return;"
        return f"return {(value or self.early_value()).text};"

    def early_value(self) -> Term:
        if self.result == BOOL:
            return Term(self.rng.choice(("true", "false")), INT, 0, 1)
        if self.chance(0.5):
            return literal(self.rng.choice((0, 1, 2) if self.result.wraps else (-1, -1, 0, 1)), self.result)
        return self.draw.of(self.result, 1)


def _picked(rng: random.Random, weighted: Sequence[tuple[Any, int]]) -> Any:
    return rng.choices([item for item, _ in weighted], [weight for _, weight in weighted])[0]


def indented(lines: Lines) -> Lines:
    return ["    " + line for line in lines]


def braced(head: str, body: Lines) -> Lines:
    """A statement with a body; braces where there is more than one line."""
    if len(body) == 1:
        return [head, *indented(body)]
    return [head + " {", *indented(body), "}"]
