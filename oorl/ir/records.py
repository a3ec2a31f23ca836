"""Structs of scalars: how C lays them out, and how their values go into bytes and come back."""

from __future__ import annotations

import functools
import math
import struct
from dataclasses import dataclass

from oorl.ir.contract import MOST_BYTES
from oorl.ir.scalars import SCALARS


@dataclass(frozen=True)
class Field:
    """A scalar of a struct, or an array of ``count`` of them."""

    name: str
    type: str
    count: int | None = None


@dataclass(frozen=True)
class Record:
    """A struct type; a value of it is a tuple with a number, or a tuple of numbers, for every field."""

    name: str
    fields: tuple[Field, ...]

    @functools.cached_property
    def size(self) -> int:
        return self._plan[1]

    @functools.cached_property
    def padding(self) -> tuple[int, ...]:
        """Offsets of the bytes that no field holds: no function's result depends on them."""
        return self._plan[2]

    @functools.cached_property
    def _plan(self) -> tuple[struct.Struct, int, tuple[int, ...]]:
        text, offset, padding, widest = "<", 0, [], 1
        for field in self.fields:
            scalar = SCALARS[field.type]
            gap = -offset % scalar.size
            padding += range(offset, offset + gap)
            count = 1 if field.count is None else field.count
            text += "x" * gap + f"{count}{scalar.format}"
            offset += gap + count * scalar.size
            widest = max(widest, scalar.size)
        gap = -offset % widest
        padding += range(offset, offset + gap)
        return struct.Struct(text + "x" * gap), offset + gap, tuple(padding)

    def pack(self, values: list[tuple], fill: int = 0) -> bytes:
        """The bytes of an array of values, padding filled with ``fill``."""
        packer, size, padding = self._plan
        data = bytearray()
        for value in values:
            flat: list = []
            for field, part in zip(self.fields, value, strict=True):
                flat += [part] if field.count is None else part
            data += packer.pack(*flat)
        for offset in padding:
            data[offset::size] = bytes([fill]) * len(values)
        return bytes(data)

    def unpack(self, data: bytes) -> list[tuple]:
        """The values of an array's bytes."""
        packer, _, _ = self._plan
        values = []
        for flat in packer.iter_unpack(data):
            parts, k = [], 0
            for field in self.fields:
                parts.append(flat[k] if field.count is None else tuple(flat[k : k + field.count]))
                k += 1 if field.count is None else field.count
            values.append(tuple(parts))
        return values

    def comparable(self, data: bytes) -> bytes:
        """The bytes with padding zero and every NaN the same: equal when all fields are."""
        if any(SCALARS[field.type].is_float for field in self.fields):
            return self.pack([_one_nan(value) for value in self.unpack(data)])
        _, size, padding = self._plan
        if not padding:
            return data
        out = bytearray(data)
        for offset in padding:
            out[offset::size] = bytes(len(data) // size)
        return bytes(out)

    def to_json(self) -> dict:
        fields = [[f.name, f.type] + ([] if f.count is None else [f.count]) for f in self.fields]
        return {"name": self.name, "fields": fields}

    @staticmethod
    def from_json(row: dict) -> Record:
        record = Record(row["name"], tuple(Field(*field) for field in row["fields"]))
        counts = [1 if f.count is None else f.count for f in record.fields]
        known = all(f.type in SCALARS and isinstance(f.name, str) for f in record.fields)
        if not counts or not known or not all(type(count) is int and 0 < count <= MOST_BYTES for count in counts):
            raise KeyError
        return record

    def value_json(self, value: tuple) -> dict:
        """``{"x": "1", "items": ["1", "2"]}``."""
        row = {}
        for field, part in zip(self.fields, value, strict=True):
            write = SCALARS[field.type].to_json
            row[field.name] = write(part) if field.count is None else [write(item) for item in part]
        return row

    def value_from_json(self, row: dict) -> tuple:
        """Inverse of ``value_json``; KeyError, TypeError or ValueError when the row is no such struct."""
        if set(row) != {field.name for field in self.fields}:
            raise ValueError(f"fields {sorted(row)} are not those of {self.name}")
        parts = []
        for field in self.fields:
            read = SCALARS[field.type].from_json
            part = row[field.name]
            parts.append(read(part) if field.count is None else tuple(read(item) for item in part))
        return tuple(parts)


def _one_nan(value):
    if isinstance(value, tuple):
        return tuple(map(_one_nan, value))
    return math.nan if isinstance(value, float) and math.isnan(value) else value
