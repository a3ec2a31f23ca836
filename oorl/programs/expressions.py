"""Random typed expressions."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from oorl.programs import nodes as n
from oorl.programs.check import pointless
from oorl.programs.config import GeneratorConfig

ALPHABET = "abcxyz0123 _-"
_REDRAWS = 6
_COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")


class Expressions:
    """Draws expressions over the variables in ``scope``; ``wanted`` counts the divergent nodes still to place."""

    def __init__(self, rng: random.Random, config: GeneratorConfig, wanted: int):
        self.rng = rng
        self.config = config
        self.wanted = wanted
        self.scope: list[n.Var] = []
        self.unread: set[str] = set()
        self.helper: n.Function | None = None
        self.elements: list[n.Index] = []  # of lists that surrounding loops walk by position

    def pick(self, weighted: Sequence[tuple]):
        return self.rng.choices([item for item, _ in weighted], [weight for _, weight in weighted])[0]

    def python_like(self) -> bool:
        return self.config.dialect == "python" or (self.config.dialect == "mixed" and self.rng.random() < 0.5)

    def var(self, kind: n.Type) -> n.Var | None:
        """A variable of this type, rather one that was not read yet."""
        fitting = [var for var in self.scope if var.type == kind]
        fresh = [var for var in fitting if var.name in self.unread]
        if not fitting:
            return None
        chosen = self.rng.choice(fresh if fresh and self.rng.random() < 0.9 else fitting)
        self.unread.discard(chosen.name)
        return chosen

    def literal(self, kind: n.Type) -> n.Literal:
        rng = self.rng
        match kind.kind:
            case "int":
                return n.Literal(rng.randint(*self.config.literals), n.INT)
            case "float":
                return n.Literal(rng.randint(-8, 24) / 4, n.FLOAT)
            case "bool":
                return n.Literal(rng.random() < 0.5, n.BOOL)
        return n.Literal("".join(rng.choices(ALPHABET, k=rng.randint(1, 3))), n.STR)

    def leaf(self, kind: n.Type) -> n.Expr:
        var = self.var(kind) if self.rng.random() < 0.75 else None
        return var or self.literal(kind)

    def atom(self, kind: n.Type) -> n.Expr:
        """A variable if there is one."""
        return self.var(kind) or self.literal(kind)

    def of(self, kind: n.Type, depth: int) -> n.Expr:
        """An expression of this type."""
        return self.sensible(lambda: self.draw(kind, depth))

    def of_test(self, depth: int) -> n.Expr:
        """What stands after ``if``."""
        return self.sensible(lambda: self.test(depth))

    def sensible(self, make: Callable[[], n.Expr]) -> n.Expr:
        """What ``make`` draws; something pointless such as ``a - a`` is drawn again a few times."""
        for _ in range(_REDRAWS):
            wanted, unread = self.wanted, set(self.unread)
            node = make()
            if not any(pointless(inner) for inner in n.walk(node)):
                break
            self.wanted, self.unread = wanted, unread
        return node

    def draw(self, kind: n.Type, depth: int) -> n.Expr:
        match kind.kind:
            case "int":
                return self.int(depth)
            case "float":
                return self.float(depth)
            case "bool":
                return self.bool(depth)
        return self.str(depth)

    def int(self, depth: int) -> n.Expr:
        if depth <= 0:
            return self.leaf(n.INT)
        if self.wanted > 0 and self.rng.random() < self.config.divergent_share:
            self.wanted -= 1
            return self.divergent_int(depth - 1)
        kinds = [("arith", 6), ("minmax", 1), ("abs", 0.7), ("conditional", 0.8), ("leaf", 1), ("bool", 0.4)]
        if self.has(n.INTS) or self.has(n.STR) or self.has(n.STRS):
            kinds.append(("length", 1.5))
        if self.helper:
            kinds.append(("call", 4))
        if self.elements:
            kinds.append(("element", 8))
        match self.pick(kinds):
            case "arith":
                return self.arith(depth - 1)
            case "minmax":
                return n.MinMax(self.rng.choice(("min", "max")), self.atom(n.INT), self.int(depth - 1))
            case "abs":
                return n.Abs(self.nonliteral(depth - 1))
            case "conditional":
                return n.Conditional(self.test(depth - 1), self.int(depth - 1), self.leaf(n.INT))
            case "bool":
                return n.BoolToInt(self.bool(depth - 1))
            case "length":
                return n.Length(self.any_var(n.INTS, n.STR, n.STRS))
            case "element":
                return self.rng.choice(self.elements)
            case "call":
                return self.call()
        return self.leaf(n.INT)

    def arith(self, depth: int, ops: str = "++--*") -> n.Expr:
        op = self.rng.choice(ops)
        left, right = self.nonliteral(depth), self.int(depth)
        if isinstance(right, n.Literal) and right.value < 0:  # "a - -3" is written "a + 3"
            right = n.Literal(-right.value, n.INT)
        return n.Arith(op, left, right)

    def nonliteral(self, depth: int) -> n.Expr:
        """An int expression that is no literal, as far as there are variables."""
        node = self.int(depth)
        if not isinstance(node, n.Literal):
            return node
        if self.has(n.INT):
            return self.var(n.INT)
        sized = self.any_var(n.INTS, n.STR, n.STRS)
        if sized is not None:
            return n.Length(sized)
        return n.BoolToInt(self.var(n.BOOL)) if self.has(n.BOOL) else node

    def divergent_int(self, depth: int) -> n.Expr:
        python_like = self.python_like()
        mode = "floor" if python_like else "trunc"
        foreign = ("logic_int",) if python_like else ("power", "value_logic")
        match self.pick([(kind, weight) for kind, weight in self.config.construct_weights if kind not in foreign]):
            case "div":
                return n.Div(mode, self.dividend(depth), self.divisor())
            case "mod":
                return n.Mod(mode, self.dividend(depth), self.divisor())
            case "power":
                return n.Power(self.nonliteral(depth - 1), 2 if self.rng.random() < 0.8 else 3)
            case "value_logic":
                op = "or" if self.rng.random() < 0.75 else "and"
                return n.ValueLogic(op, self.nonliteral(depth), self.int(depth))
        return n.LogicInt(self.rng.choice(("and", "or")), self.nonliteral(depth), self.nonliteral(depth))

    def dividend(self, depth: int) -> n.Expr:
        # Mostly small: several languages spell floor division by naming the dividend twice.
        return self.arith(0, "+-") if depth > 0 and self.rng.random() < 0.5 else self.nonliteral(0)

    def divisor(self) -> n.Expr:
        if self.rng.random() < self.config.variable_divisor_share:
            return self.atom(n.INT)
        return n.Literal(self.rng.choice(self.config.divisors), n.INT)

    def float(self, depth: int) -> n.Expr:
        if depth <= 0:
            return self.leaf(n.FLOAT)
        quotient = 3 if any(self.has(kind) for kind in (n.INT, n.INTS, n.STR, n.STRS)) else 0
        match self.pick((("arith", 4), ("quotient", quotient), ("conditional", 1), ("minmax", 1), ("leaf", 1))):
            case "arith":
                op = self.rng.choice("++-*")
                return n.Arith(op, self.float(depth - 1), self.rng.choice((self.float, self.int))(depth - 1), n.FLOAT)
            case "quotient":
                return n.FloatDiv(self.nonliteral(depth - 1), n.Literal(self.rng.choice((2, 4, 8)), n.INT))
            case "conditional":
                return n.Conditional(self.test(depth - 1), self.float(depth - 1), self.leaf(n.FLOAT), n.FLOAT)
            case "minmax":
                return n.MinMax(self.rng.choice(("min", "max")), self.leaf(n.FLOAT), self.float(depth - 1), n.FLOAT)
        return self.leaf(n.FLOAT)

    def bool(self, depth: int) -> n.Expr:
        """A bool that is a value: no truthiness inside, for ``x and y`` returns an operand in some languages."""
        kinds = [("compare", 5), ("logic", 1 if depth > 0 else 0), ("not", 0.4)]
        if self.has(n.BOOL):
            kinds.append(("var", 2))
        if self.has(n.STR):
            kinds.append(("str", 1))
        if self.has(n.FLOAT):
            kinds.append(("float", 2))
        match self.pick(kinds):
            case "compare":
                return self.comparison(depth - 1)
            case "logic":
                return n.Logic(self.rng.choice(("and", "or")), self.bool(depth - 1), self.bool(depth - 1))
            case "not":
                return n.Not(self.var(n.BOOL) or self.comparison(depth - 1))
            case "str":
                return n.Compare(self.rng.choice(("==", "!=")), self.var(n.STR), self.str(min(depth - 1, 1)))
            case "float":
                return n.Compare(self.rng.choice(_COMPARISONS[:4]), self.var(n.FLOAT), self.leaf(n.FLOAT))
        return self.var(n.BOOL)

    def comparison(self, depth: int) -> n.Expr:
        if self.wanted > 0 and self.python_like() and self.rng.random() < self.config.divergent_share * 0.25:
            self.wanted -= 1
            op1, op2 = self.rng.choice((("<", "<"), ("<=", "<"), ("<", "<="), ("<=", "<="), (">", ">=")))
            return n.Chain(op1, op2, self.leaf(n.INT), self.nonliteral(min(depth, 1)), self.leaf(n.INT))
        op = self.rng.choice(_COMPARISONS[:4] if self.rng.random() < 0.7 else _COMPARISONS)
        left = self.nonliteral(depth)
        right = self.leaf(n.INT)
        return n.Compare(op, left, self.literal(n.INT) if right == left else right)

    def test(self, depth: int) -> n.Expr:
        """What stands after ``if``: a bool, or the truth of a value."""
        if self.rng.random() < 0.25:
            operand = self.any_var(n.INT, n.INT, n.STR, n.INTS, n.STRS)
            if operand is not None:
                truth = n.Truth(operand)
                return n.Not(truth) if self.rng.random() < 0.3 else truth
        return self.bool(depth)

    def str(self, depth: int) -> n.Expr:
        if depth <= 0:
            return self.leaf(n.STR)
        kinds = [("concat", 4), ("number", 2), ("conditional", 1), ("leaf", 1)]
        if self.has(n.STR):
            kinds.append(("value_logic", 1.5))
        match self.pick(kinds):
            case "concat":
                return n.Concat(self.str(depth - 1), self.str(depth - 1))
            case "number":
                return n.IntToStr(self.nonliteral(depth - 1))
            case "conditional":
                return n.Conditional(self.test(depth - 1), self.str(depth - 1), self.leaf(n.STR), n.STR)
            case "value_logic":
                return n.ValueLogic(self.rng.choice(("or", "or", "and")), self.var(n.STR), self.leaf(n.STR), n.STR)
        return self.leaf(n.STR)

    def call(self) -> n.Expr:
        helper, self.helper = self.helper, None  # no calls inside a call's arguments
        args = tuple(self.of(param.type, 1) for param in helper.params)
        self.helper = helper
        return n.Call(helper.name, args, helper.returns)

    def has(self, kind: n.Type) -> bool:
        return any(var.type == kind for var in self.scope)

    def any_var(self, *kinds: n.Type) -> n.Var | None:
        present = [kind for kind in kinds if self.has(kind)]
        return self.var(self.rng.choice(present)) if present else None
