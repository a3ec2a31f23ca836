"""What all renderers share: precedence, the choice of the faithful or the carried-over spelling, the skeleton."""

from __future__ import annotations

from abc import ABC, abstractmethod

from oorl.programs import nodes as n
from oorl.programs.transliterate import Style, divergence_of

# Binding strength of the outermost operator of a text; the languages agree on this order for the operators used here.
TERNARY, OR, AND, NOT, COMPARE, ADD, MULTIPLY, UNARY, ATOM = range(1, 10)
_ARITH_LEVEL = {"+": ADD, "-": ADD, "*": MULTIPLY}
INDENT = "    "

Spelled = tuple[str, int]  # a text and its binding strength


def is_positive_literal(node: n.Expr) -> bool:
    return isinstance(node, n.Literal) and node.value > 0


class Renderer(ABC):
    """Spells one program in one language; subclasses give the language's words."""

    language = ""
    scalars = frozenset({"int", "float", "bool", "str"})
    lists = True

    def __init__(self, program: n.Program, style: Style):
        self.program = program
        self.style = style
        self.function: n.Function = program.functions[-1]
        self.lines: list[str] = []

    @classmethod
    def unsupported(cls, program: n.Program) -> str | None:
        """Why this language cannot hold the program, or None."""
        for node in n.walk(program):
            kind = getattr(node, "type", None) or getattr(node, "returns", None)
            if kind is None:
                continue
            if kind.kind == "list" and not cls.lists or (kind.element or kind).kind not in cls.scalars | {"list"}:
                return f"{cls.language} has no {kind} here"
        return None

    def render(self) -> str:
        """The source text of all functions, helper first."""
        for function in self.program.functions:
            self.function = function
            self.open_function(function)
            self.block(function.body, 1)
            self.close_function()
        return "\n".join(self.lines) + "\n"

    def declaration(self) -> str:
        """The opening lines of the entry function as ``render`` writes them, without an opening brace at the end."""
        start = len(self.lines)
        self.open_function(self.program.functions[-1])
        return "\n".join(self.lines[start:]).removesuffix("{").rstrip()

    def emit(self, depth: int, text: str) -> None:
        self.lines.append(INDENT * depth + text)

    def block(self, body: tuple[n.Stmt, ...], depth: int) -> None:
        for statement in body:
            self.statement(statement, depth)

    def is_naive(self, node: n.Node) -> bool:
        return divergence_of(node, self.style.source, self.language) in self.style.naive

    def expr(self, node: n.Expr, level: int = 0) -> str:
        """The text of ``node``, in parentheses where its operator binds more weakly than ``level``."""
        text, strength = self.spell(node)
        return text if strength >= level else f"({text})"

    def infix(self, op: str, left: n.Expr, right: n.Expr, level: int) -> Spelled:
        """A left-associative operator."""
        return f"{self.expr(left, level)} {op} {self.expr(right, level + 1)}", level

    def spell(self, node: n.Expr) -> Spelled:
        match node:
            case n.Literal(value, kind):
                text = self.literal(value, kind)
                return text, UNARY if text.startswith("-") else ATOM
            case n.Var(name, _):
                return self.name(name), ATOM
            case n.Arith(op, left, right):
                return self.infix(op, left, right, _ARITH_LEVEL[op])
            case n.Compare(op, left, right):
                return self.compare(op, left, right)
            case n.Neg(operand):
                # A minus before a minus sign would spell a decrement.
                return "-" + self.expr(operand, ATOM), UNARY
        return getattr(self, "spell_" + _snake(type(node).__name__))(node)

    def compare(self, op: str, left: n.Expr, right: n.Expr) -> Spelled:
        return f"{self.expr(left, ADD)} {op} {self.expr(right, ADD)}", COMPARE

    def name(self, name: str) -> str:
        return name

    @abstractmethod
    def literal(self, value: int | float | bool | str, kind: n.Type) -> str: ...

    @abstractmethod
    def open_function(self, function: n.Function) -> None: ...

    @abstractmethod
    def close_function(self) -> None: ...

    @abstractmethod
    def statement(self, node: n.Stmt, depth: int) -> None: ...


def double_quoted(text: str, escape: str = '\\"') -> str:
    """A string literal in double quotes with the characters of ``escape`` escaped by a backslash."""
    return '"' + "".join("\\" + char if char in escape else char for char in text) + '"'


def _snake(name: str) -> str:
    return "".join("_" + char.lower() if char.isupper() and i else char.lower() for i, char in enumerate(name))
