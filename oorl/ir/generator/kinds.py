"""C's arithmetic types, and terms: pieces of an expression with what is known of their values."""

from __future__ import annotations

from dataclasses import dataclass

from oorl.ir.scalars import SCALARS


@dataclass(frozen=True)
class Kind:
    """An arithmetic type: how C spells it and the code of its scalar."""

    name: str
    code: str

    @property
    def is_float(self) -> bool:
        return SCALARS[self.code].is_float

    @property
    def limits(self) -> tuple[float, float]:
        return (-1e15, 1e15) if self.is_float else SCALARS[self.code].limits

    @property
    def wraps(self) -> bool:
        """Whether arithmetic on it is modulo a power of two."""
        return self.code in ("u32", "u64")


BOOL, CHAR = Kind("bool", "i1"), Kind("char", "char")
SCHAR, UCHAR = Kind("signed char", "i8"), Kind("unsigned char", "u8")
SHORT, USHORT = Kind("short", "i16"), Kind("unsigned short", "u16")
INT, UINT = Kind("int", "i32"), Kind("unsigned", "u32")
LONG, ULONG = Kind("long long", "i64"), Kind("unsigned long long", "u64")
FLOAT, DOUBLE = Kind("float", "f32"), Kind("double", "f64")

# From weak to strong: what an operation on two of them is of.
ARITHMETIC = ("i32", "u32", "i64", "u64", "f32", "f64")
_BY_CODE = {kind.code: kind for kind in (INT, UINT, LONG, ULONG, FLOAT, DOUBLE)}

# How strongly C's operators bind.
CONDITIONAL, LOGICAL_OR, LOGICAL_AND, BITS, EQUALITY, RELATION, SHIFT, SUM, PRODUCT, UNARY, PRIMARY = range(11)
_LEVELS = {"||": LOGICAL_OR, "&&": LOGICAL_AND, "|": BITS, "^": BITS, "&": BITS, "==": EQUALITY, "!=": EQUALITY}
_LEVELS |= {"<": RELATION, "<=": RELATION, ">": RELATION, ">=": RELATION, "<<": SHIFT, ">>": SHIFT}
_LEVELS |= {"+": SUM, "-": SUM, "*": PRODUCT, "/": PRODUCT, "%": PRODUCT}


def promoted(kind: Kind) -> Kind:
    """The type in which C computes with a value of this one."""
    return _BY_CODE.get(kind.code, INT)


@dataclass(frozen=True)
class Term:
    """An expression's text, its type, how strongly it binds, and bounds of its value.

    The bounds hold for certain where ``sure`` says so; elsewhere they are what usually occurs.
    """

    text: str
    kind: Kind
    low: float
    high: float
    sure: bool = True
    level: int = PRIMARY
    constant: bool = False

    def within(self, level: int) -> str:
        """The text as an operand that must bind at least so strongly."""
        return self.text if self.level >= level else f"({self.text})"

    @property
    def fits(self) -> bool:
        low, high = self.kind.limits
        return self.kind.wraps or (low <= self.low and self.high <= high)

    @property
    def magnitude(self) -> float:
        return max(abs(self.low), abs(self.high))


def literal(value: float, kind: Kind) -> Term:
    """A number as a person writes it where a value of this type is meant."""
    if kind.is_float:
        text = repr(float(value)) + ("f" if kind.code == "f32" else "")
    elif kind.code == "char":
        text = {10: "'\\n'", 39: "'\\''", 92: "'\\\\'"}.get(int(value), f"'{chr(int(value))}'")
    else:
        text = f"{int(value)}" + ("u" if kind.wraps and value > 9 else "")
    return Term(text, promoted(kind), value, value, level=UNARY if value < 0 else PRIMARY, constant=True)


def joined(a: Term, b: Term) -> Kind:
    """The type of an operation on both."""
    return max(promoted(a.kind), promoted(b.kind), key=lambda kind: ARITHMETIC.index(kind.code))


def binary(op: str, a: Term, b: Term) -> Term:
    """``a op b``, with parentheses where C needs them or a reader wants them."""
    level = _LEVELS[op]
    # Shifts, bit operations and && beside other operators confuse people: such operands stand in parentheses.
    least = UNARY if level in (BITS, SHIFT) else EQUALITY if op == "||" else level
    right = least if op in ("+", "*", "&&", "||") else max(least, level + 1)
    if level in (LOGICAL_OR, LOGICAL_AND, EQUALITY, RELATION):
        return truth(f"{a.within(least)} {op} {b.within(right)}", level)
    kind = promoted(a.kind) if op in ("<<", ">>") else joined(a, b)
    low, high = _bounds(op, a, b)
    if kind.wraps and (low < 0 or high > kind.limits[1]):
        low, high = kind.limits
    # Masks and remainders bound whatever they are applied to.
    sure = (a.sure and b.sure) or (b.constant and b.low > 0 and (op == "&" or (op == "%" and a.kind.wraps)))
    return Term(f"{a.within(least)} {op} {b.within(right)}", kind, low, high, sure, level)


def truth(text: str, level: int) -> Term:
    """A condition's term: 0 or 1."""
    return Term(text, INT, 0, 1, True, level)


def _bounds(op: str, a: Term, b: Term) -> tuple[float, float]:
    if op == "+":
        return a.low + b.low, a.high + b.high
    if op == "-":
        return a.low - b.high, a.high - b.low
    if op == "*":
        corners = [x * y for x in (a.low, a.high) for y in (b.low, b.high)]
        return min(corners), max(corners)
    if op == "/":
        least = max(1e-3, min(abs(b.low), abs(b.high))) if b.low > 0 or b.high < 0 else 1
        most = a.magnitude / least
        return (0 if a.low >= 0 and b.low > 0 else -most), most
    if op == "%":
        most = max(b.magnitude - 1, 0)
        return (0 if a.low >= 0 else -most), most
    if op == "<<":
        return a.low * 2**b.high, a.high * 2**b.high
    if op == ">>":
        return a.low // 2**b.low, a.high // 2**b.low
    if op == "&" and (a.low >= 0 or b.low >= 0):
        return 0, min(term.high for term in (a, b) if term.low >= 0)
    most = 2 ** int(max(a.magnitude, b.magnitude, 1)).bit_length() - 1
    if a.low >= 0 and b.low >= 0:
        return (max(a.low, b.low) if op == "|" else 0), most
    return -most - 1, most


def cast(kind: Kind, a: Term) -> Term:
    """``(kind)a``; bounds are those of the type where the value does not fit for certain."""
    low, high = kind.limits
    inside = low <= a.low and a.high <= high
    bounds = (a.low, a.high, a.sure) if inside and (a.sure or a.kind.is_float) else (low, high, True)
    return Term(f"({kind.name}){a.within(UNARY)}", promoted(kind), *bounds, UNARY)


def chosen(test: Term, a: Term, b: Term) -> Term:
    """``test ? a : b``."""
    text = f"{test.within(LOGICAL_OR)} ? {a.within(SUM)} : {b.within(CONDITIONAL)}"
    return Term(text, joined(a, b), min(a.low, b.low), max(a.high, b.high), a.sure and b.sure, CONDITIONAL)
