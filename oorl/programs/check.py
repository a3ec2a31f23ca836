"""Arguments to run a program on, and what a drawn program must fulfil to be kept."""

from __future__ import annotations

import random
from typing import Any

from oorl.programs import nodes as n
from oorl.programs.config import GeneratorConfig
from oorl.programs.interpret import Undefined, evaluate
from oorl.programs.prune import unread
from oorl.programs.transliterate import CANDIDATES, LANGUAGES, divergence_of

_EDGES = (0, 1, -1, 2, -2, 3, -3, -5, 7, -7, 10, -10)
_WORDS = ("", "0", "a", "abc", "x y", "-1", "00", "cab")
_TRIALS = 24


def sample_args(program: n.Program, rng: random.Random) -> list[Any]:
    """Arguments rich in what separates meanings: negatives, zero, empty strings and lists, ``"0"``."""
    return [_sample(kind, rng) for _, kind in program.signature.params]


def _sample(kind: n.Type, rng: random.Random) -> Any:
    match kind.kind:
        case "int":
            return rng.choice(_EDGES) if rng.random() < 0.4 else rng.randint(-25, 25)
        case "float":
            return rng.randint(-40, 40) / 4
        case "bool":
            return rng.random() < 0.5
        case "str":
            return rng.choice(_WORDS) if rng.random() < 0.7 else "".join(rng.choices("abcxyz01 _", k=rng.randint(1, 6)))
    return [_sample(kind.element, rng) for _ in range(rng.choice((0, 1, 2, 3, 4, 5)))]


def run(program: n.Program, args: list, naive: frozenset[str] = frozenset()) -> Any:
    """The value, or None where it is undefined (no program returns None)."""
    try:
        return evaluate(program, args, naive=naive)
    except Undefined:
        return None


def divergent_names(program: n.Program) -> frozenset[str]:
    """Every construct that some pair of languages reads differently."""
    nodes = [node for node in n.walk(program) if isinstance(node, CANDIDATES)]
    found = {divergence_of(node, s, t) for node in nodes for s in ("python", "cpp") for t in LANGUAGES}
    return frozenset(found - {None})


def _diverges(node: n.Node, sources: tuple[str, ...]) -> bool:
    return isinstance(node, CANDIDATES) and any(divergence_of(node, s, t) for s in sources for t in LANGUAGES)


def fault(program: n.Program, config: GeneratorConfig, seed: int) -> str | None:
    """Why a drawn program is not kept, or None.

    It must be defined on most arguments, depend on each of them, and every construct it holds that languages read
    differently must show: some argument gives another value under the other reading.
    """
    reason = _structural_fault(program, config)
    if reason:
        return reason
    rng = random.Random(f"args/{seed}")
    trials = [sample_args(program, rng) for _ in range(_TRIALS)]
    values: list[Any] = []
    for args in trials:
        values.append(run(program, args))
        if values.count(None) > 0.25 * _TRIALS:
            return "undefined too often"
        if len(values) == _TRIALS // 2 and len({repr(value) for value in values}) == 1:
            return "hardly depends on its arguments"
    defined = [repr(value) for value in values if value is not None]
    if max(defined.count(text) for text in set(defined)) > 0.85 * len(defined):
        return "hardly depends on its arguments"
    for position in range(len(program.signature.params)):
        # Swap one argument for the next trial's: something must change, or the parameter is idle.
        moved = [[*a[:position], b[position], *a[position + 1 :]] for a, b in zip(trials, trials[1:], strict=False)]
        if not _differ(program, moved, values, frozenset()):
            return "an idle parameter"
    for name in divergent_names(program):
        if not _differ(program, trials, values, frozenset({name})):
            return f"{name} makes no difference"
    return None


def _structural_fault(program: n.Program, config: GeneratorConfig) -> str | None:
    """What can be seen without running."""
    nodes = list(n.walk(program))
    if not config.nodes[0] <= sum(type(node) in n.EXPR_TYPES for node in nodes) <= config.nodes[1]:
        return "too small or too large"
    sources = {"python": ("python",), "cpp": ("cpp",), "mixed": ("python", "cpp")}[config.dialect]
    count = sum(_diverges(node, sources) for node in nodes)
    if len(program.signature.params) < config.params[0]:
        return "too few parameters"
    if not config.divergent[0] <= count <= config.divergent[1]:
        return "the wrong number of divergent constructs"
    if any(pointless(node) for node in nodes):
        return "a pointless expression"
    if any(unread(function) for function in program.functions):
        return "an unread variable"
    return None


def _differ(program: n.Program, trials: list[list], values: list, naive: frozenset[str]) -> bool:
    """Whether at least two of the trials give another value than ``values`` has."""
    found = 0
    for args, value in zip(trials, values, strict=False):
        found += value is not None and repr(run(program, args, naive)) != repr(value)
        if found == 2:
            return True
    return False


def pointless(node: n.Node) -> bool:
    """An expression that a person would not have written, or a loop whose end moves under it."""
    match node:
        case n.ForRange():
            read = {var.name for var in n.walk(node.stop) if isinstance(var, n.Var)}
            return any(isinstance(inner, n.Assign) and inner.name in read | {node.var} for inner in n.walk(node))
        case n.Declare():
            return isinstance(node.value, n.Var)
        case n.Function():
            return isinstance(node.body[0], n.Return) and isinstance(node.body[0].value, n.Var)
        case n.If():
            return node.then == node.otherwise or isinstance(node.test, n.Literal)
        case n.Assign():
            return node.op == "-" and node.value == n.Var(node.name, node.value.type)
        case n.Chain():
            return node.middle in (node.left, node.right) or isinstance(node.middle, n.Literal)
        case n.Abs() | n.Neg() | n.Not() | n.Power() | n.IntToStr() | n.BoolToInt():
            operand = node.left if isinstance(node, n.Power) else node.operand
            return isinstance(operand, n.Literal) or type(operand) is type(node)
        case n.Arith("+") | n.Concat():
            return isinstance(node.left, n.Literal) and isinstance(node.right, n.Literal)
        case n.Arith("*"):
            return isinstance(node.left, n.Literal)
        case n.Logic():
            return node.left == node.right or isinstance(node.left, n.Literal) or isinstance(node.right, n.Literal)
        case (
            n.Arith()
            | n.Compare()
            | n.MinMax()
            | n.ValueLogic()
            | n.LogicInt()
            | n.Conditional()
            | n.Div()
            | n.Mod()
            | n.FloatDiv()
        ):
            return node.left == node.right or isinstance(node.left, n.Literal) and not isinstance(node, n.Conditional)
    return False
