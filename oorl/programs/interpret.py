"""The reference interpreter: what a program means, independently of every language it is rendered in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from oorl.programs import nodes as n
from oorl.programs.transliterate import keeps_its_end

BOUND = 2**31  # every int stays below this in magnitude, so that no language's integers can overflow or round
MAX_STEPS = 1000
_DYADIC = 2.0**16  # floats are multiples of 2^-16 below BOUND: 47 bits, so sums, products and comparisons stay exact


class Undefined(Exception):
    """No agreed meaning on these arguments: a value out of bounds, a zero divisor, a bad index, or too many steps."""


def evaluate(program: n.Program, args: Sequence[Any], *, naive: frozenset[str] = frozenset()) -> Any:
    """The program's value on ``args``.

    ``naive`` names constructs (see ``divergences``) to misread the way a transliteration does; empty is the true
    meaning.

    Raises:
        Undefined: the arguments lie outside what every language agrees on.
    """
    return _Run(program, naive).call(program.functions[-1], args)


class _Returned(Exception):
    def __init__(self, value: Any):
        self.value = value


class _Run:
    def __init__(self, program: n.Program, naive: frozenset[str]):
        self.functions = {function.name: function for function in program.functions}
        self.naive = naive
        self.steps = 0

    def call(self, function: n.Function, args: Sequence[Any]) -> Any:
        scope = {param.name: value for param, value in zip(function.params, args, strict=True)}
        for value in scope.values():
            _checked(value)
        try:
            self.block(function.body, scope)
        except _Returned as result:
            return result.value
        raise Undefined("the end of the function was reached without a result")

    def block(self, body: Sequence[n.Stmt], scope: dict) -> None:
        for statement in body:
            self.statement(statement, scope)

    def statement(self, node: n.Stmt, scope: dict) -> None:
        self.tick()
        match node:
            case n.Declare(name, _, value):
                scope[name] = [] if value is None else self.value(value, scope)
            case n.Assign(name, "", value):
                scope[name] = self.value(value, scope)
            case n.Assign(name, op, value):
                scope[name] = self.value(n.Arith(op, n.Var(name, value.type), value, value.type), scope)
            case n.Append(name, value):
                scope[name].append(self.value(value, scope))
            case n.If(test, then, otherwise):
                self.block(then if self.value(test, scope) else otherwise, scope)
            case n.ForRange(var, start, stop, inclusive, body):
                at, last = self.value(start, scope), self.value(stop, scope)
                if "inclusive_range" in self.naive and not keeps_its_end(node):
                    inclusive = not inclusive
                while at < last or inclusive and at == last:
                    scope[var] = at
                    self.tick()
                    self.block(body, scope)
                    at += 1
            case n.ForEach(var, items, body):
                for item in scope[items.name]:
                    scope[var] = item
                    self.tick()
                    self.block(body, scope)
            case n.While(test, body):
                while self.value(test, scope):
                    self.tick()
                    self.block(body, scope)
            case n.Return(value):
                raise _Returned(self.value(value, scope))

    def tick(self) -> None:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise Undefined("too many steps")

    def value(self, node: n.Expr, scope: dict) -> Any:
        kind = type(node)
        if kind is n.Var:  # checked when it was assigned
            return scope[node.name]
        if kind is n.Literal:
            return node.value
        value = self.compute(node, scope)
        # Exactness is asked of the true meaning only: a misreading may divide by three.
        return value if self.naive and isinstance(value, float) else _checked(value)

    def compute(self, node: n.Expr, scope: dict) -> Any:
        match node:
            case n.Call(name, args, _):
                self.tick()
                return self.call(self.functions[name], [self.value(arg, scope) for arg in args])
            case n.Conditional(test, left, right, _):
                return self.value(left if self.value(test, scope) else right, scope)
            case n.Logic(op, left, right, _) | n.ValueLogic(op, left, right, _) | n.LogicInt(op, left, right, _):
                return self.logic(node, op, self.value(left, scope), right, scope)
            case n.Chain(op1, op2, left, middle, right, _):
                return self.chain(op1, op2, [self.value(part, scope) for part in (left, middle, right)])
            case n.Power(left, exponent, _):
                base = self.value(left, scope)
                return base ^ exponent if "power" in self.naive else base**exponent
            case n.Neg() | n.Abs() | n.Not() | n.Truth() | n.BoolToInt() | n.Length() | n.IntToStr():
                return self.unary(node, self.value(node.operand, scope))
            case n.Index(operand, position, _):
                items, at = self.value(operand, scope), self.value(position, scope)
                if not isinstance(at, int) or not 0 <= at < len(items):
                    raise Undefined(f"position {at} of {len(items)}")
                return items[at]
            case _:
                return self.binary(node, self.value(node.left, scope), self.value(node.right, scope))

    def unary(self, node: n.Expr, operand: Any) -> Any:
        match node:
            case n.Neg():
                return -operand
            case n.Abs():
                return abs(operand)
            case n.Not():
                return not operand
            case n.BoolToInt():
                return int(operand)
            case n.Length():
                return len(operand)
            case n.IntToStr():
                return str(operand)
            case n.Truth() if "truth_value" in self.naive:
                return operand != "0" if isinstance(operand, str) else True
            case _:
                return bool(operand)

    def binary(self, node: n.Expr, left: Any, right: Any) -> Any:
        match node:
            case n.Arith(op):
                return _arith(op, left, right)
            case n.Div() if "int_float_div" in self.naive and right:
                return int(left / right) if left % right == 0 else left / right
            case n.Div(mode):
                return _divide(left, right, (mode == "floor") != ("floor_div" in self.naive))
            case n.Mod(mode):
                return left - right * _divide(left, right, (mode == "floor") != ("mod_sign" in self.naive))
            case n.FloatDiv():
                return float(_divide(left, right, False)) if "int_float_div" in self.naive else left / right
            case n.MinMax(op):
                return min(left, right) if op == "min" else max(left, right)
            case n.Compare(op):
                return _compare(op, left, right)
            case n.Concat():
                return left + right
        raise TypeError(f"{type(node).__name__} is not an expression")

    def logic(self, node: n.Expr, op: str, left: Any, right: n.Expr, scope: dict) -> Any:
        misread = "value_logic" in self.naive and not isinstance(node, n.Logic)
        truth = left not in ("", "0") if misread and isinstance(left, str) else bool(left)
        value = self.value(right, scope) if truth == (op == "and") else left
        if isinstance(node, n.LogicInt) != (misread and not isinstance(left, str)):
            return int(bool(value))
        return value

    def chain(self, op1: str, op2: str, values: list) -> bool:
        first = _compare(op1, values[0], values[1])
        if "chained_compare" in self.naive:
            return _compare(op2, int(first), values[2])
        return first and _compare(op2, values[1], values[2])


def _arith(op: str, left: Any, right: Any) -> Any:
    return left + right if op == "+" else left - right if op == "-" else left * right


def _divide(left: int, right: int, floor: bool) -> int:
    if right == 0:
        raise Undefined("division by zero")
    quotient = abs(left) // abs(right)
    if (left < 0) == (right < 0):
        return quotient
    return -quotient - (floor and left % right != 0)


def _compare(op: str, left: Any, right: Any) -> bool:
    match op:
        case "<":
            return left < right
        case "<=":
            return left <= right
        case ">":
            return left > right
        case ">=":
            return left >= right
        case "==":
            return left == right
    return left != right


def _checked(value: Any) -> Any:
    if isinstance(value, (int, float)) and not abs(value) < BOUND:
        raise Undefined(f"{value} is out of bounds")
    if isinstance(value, float):
        if not (value * _DYADIC).is_integer():
            raise Undefined(f"{value} has too fine a fraction")
        if value == 0 and math.copysign(1, value) < 0:
            raise Undefined("a negative zero, which not every language can print")
    if isinstance(value, str) and len(value) > 1000:
        raise Undefined("a string over 1000 characters")
    return value
