"""An IR text as lines that can be edited one at a time."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from oorl.ir.clean import named

NAME = r"%v\d+"
_RESULT = re.compile(rf"  ({NAME}) = (.*)")
_CALL = re.compile(r"(?:(?:tail|musttail|notail) )?call (?:[a-z]+ )*?(i\d+|double|float|ptr) @")
BINARY = "add sub mul sdiv udiv srem urem shl lshr ashr and or xor fadd fsub fmul fdiv frem".split()
FLAGS = r"(?:(?:nsw|nuw|exact|disjoint|nneg|samesign|inbounds|nusw|fast|nnan|ninf|nsz|arcp|contract|afn|reassoc) )*"


@dataclass(frozen=True)
class Instruction:
    """One instruction: its line, the name it defines (None: none), its opcode, and the text after the name."""

    line: int
    result: str | None
    opcode: str
    text: str

    @property
    def type(self) -> str | None:
        """The type of the result where the text tells it."""
        return result_type(self.opcode, self.text)

    def with_text(self, text: str) -> str:
        return f"  {self.result} = {text}" if self.result else f"  {text}"


@dataclass(frozen=True)
class Listing:
    """Lines of a text with explicit names, its instructions, and the type of every name."""

    lines: tuple[str, ...]
    instructions: tuple[Instruction, ...]
    types: dict[str, str] = field(default_factory=dict)  # in order of definition, parameters first

    def edited(self, edit: Edit) -> str:
        """The text after an edit."""
        out = []
        for number, line in enumerate(self.lines):
            if edit.line <= number < edit.line + edit.lines:
                if edit.replacement is None or number > edit.line:
                    continue
                line = edit.replacement
            if edit.rename:
                line = re.sub(rf"{edit.rename[0]}(?!\d)", edit.rename[1], line)
            out.append(line)
        return "\n".join(out) + "\n"


@dataclass(frozen=True)
class Edit:
    """Put ``replacement`` (None: nothing) in place of ``lines`` lines, then write one name for another everywhere."""

    operator: str
    line: int
    replacement: str | None
    rename: tuple[str, str] | None = None
    lines: int = 1


def listing_of(text: str) -> Listing:
    """Read a canonical text."""
    lines = tuple(named(text).splitlines())
    instructions, types = [], {}
    for number, line in enumerate(lines):
        if line.startswith("define"):
            for kind, name in re.findall(rf"(i\d+|double|float|ptr)(?: [a-z]+)* ({NAME})", line):
                types[name] = kind
        elif line.startswith("  "):
            found = _RESULT.match(line)
            body = found[2] if found else line.strip()
            opcode = next((word for word in body.split() if word not in ("tail", "musttail", "notail")), "")
            instruction = Instruction(number, found[1] if found else None, opcode, body)
            instructions.append(instruction)
            if instruction.result and instruction.type:
                types[instruction.result] = instruction.type
    return Listing(lines, tuple(instructions), types)


def result_type(opcode: str, text: str) -> str | None:
    """The scalar type an instruction produces, None for aggregates, vectors and what the text does not tell."""
    if opcode in BINARY or opcode in ("phi", "fneg", "freeze"):
        found = re.match(rf"{opcode} {FLAGS}(i\d+|double|float|ptr) ", text)
    elif opcode in ("icmp", "fcmp"):
        return None if "<" in text else "i1"
    elif opcode == "load":
        found = re.match(r"load (?:volatile )?(i\d+|double|float|ptr),", text)
    elif opcode in ("getelementptr", "alloca"):
        return None if "> " in text else "ptr"
    elif opcode == "select":
        found = re.match(rf"select {FLAGS}i1 [^,]+, (i\d+|double|float|ptr) ", text)
    elif opcode == "call":
        found = _CALL.match(text)
    else:
        found = re.search(r" to (i\d+|double|float|ptr)$", text)
    return found[1] if found else None
