"""Random typed programs, one for each seed."""

from __future__ import annotations

import random
from dataclasses import dataclass

from oorl.errors import UserError
from oorl.programs import nodes as n
from oorl.programs.check import fault
from oorl.programs.config import GeneratorConfig
from oorl.programs.expressions import Expressions
from oorl.programs.prune import prune

_ATTEMPTS = 3000
_ATTEMPTS_A_SHAPE = 25
_LOCALS = "cdehklmnoruvw"
_COUNTERS = "ij"
_ITEMS = "xyz"


def generate_program(seed: int, config: GeneratorConfig) -> n.Program:
    """The program of this seed: bounded, depending on its arguments, using every parameter and variable.

    Raises:
        UserError: the configuration leaves no acceptable program within a fixed number of attempts.
    """
    for attempt in range(_ATTEMPTS):
        # Many attempts share a shape: otherwise what is seldom refused, the short and plain, would prevail.
        shape = _Shape.draw(random.Random(f"{seed}/shape/{attempt // _ATTEMPTS_A_SHAPE}"), config)
        program = _Builder(random.Random(f"{seed}/{attempt}"), config, shape, seed).program()
        if fault(program, config, seed) is None:
            return program
    raise UserError(
        f"no program for seed {seed} in {_ATTEMPTS} attempts; the configuration asks too much of too little: {config}"
    )


@dataclass(frozen=True)
class _Shape:
    """What is decided before any content."""

    params: tuple[n.Type, ...]
    returns: n.Type
    statements: tuple[str, ...]
    divergent: int
    helper: bool

    @staticmethod
    def draw(rng: random.Random, config: GeneratorConfig) -> _Shape:
        def pick(weighted, k=1):
            return tuple(rng.choices([item for item, _ in weighted], [weight for _, weight in weighted], k=k))

        return _Shape(
            params=pick(config.param_types, rng.randint(*config.params)),
            returns=pick(config.return_types)[0],
            statements=pick(config.statement_weights, rng.randint(*config.statements)),
            divergent=rng.randint(*config.divergent),
            helper=rng.random() < config.helper_share,
        )


