"""C: int, float and bool scalars, and ``list[int]`` parameters as pointer and length."""

from __future__ import annotations

from oorl.programs import nodes as n
from oorl.programs.render_base import ATOM, COMPARE, Spelled
from oorl.programs.render_curly import CurlyRenderer

TYPES = {n.INT: "long long", n.FLOAT: "double", n.BOOL: "bool"}


class CRenderer(CurlyRenderer):
    language = "c"
    scalars = frozenset({"int", "float", "bool"})

    @classmethod
    def unsupported(cls, program: n.Program) -> str | None:
        for node in n.walk(program):
            if (
                isinstance(node, n.Declare)
                and node.type.element
                or isinstance(node, n.Function)
                and node.returns.element
            ):
                return "c has no local or returned lists here"
        return super().unsupported(program)

    def literal(self, value, kind) -> str:
        return str(value).lower() if kind == n.BOOL else repr(value)

    def typed(self, kind: n.Type) -> str:
        return TYPES[kind]

    def open_function(self, function: n.Function) -> None:
        params = ", ".join(
            f"const long long *{p.name}, long long {p.name}_len" if p.type.element else f"{TYPES[p.type]} {p.name}"
            for p in function.params
        )
        self.emit(0, f"{TYPES[function.returns]} {function.name}({params}) {{")

    def statement(self, node: n.Stmt, depth: int) -> None:
        if not isinstance(node, n.ForEach):
            return super().statement(node, depth)
        i = node.var + "_i"
        self.emit(depth, f"for (long long {i} = 0; {i} < {node.items.name}_len; {i}++) {{")
        self.emit(depth + 1, f"long long {node.var} = {node.items.name}[{i}];")
        self.block(node.body, depth + 1)
        self.emit(depth, "}")

    def spell_truth(self, node: n.Truth) -> Spelled:
        return (f"{node.operand.name}_len > 0", COMPARE) if node.operand.type.element else self.spell(node.operand)

    def spell_abs(self, node: n.Abs) -> Spelled:
        return f"{'llabs' if node.type == n.INT else 'fabs'}({self.expr(node.operand)})", ATOM

    def spell_min_max(self, node: n.MinMax) -> Spelled:
        test = n.Compare("<" if node.op == "min" else ">", node.left, node.right)
        return self.spell_conditional(n.Conditional(test, node.left, node.right, node.type))

    def spell_length(self, node: n.Length) -> Spelled:
        return f"{node.operand.name}_len", ATOM
