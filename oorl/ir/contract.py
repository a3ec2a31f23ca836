"""Input contracts: what a function may be called with, written as one comment line above it.

    // contract: xs[n] sorted; n in 1..9; k in 0..n-1
    int find(const int *xs, int n, int k)

The grammar is in docs/ir-groups.md. A contract is text in the record, too: it is read again with the signature.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

MOST_LENGTH = 9  # elements, where nothing else is said
MOST_TEXT = 12  # characters
MOST_BYTES = 1024  # of one buffer
MOST_TEXT_CODE = 126
PLAIN_LETTERS = "abcABx019 .,-"

_NAME = r"[A-Za-z_]\w*"
_TEXT = r'"(?:\\.|[^"\\])*"'
_CLAUSE = re.compile(rf"({_NAME}(?:\.{_NAME})?)\s*(?:\[([^\]]*)\])?\s*(.*)$", re.S)
_RELATION = re.compile(rf"({_NAME}(?:\.{_NAME})?)\s*(<=|<)\s*({_NAME}(?:\.{_NAME})?)$")
_KEYWORD = r"(?=\s+(?:of|like|text|sorted|descending|distinct|nonempty|out)\b|$)"
_WORDS = re.compile(
    rf"in\s+(?P<low>.+?)\s*\.\.\s*(?P<high>.+?){_KEYWORD}"
    r"|(?P<text>text)(?:\s+(?P<least>\d+)\.\.(?P<most>\d+))?"
    rf"|of\s+(?P<of>{_TEXT})|like\s+(?P<like>{_TEXT}(?:\s*,\s*{_TEXT})*)"
    rf"|(?P<order>sorted|descending)(?:\s+by\s+(?P<by>{_NAME}))?|(?P<flag>distinct|nonempty|out)\b"
)
_FACTOR = re.compile(rf"\s*(?:(len)\s*\(\s*({_NAME})\s*\)|(\d+)\^(\d+)|(\d+\.\d+|\d+)|'(\\?.)'|({_NAME}))\s*")


@dataclass(frozen=True)
class Sum:
    """A sum of products of numbers, sizes and ``len(text)``: a length, or an end of a range."""

    text: str
    terms: tuple[tuple[int, tuple[float | str, ...]], ...]

    @staticmethod
    def parse(text: str) -> Sum:
        terms, position, sign, factors = [], 0, 1, []
        text = text.strip()
        if text.startswith("-"):
            sign, position = -1, 1
        while True:
            found = _FACTOR.match(text, position)
            if not found:
                raise ValueError(f"{text!r} is not a sum of numbers and names")
            is_length, of, base, power, number, letter, name = found.groups()
            if is_length:
                factors.append(f"len({of})")
            elif base:
                factors.append(int(base) ** int(power))
            elif number:
                factors.append(float(number) if "." in number else int(number))
            else:
                factors.append(ord(ast.literal_eval(f"'{letter}'")) if letter else name)
            position = found.end()
            after = text[position : position + 1]
            position += 1
            if after != "*":
                terms.append((sign, tuple(factors)))
                sign, factors = (-1 if after == "-" else 1), []
            if after == "":
                return Sum(text, tuple(terms))
            if after not in "+-*":
                raise ValueError(f"{text!r} is not a sum of numbers and names")

    @property
    def names(self) -> set[str]:
        return {factor for _, factors in self.terms for factor in factors if isinstance(factor, str)}

    def value(self, names: Mapping[str, float]) -> float:
        return self.most(names, names)

    def most(self, least: Mapping[str, float], most: Mapping[str, float]) -> float:
        """The greatest value when every name lies between its bounds, none of which is negative."""
        total = 0
        for sign, factors in self.terms:
            product, names = sign, most if sign > 0 else least
            for factor in factors:
                product *= names[factor] if isinstance(factor, str) else factor
            total += product
        return total


@dataclass(frozen=True)
class Rule:
    """What a contract says of one parameter (or of one field of the structs it points to)."""

    length: Sum | None = None
    range: tuple[Sum, Sum] | None = None
    text: tuple[int, int] | None = None  # NUL-terminated, with so many characters
    alphabet: str = ""
    like: tuple[str, ...] = ()
    order: str = ""
    by: str = ""
    distinct: bool = False
    nonempty: bool = False
    out: bool = False
    fields: tuple[tuple[str, tuple[Sum, Sum]], ...] = ()

    @property
    def letters(self) -> str:
        """The characters that its texts are drawn from."""
        return self.alphabet or "".join(sorted(set("".join(self.like)))) or PLAIN_LETTERS


@dataclass(frozen=True)
class Contract:
    """A parsed contract: a rule per parameter, relations between scalars, and the range of every size."""

    text: str
    rules: Mapping[str, Rule] = field(default_factory=dict)
    relations: tuple[tuple[str, str, str], ...] = ()
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def pointers(self) -> set[str]:
        """Parameters whose extent it states."""
        return {name for name, rule in self.rules.items() if rule.length or rule.text}


def parse_contract(text: str) -> Contract:
    """Read the words after ``contract:``; ValueError says which clause is wrong."""
    rules: dict[str, Rule] = {}
    relations = []
    for clause in _clauses(text):
        try:
            if found := _RELATION.fullmatch(clause):
                relations.append((found[1], found[2], found[3]))
                continue
            found = _CLAUSE.match(clause)
            if not found:
                raise ValueError("it does not begin with a name")
            name, rule = found[1], _words(found[3], Sum.parse(found[2]) if found[2] is not None else None)
            if rule == Rule():
                raise ValueError("it says nothing")
            owner, _, part = name.partition(".")
            if part:
                if rule != Rule(range=rule.range):
                    raise ValueError("a field has a range and nothing else")
                own = rules.get(owner, Rule())
                rules[owner] = replace(own, fields=(*own.fields, (part, rule.range)))
            else:
                if rules.get(owner, Rule()) != Rule(fields=rules.get(owner, Rule()).fields):
                    raise ValueError(f"{owner} has a clause before")
                rules[owner] = replace(rule, fields=rules.get(owner, Rule()).fields)
        except ValueError as err:
            raise ValueError(f"contract: clause {clause!r}: {err}") from err
    if not rules and not relations:
        raise ValueError("contract: it holds no clause")
    return Contract(text, rules, tuple(relations))


def _clauses(text: str) -> list[str]:
    parts = re.findall(rf"(?:{_TEXT}|'.'|[^;\"])+", text)
    return [part.strip() for part in parts if part.strip()]


def _words(text: str, length: Sum | None) -> Rule:
    rule, position = Rule(length=length), 0
    while text[position:].strip():
        position += len(text[position:]) - len(text[position:].lstrip())
        found = _WORDS.match(text, position)
        if not found:
            raise ValueError(f"{text[position:]!r} is no property")
        position = found.end()
        if found["low"]:
            rule = replace(rule, range=(Sum.parse(found["low"]), Sum.parse(found["high"])))
        elif found["text"]:
            least, most = int(found["least"] or 0), int(found["most"] or MOST_TEXT)
            if least > most:
                raise ValueError(f"a text has no {least} to {most} characters")
            rule = replace(rule, text=(least, most))
        elif found["of"]:
            rule = replace(rule, alphabet=letters_of(ast.literal_eval(found["of"])))
        elif found["like"]:
            rule = replace(rule, like=tuple(_letters(ast.literal_eval(t)) for t in re.findall(_TEXT, found["like"])))
        elif found["order"]:
            rule = replace(rule, order=found["order"], by=found["by"] or "")
        else:
            rule = replace(rule, **{found["flag"]: True})
    if rule.text and rule.nonempty:
        rule = replace(rule, text=(max(1, rule.text[0]), max(1, rule.text[1])), nonempty=False)
    return rule


def letters_of(text: str) -> str:
    """``a-z`` stands for all letters from a to z; a dash at an end for itself."""
    out = re.sub(r"(.)-(.)", lambda m: "".join(map(chr, range(ord(m[1]), ord(m[2]) + 1))) or "-?", text, flags=re.S)
    return _letters("".join(dict.fromkeys(out)))


def _letters(text: str) -> str:
    if not text or not all(1 <= ord(char) <= MOST_TEXT_CODE for char in text):
        raise ValueError(f"{text!r} is no text of ASCII characters")
    return text
