"""JavaScript: ints and floats are both numbers."""

from __future__ import annotations

from oorl.programs import nodes as n
from oorl.programs.render_base import ATOM, COMPARE, MULTIPLY, UNARY, Spelled, double_quoted
from oorl.programs.render_curly import CurlyRenderer


class JavascriptRenderer(CurlyRenderer):
    language = "javascript"

    def literal(self, value, kind) -> str:
        if kind == n.STR:
            return double_quoted(value)
        return str(value).lower() if kind == n.BOOL else repr(value)

    def typed(self, kind: n.Type) -> str:
        return "let"

    def open_function(self, function: n.Function) -> None:
        self.emit(0, f"function {function.name}({', '.join(param.name for param in function.params)}) {{")

    def new_list(self, kind: n.Type) -> str:
        return "[]"

    def append(self, name: str, value: n.Expr) -> str:
        return f"{name}.push({self.expr(value)});"

    def for_each(self, var: str, items: n.Var) -> str:
        return f"for (const {var} of {items.name}) {{"

    def spell_div(self, node: n.Div) -> Spelled:
        quotient, level = self.infix("/", node.left, node.right, MULTIPLY)
        if self.is_naive(node):
            return quotient, level
        return f"Math.{node.mode}({quotient})", ATOM

    def spell_float_div(self, node: n.FloatDiv) -> Spelled:
        return self.infix("/", node.left, node.right, MULTIPLY)

    def spell_power(self, node: n.Power) -> Spelled:
        return f"{self.expr(node.left, ATOM)} ** {node.exponent}", MULTIPLY

    def spell_logic_int(self, node: n.LogicInt) -> Spelled:
        text, level = self.spell_logic(node)
        return (text, level) if self.is_naive(node) else (f"Number(!!({text}))", ATOM)

    def spell_value_logic(self, node: n.ValueLogic) -> Spelled:
        return self.spell_logic(node)

    def spell_truth(self, node: n.Truth) -> Spelled:
        if node.operand.type.element and not self.is_naive(node):
            return f"{self.expr(node.operand)}.length > 0", COMPARE
        return self.spell(node.operand)

    def spell_bool_to_int(self, node: n.BoolToInt) -> Spelled:
        return f"Number({self.expr(node.operand)})", ATOM

    def spell_abs(self, node: n.Abs) -> Spelled:
        return f"Math.abs({self.expr(node.operand)})", ATOM

    def spell_min_max(self, node: n.MinMax) -> Spelled:
        return f"Math.{node.op}({self.expr(node.left)}, {self.expr(node.right)})", ATOM

    def spell_length(self, node: n.Length) -> Spelled:
        return f"{self.expr(node.operand, ATOM)}.length", ATOM

    def spell_int_to_str(self, node: n.IntToStr) -> Spelled:
        return f"String({self.expr(node.operand)})", ATOM

    def compare(self, op: str, left: n.Expr, right: n.Expr) -> Spelled:
        return super().compare({"==": "===", "!=": "!=="}.get(op, op), left, right)

    def spell_not(self, node: n.Not) -> Spelled:
        return f"!{self.expr(node.operand, UNARY)}", UNARY
