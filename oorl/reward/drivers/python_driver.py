"""Runs one Python program for the judge; the protocol is described in oorl/reward/wire.py.

    python python_driver.py call SOURCE ENTRY PARAMETER_TYPE... RESULT_TYPE    calls a function, one request a line
    python python_driver.py main SOURCE                                        runs a whole program

A called program shares this process and may break it: that only loses its own answers. ``_json`` is the C half of
``json``; the package around it would double the start-up time.
"""

import builtins
import os
import sys
from _json import encode_basestring_ascii as quote
from _json import make_scanner
from types import ModuleType

INT_MIN, INT_MAX = -(2**63), 2**63 - 1
NAMED_FLOATS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}
SPELLED = {"nan": '"NaN"', "inf": '"Infinity"', "-inf": '"-Infinity"'}


class JsonOptions:
    """What the scanner asks of a decoder."""

    strict, object_hook, object_pairs_hook = False, None, None
    parse_float, parse_int, parse_constant = float, int, NAMED_FLOATS.__getitem__
    memo: dict = {}


class Mistyped(Exception):
    """The function returned a value that is not of the declared type."""


def parse_type(text):
    """``list[int]`` -> ("list", ("int", None))."""
    for kind, opening in (("list", "list["), ("optional", "optional["), ("dict", "dict[str,")):
        if text.startswith(opening):
            return kind, parse_type(text[len(opening) : -1].strip())
    return text, None


def decode(value, kind):
    """Put the non-finite floats in the place of their names."""
    name, element = kind
    if value is None or name in ("int", "bool", "str"):
        return value
    if name == "float":
        return NAMED_FLOATS[value] if type(value) is str else value
    if name == "list":
        return [decode(item, element) for item in value]
    if name == "dict":
        return {key: decode(item, element) for key, item in value.items()}
    return decode(value, element)


def encode(value, kind):
    """Canonical JSON of a value of the declared type; subclasses (IntEnum, defaultdict) count as their base."""
    name, element = kind
    if name == "optional":
        return "null" if value is None else encode(value, element)
    if name == "list" and isinstance(value, (list, tuple)):
        members = list.__iter__(value) if isinstance(value, list) else tuple.__iter__(value)
        return "[" + ",".join([encode(item, element) for item in members]) + "]"
    if name == "dict" and isinstance(value, dict):
        return (
            "{"
            + ",".join([encode(key, ("str", None)) + ":" + encode(item, element) for key, item in dict.items(value)])
            + "}"
        )
    if name == "bool" and isinstance(value, bool):
        return "true" if value else "false"
    if (
        name in ("int", "float")
        and isinstance(value, int)
        and not isinstance(value, bool)
        and INT_MIN <= int.__int__(value) <= INT_MAX
    ):
        return int.__repr__(value)
    if name == "float" and isinstance(value, float):
        digits = float.__repr__(value)
        return SPELLED.get(digits, digits)
    if name == "str" and isinstance(value, str):
        return quote(str.__str__(value))
    raise Mistyped(f"returned {type(value).__name__} where {name} was declared")


def describe(error):
    """``ValueError: message (line 3)``, however the exception misbehaves."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "solution.py":
            line = trace.tb_lineno
        trace = trace.tb_next
    try:
        message = str(error)[:1500]
    except BaseException:
        message = ""
    place = f" (line {line})" if line else ""
    return f"{type(error).__name__}: {message}{place}" if message else f"{type(error).__name__}{place}"


def load(path, entry):
    """Execute the source as module ``solution``; returns (function, None), or (None, (fault, detail as JSON))."""
    module = ModuleType("solution")
    sys.modules["solution"] = module  # dataclasses and pickle look their module up
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            program = compile(file.read(), "solution.py", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        line = f" (line {error.lineno})" if isinstance(error, SyntaxError) and error.lineno else ""
        return None, ("compile_error", quote(f"{type(error).__name__}: {getattr(error, 'msg', error)}{line}"))
    try:
        exec(program, module.__dict__)
    except MemoryError:
        return None, ("memory", quote("MemoryError while loading"))
    except Exception as error:
        return None, ("error", quote(describe(error)))
    function = module.__dict__.get(entry)
    if not callable(function):
        return None, ("compile_error", quote(f"defines no function {entry}"))
    return function, None


def call(function, args, params, returns):
    """One call; returns the reply's field and its JSON."""
    try:
        return "value", encode(
            function(*[decode(value, kind) for value, kind in zip(args, params, strict=True)]), returns
        )
    except Mistyped as error:
        return "mistyped", quote(error.args[0])
    except MemoryError:
        return "memory", quote("MemoryError")
    except Exception as error:
        return "error", quote(describe(error))


def serve(path, entry, params, returns):
    """Answer calls until standard input ends."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    scan, function, fault = make_scanner(JsonOptions), None, None
    for line in requests:
        request, _ = scan(line.decode(), 0)
        if function is None and fault is None:
            function, fault = load(path, entry)
        name, text = fault or call(function, request["args"], params, returns)
        reply = f'{{"id":{quote(request["id"])},"{name}":{text}}}\n'.encode("ascii")
        while reply:
            reply = reply[os.write(replies, reply) :]


def run(path):
    """Execute a whole program as ``__main__``."""
    module = ModuleType("__main__")
    module.__file__, module.__builtins__ = path, builtins
    sys.modules["__main__"] = module
    sys.argv = [path]
    with open(path, "rb") as file:
        program = compile(file.read(), "main.py", "exec", dont_inherit=True)
    exec(program, module.__dict__)


builtins.exit = builtins.quit = sys.exit  # site, which defines them, is not loaded
if sys.argv[1] == "main":
    run(sys.argv[2])
else:
    source, entry_name, *kinds = sys.argv[2:]
    sys.argv = ["solution.py"]
    parsed = [parse_type(kind) for kind in kinds]
    serve(source, entry_name, parsed[:-1], parsed[-1])
    os._exit(0)  # threads the program left behind do not keep the judge waiting
