"""How arguments lie in memory: an arena with red zones around every buffer, and the frames that come back from a run.

A frame is fixed in size: the result (8 bytes), the undefined-behaviour flag (8 bytes), the arena after the call.
Nothing in it is ever interpreted beyond these positions, whatever a mutant wrote there.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from oorl.ir.signature import SCALARS, CSignature, Parameter

HEADER = 16
# What reads outside of its buffers, or reads what it never wrote, answers differently under one of these: they differ
# in sign, in parity, in the number of their bits and whether it is odd, as floats, and in being the end of a text.
FILLS = (0xA5, 0x43, 0x00, 0xFF)
OUTPUT_BYTES = 2048  # of a program that are kept
RED_ZONES = (64, 96)  # bytes on either side of a buffer, by the fill's parity


@dataclass(frozen=True)
class Outcome:
    """What one call shows: the result's 8 bytes, and every buffer that it may write, after it."""

    ret: bytes
    memory: tuple[bytes, ...]


class Layout:
    """Offsets of a signature's buffers in the arena, images of inputs, and the reading of frames.

    Under every other fill they lie from the last to the first and further apart: what is a fixed way beside a buffer
    differs, too.
    """

    def __init__(self, signature: CSignature, fill: int = 0) -> None:
        self.signature = signature
        self.offsets: dict[str, int] = {}
        size, zone = 0, RED_ZONES[fill % 2]
        self._order = signature.buffers[::-1] if fill % 2 else signature.buffers
        for p in self._order:
            self.offsets[p.name] = size + zone
            size += 2 * zone + -(-p.room // 16) * 16  # a struct of any scalars is aligned
        self.arena_bytes = size
        self.frame_bytes = HEADER + size

    def image(self, arguments: list, fill: int) -> bytes:
        """The arena before a call: payloads in place, everything else ``fill``."""
        arena = bytearray([fill]) * self.arena_bytes
        for p, value in zip(self.signature.params, arguments, strict=True):
            if p.kind == "buffer":
                data = p.pack(value, fill)
                arena[self.offsets[p.name] : self.offsets[p.name] + len(data)] = data
        return bytes(arena)

    def marks(self, arguments: list) -> bytes:
        """The arena's marks before a call (memory.c): the payloads are written, all else is nobody's."""
        marks = bytearray(self.arena_bytes)
        for p, value in zip(self.signature.params, arguments, strict=True):
            if p.kind == "buffer":
                start, size = self.offsets[p.name], len(value) * p.size
                marks[start : start + size] = b"\3" * size
        return bytes(marks)

    def slots(self, arguments: list, arena_address: int) -> bytes:
        """One 8-byte slot per parameter: addresses of buffers, bits of scalars."""
        slots = []
        for p, value in zip(self.signature.params, arguments, strict=True):
            if p.kind == "buffer":
                slots.append(struct.pack("<Q", arena_address + self.offsets[p.name]))
            else:
                slots.append(struct.pack(f"<{p.scalar.format}", value).ljust(8, b"\0"))
        return b"".join(slots)

    def places(self, arguments: list) -> Places:
        """Where what an input's call may write lies in a frame's arena, and what lies between."""
        values = {p.name: value for p, value in zip(self.signature.params, arguments, strict=True)}
        written, between, position = {}, [], 0
        for p in self._order:
            if not p.const:
                start = self.offsets[p.name]
                written[p.name] = (p, start, start + len(values[p.name]) * p.size)
                between.append((position, start))
                position = written[p.name][2]
        between.append((position, self.arena_bytes))
        return Places(tuple(written[p.name] for p in self.signature.outputs), tuple(between))


@dataclass(frozen=True)
class Places:
    """Extents of the buffers that a call may write, in the signature's order, and of all else."""

    written: tuple[tuple[Parameter, int, int], ...]
    between: tuple[tuple[int, int], ...]

    def outcome(self, frame: bytes, image: bytes) -> Outcome | None:
        """The outcome a frame shows, or None when something was written that may not be."""
        after = frame[HEADER:]
        if any(after[start:end] != image[start:end] for start, end in self.between):
            return None
        return Outcome(frame[:8], tuple(comparable(after[start:end], p) for p, start, end in self.written))


def outcome_json(signature: CSignature, outcome: Outcome) -> dict:
    """``{"ret": text or null, "memory": {buffer: values}}``, of the buffers that the call may write.

    Of a program ``{"stdout": text, "exit": status}``.
    """
    if signature.mode == "stdin":
        return {"stdout": outcome.memory[0].decode("latin-1"), "exit": struct.unpack("<q", outcome.ret)[0]}
    ret = SCALARS[signature.ret] if signature.ret else None
    memory = {p.name: p.values_json(p.unpack(data)) for p, data in zip(signature.outputs, outcome.memory, strict=True)}
    return {"ret": ret and ret.to_json(struct.unpack(f"<{ret.format}", outcome.ret[: ret.size])[0]), "memory": memory}


def difference(signature: CSignature, got: Outcome, expected: Outcome) -> str:
    """What of an outcome a witness shows first."""
    if signature.mode == "stdin":
        return "stdout" if got.memory != expected.memory else "exit"
    return "ret" if got.ret != expected.ret else "memory"


def arguments_json(signature: CSignature, arguments: list | str) -> list | str:
    """An argument list as the record stores it; a program's standard input is a text."""
    if signature.mode == "stdin":
        return arguments
    return [p.to_json(value) for p, value in zip(signature.params, arguments, strict=True)]


def arguments_from_json(signature: CSignature, row: list | str) -> list | str:
    """Inverse of ``arguments_json``; ValueError when the row does not fit the signature."""
    if signature.mode == "stdin":
        if not isinstance(row, str) or not row.isascii():
            raise ValueError(f"inputs: {row!r} is no ASCII text for a program's standard input"[:300])
        return row
    if not isinstance(row, list) or len(row) != len(signature.params):
        raise ValueError(f"inputs: expected {len(signature.params)} arguments, found {row!r}"[:300])
    arguments = []
    for p, value in zip(signature.params, row, strict=True):
        try:
            arguments.append(p.from_json(value))
        except (AttributeError, KeyError, TypeError, ValueError) as err:
            raise ValueError(f"inputs: {value!r} is no value of parameter {p.name}"[:300]) from err
    return arguments


def comparable(data: bytes, p: Parameter) -> bytes:
    """Bytes that are equal when the values are: padding is zero, and all NaNs are one (their bits are nobody's)."""
    if p.record:
        return p.record.comparable(data)
    if not p.scalar.is_float or not any(map(math.isnan, values := p.unpack(data))):
        return data
    return p.pack([math.nan if math.isnan(value) else value for value in values])
