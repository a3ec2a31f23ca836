"""A program's identity: one text for all programs that differ only in names and in the order of commuting operands."""

from __future__ import annotations

from dataclasses import fields

from oorl.programs import nodes as n

_MIRRORED = {">": "<", ">=": "<="}


def canonical(program: n.Program) -> str:
    """The canonical form; two programs with equal forms are the same program spelled differently.

    Parameters are numbered by position, locals by where they are declared, functions by order; operands of ``+ * ==
    != min max`` and the bool operators are sorted, and ``>`` is written as ``<``. Literals count: ``a % 3`` and ``a %
    5`` are two programs.
    """
    functions = {function.name: f"f{index}" for index, function in enumerate(program.functions)}
    return " ".join(_function(function, functions) for function in program.functions)


def _function(function: n.Function, functions: dict[str, str]) -> str:
    names = {param.name: f"p{index}" for index, param in enumerate(function.params)}
    for node in n.walk(function):  # parents first, in source order: a local meets its declaration before its uses
        if isinstance(node, n.Declare):
            names.setdefault(node.name, f"v{len(names)}")
        elif isinstance(node, (n.ForRange, n.ForEach)):
            names.setdefault(node.var, f"v{len(names)}")
    types = ",".join(str(param.type) for param in function.params)
    body = " ".join(_form(statement, names, functions) for statement in function.body)
    return f"({functions[function.name]} {types} {function.returns} {body})"


def _form(node: n.Node, names: dict[str, str], functions: dict[str, str]) -> str:
    if isinstance(node, n.Var):
        return names[node.name]
    if isinstance(node, n.Literal):
        return repr(node.value)
    parts = []
    for field in fields(node):
        value = getattr(node, field.name)
        if isinstance(value, n.NODE_TYPES):
            parts.append(_form(value, names, functions))
        elif isinstance(value, tuple):
            parts.append("[" + " ".join(_form(item, names, functions) for item in value) + "]")
        elif field.name in ("name", "var"):
            parts.append(functions[value] if isinstance(node, n.Call) else names[value])
        elif field.name != "type" or isinstance(node, n.Declare):
            parts.append(str(value))
    if isinstance(node, n.Compare) and node.op in _MIRRORED:
        parts = [_MIRRORED[node.op], parts[2], parts[1]]
    elif _commutes(node):
        parts[1:] = sorted(parts[1:])
    return f"({type(node).__name__} {' '.join(parts)})"


def _commutes(node: n.Node) -> bool:
    match node:
        case n.Arith(op) | n.Compare(op):
            return op in ("+", "*", "==", "!=")
        case n.MinMax() | n.Logic() | n.LogicInt():
            return True
    return False
