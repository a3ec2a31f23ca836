"""Standard input for programs, written while they read: a program's own reads say what it expects.

A scanf is answered by its format; a character asked for, by a line. Values are small and often equal, so that loops
bounded by a value just read are short; after some of them come zeros, or -1, which end many programs' data, or the
end of the file.
"""

from __future__ import annotations

import random
import re

MOST_BYTES = 400
_TERMINATORS = 24  # zeros, say, in a row; a program that reads on gets the end of the file
_DIRECTIVE = re.compile(
    rb"(?P<space>\s+)|%\*?I?(?P<width>\d*)(?:hh|h|ll|l|L|q|j|z|t)?(?P<kind>\[\^?\]?[^\]]*\]|[a-zA-Z%])"
    rb"|(?P<literal>[^%\s]+)"
)
_ALPHABETS = ("ab", "abc", "a-e", "a-z", "a-zA-Z", "01", "0-9", "a-z0-9", "A-Z")


class Writer:
    """Writes one text: ``answer`` what is read next, ``text`` all of it. The same seed writes the same."""

    def __init__(self, seed: str, constants: list[int]) -> None:
        self.rng = rng = random.Random(seed)
        self.constants = [value for value in constants if -1000 <= value <= 1000]
        self.marks = "".join(chr(value) for value in constants if 32 < value < 127)
        own = self.marks and rng.random() < 0.4  # letters that the program itself names
        self.letters = (
            "".join(rng.sample(self.marks, min(4, len(self.marks)))) if own else _expanded(rng.choice(_ALPHABETS))
        )
        self.top = rng.choice((2, 5, 9, 9, 20, 100))
        self.negative = rng.random() < 0.2
        self.numeric_lines = rng.random() < 0.3
        self.left = rng.choice((1, 3, 6, 12, 24, 40))  # values before the ending
        self.terminator = rng.choice((b"0", b"0", b"-1", b""))
        self.terminators = 0
        self.written = bytearray()
        self.asked = self.ended = self.expects_token = False

    def answer(self, asked: bytes | None) -> bytes:
        """What stands next in the input for a scanf of this format or, for None, for a character; empty at its end."""
        self.asked = True
        if self.ended:
            return b""
        text = self._character() if asked is None else self._formatted(asked)
        if len(self.written) + len(text) >= MOST_BYTES:
            self.ended, text = True, b""
            self.written = bytearray(MOST_BYTES)  # too long: it is no input
        self.written += text
        return text

    def text(self) -> bytes:
        """Everything written, ended by a new line; empty when it grew too long."""
        if len(self.written) >= MOST_BYTES:
            return b""
        return bytes(self.written) if self.written.endswith(b"\n") else bytes(self.written) + b"\n"

    @property
    def _open(self) -> bool:
        return not self.written[-1:].isspace() and bool(self.written)

    def _character(self) -> bytes:
        if self._open:
            return self.rng.choice((b"\n", b" ", b"\n"))
        if self.expects_token:  # a format that ends in white space reads up to what comes after it
            return self._value(self._integer)
        if self.left <= 0:
            self.ended = True
            return b""
        self.left -= 1
        if self.numeric_lines:
            return b" ".join(self._integer() for _ in range(self.rng.choice((1, 1, 2, 3)))) + b"\n"
        return self._word(12, self.letters + " " * (self.rng.random() < 0.5), least=0) + b"\n"

    def _formatted(self, asked: bytes) -> bytes:
        text = bytearray()
        pieces = list(_DIRECTIVE.finditer(asked))
        self.expects_token = bool(pieces and pieces[-1]["space"])
        apart = self._open  # whether the next value would run into what stands before it
        for piece in pieces[:-1] if self.expects_token else pieces:
            if piece["space"]:
                text += b"\n" if b"\n" in piece["space"] else b" "
            elif piece["literal"]:
                text += piece["literal"]
            else:
                text += self._directive(piece, apart)
            apart = bool(piece["kind"])
            if self.ended:
                break
        return bytes(text)

    def _directive(self, piece: re.Match, apart: bool) -> bytes:
        kind, width = piece["kind"].decode("latin-1"), int(piece["width"] or 0)
        gap = self.rng.choice((b" ", b" ", b"\n")) if apart else b""
        if kind in "dui":
            return gap + self._value(self._integer)
        if kind in "fFeEgGaA":
            return gap + self._value(self._decimal)
        if kind in "xXo":
            return gap + format(int(self._value(self._integer) or 0) % 256, kind).encode()
        if kind == "s":
            return gap + self._value(lambda: self._word(min(width or 8, 8), self.letters))
        if kind == "c":
            return self._value(lambda: b"\n" if self.rng.random() < 0.12 else self._letter(self.letters).encode())
        if kind[0] == "[":
            return self._value(lambda: self._of_set(kind[1:-1], min(width or 8, 8)))
        return b"%" if kind == "%" else b""

    def _value(self, one) -> bytes:
        """The next value, or what comes at the end of them."""
        self.left -= 1
        if self.left >= 0:
            return one()
        self.terminators += 1
        if not self.terminator or self.terminators > _TERMINATORS:
            self.ended = True
            return b""
        return self.terminator

    def _integer(self) -> bytes:
        rng, kind = self.rng, self.rng.random()
        if kind < 0.1:
            return b"0"
        if kind < 0.22 and self.constants:
            value = rng.choice(self.constants)
            return str(value if self.negative else abs(value)).encode()
        value = rng.randint(1, self.top)
        return str(-value if self.negative and kind < 0.5 else value).encode()

    def _decimal(self) -> bytes:
        # Quarters are exact, and so are most sums and products of them.
        return self._integer() if self.rng.random() < 0.4 else f"{self.rng.randint(-8, 80) / 4:g}".encode()

    def _letter(self, letters: str) -> str:
        return self.rng.choice(self.marks if self.marks and self.rng.random() < 0.2 else letters)

    def _word(self, most: int, letters: str, least: int = 1) -> bytes:
        length = self.rng.randint(least, most)
        word = [self.rng.choice(letters) for _ in range(length)]
        if self.rng.random() < 0.15:
            word = word[: (length + 1) // 2] + word[: length // 2][::-1]  # the same from both ends
        return "".join(word).encode()

    def _of_set(self, listed: str, most: int) -> bytes:
        if listed[0] != "^":
            return self._word(most, _expanded(listed))
        allowed = [letter for letter in self.letters + " " if letter not in _expanded(listed[1:])]
        return self._word(most, "".join(allowed) or "~")


def _expanded(letters: str) -> str:
    """Letters with ``a-z`` written out."""
    return re.sub(r"(.)-(.)", lambda found: "".join(map(chr, range(ord(found[1]), ord(found[2]) + 1))), letters)
