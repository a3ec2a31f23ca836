"""What winners and losers are before they stand in a record: texts with their origin, and how they look."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from oorl.ir.clean import externals, instruction_count
from oorl.ir.config import IRConfig
from oorl.ir.distance import tokens
from oorl.ir.pipelines import Pipeline

FLAGS = "nsw nuw exact disjoint nneg samesign inbounds nusw".split()
ATTRIBUTES = "zeroext signext tail immarg".split()


class Refused(Exception):
    """The function makes no group; the message is ``kind: reason``, counted by its kind."""


@dataclass(frozen=True)
class Text:
    """A candidate member: its canonical text, the pipeline that made it or its parent, where it comes from."""

    ir: str
    pipeline: Pipeline
    origin: dict
    validator: dict | None = None  # what alive-tv says of a winner


def fits(ir: str, config: IRConfig) -> bool:
    """Whether a text keeps the bounds of size and calls nothing it does not hold."""
    return len(ir) <= config.max_chars and instruction_count(ir) <= config.max_instructions and not externals(ir)


def surface(text: str) -> tuple[float, ...]:
    """What can be seen of a text without reading what it does: lengths, counts, numbering, attributes, flags."""
    lines = text.splitlines()
    words = re.findall(r"\w+", text)
    instructions = [len(line) for line in lines if line.startswith("  ")]
    names = [int(name) for name in re.findall(r"%(\d+)", text)]
    constants = re.findall(r"(?<![%@\w.])-?\d+(?![\w.:])", text)
    return (
        len(text),
        len(lines),
        len(instructions),
        len(tokens(text)),
        sum(line[:1].isdigit() for line in lines),  # labels
        sum(line.startswith("declare") for line in lines),
        max(instructions, default=0),
        sum(instructions) / max(1, len(instructions)),
        max(names, default=0),
        len(set(names)),
        len(names),
        len(constants),
        len(set(constants)),
        max(map(len, constants), default=0),
        text.count(" = "),
        *(words.count(word) for word in (*FLAGS, *ATTRIBUTES)),
    )


def looks(text: str) -> tuple[float, ...]:
    """The surface on a scale where differences are relative."""
    return tuple(map(math.log1p, surface(text)))


def unlikeness(one: Iterable[float], other: Iterable[float]) -> float:
    """How differently two texts look: the sum of relative differences."""
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))
