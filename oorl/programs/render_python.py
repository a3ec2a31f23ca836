"""Python."""

from __future__ import annotations

from oorl.programs import nodes as n
from oorl.programs.render_base import ADD, AND, ATOM, COMPARE, MULTIPLY, NOT, OR, TERNARY, UNARY, Renderer, Spelled

_LOGIC = {"and": AND, "or": OR}


class PythonRenderer(Renderer):
    language = "python"

    def literal(self, value, kind) -> str:
        return repr(value)

    def open_function(self, function: n.Function) -> None:
        self.emit(0, f"def {function.name}({', '.join(param.name for param in function.params)}):")

    def close_function(self) -> None:
        pass

    def statement(self, node: n.Stmt, depth: int) -> None:
        match node:
            case n.Declare(name, _, value):
                self.emit(depth, f"{name} = {'[]' if value is None else self.expr(value)}")
            case n.Assign(name, op, value):
                self.emit(depth, f"{name} {op}= {self.expr(value)}")
            case n.Append(name, value):
                self.emit(depth, f"{name}.append({self.expr(value)})")
            case n.If(test, then, otherwise):
                self.emit(depth, f"if {self.expr(test)}:")
                self.block(then, depth + 1)
                if otherwise:
                    self.emit(depth, "else:")
                    self.block(otherwise, depth + 1)
            case n.ForRange(var, _, _, _, body):
                self.emit(depth, f"for {var} in range({self.bounds(node)}):")
                self.block(body, depth + 1)
            case n.ForEach(var, items, body):
                self.emit(depth, f"for {var} in {items.name}:")
                self.block(body, depth + 1)
            case n.While(test, body):
                self.emit(depth, f"while {self.expr(test)}:")
                self.block(body, depth + 1)
            case n.Return(value):
                self.emit(depth, f"return {self.expr(value)}")

    def bounds(self, loop: n.ForRange) -> str:
        stop = self.expr(loop.stop)
        if loop.inclusive and not self.is_naive(loop):
            literal = isinstance(loop.stop, n.Literal)
            stop = str(loop.stop.value + 1) if literal else f"{self.expr(loop.stop, ADD)} + 1"
        return stop if loop.start == n.Literal(0, n.INT) else f"{self.expr(loop.start)}, {stop}"

    def spell_div(self, node: n.Div) -> Spelled:
        if node.mode == "floor" or self.is_naive(node):
            return self.infix("//", node.left, node.right, MULTIPLY)
        return f"int({self.infix('/', node.left, node.right, MULTIPLY)[0]})", ATOM

    def spell_mod(self, node: n.Mod) -> Spelled:
        if node.mode == "floor" or self.is_naive(node):
            return self.infix("%", node.left, node.right, MULTIPLY)
        quotient = f"int({self.infix('/', node.left, node.right, MULTIPLY)[0]})"
        return f"{self.expr(node.left, ADD)} - {quotient} * {self.expr(node.right, UNARY)}", ADD

    def spell_float_div(self, node: n.FloatDiv) -> Spelled:
        return self.infix("/", node.left, node.right, MULTIPLY)

    def spell_power(self, node: n.Power) -> Spelled:
        return f"{self.expr(node.left, ATOM)} ** {node.exponent}", UNARY

    def spell_abs(self, node: n.Abs) -> Spelled:
        return f"abs({self.expr(node.operand)})", ATOM

    def spell_min_max(self, node: n.MinMax) -> Spelled:
        return f"{node.op}({self.expr(node.left)}, {self.expr(node.right)})", ATOM

    def spell_chain(self, node: n.Chain) -> Spelled:
        parts = (self.expr(part, ADD) for part in (node.left, node.middle, node.right))
        left, middle, right = parts
        return f"{left} {node.op1} {middle} {node.op2} {right}", COMPARE

    def spell_logic(self, node: n.Logic) -> Spelled:
        return self.infix(node.op, node.left, node.right, _LOGIC[node.op])

    spell_value_logic = spell_logic

    def spell_logic_int(self, node: n.LogicInt) -> Spelled:
        text, level = self.spell_logic(node)
        return (text, level) if self.is_naive(node) else (f"int(bool({text}))", ATOM)

    def spell_not(self, node: n.Not) -> Spelled:
        return f"not {self.expr(node.operand, NOT)}", NOT

    def spell_truth(self, node: n.Truth) -> Spelled:
        return self.spell(node.operand)

    def spell_bool_to_int(self, node: n.BoolToInt) -> Spelled:
        return f"int({self.expr(node.operand)})", ATOM

    def spell_conditional(self, node: n.Conditional) -> Spelled:
        return f"{self.expr(node.left, OR)} if {self.expr(node.test, OR)} else {self.expr(node.right, OR)}", TERNARY

    def spell_length(self, node: n.Length) -> Spelled:
        return f"len({self.expr(node.operand)})", ATOM

    def spell_index(self, node: n.Index) -> Spelled:
        return f"{self.expr(node.operand, ATOM)}[{self.expr(node.position)}]", ATOM

    def spell_concat(self, node: n.Concat) -> Spelled:
        return self.infix("+", node.left, node.right, ADD)

    def spell_int_to_str(self, node: n.IntToStr) -> Spelled:
        return f"str({self.expr(node.operand)})", ATOM

    def spell_call(self, node: n.Call) -> Spelled:
        return f"{node.name}({', '.join(self.expr(arg) for arg in node.args)})", ATOM
