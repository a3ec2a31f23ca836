"""Bash 5: ints live in arithmetic, a bool is the word ``true`` or ``false`` (a command), a list arrives by name.

Scalars are positional parameters, a list is the name of a caller's array (``local -n``). The function prints its
result; a list result is printed one element a line.
"""

from __future__ import annotations

from oorl.programs import nodes as n
from oorl.programs.render_base import ATOM, OR, UNARY, Spelled
from oorl.programs.render_curly import CurlyRenderer


class BashRenderer(CurlyRenderer):
    language = "bash"
    scalars = frozenset({"int", "bool", "str"})

    def open_function(self, function: n.Function) -> None:
        self.emit(0, f"{function.name}() {{")
        scalars = [f"{p.name}=${i}" for i, p in enumerate(function.params, 1) if not p.type.element]
        for i, param in enumerate(function.params, 1):
            if param.type.element:
                self.emit(1, f"local -n {param.name}=${i}")
        if scalars:
            self.emit(1, "local " + " ".join(scalars))

    def block(self, body: tuple[n.Stmt, ...], depth: int) -> None:
        for statement in body:
            self.statement(statement, depth)
            if isinstance(statement, n.Return) and depth > 1:
                self.emit(depth, "return")

    def statement(self, node: n.Stmt, depth: int) -> None:
        match node:
            case n.Declare(name, _, None):
                self.emit(depth, f"local {name}=()")
            case n.Declare(name, _, value):
                self.emit(depth, f"local {name}={self.word(value)}")
            case n.Assign(name, op, value) if op and value.type == n.INT:
                self.emit(depth, f"(({name} {op}= {self.expr(value)}))")
            case n.Assign(name, op, value):
                self.emit(depth, f"{name}{op}={self.word(value)}")
            case n.Append(name, value):
                self.emit(depth, f"{name}+=({self.word(value)})")
            case n.If(test, then, otherwise):
                self.emit(depth, f"if {self.command(test)}; then")
                self.block(then, depth + 1)
                if otherwise:
                    self.emit(depth, "else")
                    self.block(otherwise, depth + 1)
                self.emit(depth, "fi")
            case n.ForRange(i, start, stop, _, body):
                test = f"{i} {self.loop_test(node)} {self.expr(stop, OR)}"
                self.emit(depth, f"for (({i} = {self.expr(start)}; {test}; {i}++)); do")
                self.block(body, depth + 1)
                self.emit(depth, "done")
            case n.ForEach(var, items, body):
                self.emit(depth, f'for {var} in "${{{items.name}[@]}}"; do')
                self.block(body, depth + 1)
                self.emit(depth, "done")
            case n.While(test, body):
                self.emit(depth, f"while {self.command(test)}; do")
                self.block(body, depth + 1)
                self.emit(depth, "done")
            case n.Return(value):
                self.emit(depth, self.output(value))

    def output(self, value: n.Expr) -> str:
        """The command that prints a result."""
        if value.type.element:  # printf would print one empty line for an empty array
            return f"[[ ${{#{value.name}[@]}} == 0 ]] || printf '%s\\n' \"${{{value.name}[@]}}\""
        if value.type == n.STR:  # echo would take "-n" for an option
            return f"printf '%s\\n' {self.word(value)}"
        if value.type == n.BOOL and not isinstance(value, (n.Var, n.Literal, n.Call)):
            return f"{self.command(value)} && echo true || echo false"
        return f"echo {self.word(value)}"

    def word(self, node: n.Expr) -> str:
        """The value as one shell word."""
        if node.type == n.STR:
            return f'"{self.quoted(node)}"'
        match node:
            case n.Literal(value, _):
                return str(value).lower()
            case n.Var(name, _):
                return f"${name}"
            case n.Call():
                return self.spell_call(node)[0]
        if node.type == n.BOOL:
            return substitution(f"{self.command(node)} && echo true || echo false")
        return f"$(({self.expr(node)}))"

    def quoted(self, node: n.Expr, follows: str = "") -> str:
        """A string expression as it stands between double quotes; ``follows`` is the text after it."""
        match node:
            case n.Literal(value, _):
                return "".join("\\" + char if char in '\\"$`' else char for char in value)
            case n.Var(name, _):
                return f"${{{name}}}" if follows[:1].isalnum() or follows[:1] in ("_", "[") else f"${name}"
            case n.Concat(left, right):
                tail = self.quoted(right, follows)
                return self.quoted(left, tail or follows) + tail
            case n.IntToStr(n.Var() as operand):
                return self.quoted(operand, follows)
            case n.IntToStr(operand):
                return self.word(operand)
            case n.Index(operand, position):
                at = self.expr(position, OR)
                return f"${{{operand.name}:{at}:1}}" if operand.type == n.STR else f"${{{operand.name}[{at}]}}"
            case n.ValueLogic(op, left, right):
                other = self.quoted(right).replace("}", "\\}") if isinstance(right, n.Literal) else self.quoted(right)
                return f"${{{left.name}:{'-' if op == 'or' else '+'}{other}}}"
            case n.Conditional(test, left, right):
                yes, no = (f"printf %s {self.word(side)}" for side in (left, right))
                return substitution(f"{self.command(test)} && {yes} || {no}")
        return self.spell_call(node)[0]

    def command(self, node: n.Expr) -> str:
        """A test as a command whose exit status is the answer."""
        if is_arithmetic(node):
            return f"(({self.expr(node)}))"
        match node:
            case n.Not(operand):
                inner = self.command(operand)
                return f"! {{ {inner}; }}" if isinstance(operand, n.Logic) else f"! {inner}"
            case n.Logic(op, left, right):
                # Both operators bind alike and to the left in the shell: only a compound right side needs braces.
                tail = self.command(right)
                tail = f"{{ {tail}; }}" if isinstance(right, n.Logic) and not is_arithmetic(right) else tail
                return f"{self.command(left)} {'&&' if op == 'and' else '||'} {tail}"
            case n.Truth(operand):
                return f"[[ {self.word(operand)} ]]"
            case n.Compare(op, left, right):
                return f"[[ {self.word(left)} {op} {self.word(right)} ]]"
        return self.word(node)

    def literal(self, value, kind) -> str:
        return str(value)

    def spell_truth(self, node: n.Truth) -> Spelled:
        if node.operand.type.element:
            return self.spell_length(n.Length(node.operand))
        return self.spell(node.operand)

    def spell_bool_to_int(self, node: n.BoolToInt) -> Spelled:
        if is_arithmetic(node.operand):
            return super().spell_bool_to_int(node)
        return substitution(f"{self.command(node.operand)} && echo 1 || echo 0"), ATOM

    def spell_conditional(self, node: n.Conditional) -> Spelled:
        if is_arithmetic(node.test):
            return super().spell_conditional(node)
        yes, no = self.word(node.left), self.word(node.right)
        return substitution(f"{self.command(node.test)} && echo {yes} || echo {no}"), UNARY

    def spell_abs(self, node: n.Abs) -> Spelled:
        test = n.Compare("<", node.operand, n.Literal(0, n.INT))
        return self.spell_conditional(n.Conditional(test, n.Neg(node.operand), node.operand))

    def spell_min_max(self, node: n.MinMax) -> Spelled:
        test = n.Compare("<" if node.op == "min" else ">", node.left, node.right)
        return self.spell_conditional(n.Conditional(test, node.left, node.right))

    def spell_power(self, node: n.Power) -> Spelled:
        return f"{self.expr(node.left, ATOM)} ** {node.exponent}", UNARY - 1

    def spell_length(self, node: n.Length) -> Spelled:
        name = node.operand.name
        return f"${{#{name}[@]}}" if node.operand.type.element else f"${{#{name}}}", ATOM

    def spell_call(self, node: n.Call) -> Spelled:
        # The text of the output replaces it: a negative number must not meet another minus.
        return f"$({' '.join([node.name, *(self.word(arg) for arg in node.args)])})", UNARY


def substitution(command: str) -> str:
    """What the command prints; the space keeps ``$( (( ... )) && ...)`` from being read as arithmetic."""
    return f"$( {command})" if command.startswith("(") else f"$({command})"


def is_arithmetic(node: n.Expr) -> bool:
    """Whether a test can be spelled inside ``(( ))``."""
    match node:
        case n.Compare(_, left, _):
            return left.type == n.INT
        case n.Chain():
            return True
        case n.Logic(_, left, right):
            return is_arithmetic(left) and is_arithmetic(right)
        case n.Not(operand):
            return is_arithmetic(operand)
        case n.Truth(operand):
            return operand.type != n.STR
    return False
