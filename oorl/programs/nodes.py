"""The typed syntax tree that every renderer spells and the reference interpreter runs.

Where languages differ in meaning the tree is explicit: floor and truncated division are two nodes, a loop says
whether it includes its end, and ``a or b`` that returns a value is not the ``a || b`` that returns a truth value.
Expressions have no side effects.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

from oorl.types import Signature, Type

INT, FLOAT, BOOL, STR = Type("int"), Type("float"), Type("bool"), Type("str")
INTS, STRS = Type("list", INT), Type("list", STR)


@dataclass(frozen=True)
class Literal:
    value: int | float | bool | str
    type: Type


@dataclass(frozen=True)
class Var:
    name: str
    type: Type


@dataclass(frozen=True)
class Arith:
    """``+ - *`` on ints, on floats, or on one of each; ``type`` is the result's."""

    op: str
    left: Expr
    right: Expr
    type: Type = INT


@dataclass(frozen=True)
class Div:
    """Integer division that rounds down (``floor``) or toward zero (``trunc``)."""

    mode: str
    left: Expr
    right: Expr
    type: Type = INT


@dataclass(frozen=True)
class Mod:
    """Remainder with the divisor's sign (``floor``) or the dividend's (``trunc``)."""

    mode: str
    left: Expr
    right: Expr
    type: Type = INT


@dataclass(frozen=True)
class FloatDiv:
    """Division of two ints that yields the exact float; the divisor is a literal power of two."""

    left: Expr
    right: Expr
    type: Type = FLOAT


@dataclass(frozen=True)
class Power:
    """An int raised to the literal 2 or 3."""

    left: Expr
    exponent: int
    type: Type = INT


@dataclass(frozen=True)
class Neg:
    operand: Expr
    type: Type = INT


@dataclass(frozen=True)
class Abs:
    operand: Expr
    type: Type = INT


@dataclass(frozen=True)
class MinMax:
    op: str  # "min" or "max"
    left: Expr
    right: Expr
    type: Type = INT


@dataclass(frozen=True)
class Compare:
    op: str  # < <= > >= == != on numbers, == != on strings
    left: Expr
    right: Expr
    type: Type = BOOL


@dataclass(frozen=True)
class Chain:
    """``left op1 middle op2 right`` read as two comparisons joined by "and"."""

    op1: str
    op2: str
    left: Expr
    middle: Expr
    right: Expr
    type: Type = BOOL


@dataclass(frozen=True)
class Logic:
    op: str  # "and" or "or" of two bools
    left: Expr
    right: Expr
    type: Type = BOOL


@dataclass(frozen=True)
class Not:
    operand: Expr
    type: Type = BOOL


@dataclass(frozen=True)
class Truth:
    """Whether an int is non-zero, or a string or list is non-empty; stands only where a test is expected."""

    operand: Expr
    type: Type = BOOL


@dataclass(frozen=True)
class ValueLogic:
    """``left or right`` / ``left and right`` that returns one of its operands (both int or both str)."""

    op: str
    left: Expr
    right: Expr
    type: Type = INT


@dataclass(frozen=True)
class LogicInt:
    """``left || right`` / ``left && right`` of two ints as C means it: 0 or 1."""

    op: str  # "and" or "or"
    left: Expr
    right: Expr
    type: Type = INT


@dataclass(frozen=True)
class BoolToInt:
    operand: Expr
    type: Type = INT


@dataclass(frozen=True)
class Conditional:
    test: Expr
    left: Expr
    right: Expr
    type: Type = INT


@dataclass(frozen=True)
class Length:
    operand: Expr
    type: Type = INT


@dataclass(frozen=True)
class Index:
    """One element of a list or one character of a string; the position is in range."""

    operand: Expr
    position: Expr
    type: Type = INT


@dataclass(frozen=True)
class Concat:
    left: Expr
    right: Expr
    type: Type = STR


@dataclass(frozen=True)
class IntToStr:
    operand: Expr
    type: Type = STR


@dataclass(frozen=True)
class Call:
    """A call of the program's helper; arguments are scalars."""

    name: str
    args: tuple[Expr, ...]
    type: Type = INT


Expr = (
    Literal | Var | Arith | Div | Mod | FloatDiv | Power | Neg | Abs | MinMax | Compare | Chain | Logic | Not | Truth
    | ValueLogic | LogicInt | BoolToInt | Conditional | Length | Index | Concat | IntToStr | Call
)  # fmt: skip


@dataclass(frozen=True)
class Declare:
    """A new local; a list starts empty and has no value."""

    name: str
    type: Type
    value: Expr | None


@dataclass(frozen=True)
class Assign:
    """``name op= value``, or plain assignment with ``op == ""``."""

    name: str
    op: str
    value: Expr


@dataclass(frozen=True)
class Append:
    name: str
    value: Expr


@dataclass(frozen=True)
class If:
    test: Expr
    then: tuple[Stmt, ...]
    otherwise: tuple[Stmt, ...] = ()


@dataclass(frozen=True)
class ForRange:
    """``var`` counts from ``start`` to ``stop``; the body assigns neither it nor what ``stop`` reads."""

    var: str
    start: Expr
    stop: Expr
    inclusive: bool
    body: tuple[Stmt, ...]


@dataclass(frozen=True)
class ForEach:
    var: str
    items: Var
    body: tuple[Stmt, ...]


@dataclass(frozen=True)
class While:
    test: Expr
    body: tuple[Stmt, ...]


@dataclass(frozen=True)
class Return:
    value: Expr


Stmt = Declare | Assign | Append | If | ForRange | ForEach | While | Return


@dataclass(frozen=True)
class Function:
    name: str
    params: tuple[Var, ...]
    returns: Type
    body: tuple[Stmt, ...]


@dataclass(frozen=True)
class Program:
    """One entry function, preceded by at most one helper; ``seed`` is what it was drawn from."""

    functions: tuple[Function, ...]
    seed: int = -1

    @property
    def entry(self) -> str:
        return self.functions[-1].name

    @property
    def signature(self) -> Signature:
        function = self.functions[-1]
        return Signature(tuple((param.name, param.type) for param in function.params), function.returns)


Node = Expr | Stmt | Function | Program
EXPR_TYPES = frozenset(Expr.__args__)
NODE_TYPES = (*Expr.__args__, *Stmt.__args__, Function)


_FIELDS = {kind: tuple(field.name for field in fields(kind)) for kind in (*NODE_TYPES, Program)}


def children(node: Node) -> Iterator[Node]:
    """The nodes directly inside ``node``, in source order."""
    for name in _FIELDS[type(node)]:
        value = getattr(node, name)
        if type(value) is tuple:
            yield from value
        elif type(value) in _FIELDS:
            yield value


def walk(node: Node) -> Iterator[Node]:
    """``node`` and everything inside it, parents first."""
    stack = [node]
    while stack:
        node = stack.pop()
        yield node
        stack += reversed(tuple(children(node)))


def rename(node: Node, names: dict[str, str]) -> Node:
    """The same tree with its variables and functions called otherwise; names that are not in ``names`` stay."""
    changes: dict = {}
    for name in _FIELDS[type(node)]:
        value = getattr(node, name)
        if type(value) is tuple:
            changes[name] = tuple(rename(item, names) for item in value)
        elif type(value) in _FIELDS:
            changes[name] = rename(value, names)
        elif name in ("name", "var"):
            changes[name] = names.get(value, value)
    return replace(node, **changes)
