"""The call protocol: one JSON line in on the program's stdin, one JSON line out on its stdout.

Request ``{"id": "...", "args": [...]}``; replies ``{"id", "value"}``, ``{"id", "mistyped"}``, ``{"id", "error"}``,
``{"id", "memory"}``, ``{"id", "compile_error"}``. Values are canonical JSON of their neutral type: an ``int`` is a
JSON integer (64 bits, exact), a ``float`` is its shortest decimal form with a point or exponent, or one of the strings
"NaN", "Infinity", "-Infinity"; a ``str`` is text, ``list`` an array, ``dict`` an object, an absent ``optional`` null.
Expected values never travel: a program may forge a reply, but only its own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from oorl.types import INT_MAX, INT_MIN, Signature, Type

DETAIL_CHARS = 2000
FAULTS = ("mistyped", "error", "memory", "compile_error")
NAMED_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

ReplyKind = Literal["value", "mistyped", "error", "memory", "compile_error", "malformed"]


@dataclass(frozen=True)
class Reply:
    """What one line said: a value of the declared type or of another, an error, or nothing intelligible."""

    kind: ReplyKind
    value: Any = None
    detail: str = ""


def encode_call(call_id: str, args: Sequence[Any], signature: Signature) -> bytes:
    """One request line. Raises ValueError when an argument does not inhabit its parameter's type."""
    if len(args) != len(signature.params):
        raise ValueError(f"{len(args)} arguments for {len(signature.params)} parameters")
    if not call_id.isalnum() or not call_id.isascii():
        raise ValueError(f"call id {call_id!r} is not of letters and digits, which every driver can echo")
    wired = [to_wire(value, kind) for value, (_, kind) in zip(args, signature.params, strict=True)]
    text = json.dumps({"id": call_id, "args": wired}, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # A lone surrogate has no UTF-8 form; its \udXXX escape, which this handler writes, is the JSON escape too.
    return text.encode("utf-8", "backslashreplace") + b"\n"


def decode_reply(line: bytes, call_id: str, returns: Type) -> Reply:
    """Read one reply line; anything but a reply to ``call_id`` is malformed. Never raises, whatever the bytes."""
    try:
        # Bytes that are no UTF-8 become lone surrogates: the reply stays readable and its text equals no expected text.
        reply = json.loads(line.decode("utf-8", "surrogateescape"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as err:
        return Reply("malformed", detail=_trim(f"not JSON: {err}"))
    if not isinstance(reply, dict) or reply.get("id") != call_id or len(reply) != 2:
        return Reply("malformed", detail="not a reply to the call that was made")
    for kind in FAULTS:
        if kind in reply:
            return Reply(kind, detail=_trim(str(reply[kind])))
    if "value" not in reply:
        return Reply("malformed", detail="a reply without a value")
    try:
        return Reply("value", from_wire(reply["value"], returns))
    except ValueError as err:
        return Reply("mistyped", detail=_trim(str(err)))


def to_wire(value: Any, kind: Type) -> Any:
    """The JSON form of a value: floats spelled as floats or by name. ValueError when it is not of the type."""
    if kind.kind == "optional":
        return None if value is None else to_wire(value, kind.element)
    if kind.kind == "list" and isinstance(value, (list, tuple)):
        return [to_wire(item, kind.element) for item in value]
    if kind.kind == "dict" and isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: to_wire(item, kind.element) for key, item in value.items()}
    if kind.kind == "float" and isinstance(value, (int, float)) and not isinstance(value, bool):
        return _float_to_wire(value)
    if kind.element is None and kind.kind != "float" and kind.accepts(value):
        return value
    raise ValueError(f"{_show(value)} is not of type {kind}")


def from_wire(value: Any, kind: Type) -> Any:
    """The value a JSON form stands for; an int may stand for a float. ValueError when it is not of the type."""
    if kind.kind == "optional":
        return None if value is None else from_wire(value, kind.element)
    if kind.kind == "list" and isinstance(value, list):
        return [from_wire(item, kind.element) for item in value]
    if kind.kind == "dict" and isinstance(value, dict):
        return {key: from_wire(item, kind.element) for key, item in value.items()}
    if kind.kind == "float":
        if isinstance(value, str) and value in NAMED_FLOATS:
            return NAMED_FLOATS[value]
        if isinstance(value, float) or (
            isinstance(value, int) and not isinstance(value, bool) and INT_MIN <= value <= INT_MAX
        ):
            return value
    elif (
        kind.kind == "int"
        and isinstance(value, int)
        and not isinstance(value, bool)
        and not INT_MIN <= value <= INT_MAX
    ):
        raise ValueError(f"returned an integer outside 64 bits where {kind} was declared")
    if kind.element is None and kind.kind != "float" and kind.accepts(value):
        return value
    raise ValueError(f"returned {_show(value)} where {kind} was declared")


def _float_to_wire(value: int | float) -> float | str:
    try:
        number = float(value)
    except OverflowError as err:
        raise ValueError(f"{_show(value)} is outside the range of float") from err
    if math.isnan(number):
        return "NaN"
    return number if math.isfinite(number) else "Infinity" if number > 0 else "-Infinity"


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON; non-finite floats travel as strings")


def _show(value: Any) -> str:
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):
        text = type(value).__name__
    return text if len(text) <= 80 else text[:77] + "..."


def _trim(text: str) -> str:
    return text if len(text) <= DETAIL_CHARS else text[: DETAIL_CHARS - 3] + "..."
