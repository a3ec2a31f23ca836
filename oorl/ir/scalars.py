"""Machine scalars: how LLVM, the ABI, ``struct`` and JSON write each of them, and the C and Rust names they have."""

from __future__ import annotations

import struct
from dataclasses import dataclass


@dataclass(frozen=True)
class Scalar:
    """A machine scalar: its LLVM type, the extension its ABI asks for, its ``struct`` format."""

    llvm: str
    extension: str
    format: str
    letter: bool = False  # JSON writes it as a character

    @property
    def size(self) -> int:
        return struct.calcsize(self.format)

    @property
    def is_float(self) -> bool:
        return self.format in "fd"

    @property
    def bits(self) -> int:
        return 1 if self.llvm == "i1" else 8 * self.size

    @property
    def signed(self) -> bool:
        return self.format in "bhiq"

    @property
    def limits(self) -> tuple[float, float]:
        """The least and the greatest value."""
        if self.is_float:
            return -float("inf"), float("inf")
        return (-(1 << self.bits - 1), (1 << self.bits - 1) - 1) if self.signed else (0, (1 << self.bits) - 1)

    def to_json(self, value: int | float) -> str:
        """Integers as decimal text (JSON numbers lose them beyond 2^53), doubles as C hex, letters as themselves."""
        if self.letter:
            return chr(value)
        return float(value).hex() if self.is_float else str(int(value))

    def from_json(self, text: str) -> int | float:
        if self.letter:
            return text.encode("latin-1")[0] if len(text) == 1 else int(text)
        return float.fromhex(text) if self.is_float else int(text)


SCALARS = {
    "i1": Scalar("i1", "zeroext", "B"),  # what a mutant leaves in memory need be neither 0 nor 1
    "i8": Scalar("i8", "signext", "b"),
    "u8": Scalar("i8", "zeroext", "B"),
    # The sign of plain char differs between targets: contracts keep its inputs to ASCII, where both agree.
    "char": Scalar("i8", "signext", "B", letter=True),
    "i16": Scalar("i16", "signext", "h"),
    "u16": Scalar("i16", "zeroext", "H"),
    "i32": Scalar("i32", "", "i"),
    "u32": Scalar("i32", "", "I"),
    "i64": Scalar("i64", "", "q"),
    "u64": Scalar("i64", "", "Q"),
    "f32": Scalar("float", "", "f"),
    "f64": Scalar("double", "", "d"),
}
C_TYPES = {
    "bool": "i1", "_Bool": "i1", "char": "char", "signed char": "i8", "int8_t": "i8", "unsigned char": "u8",
    "uint8_t": "u8", "short": "i16", "int16_t": "i16", "unsigned short": "u16", "uint16_t": "u16", "int": "i32",
    "int32_t": "i32", "unsigned": "u32", "unsigned int": "u32", "uint32_t": "u32", "long": "i64", "long long": "i64",
    "int64_t": "i64", "ptrdiff_t": "i64", "intptr_t": "i64", "ssize_t": "i64",
    "unsigned long": "u64", "unsigned long long": "u64", "uint64_t": "u64", "size_t": "u64", "uintptr_t": "u64",
    "float": "f32", "double": "f64",
}  # fmt: skip
RUST_TYPES = {
    "bool": "i1", "i8": "i8", "u8": "u8", "i16": "i16", "u16": "u16", "i32": "i32", "u32": "u32", "i64": "i64",
    "u64": "u64", "isize": "i64", "usize": "u64", "f32": "f32", "f64": "f64",
}  # fmt: skip
