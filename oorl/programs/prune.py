"""Removal of what a drawn program computes but never uses."""

from __future__ import annotations

from dataclasses import replace

from oorl.programs import nodes as n

_SCALARS = "abcd"  # parameters that are neither strings nor lists, as the generator names them


def prune(program: n.Program) -> n.Program:
    """The program without unread locals and what fed them, unread parameters of the entry, and an uncalled helper."""
    *helpers, entry = (_prune_function(function) for function in program.functions)
    unused = unread(entry)
    entry = replace(entry, params=tuple(param for param in entry.params if param.name not in unused))
    scalars = [param.name for param in entry.params if len(param.name) == 1 and param.name in _SCALARS]
    entry = n.rename(entry, dict(zip(scalars, _SCALARS, strict=False)))  # the first is "a" again
    called = {node.name for node in n.walk(entry) if isinstance(node, n.Call)}
    return replace(program, functions=(*(helper for helper in helpers if helper.name in called), entry))


def unread(function: n.Function) -> set[str]:
    """Variables that nothing but their own updates reads."""
    named = {param.name for param in function.params} | {
        node.name for node in n.walk(function) if isinstance(node, n.Declare)
    }
    read: set[str] = set()
    for child in function.body:
        read |= _read(child)
    return named - read


def _read(node: n.Node) -> set[str]:
    names = {node.name} if isinstance(node, n.Var) else set()
    for child in n.children(node):
        names |= _read(child)
    return names - {node.name} if isinstance(node, n.Assign) else names


def _prune_function(function: n.Function) -> n.Function:
    while True:
        body = _without(function.body, unread(function))
        if body == function.body:
            return function
        function = replace(function, body=body)  # what fed the removed statements may be unread now


def _without(body: tuple[n.Stmt, ...], names: set[str]) -> tuple[n.Stmt, ...]:
    kept: list[n.Stmt] = []
    for node in body:
        match node:
            case n.Declare() | n.Assign() | n.Append():
                if node.name not in names:
                    kept.append(node)
            case n.If(test, then, otherwise):
                then, otherwise = _without(then, names), _without(otherwise, names)
                if then:
                    kept.append(n.If(test, then, otherwise))
            case n.ForRange() | n.ForEach() | n.While():
                inner = _without(node.body, names)
                if inner:
                    kept.append(replace(node, body=inner))
            case _:
                kept.append(node)
    return tuple(kept)
