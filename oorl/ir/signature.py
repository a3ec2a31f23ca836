"""The C-level signature of a function: what its parameters are, how they are passed, how JSON writes them."""

from __future__ import annotations

import re
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from oorl.ir.contract import MOST_LENGTH, Contract, Rule, parse_contract
from oorl.ir.fit import check_names, check_relation, room_of, sizes_of
from oorl.ir.records import Record
from oorl.ir.scalars import C_TYPES, SCALARS, Scalar
from oorl.types import Signature

NEUTRAL = {"int": "i64", "bool": "i1", "float": "f64"}
OUT_BYTE = 0x7E  # what output buffers hold before the call, so that a byte never written shows

__all__ = ["C_TYPES", "NEUTRAL", "PROGRAM", "SCALARS", "CSignature", "Parameter", "Scalar"]


@dataclass(frozen=True)
class Parameter:
    """A scalar, or a buffer (``kind``) of scalars or structs; ``length_of`` names the buffer whose length it carries.

    ``rule`` is what the contract says of it; ``room`` the most bytes that a buffer's values take.
    """

    name: str
    kind: str
    type: str
    const: bool = False
    length_of: str | None = None
    record: Record | None = None
    rule: Rule = Rule()
    room: int = 8 * MOST_LENGTH

    @property
    def scalar(self) -> Scalar:
        return SCALARS[self.type]

    @property
    def size(self) -> int:
        """Bytes of one element."""
        return self.record.size if self.record else self.scalar.size

    @property
    def is_text(self) -> bool:
        """Whether JSON writes its values as one string."""
        return self.kind == "buffer" and bool(self.type == "char" or self.rule.text or self.rule.alphabet)

    def pack(self, values: list, fill: int = 0) -> bytes:
        """The bytes of a buffer's values; ``fill`` goes where structs have padding."""
        if self.record:
            return self.record.pack(values, fill)
        return struct.pack(f"<{len(values)}{self.scalar.format}", *values)

    def unpack(self, data: bytes) -> list:
        if self.record:
            return self.record.unpack(data)
        return list(struct.unpack(f"<{len(data) // self.size}{self.scalar.format}", data))

    def unwritten(self, length: int) -> list:
        """What an output buffer of so many elements holds before the call."""
        return self.unpack(bytes([OUT_BYTE]) * (length * self.size))

    def values_json(self, values: list) -> list | str:
        """A buffer's values: text as one string (NUL and unwritten bytes included), structs as objects."""
        if self.is_text:
            return bytes(values).decode("latin-1")
        write = self.record.value_json if self.record else self.scalar.to_json
        return [write(value) for value in values]

    def to_json(self, value) -> object:
        """An argument: a string for text (without its final NUL), ``{"out": n}`` for an output buffer of n elements."""
        if self.kind != "buffer":
            return self.scalar.to_json(value)
        if self.rule.out:
            return {"out": len(value)}
        return self.values_json(value[:-1] if self.rule.text and not self.rule.length else value)

    def from_json(self, value) -> object:
        """Inverse of ``to_json``; KeyError, TypeError or ValueError when it is no value of this parameter."""
        if self.kind != "buffer":
            return self.scalar.from_json(value)
        if self.rule.out:
            values = self.unwritten(value["out"])
        elif self.is_text:
            values = list(value.encode("latin-1")) + [0] * bool(self.rule.text and not self.rule.length)
        elif isinstance(value, list):
            values = list(map(self.record.value_from_json if self.record else self.scalar.from_json, value))
        else:
            raise TypeError
        if len(values) * self.size > self.room:
            raise ValueError(f"{len(values)} elements are more than the buffer has room for")
        return values


