"""C++17."""

from __future__ import annotations

from oorl.programs import nodes as n
from oorl.programs.render_base import ATOM, UNARY, Spelled, double_quoted
from oorl.programs.render_curly import CurlyRenderer

TYPES = {n.INT: "long long", n.FLOAT: "double", n.BOOL: "bool", n.STR: "std::string"}


class CppRenderer(CurlyRenderer):
    language = "cpp"

    def literal(self, value, kind) -> str:
        if kind == n.STR:
            return double_quoted(value, _ESCAPE)
        return str(value).lower() if kind == n.BOOL else repr(value)

    def typed(self, kind: n.Type) -> str:
        return f"std::vector<{TYPES[kind.element]}>" if kind.element else TYPES[kind]

    def open_function(self, function: n.Function) -> None:
        params = ", ".join(f"{self._passed(param.type)}{param.name}" for param in function.params)
        self.emit(0, f"{self.typed(function.returns)} {function.name}({params}) {{")

    def _passed(self, kind: n.Type) -> str:
        return f"const {self.typed(kind)}& " if kind.element else f"{self.typed(kind)} "

    def declare(self, name: str, kind: n.Type, value: str) -> str:
        return f"{self.typed(kind)} {name};" if kind.element else super().declare(name, kind, value)

    def new_list(self, kind: n.Type) -> str:
        return ""

    def append(self, name: str, value: n.Expr) -> str:
        return f"{name}.push_back({self.expr(value)});"

    def for_each(self, var: str, items: n.Var) -> str:
        return f"for ({self.typed(items.type.element)} {var} : {items.name}) {{"

    def spell_truth(self, node: n.Truth) -> Spelled:
        if node.operand.type == n.INT:
            return self.spell(node.operand)
        return f"!{self.expr(node.operand, ATOM)}.empty()", UNARY

    def spell_abs(self, node: n.Abs) -> Spelled:
        return f"std::abs({self.expr(node.operand)})", ATOM

    def spell_min_max(self, node: n.MinMax) -> Spelled:
        return f"std::{node.op}<{TYPES[node.type]}>({self.expr(node.left)}, {self.expr(node.right)})", ATOM

    def spell_length(self, node: n.Length) -> Spelled:
        # Signed at once: the unsigned size would drag comparisons and subtractions with it.
        return f"(long long){self.expr(node.operand, ATOM)}.size()", UNARY

    def spell_index(self, node: n.Index) -> Spelled:
        text, strength = super().spell_index(node)
        return (f"std::string(1, {text})", ATOM) if node.operand.type == n.STR else (text, strength)

    def spell_int_to_str(self, node: n.IntToStr) -> Spelled:
        return f"std::to_string({self.expr(node.operand)})", ATOM

    def spell_concat(self, node: n.Concat) -> Spelled:
        text, level = super().spell_concat(node)
        if not _is_array(node.left):
            return text, level
        # Two arrays of characters do not add: the first one becomes a string.
        return f"std::string({self.expr(node.left)}) + {self.expr(node.right, level + 1)}", level


def _is_array(node: n.Expr) -> bool:
    """Whether C++ sees an array of characters here, not a std::string."""
    if isinstance(node, n.Conditional):
        return _is_array(node.left) and _is_array(node.right)
    return isinstance(node, n.Literal)


_ESCAPE = '\\"?'  # "?" too, against trigraphs
