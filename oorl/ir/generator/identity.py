"""When two C texts are the same program: up to names, white space, and how numbers and types are spelled."""

from __future__ import annotations

import ast
import hashlib
import re

_TOKEN = re.compile(
    r"[A-Za-z_]\w*|'(?:\\.|[^'\\])+'|\"(?:\\.|[^\"\\])*\"|0[xX][0-9a-fA-F]+\w*|\d[\w.]*(?:(?<=[eE])[+-]\d+)?|\S"
)
# Other names of types that functions may be written in.
FIXED_WIDTHS = {
    "unsigned long long": "uint64_t", "unsigned short": "uint16_t", "unsigned char": "uint8_t", "long long": "int64_t",
    "signed char": "int8_t", "unsigned": "uint32_t", "short": "int16_t",
}  # fmt: skip
_PLAIN = {fixed: plain for plain, fixed in FIXED_WIDTHS.items()}
_WORDS = frozenset(
    "auto break case char const continue default do double else enum extern float for goto if inline int long "
    "register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while "
    "bool true false fabs llabs".split()
)


def identity_of(code: str) -> str:
    """A hash that is equal for texts which differ in names, white space and the spelling of numbers and types alone.

    Fields are named apart from variables, in the order in which they are met.
    """
    names: dict[tuple[bool, str], str] = {}
    parts, before, depth, in_struct = [], "", 0, False
    code = re.sub(r"^\s*#\s*include.*$", "", code, flags=re.M)
    for token in _TOKEN.findall(re.sub(r"\w+", lambda found: _PLAIN.get(found[0], found[0]), code)):
        depth += {"{": 1, "}": -1}.get(token, 0)
        if depth == 0 and token in ("struct", ";", ")"):
            in_struct = token == "struct"
        if re.match(r"[A-Za-z_]", token) and token not in _WORDS:
            field = before in (".", "->") or (in_struct and depth > 0)
            parts.append(names.setdefault((field, token), f"{'f' if field else 'v'}{len(names)}"))
        else:
            parts.append(_number(token))
        before = "->" if (before, token) == ("-", ">") else token
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def _number(token: str) -> str:
    """One spelling for a literal's value; its suffix is part of what it means."""
    if token.startswith("'"):
        return str(ord(ast.literal_eval(token)))
    found = re.fullmatch(r"(0[xX][0-9a-fA-F]+|\d+)([uUlL]*)", token)
    return f"{int(found[1], 0 if found[1][:2] in ('0x', '0X') else 10)}{found[2].lower()}" if found else token
