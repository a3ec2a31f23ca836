"""How far apart two IR texts are, and which of many to keep so that they lie far apart."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein

# Punctuation is left out: it follows from the words.
_TOKEN = re.compile(r'%\d+|@[\w.$-]+|c?"[^"]*"|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|[A-Za-z_][\w.]*')


def tokens(text: str) -> tuple[str, ...]:
    """Tokens of a canonical text, its locals written relative to the value their line defines.

    Numbered texts shift every later number when one instruction comes or goes; relative numbers leave the rest alike.
    """
    out, here = [], 0
    for line in text.splitlines():
        words = _TOKEN.findall(line)
        if line.startswith("define"):
            here = line.count("%")
        elif line[:1].isdigit():
            here = int(words[0])
        elif line.startswith("  %"):
            here = int(words[0][1:])
        out += [f"%{int(word[1:]) - here}" if word[0] == "%" else word for word in words]
        out.append("\n")
    return tuple(out)


def distance(a: Sequence[str], b: Sequence[str]) -> float:
    """Levenshtein distance of two token sequences over the longer length."""
    return Levenshtein.normalized_distance(a, b)


def spread(sequences: Sequence[Sequence[str]], count: int) -> list[int]:
    """At most ``count`` indices, chosen greedily: each as far as possible from those before it (max-min)."""
    if not sequences:
        return []
    chosen = [0]
    nearest = [distance(sequences[0], other) for other in sequences]
    while len(chosen) < min(count, len(sequences)):
        best = max((k for k in range(len(sequences)) if k not in chosen), key=lambda k: (nearest[k], -k))
        chosen.append(best)
        nearest = [min(old, distance(sequences[best], other)) for old, other in zip(nearest, sequences, strict=True)]
    return chosen