@dataclass(frozen=True)
class CSignature:
    """Parameters in order, the scalar returned (None: void), and the contract that its arguments honour.

    ``mode`` is ``call``, or ``stdin`` for a whole program: it reads a text and answers with one, and its exit status.
    """

    params: tuple[Parameter, ...]
    ret: str | None
    contract: Contract | None = field(default=None, hash=False)
    mode: str = "call"

    @property
    def buffers(self) -> tuple[Parameter, ...]:
        return tuple(p for p in self.params if p.kind == "buffer")

    def to_json(self) -> dict:
        params = []
        for p in self.params:
            row: dict = {"kind": p.kind, "name": p.name, "type": p.type}
            if p.kind == "buffer":
                row["const"] = p.const
            if p.record:
                row["struct"] = p.record.to_json()
            if p.length_of:
                row["length_of"] = p.length_of
            params.append(row)
        row = {"ret": self.ret or "void", "params": params}
        if self.mode != "call":
            row["mode"] = self.mode
        return {**row, "contract": self.contract.text} if self.contract else row

    @staticmethod
    def from_json(value: dict) -> CSignature:
        """Inverse of ``to_json``; ValueError when it is no signature."""
        try:
            params = tuple(
                Parameter(
                    p["name"], p["kind"], p["type"], p.get("const", False), p.get("length_of"),
                    Record.from_json(p["struct"]) if p["type"] == "struct" else None,
                )
                for p in value["params"]
            )  # fmt: skip
            signature = CSignature(params, None if value["ret"] == "void" else value["ret"])
            known = all(p.kind in ("scalar", "buffer") and (p.record or p.type in SCALARS) for p in params)
            if not known or signature.ret not in (None, *SCALARS):
                raise KeyError
            if (mode := value.get("mode", "call")) != "call":
                if mode != "stdin" or value != PROGRAM.to_json():
                    raise ValueError(f"signature: {value!r} is not that of a program, {PROGRAM.to_json()}"[:300])
                return PROGRAM
        except (KeyError, TypeError) as err:
            raise ValueError(f"signature: {value!r} is not one of scalars, buffers and a scalar result"[:300]) from err
        # Sizes that are no parameter occur in Rust only, and were checked when the record was made.
        return signature.under(parse_contract(value["contract"]), free=True) if "contract" in value else signature

    def under(self, contract: Contract, free: bool = False) -> CSignature:
        """This signature with a contract; ValueError when the two do not fit. ``free``: sizes need be no parameter."""
        names = {p.name: p for p in self.params}
        tied = {p.length_of for p in self.params if p.length_of}
        sizes = sizes_of(contract, names, free)
        least = {name: low for name, (low, _) in sizes.items()}
        most = {name: high for name, (_, high) in sizes.items()}
        for name, rule in contract.rules.items():
            if rule.length and (unknown := sorted(rule.length.names - set(most))):
                raise ValueError(f"contract: the length of {name} names {unknown[0]}, which is stated after it")
            if rule.text:
                room = rule.length.most(least, most) - 1 if rule.length else rule.text[1]
                least[f"len({name})"], most[f"len({name})"] = rule.text[0], min(room, rule.text[1])
        params = []
        for p in self.params:
            rule = contract.rules.get(p.name, Rule())
            params.append(replace(p, rule=rule, room=room_of(p, rule, tied, least, most)))
        for first, _, second in contract.relations:
            check_relation(first, second, names)
        signature = CSignature(tuple(params), self.ret, replace(contract, sizes=sizes))
        check_names(signature, known=set(most))
        return signature

    def scalars_in_order(self, known: Collection[str]) -> list[Parameter]:
        """Scalars that carry no buffer's length, each after those that its range names; ValueError for a circle."""
        known, pending, order = set(known), [p for p in self.params if p.kind == "scalar" and not p.length_of], []
        while pending:
            ready = [p for p in pending if p.rule.range is None or all(e.names <= known for e in p.rule.range)]
            if not ready:
                raise ValueError(f"contract: the range of {pending[0].name} names what is not known before it")
            order += ready
            known |= {p.name for p in ready}
            pending = [p for p in pending if p not in ready]
        return order

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
    def from_prototype(
        result: str, parameters: str, contract: str | None = None, types: Mapping[str, str | Record] | None = None
    ) -> CSignature:
        """Read a C prototype's halves, ``("int", "const int *xs, int n")``; ValueError says what is not simple.

        ``types`` are the type names declared beside it: scalar codes or structs.
        """
        agreed = parse_contract(contract) if contract else None
        known = {**{name: code for name, code in C_TYPES.items() if agreed or code != "char"}, **(types or {})}
        ret = _c_type(result, known)
        if ret == "void":
            ret = None
        elif not isinstance(ret, str):
            raise ValueError(f"its result {result.strip()!r} is not a scalar")
        params: list[Parameter] = []
        pending: str | None = None
        for part in [] if parameters.strip() in ("", "void") else parameters.split(","):
            found = _PARAMETER.fullmatch(part)
            code = _c_type(found[1], known) if found else None
            if code == "void" and agreed and found[2]:
                code = "u8"  # bytes, of which the contract says more
            if code is None or code == "void":
                raise ValueError(f"its parameter {part.strip()!r} is neither a scalar nor a pointer to scalars")
            is_buffer = bool(found[2] or found[4])
            record = code if isinstance(code, Record) else None
            if record and not is_buffer:
                raise ValueError(f"its parameter {part.strip()!r} is a struct passed by value")
            if record and not agreed:
                raise ValueError(f"its parameter {part.strip()!r} points to structs, which needs a contract")
            if pending and (is_buffer or SCALARS[code].is_float):
                if not agreed:
                    break
                pending = None
            if is_buffer:
                stated = agreed and found[3] in agreed.pointers
                pending = None if stated else found[3]
                const = "const" in found[1].split()
                params.append(Parameter(found[3], "buffer", "struct" if record else code, const, record=record))
            else:
                params.append(Parameter(found[3], "scalar", code, length_of=pending))
                pending = None
        if pending and not agreed:
            raise ValueError(f"its pointer {pending!r} is not followed by an integer length")
        signature = CSignature(tuple(params), ret)
        return signature.under(agreed) if agreed else signature


PROGRAM = CSignature((), "i32", mode="stdin")

_PARAMETER = re.compile(
    r"\s*(.*?)\s*(\*?)\s*(?:(?:restrict|__restrict|const)\s+)*([A-Za-z_]\w*)\s*((?:\[[^\]]*\]\s*)+)?\s*", re.S
)
_QUALIFIERS = frozenset("const static inline extern register volatile constexpr noexcept struct".split())


def _c_type(text: str, known: Mapping[str, str | Record]) -> str | Record | None:
    words = [w for w in text.replace("std::", "").split() if w not in _QUALIFIERS]
    return "void" if words == ["void"] else known.get(" ".join(words))
