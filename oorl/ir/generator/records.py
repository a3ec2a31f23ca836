"""Structs that generated functions work on: a tag stands for the same fields everywhere, so declarations are shared."""

from __future__ import annotations

from dataclasses import dataclass

from oorl.ir.generator.kinds import BOOL, CHAR, DOUBLE, FLOAT, INT, LONG, SHORT, UCHAR, UINT, USHORT, Kind
from oorl.ir.generator.scope import Place


@dataclass(frozen=True)
class Member:
    """A field: its name, type, bounds, and how many elements it has if it is an array."""

    name: str
    kind: Kind
    low: float
    high: float
    count: int = 0


@dataclass(frozen=True)
class Shape:
    """A struct: its tag, what a pointer to one and an array of some are called, and its fields."""

    tag: str
    one: str
    many: str
    members: tuple[Member, ...]

    @property
    def declaration(self) -> str:
        fields = "".join(
            f" {member.kind.name} {member.name}{f'[{member.count}]' if member.count else ''};"
            for member in self.members
        )
        return f"struct {self.tag} {{{fields} }};"

    def places(self, prefix: str, root: str, writable: bool) -> list[Place]:
        """The scalar fields of one struct, spelled ``prefix`` and the name."""
        return [
            Place(prefix + m.name, m.kind, m.low, m.high, root, writable, sure=not writable)
            for m in self.members if not m.count
        ]  # fmt: skip

    @property
    def arrays(self) -> list[Member]:
        return [member for member in self.members if member.count]

    def clauses(self, name: str) -> list[str]:
        """What a contract says of the fields of the structs that ``name`` points to."""
        return [
            f"{name}.{m.name} in {edge(m.low, m.kind)}..{edge(m.high, m.kind)}" for m in self.members if m.kind != BOOL
        ]


def edge(value: float, kind: Kind) -> str:
    """An end of a contract's range."""
    if kind == CHAR and (chr(int(value)).isalnum()):
        return f"'{chr(int(value))}'"
    return str(float(value) if kind.is_float else int(value))


def _shape(tag: str, one: str, many: str, *members: tuple) -> Shape:
    return Shape(tag, one, many, tuple(Member(*member) for member in members))


SHAPES = (
    _shape("point", "p", "points", ("x", INT, -20, 20), ("y", INT, -20, 20)),
    _shape("vec3", "v", "vs", ("x", DOUBLE, -8, 8), ("y", DOUBLE, -8, 8), ("z", DOUBLE, -8, 8)),
    _shape("rect", "r", "rects", ("left", INT, 0, 12), ("top", INT, 0, 12), ("width", INT, 0, 9), ("rows", INT, 0, 9)),
    _shape("span", "s", "spans", ("start", INT, 0, 20), ("end", INT, 0, 30)),
    _shape("pixel", "px", "pixels", ("red", UCHAR, 0, 255), ("green", UCHAR, 0, 255), ("blue", UCHAR, 0, 255)),
    _shape("account", "acct", "accounts", ("balance", LONG, -500, 500), ("limit", INT, 0, 300), ("frozen", BOOL, 0, 1)),
    _shape("order", "o", "orders", ("id", UINT, 1, 20), ("quantity", INT, 0, 12), ("price", INT, 1, 60)),
    _shape("sample", "smp", "samples", ("time", UINT, 0, 100), ("reading", DOUBLE, -16, 16)),
    _shape("student", "st", "students", ("grade", UCHAR, 0, 10), ("absences", SHORT, 0, 20), ("score", INT, 0, 100)),
    _shape("task", "task", "tasks", ("priority", INT, 0, 9), ("due", INT, 0, 30), ("done", BOOL, 0, 1)),
    _shape("node", "nd", "nodes", ("key", INT, -9, 30), ("depth", UCHAR, 0, 8), ("weight", SHORT, -20, 20)),
    _shape("counter", "ctr", "counters", ("hits", UINT, 0, 50), ("misses", UINT, 0, 50), ("last", INT, -5, 60)),
    _shape("clock", "clk", "clocks", ("hours", UCHAR, 0, 23), ("minutes", UCHAR, 0, 59), ("seconds", UCHAR, 0, 59)),
    _shape("packet", "pkt", "packets", ("kind", UCHAR, 0, 6), ("length", USHORT, 0, 40), ("flags", UINT, 0, 255)),
    _shape("player", "pl", "players", ("health", INT, 0, 100), ("armor", INT, 0, 50), ("level", SHORT, 1, 12)),
    _shape("stock", "item", "stocks", ("code", CHAR, 97, 122), ("amount", SHORT, 0, 40), ("cost", INT, 1, 90)),
    _shape("range", "rg", "ranges", ("low", INT, -20, 10), ("high", INT, -10, 20)),
    _shape("ratio", "rt", "ratios", ("num", INT, -20, 20), ("den", INT, 1, 12)),
    _shape("gauge", "g", "gauges", ("value", FLOAT, -8, 8), ("least", FLOAT, -8, 0), ("most", FLOAT, 0, 8)),
    _shape("edge", "e", "edges", ("from", UCHAR, 0, 7), ("to", UCHAR, 0, 7), ("length", INT, 0, 30)),
    _shape("move", "mv", "moves", ("dx", SHORT, -3, 3), ("dy", SHORT, -3, 3), ("steps", UCHAR, 0, 9)),
    _shape("vote", "vt", "votes", ("party", UCHAR, 0, 5), ("weight", INT, 1, 9), ("valid", BOOL, 0, 1)),
    _shape("record", "rec", "recs", ("id", INT, 0, 30), ("marks", INT, 0, 100, 4)),
    _shape("window", "win", "windows", ("head", UCHAR, 0, 3), ("total", INT, -40, 40), ("slots", INT, -10, 10, 4)),
    _shape("histogram", "hist", "hists", ("bins", UINT, 0, 9, 6), ("total", UINT, 0, 60)),
    _shape("poly", "poly", "polys", ("degree", UCHAR, 0, 3), ("coef", DOUBLE, -4, 4, 4)),
    _shape("tag", "tg", "tags", ("label", CHAR, 97, 122), ("count", INT, 0, 30), ("score", DOUBLE, 0, 16)),
    _shape("cell", "cell", "cells", ("row", INT, 0, 9), ("col", INT, 0, 9), ("value", INT, -30, 30)),
    _shape("channel", "ch", "channels", ("gain", FLOAT, 0, 4), ("offset", FLOAT, -4, 4), ("muted", BOOL, 0, 1)),
    _shape("event", "ev", "events", ("time", LONG, 0, 200), ("kind", CHAR, 65, 70), ("value", INT, -50, 50)),
    _shape("job", "job", "jobs", ("arrival", INT, 0, 20), ("length", INT, 1, 10), ("finish", INT, 0, 40)),
    _shape("buffer", "b", "buffers", ("used", UCHAR, 0, 8), ("checksum", UINT, 0, 999), ("bytes", UCHAR, 0, 255, 8)),
)  # fmt: skip
