"""Java 17: static methods; the driver puts them in a class."""

from __future__ import annotations

from oorl.programs import nodes as n
from oorl.programs.render_base import ATOM, COMPARE, TERNARY, UNARY, Spelled, double_quoted
from oorl.programs.render_curly import CurlyRenderer

TYPES = {n.INT: "long", n.FLOAT: "double", n.BOOL: "boolean", n.STR: "String"}
_BOXED = {n.INT: "Long", n.STR: "String"}


class JavaRenderer(CurlyRenderer):
    language = "java"

    def literal(self, value, kind) -> str:
        if kind == n.STR:
            return double_quoted(value)
        return str(value).lower() if kind == n.BOOL else repr(value)

    def typed(self, kind: n.Type) -> str:
        return f"java.util.List<{_BOXED[kind.element]}>" if kind.element else TYPES[kind]

    def open_function(self, function: n.Function) -> None:
        params = ", ".join(f"{self._passed(param.type)} {param.name}" for param in function.params)
        self.emit(0, f"static {self._passed(function.returns)} {function.name}({params}) {{")

    def _passed(self, kind: n.Type) -> str:
        return f"{TYPES[kind.element]}[]" if kind.element else TYPES[kind]

    def new_list(self, kind: n.Type) -> str:
        return "new java.util.ArrayList<>()"

    def append(self, name: str, value: n.Expr) -> str:
        return f"{name}.add({self._boxable(value)});"

    def _boxable(self, value: n.Expr) -> str:
        """An element for a list: an expression of Java's int, a length or a literal, does not box to Long by itself."""
        if value.type != n.INT or isinstance(value, (n.Var, n.Call)):
            return self.expr(value)
        return f"{value.value}L" if isinstance(value, n.Literal) else f"(long) {self.expr(value, UNARY)}"

    def for_each(self, var: str, items: n.Var) -> str:
        return f"for ({TYPES[items.type.element]} {var} : {items.name}) {{"

    def result(self, value: n.Expr) -> str:
        text = self.expr(value)
        if not value.type.element or self._is_param(value):
            return text
        return (
            f"{text}.stream().mapToLong(v -> v).toArray()" if value.type == n.INTS else f"{text}.toArray(new String[0])"
        )

    def _is_param(self, value: n.Expr) -> bool:
        return value in self.function.params

    def spell_div(self, node: n.Div) -> Spelled:
        if node.mode == "floor" and not self.is_naive(node):
            return f"Math.floorDiv({self.expr(node.left)}, {self.expr(node.right)})", ATOM
        return super().spell_div(node)

    def spell_mod(self, node: n.Mod) -> Spelled:
        if node.mode == "floor" and not self.is_naive(node):
            return f"Math.floorMod({self.expr(node.left)}, {self.expr(node.right)})", ATOM
        return super().spell_mod(node)

    def spell_logic_int(self, node: n.LogicInt) -> Spelled:
        test = n.Logic(node.op, n.Truth(node.left), n.Truth(node.right))
        return f"{self.expr(test)} ? 1 : 0", TERNARY

    def spell_truth(self, node: n.Truth) -> Spelled:
        operand = node.operand
        if operand.type == n.INT:
            return f"{self.expr(operand, COMPARE + 1)} != 0", COMPARE
        if operand.type == n.STR or not self._is_param(operand):
            return f"!{self.expr(operand, ATOM)}.isEmpty()", UNARY
        return f"{operand.name}.length > 0", COMPARE

    def spell_bool_to_int(self, node: n.BoolToInt) -> Spelled:
        return self.spell_conditional(n.Conditional(node.operand, n.Literal(1, n.INT), n.Literal(0, n.INT)))

    def spell_abs(self, node: n.Abs) -> Spelled:
        return f"Math.abs({self.expr(node.operand)})", ATOM

    def spell_min_max(self, node: n.MinMax) -> Spelled:
        return f"Math.{node.op}({self.expr(node.left)}, {self.expr(node.right)})", ATOM

    def spell_length(self, node: n.Length) -> Spelled:
        operand = node.operand
        if operand.type == n.STR:
            return f"{self.expr(operand, ATOM)}.length()", ATOM
        return f"{operand.name}.length" if self._is_param(operand) else f"{operand.name}.size()", ATOM

    def spell_index(self, node: n.Index) -> Spelled:
        position = self.expr(node.position, UNARY)
        position = position if isinstance(node.position, n.Literal) else f"(int) {position}"
        operand = self.expr(node.operand, ATOM)
        if node.operand.type == n.STR:
            return f"String.valueOf({operand}.charAt({position}))", ATOM
        return f"{operand}[{position}]" if self._is_param(node.operand) else f"{operand}.get({position})", ATOM

    def spell_int_to_str(self, node: n.IntToStr) -> Spelled:
        return f"String.valueOf({self.expr(node.operand)})", ATOM

    def compare(self, op: str, left: n.Expr, right: n.Expr) -> Spelled:
        if left.type != n.STR:
            return super().compare(op, left, right)
        negation = "!" if op == "!=" else ""
        return f"{negation}{self.expr(left, ATOM)}.equals({self.expr(right)})", UNARY if negation else ATOM
