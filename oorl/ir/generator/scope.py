"""What a function under construction may read and write, and what it has not read yet."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from oorl.ir.generator.kinds import PRIMARY, UNARY, Kind, Term, promoted

# Words that no variable may be called: C's own, and what headers declare.
_TAKEN = frozenset("int long short char float double bool if else for while do switch case return struct index".split())


@dataclass(frozen=True)
class Place:
    """Something to read, perhaps to write: a variable, an element, a field. ``root`` is the variable it belongs to."""

    text: str
    kind: Kind
    low: float
    high: float
    root: str
    writable: bool = False
    sure: bool = True
    weight: float = 1.0  # how much more often than others it is drawn
    letters: str = ""  # the characters that a letter is drawn from

    @property
    def term(self) -> Term:
        level = UNARY if self.text.startswith("*") else PRIMARY
        return Term(self.text, promoted(self.kind), self.low, self.high, self.sure, level)


class Rejected(Exception):
    """This attempt at a function comes to nothing: there is nothing to read, or something that nobody reads."""


class Scope:
    """Places in scope, names in use, roots that nothing has read yet, and variables that the result must depend on."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.places: list[Place] = []
        self.unread: set[str] = set()
        self.final: list[Place] = []
        self.locals: list[str] = []
        self.names: set[str] = set(_TAKEN)

    def name(self, pool: Sequence[str]) -> str:
        """A name of the pool that is free, or one of them with a number."""
        free = [name for name in pool if name not in self.names]
        name = self.rng.choice(free) if free else None
        number = 2
        while name is None or name in self.names:
            name = f"{pool[0]}{number}"
            number += 1
        self.names.add(name)
        return name

    def add(self, *places: Place) -> None:
        """Bring places into scope."""
        self.places += places

    def declare(
        self, pool: Sequence[str], kind: Kind, low: float, high: float, *, sure: bool = False, weight: float = 1.0,
        final: bool = True,
    ) -> Place:  # fmt: skip
        """A new local variable, unread so far; ``final``: the result must depend on it."""
        name = self.name(pool)
        place = Place(name, kind, low, high, name, writable=True, sure=sure, weight=weight)
        self.places.append(place)
        self.unread.add(name)
        self.locals.append(name)
        if final:
            self.final.append(place)
        return place

    def drop(self, *places: Place) -> None:
        """Take variables out of scope: what they hold from here on is known."""
        gone = {place.root for place in places}
        self.places = [place for place in self.places if place.root not in gone]

    def settle(self, place: Place) -> Term:
        """Read a variable where what it has become goes on into something that stays."""
        self.final = [other for other in self.final if other.root != place.root]
        return self.read(place)

    def read(self, place: Place) -> Term:
        """The place's value; it counts as read from here on."""
        self.unread.discard(place.root)
        return place.term

    @contextmanager
    def inner(self, *places: Place) -> Iterator[None]:
        """A block: what is declared in it, and the places given, are gone behind it."""
        outer = list(self.places)
        self.places += places
        yield
        self.places = outer

    @contextmanager
    def hidden(self, *roots: str) -> Iterator[None]:
        """A block in which some variables are neither read nor written."""
        kept = [(k, place) for k, place in enumerate(self.places) if place.root in roots]
        self.places = [place for place in self.places if place.root not in roots]
        yield
        for k, place in kept:
            self.places.insert(min(k, len(self.places)), place)