class _Builder:
    def __init__(self, rng: random.Random, config: GeneratorConfig, shape: _Shape, seed: int):
        self.rng = rng
        self.config = config
        self.shape = shape
        self.seed = seed
        self.expressions = Expressions(rng, config, shape.divergent)
        self.names = {"local": list(_LOCALS), "counter": list(_COUNTERS), "item": list(_ITEMS)}
        self.locked: set[str] = set()  # variables that a loop changes or whose value its end depends on

    def program(self) -> n.Program:
        functions = []
        if self.shape.helper:
            helper = self.helper()
            functions.append(helper)
            self.expressions.scope, self.expressions.unread = [], set()
            self.expressions.helper = helper
        functions.append(self.entry())
        return prune(n.Program(tuple(functions), self.seed))

    def helper(self) -> n.Function:
        params = tuple(n.Var(name, n.INT) for name in "pq"[: self.rng.randint(1, 2)])
        self.declare(*params)
        body: list[n.Stmt] = []
        if self.rng.random() < 0.5:
            test = self.expressions.of(n.BOOL, 1)
            body.append(n.If(test, (n.Return(self.expressions.of(n.INT, 1)),)))
        body.append(n.Return(self.expressions.of(n.INT, 2)))
        return n.Function("g", params, n.INT, tuple(body))

    def entry(self) -> n.Function:
        params = self.parameters()
        self.names["local"] = [name for name in self.names["local"] if name not in {p.name for p in params}]
        self.declare(*params)
        returns = self.shape.returns
        # A list is written, then returned: it stays out of scope meanwhile.
        result = n.Var(self.names["local"].pop(), returns) if returns.element else None
        body = [n.Declare(result.name, returns, None)] if result else []
        for kind in self.shape.statements:
            body += self.statement(kind, returns)
        body += self.fill(result) if result else []
        return n.Function("f", params, returns, (*body, n.Return(result or self.final(returns))))

    def parameters(self) -> tuple[n.Var, ...]:
        pools = {n.INTS: ["xs", "ys"], n.STRS: ["ws", "vs"], n.STR: ["s", "t"]}
        plain = list("abcd")
        return tuple(n.Var((pools.get(kind) or plain).pop(0), kind) for kind in self.shape.params)

    def final(self, returns: n.Type) -> n.Expr:
        kinds = (n.INT, n.FLOAT, n.BOOL, n.STR)
        unread = [var for var in self.expressions.scope if var.name in self.expressions.unread and var.type in kinds]
        if unread and unread[-1].type == returns and not self.expressions.wanted and self.rng.random() < 0.7:
            self.expressions.unread.discard(unread[-1].name)
            return unread[-1]
        return self.expressions.of(returns, self.config.depth)

    def declare(self, *variables: n.Var) -> None:
        self.expressions.scope += variables
        self.expressions.unread |= {var.name for var in variables}

    def fill(self, result: n.Var) -> list[n.Stmt]:
        loop = self.loop(lambda: [n.Append(result.name, self.expressions.of(result.type.element, 2))])
        return loop or [n.Append(result.name, self.expressions.of(result.type.element, 2))]

    def statement(self, kind: str, returns: n.Type) -> list[n.Stmt]:
        """One statement of this kind after the declarations it needs; nothing where the scope does not allow it."""
        draw = self.expressions
        if kind == "declare" and self.names["local"]:
            return [self.new_local(draw.pick([(t, w) for t, w in self.config.return_types if not t.element]))]
        if kind == "assign":
            return self.assignment()
        if kind == "if":
            return self.branch()
        if kind == "early_return" and not returns.element:
            return [n.If(draw.of_test(1), (n.Return(draw.of(returns, 1)),))]
        if kind in ("range", "each", "index"):
            return self.accumulate(kind)
        if kind == "while":
            return self.countdown()
        return []

    def new_local(self, kind: n.Type, value: n.Expr | None = None) -> n.Declare:
        value = self.expressions.of(kind, self.config.depth - 1) if value is None else value
        local = n.Var(self.names["local"].pop(0), kind)
        self.declare(local)
        return n.Declare(local.name, kind, value)

    def assignable(self) -> list[n.Var]:
        fixed = set(_COUNTERS) | set(_ITEMS) | self.locked
        return [var for var in self.expressions.scope if var.type in (n.INT, n.FLOAT, n.STR) and var.name not in fixed]

    def assignment(self) -> list[n.Stmt]:
        variables = self.assignable()
        if not variables:
            return []
        var = self.rng.choice(variables)
        op = "+" if var.type == n.STR else self.rng.choice(("+", "+", "-", "*"))
        value = self.expressions.of(var.type, self.config.depth - 1)
        return [n.Assign(var.name, op, value)]

    def branch(self) -> list[n.Stmt]:
        test = self.expressions.of_test(1)
        then = self.nested(self.assignment)
        if not then:
            return []
        otherwise = self.nested(self.assignment) if self.rng.random() < 0.4 else []
        return [n.If(test, tuple(then), tuple(otherwise))]

    def nested(self, make) -> list[n.Stmt]:
        size = len(self.expressions.scope)
        body = make()
        del self.expressions.scope[size:]
        return body

    def accumulate(self, kind: str) -> list[n.Stmt]:
        """A local, and a loop that changes it."""
        if not self.names["local"]:
            return []
        start = self.new_local(n.INT, n.Literal(self.rng.choice((0, 0, 1)), n.INT) if self.rng.random() < 0.7 else None)
        outer, self.locked = self.locked, self.locked | {start.name}
        loop = self.loop(lambda: self.update(start.name), kind)
        self.locked = outer
        return [start, *loop] if loop else [start]

    def update(self, name: str) -> list[n.Stmt]:
        change = n.Assign(
            name, self.rng.choice(("+", "+", "+", "-")), self.expressions.of(n.INT, self.config.depth - 1)
        )
        if self.rng.random() < 0.35:
            return [n.If(self.expressions.of_test(1), (change,))]
        return [change]

    def loop(self, body, kind: str | None = None) -> list[n.Stmt]:
        """A loop over a list or a range around what ``body()`` draws."""
        draw = self.expressions
        if kind == "index":
            return self.walk_by_position(body)
        lists = [var for var in draw.scope if var.type.element]
        if lists and self.names["item"] and (kind == "each" or (kind is None and self.rng.random() < 0.6)):
            items = self.rng.choice(lists)
            draw.unread.discard(items.name)
            item = n.Var(self.names["item"].pop(0), items.type.element)
            return [n.ForEach(item.name, items, tuple(self.within(item, body)))]
        if not self.names["counter"] or kind == "each":
            return []
        counter = n.Var(self.names["counter"].pop(0), n.INT)
        inclusive = self.config.dialect == "cpp" or (self.config.dialect == "mixed" and self.rng.random() < 0.5)
        if inclusive and draw.wanted <= 0:
            inclusive = self.rng.random() < 0.3
        draw.wanted -= 1
        start, stop = self.bounds()
        read = {node.name for node in n.walk(stop) if isinstance(node, n.Var)}
        outer, self.locked = self.locked, self.locked | read
        loop = n.ForRange(counter.name, start, stop, inclusive, tuple(self.within(counter, body)))
        self.locked = outer
        return [loop]

    def walk_by_position(self, body) -> list[n.Stmt]:
        draw = self.expressions
        lists = [var for var in draw.scope if var.type == n.INTS]
        if not lists or not self.names["counter"]:
            return []
        items, counter = self.rng.choice(lists), n.Var(self.names["counter"].pop(0), n.INT)
        draw.elements.append(n.Index(items, counter))
        made = self.within(counter, body)
        draw.elements.pop()
        return [n.ForRange(counter.name, n.Literal(0, n.INT), n.Length(items), False, tuple(made))]

    def bounds(self) -> tuple[n.Expr, n.Expr]:
        params = [var for var in self.expressions.scope if var.type == n.INT and var.name not in self.locked]
        stop: n.Expr = (
            self.rng.choice(params) if params and self.rng.random() < 0.8 else n.Literal(self.rng.randint(5, 9), n.INT)
        )
        if isinstance(stop, n.Var):
            self.expressions.unread.discard(stop.name)
        others = [var for var in params if var != stop]
        start: n.Expr = n.Literal(self.rng.choice((0, 1, 1, 2)), n.INT)
        if others and self.rng.random() < 0.3:
            start = self.rng.choice(others)
            self.expressions.unread.discard(start.name)
        return start, stop

    def within(self, var: n.Var, body) -> list[n.Stmt]:
        self.declare(var)
        made = body()
        self.expressions.scope.remove(var)
        return made

    def countdown(self) -> list[n.Stmt]:
        """``while v > k`` around a step that brings v down."""
        variables = [var for var in self.assignable() if var.type == n.INT]
        if not variables or not self.names["local"]:
            return []
        var = self.rng.choice(variables)
        total = self.new_local(n.INT, n.Literal(0, n.INT))
        self.locked = self.locked | {var.name}
        mode = "floor" if self.expressions.python_like() else "trunc"
        divisor = n.Literal(self.rng.choice(self.config.divisors), n.INT)
        step = (
            n.Assign(var.name, "", n.Div(mode, var, divisor))
            if self.rng.random() < 0.6
            else n.Assign(var.name, "-", n.Literal(self.rng.randint(1, 4), n.INT))
        )
        change = self.update(total.name)
        self.locked = self.locked - {var.name}
        test = n.Compare(">", var, n.Literal(self.rng.randint(0, 3), n.INT))
        self.expressions.unread.discard(var.name)
        return [total, n.While(test, (*change, step))]
