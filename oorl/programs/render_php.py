"""PHP 8: the opening tag is the driver's."""

from __future__ import annotations

from oorl.programs import nodes as n
from oorl.programs.render_base import ADD, ATOM, COMPARE, MULTIPLY, OR, TERNARY, UNARY, Spelled
from oorl.programs.render_curly import CurlyRenderer


class PhpRenderer(CurlyRenderer):
    language = "php"

    def name(self, name: str) -> str:
        return "$" + name

    def literal(self, value, kind) -> str:
        if kind == n.STR:  # single quotes: no variable is read inside
            return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        return str(value).lower() if kind == n.BOOL else repr(value)

    def open_function(self, function: n.Function) -> None:
        self.emit(0, f"function {function.name}({', '.join('$' + param.name for param in function.params)}) {{")

    def declare(self, name: str, kind: n.Type, value: str) -> str:
        return f"${name} = {value};"

    def new_list(self, kind: n.Type) -> str:
        return "[]"

    def append(self, name: str, value: n.Expr) -> str:
        return f"{name}[] = {self.expr(value)};"

    def for_each(self, var: str, items: n.Var) -> str:
        return f"foreach (${items.name} as ${var}) {{"

    def spell_div(self, node: n.Div) -> Spelled:
        if node.mode == "trunc" and self.is_naive(node):
            return self.infix("/", node.left, node.right, MULTIPLY)
        if node.mode == "trunc" or self.is_naive(node):
            return f"intdiv({self.expr(node.left)}, {self.expr(node.right)})", ATOM
        return f"(int) floor({self.infix('/', node.left, node.right, MULTIPLY)[0]})", UNARY

    def spell_float_div(self, node: n.FloatDiv) -> Spelled:
        return self.infix("/", node.left, node.right, MULTIPLY)

    def spell_power(self, node: n.Power) -> Spelled:
        return f"{self.expr(node.left, ATOM)} ** {node.exponent}", MULTIPLY

    def spell_logic_int(self, node: n.LogicInt) -> Spelled:
        return f"(int) ({self.spell_logic(node)[0]})", UNARY

    def spell_value_logic(self, node: n.ValueLogic) -> Spelled:
        if node.op == "or" and (node.type == n.INT) != self.is_naive(node):
            return f"{self.expr(node.left, OR)} ?: {self.expr(node.right, OR)}", TERNARY
        if node.type == n.STR and self.is_naive(node):
            return f"{self.expr(node.left, OR)} ? {self.expr(node.right, OR)} : {self.expr(node.left, OR)}", TERNARY
        if node.type == n.INT:
            return super().spell_value_logic(node)
        left, right = self.expr(node.left, OR), self.expr(node.right, OR)
        return f"{self.expr(node.left, ADD)} !== '' ? " + (
            f"{left} : {right}" if node.op == "or" else f"{right} : {left}"
        ), TERNARY

    def spell_truth(self, node: n.Truth) -> Spelled:
        if node.operand.type == n.STR and not self.is_naive(node):
            return f"{self.expr(node.operand, ADD)} !== ''", COMPARE
        return self.spell(node.operand)

    def statement(self, node: n.Stmt, depth: int) -> None:
        if isinstance(node, n.Assign) and node.op and node.value.type == n.STR:
            return self.emit(depth, f"${node.name} .= {self.expr(node.value)};")
        super().statement(node, depth)

    def spell_bool_to_int(self, node: n.BoolToInt) -> Spelled:
        return f"(int) ({self.expr(node.operand)})", UNARY

    def spell_abs(self, node: n.Abs) -> Spelled:
        return f"abs({self.expr(node.operand)})", ATOM

    def spell_min_max(self, node: n.MinMax) -> Spelled:
        return f"{node.op}({self.expr(node.left)}, {self.expr(node.right)})", ATOM

    def spell_length(self, node: n.Length) -> Spelled:
        return f"{'count' if node.operand.type.element else 'strlen'}({self.expr(node.operand)})", ATOM

    def spell_concat(self, node: n.Concat) -> Spelled:
        return self.infix(".", node.left, node.right, ADD)

    def spell_int_to_str(self, node: n.IntToStr) -> Spelled:
        return f"(string) {self.expr(node.operand, ATOM)}", UNARY

    def compare(self, op: str, left: n.Expr, right: n.Expr) -> Spelled:
        # "==" on two numeric strings compares numbers in PHP.
        strict = {"==": "===", "!=": "!=="} if left.type == n.STR else {}
        return super().compare(strict.get(op, op), left, right)
