"""What the languages with braces share: statements, C operators, and formulas where no operator has the meaning."""

from __future__ import annotations

from oorl.programs import nodes as n
from oorl.programs.render_base import (
    ADD,
    AND,
    ATOM,
    COMPARE,
    MULTIPLY,
    OR,
    TERNARY,
    UNARY,
    Renderer,
    Spelled,
    is_positive_literal,
)  # fmt: skip

_LOGIC = {"and": ("&&", AND), "or": ("||", OR)}


class CurlyRenderer(Renderer):
    """C, C++, Java, JavaScript and PHP, as far as they agree.

    A subclass adds the words its language has: ``typed(kind)`` before a new local's name; for lists of its own
    ``new_list(kind)``, ``append(name, value)`` and the opening line ``for_each(var, items)``.
    """

    def result(self, value: n.Expr) -> str:
        return self.expr(value)

    def close_function(self) -> None:
        self.emit(0, "}")

    def statement(self, node: n.Stmt, depth: int) -> None:
        match node:
            case n.Declare(name, kind, value):
                self.emit(depth, self.declare(name, kind, self.new_list(kind) if value is None else self.expr(value)))
            case n.Assign(name, op, value):
                self.emit(depth, f"{self.name(name)} {op}= {self.expr(value)};")
            case n.Append(name, value):
                self.emit(depth, self.append(self.name(name), value))
            case n.If(test, then, otherwise):
                self.emit(depth, f"if ({self.expr(test)}) {{")
                self.block(then, depth + 1)
                if otherwise:
                    self.emit(depth, "} else {")
                    self.block(otherwise, depth + 1)
                self.emit(depth, "}")
            case n.ForRange(var, start, _, _, body):
                i = self.name(var)
                first = self.declare(var, n.INT, self.expr(start))
                self.emit(depth, f"for ({first} {i} {self.loop_test(node)} {self.expr(node.stop, ADD)}; {i}++) {{")
                self.block(body, depth + 1)
                self.emit(depth, "}")
            case n.ForEach(var, items, body):
                self.emit(depth, self.for_each(var, items))
                self.block(body, depth + 1)
                self.emit(depth, "}")
            case n.While(test, body):
                self.emit(depth, f"while ({self.expr(test)}) {{")
                self.block(body, depth + 1)
                self.emit(depth, "}")
            case n.Return(value):
                self.emit(depth, f"return {self.result(value)};")

    def declare(self, name: str, kind: n.Type, value: str) -> str:
        return f"{self.typed(kind)} {self.name(name)} = {value};"

    def loop_test(self, loop: n.ForRange) -> str:
        return "<=" if loop.inclusive or self.is_naive(loop) else "<"

    def spell_div(self, node: n.Div) -> Spelled:
        quotient, level = self.infix("/", node.left, node.right, MULTIPLY)
        if node.mode == "trunc" or self.is_naive(node):
            return quotient, level
        # One less where the remainder is not zero and the signs differ.
        remainder = self.infix("%", node.left, node.right, MULTIPLY)[0]
        sign = "" if is_positive_literal(node.right) else f" * {self.expr(node.right, UNARY)}"
        return f"{quotient} - ({remainder}{sign} < 0)", ADD

    def spell_mod(self, node: n.Mod) -> Spelled:
        remainder, level = self.infix("%", node.left, node.right, MULTIPLY)
        if node.mode == "trunc" or self.is_naive(node):
            return remainder, level
        return f"({remainder} + {self.expr(node.right, MULTIPLY)}) % {self.expr(node.right, UNARY)}", MULTIPLY

    def spell_float_div(self, node: n.FloatDiv) -> Spelled:
        if self.is_naive(node):
            return self.infix("/", node.left, node.right, MULTIPLY)
        return f"{self.expr(node.left, MULTIPLY)} / {float(node.right.value)!r}", MULTIPLY

    def spell_power(self, node: n.Power) -> Spelled:
        if self.is_naive(node):
            return f"({self.expr(node.left, ADD)} ^ {node.exponent})", ATOM
        first, other = self.expr(node.left, MULTIPLY), self.expr(node.left, UNARY)
        return " * ".join([first] + [other] * (node.exponent - 1)), MULTIPLY

    def spell_chain(self, node: n.Chain) -> Spelled:
        left, middle, right = (self.expr(part, ADD) for part in (node.left, node.middle, node.right))
        if self.is_naive(node):
            return f"{left} {node.op1} {middle} {node.op2} {right}", COMPARE
        return f"{left} {node.op1} {middle} && {middle} {node.op2} {right}", AND

    def spell_logic(self, node: n.Logic | n.LogicInt | n.ValueLogic) -> Spelled:
        word, level = _LOGIC[node.op]
        # "a || b && c" is right but compilers warn and readers stumble: mixed operators get parentheses.
        return f"{self.operand(node.left, node.op, level)} {word} {self.operand(node.right, node.op, level + 1)}", level

    def operand(self, node: n.Expr, op: str, level: int) -> str:
        mixed = isinstance(node, (n.Logic, n.Chain)) and getattr(node, "op", "and") != op
        return self.expr(node, COMPARE if mixed else level)

    spell_logic_int = spell_logic

    def spell_value_logic(self, node: n.ValueLogic) -> Spelled:
        if self.is_naive(node):
            return self.spell_logic(node)
        test = self.expr(n.Truth(node.left), OR)
        left, right = self.expr(node.left, OR), self.expr(node.right, OR)
        return f"{test} ? {left} : {right}" if node.op == "or" else f"{test} ? {right} : {left}", TERNARY

    def spell_not(self, node: n.Not) -> Spelled:
        return f"!{self.expr(node.operand, UNARY)}", UNARY

    def spell_bool_to_int(self, node: n.BoolToInt) -> Spelled:
        return f"({self.expr(node.operand)})", ATOM

    def spell_conditional(self, node: n.Conditional) -> Spelled:
        return f"{self.expr(node.test, OR)} ? {self.expr(node.left, OR)} : {self.expr(node.right, OR)}", TERNARY

    def spell_index(self, node: n.Index) -> Spelled:
        return f"{self.expr(node.operand, ATOM)}[{self.expr(node.position)}]", ATOM

    def spell_concat(self, node: n.Concat) -> Spelled:
        return self.infix("+", node.left, node.right, ADD)

    def spell_call(self, node: n.Call) -> Spelled:
        return f"{node.name}({', '.join(self.expr(arg) for arg in node.args)})", ATOM
