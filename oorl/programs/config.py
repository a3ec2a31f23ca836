"""What programs the generator draws."""

from __future__ import annotations

from dataclasses import dataclass

from oorl.errors import UsageError
from oorl.programs.nodes import BOOL, FLOAT, INT, INTS, STR, STRS
from oorl.types import Type

DIALECTS = ("python", "cpp", "mixed")


@dataclass(frozen=True)
class GeneratorConfig:
    """Sizes, types and constructs of the programs; ranges are inclusive pairs, weights need not sum to one."""

    params: tuple[int, int] = (1, 3)
    statements: tuple[int, int] = (2, 5)  # before the final return
    depth: int = 3  # of expressions
    nodes: tuple[int, int] = (8, 90)  # expression nodes of the whole program
    param_types: tuple[tuple[Type, float], ...] = ((INT, 5), (FLOAT, 1), (BOOL, 1), (STR, 2), (INTS, 2), (STRS, 1))
    return_types: tuple[tuple[Type, float], ...] = ((INT, 5), (FLOAT, 1), (BOOL, 2), (STR, 2), (INTS, 1.5), (STRS, 0.5))
    statement_weights: tuple[tuple[str, float], ...] = (
        ("declare", 3), ("assign", 2), ("if", 3), ("early_return", 1.5),
        ("range", 2), ("each", 2), ("index", 0.7), ("while", 1),
    )  # fmt: skip
    construct_weights: tuple[tuple[str, float], ...] = (
        ("div", 3), ("mod", 3), ("power", 0.8), ("value_logic", 1), ("logic_int", 0.6),
    )  # fmt: skip
    helper_share: float = 0.25  # of programs that call a second function
    literals: tuple[int, int] = (-20, 20)
    divisors: tuple[int, ...] = (2, 3, 4, 5, 7, 10)
    dialect: str = "mixed"  # whose operators are drawn: division and modulo as Python or as C means them, or both
    divergent: tuple[int, int] = (0, 4)  # nodes whose meaning some language changes
    divergent_share: float = 0.6  # probability that an expression becomes such a node while some are wanted
    variable_divisor_share: float = 0.15  # of divisors that are expressions, not literals

    def __post_init__(self):
        for name in ("params", "statements", "nodes", "literals", "divergent"):
            low, high = getattr(self, name)
            if low > high:
                raise UsageError(f"GeneratorConfig.{name}: {low} is above {high}; give (lowest, highest)")
        if self.dialect not in DIALECTS:
            raise UsageError(f"GeneratorConfig.dialect: {self.dialect!r} is none of {', '.join(DIALECTS)}")
        if self.params[0] < 1 or self.params[1] > 4:
            raise UsageError(f"GeneratorConfig.params: {self.params} must lie within (1, 4)")


DEFAULT = GeneratorConfig()

# For a model of about a million parameters: one to three statements, one or two constructs that languages disagree on.
TINY = GeneratorConfig(
    params=(1, 2),
    statements=(0, 2),
    depth=2,
    nodes=(6, 26),
    param_types=((INT, 8), (BOOL, 0.5), (INTS, 1)),
    return_types=((INT, 6), (BOOL, 1)),
    statement_weights=(("declare", 2), ("assign", 1), ("if", 1.5), ("early_return", 2), ("range", 2.5), ("each", 1.5)),
    construct_weights=(("div", 3), ("mod", 3), ("power", 0.3), ("value_logic", 0.5), ("logic_int", 0.4)),
    helper_share=0.0,
    literals=(1, 9),
    divisors=(2, 3, 4, 5, 6, 7, 8, 9, 10),
    dialect="python",
    divergent=(1, 2),
    divergent_share=0.6,
    variable_divisor_share=0.0,
)

# Renderable in C, and enough work that optimisation levels give different LLVM IR.
IR = GeneratorConfig(
    params=(1, 3),
    statements=(2, 4),
    depth=3,
    nodes=(18, 48),
    param_types=((INT, 5), (INTS, 2)),
    return_types=((INT, 1),),
    statement_weights=(
        ("declare", 2),
        ("assign", 2),
        ("if", 3),
        ("early_return", 1),
        ("range", 3),
        ("each", 2),
        ("index", 2),
        ("while", 1),
    ),
    helper_share=0.3,
    dialect="cpp",
    divergent=(0, 6),
    divergent_share=0.3,
)
