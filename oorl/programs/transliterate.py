"""Where a source language's spelling, carried over unchanged, means something else in the target language.

A careless translator keeps the operators: Python's ``a // 3`` becomes C++'s ``a / 3``, ``range(a, b)`` becomes a loop
up to and including ``b``, C's ``a % 3`` stays ``a % 3`` in Python. Only a construct that the source spells with an
operator of its own can be carried over: a floor division in C++ is already a formula, and the formula is right
everywhere. Spellings that the target's compiler would refuse are left out, for its message would teach the difference
at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from oorl.programs import nodes as n

LANGUAGES = ("python", "cpp", "c", "java", "php", "bash", "javascript")
CONSTRUCTS = (
    "floor_div", "mod_sign", "int_float_div", "power", "chained_compare", "value_logic", "truth_value",
    "inclusive_range",
)  # fmt: skip

CANDIDATES = (n.Div, n.Mod, n.FloatDiv, n.Power, n.Chain, n.ValueLogic, n.LogicInt, n.Truth, n.ForRange)

_TRUNCATING = {"c", "cpp", "java", "bash"}  # "/" on ints rounds toward zero
_SIGN_OF_DIVIDEND = {"c", "cpp", "java", "bash", "php", "javascript"}  # "%" takes it
_POWER_OPERATOR = {"python", "php", "bash", "javascript"}
_XOR_OPERATOR = {"c", "cpp", "java"}  # "^" looks like a power


@dataclass(frozen=True)
class Style:
    """Which constructs are carried over from ``source`` by spelling, not by meaning; none: the faithful rendering."""

    naive: frozenset[str] = frozenset()
    source: str = "python"


FAITHFUL = Style()


def divergences(program: n.Program, source: str, target: str) -> frozenset[str]:
    """The constructs of ``program`` whose transliteration from ``source`` to ``target`` changes their meaning."""
    found = {divergence_of(node, source, target) for node in n.walk(program)}
    return frozenset(found - {None})


def divergence_of(node: n.Node, source: str, target: str) -> str | None:
    """The name of the difference in meaning at this one node, or None."""
    if source == target:
        return None
    match node:
        case n.Div("floor"):
            return "floor_div" if source == "python" else None
        case n.Div("trunc") if source in _TRUNCATING:
            return {"python": "floor_div", "php": "int_float_div", "javascript": "int_float_div"}.get(target)
        case n.Mod("floor"):
            return "mod_sign" if source == "python" else None
        case n.Mod("trunc"):
            return "mod_sign" if source in _SIGN_OF_DIVIDEND and target == "python" else None
        case n.FloatDiv():
            return (
                "int_float_div"
                if source in ("python", "php", "javascript") and target in ("c", "cpp", "java")
                else None
            )
        case n.Power():
            return "power" if source in _POWER_OPERATOR and target in _XOR_OPERATOR else None
        case n.Chain():
            return "chained_compare" if source == "python" and target in ("c", "cpp", "javascript", "bash") else None
        case n.ValueLogic():
            losing = ("php",) if node.type == n.STR else ("c", "cpp", "php", "bash")
            return "value_logic" if source in ("python", "javascript") and target in losing else None
        case n.LogicInt():
            return "value_logic" if source in ("c", "cpp", "bash") and target in ("python", "javascript") else None
        case n.Truth(operand):
            return _truth_divergence(operand.type, source, target)
        case n.ForRange():
            return _range_divergence(node, source, target)
    return None


def _truth_divergence(kind: n.Type, source: str, target: str) -> str | None:
    if kind.kind == "list":  # an empty array is true in JavaScript
        return "truth_value" if source in ("python", "php") and target == "javascript" else None
    if kind == n.STR:  # "0" is false in PHP
        return "truth_value" if source in ("python", "javascript") and target == "php" else None
    return None


def keeps_its_end(loop: n.ForRange) -> bool:
    """Whether a loop walks a list by position: one past the end would be undefined in C and C++, not merely wrong."""
    return any(isinstance(node, (n.Index, n.Length)) for node in n.walk(loop))


def _range_divergence(loop: n.ForRange, source: str, target: str) -> str | None:
    if keeps_its_end(loop):
        return None
    if loop.inclusive:
        return "inclusive_range" if source != "python" and target == "python" else None
    return "inclusive_range" if source == "python" else None
