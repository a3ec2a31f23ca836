"""The C-level signature of a function: what its parameters are, how they are passed, how JSON writes them."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from oorl.types import Signature


@dataclass(frozen=True)
class Scalar:
    """A machine scalar: its LLVM type, the extension its ABI asks for, its ``struct`` format."""

    llvm: str
    extension: str
    format: str

    @property
    def size(self) -> int:
        return struct.calcsize(self.format)

    @property
    def is_float(self) -> bool:
        return self.format in "fd"

    @property
    def bits(self) -> int:
        return 1 if self.format == "?" else 8 * self.size

    @property
    def signed(self) -> bool:
        return self.format in "bhiq"

    def to_json(self, value: int | float) -> str:
        """Integers as decimal text (JSON numbers lose them beyond 2^53), doubles as C hex."""
        return float(value).hex() if self.is_float else str(int(value))

    def from_json(self, text: str) -> int | float:
        return float.fromhex(text) if self.is_float else int(text)


SCALARS = {
    "i1": Scalar("i1", "zeroext", "?"),
    "i8": Scalar("i8", "signext", "b"),
    "u8": Scalar("i8", "zeroext", "B"),
    "i16": Scalar("i16", "signext", "h"),
    "u16": Scalar("i16", "zeroext", "H"),
    "i32": Scalar("i32", "", "i"),
    "u32": Scalar("i32", "", "I"),
    "i64": Scalar("i64", "", "q"),
    "u64": Scalar("i64", "", "Q"),
    "f32": Scalar("float", "", "f"),
    "f64": Scalar("double", "", "d"),
}
# Plain char is left out on purpose: its sign differs between targets.
C_TYPES = {
    "bool": "i1", "_Bool": "i1", "signed char": "i8", "int8_t": "i8", "unsigned char": "u8", "uint8_t": "u8",
    "short": "i16", "int16_t": "i16", "unsigned short": "u16", "uint16_t": "u16", "int": "i32", "int32_t": "i32",
    "unsigned": "u32", "unsigned int": "u32", "uint32_t": "u32", "long": "i64", "long long": "i64",
    "int64_t": "i64", "ptrdiff_t": "i64",
    "unsigned long": "u64", "unsigned long long": "u64", "uint64_t": "u64", "size_t": "u64",
    "float": "f32", "double": "f64",
}  # fmt: skip
NEUTRAL = {"int": "i64", "bool": "i1", "float": "f64"}


@dataclass(frozen=True)
class Parameter:
    """A scalar, or a buffer of scalars (``kind``); ``length_of`` names the buffer whose length a scalar carries."""

    name: str
    kind: str
    type: str
    const: bool = False
    length_of: str | None = None

    @property
    def scalar(self) -> Scalar:
        return SCALARS[self.type]


@dataclass(frozen=True)
class CSignature:
    """Parameters in order and the scalar returned (None: void)."""

    params: tuple[Parameter, ...]
    ret: str | None

    @property
    def buffers(self) -> tuple[Parameter, ...]:
        return tuple(p for p in self.params if p.kind == "buffer")

    def to_json(self) -> dict:
        params = []
        for p in self.params:
            row = {"kind": p.kind, "name": p.name, "type": p.type}
            if p.kind == "buffer":
                row["const"] = p.const
            if p.length_of:
                row["length_of"] = p.length_of
            params.append(row)
        return {"ret": self.ret or "void", "params": params}

    @staticmethod
    def from_json(value: dict) -> CSignature:
        """Inverse of ``to_json``; ValueError when it is no signature."""
        try:
            params = tuple(
                Parameter(p["name"], p["kind"], p["type"], p.get("const", False), p.get("length_of"))
                for p in value["params"]
            )
            signature = CSignature(params, None if value["ret"] == "void" else value["ret"])
            if not all(p.kind in ("scalar", "buffer") and p.type in SCALARS for p in params) or signature.ret not in (
                None,
                *SCALARS,
            ):
                raise KeyError
            return signature
        except (KeyError, TypeError) as err:
            raise ValueError(f"signature: {value!r} is not one of scalars, buffers and a scalar result"[:300]) from err

    @staticmethod
    def from_types(signature: Signature) -> CSignature:
        """The signature of a generated program rendered in C; ValueError for types that its IR form does not have."""
        params = []
        for name, kind in signature.params:
            if kind.kind == "list" and kind.element.kind in NEUTRAL:
                params.append(Parameter(name, "buffer", NEUTRAL[kind.element.kind], const=True))
                params.append(Parameter(f"{name}_len", "scalar", "i64", length_of=name))
            elif kind.kind in NEUTRAL:
                params.append(Parameter(name, "scalar", NEUTRAL[kind.kind]))
            else:
                raise ValueError(f"parameter {name} has type {kind}")
        if signature.returns.kind not in NEUTRAL:
            raise ValueError(f"the result has type {signature.returns}")
        return CSignature(tuple(params), NEUTRAL[signature.returns.kind])

    @staticmethod
    def from_prototype(result: str, parameters: str) -> CSignature:
        """Read a C prototype's halves, ``("int", "const int *xs, int n")``; ValueError says what is not simple."""
        ret = _c_type(result)
        if ret == "void":
            ret = None
        elif ret not in SCALARS:
            raise ValueError(f"its result {result.strip()!r} is not a scalar")
        params: list[Parameter] = []
        pending: str | None = None
        for part in [] if parameters.strip() in ("", "void") else parameters.split(","):
            found = re.fullmatch(
                r"\s*(.*?)\s*(\*?)\s*(?:(?:restrict|const)\s+)*([A-Za-z_]\w*)\s*(\[\s*\])?\s*", part, re.S
            )
            code = _c_type(found[1]) if found else None
            if code not in SCALARS:
                raise ValueError(f"its parameter {part.strip()!r} is neither a scalar nor a pointer to scalars")
            is_buffer = bool(found[2] or found[4])
            if pending and (is_buffer or SCALARS[code].is_float):
                break
            if is_buffer:
                pending = found[3]
                params.append(Parameter(found[3], "buffer", code, const="const" in found[1].split()))
            else:
                params.append(Parameter(found[3], "scalar", code, length_of=pending))
                pending = None
        if pending:
            raise ValueError(f"its pointer {pending!r} is not followed by an integer length")
        return CSignature(tuple(params), ret)


def _c_type(text: str) -> str | None:
    words = [w for w in text.split() if w not in ("const", "static", "inline", "extern", "register", "volatile")]
    return "void" if words == ["void"] else C_TYPES.get(" ".join(words))
