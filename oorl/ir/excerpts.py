"""What of a whole program can stand alone: its functions of arguments only, and the program itself.

Headers are not taken over: of those a text needs, it gets the C library's own, for ``bits/stdc++.h`` costs seconds of
compiling and few compilers have it. What calls anything else is left out before it is compiled.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from oorl.errors import UserError
from oorl.ir.csource import CFile, Source, cluster_of, plain_linkage, sources_of_parts, split_c
from oorl.ir.libc import INTRINSIC, LIBRARY, headers_for

MOST_CHARS = 30_000

_DROPPED = re.compile(r"#\s*(?:include|pragma|import)\b|using\s+(?:namespace\s+)?std\b")
_STREAMS = re.compile(
    r"\b(?:cin|cout|cerr|getline|stringstream)\b|\b(?:vector|map|set|queue|stack|deque|pair|list)\s*<"
)
_CALL = re.compile(r"(?<![\w.])(?<!->)([A-Za-z_]\w*)\s*\(")
_KEYWORDS = frozenset(
    "if for while switch return sizeof int long short char double float unsigned signed bool void defined case else do"
    " operator noexcept alignof decltype throw".split()
)
# Of the C++ library what is a line of C++; the rest would take its headers.
_HELPERS = {
    "max": "template <class T> T max(T a, T b) { return a < b ? b : a; }",
    "min": "template <class T> T min(T a, T b) { return b < a ? b : a; }",
    "swap": "template <class T> void swap(T &a, T &b) { T c = a; a = b; b = c; }",
    "__gcd": "template <class T> T __gcd(T a, T b) { while (b) { T c = a % b; a = b; b = c; } return a; }",
}


def excerpts(code: str, language: str, name: str, licence: str) -> tuple[list[Source], list[str]]:
    """Functions and program of a text, self-contained, and ``kind: reason`` for everything left out."""
    if len(code) > MOST_CHARS:
        return [], [f"size: the text has {len(code)} characters"]
    if language == "rust":
        return _of_rust(code, name, licence)
    code, private = plain_linkage(code) if language == "cpp" else (code, set())
    if language == "cpp":
        code = re.sub(rf"\bstd\s*::\s*(?=(?:{'|'.join(_HELPERS)}|abs|size_t|u?int\d+_t)\b)", "", code)
    parts = split_c(code)
    if not parts.functions:
        return [], ["cut: no function definition is found"]
    bare = CFile(tuple(line for line in parts.declarations if not _DROPPED.match(line)), parts.functions)
    found, refused = sources_of_parts(bare, name, licence, "", language, private=private, prune=True)
    sources, left_out = [], [reason for _, reason in refused]
    for source in found:
        if reason := _foreign(source):
            left_out.append(reason)
        else:
            whole = _with_headers(source)
            sources.append(replace(source, code=whole, cluster=cluster_of(whole)))
    return sources, left_out


def _of_rust(code: str, name: str, licence: str) -> tuple[list[Source], list[str]]:
    from oorl.ir.rustsource import sources_of_rust

    try:
        found, refused = sources_of_rust(code, name, licence)
    except UserError as err:
        return [], [f"cut: {err}"]
    sources = [source for source in found if source.entry != "main"]
    left_out = [reason for own, reason in refused if not own.endswith(":main")]
    return sources, left_out + ["external: main prints through the standard library"] * (len(found) > len(sources))


def _foreign(source: Source) -> str | None:
    """Why a text cannot stand alone: what it calls that neither it nor the harmless library defines."""
    if source.language == "cpp" and (found := _STREAMS.search(source.code)):
        return f"external: uses {found[0].rstrip(' <')}"
    known = LIBRARY if source.entry == "main" else INTRINSIC
    known = {*known, *_KEYWORDS, *(_HELPERS if source.language == "cpp" else ()), *_defined(source.code)}
    calls = (name for name in _CALL.findall(source.code) if not name.startswith("__builtin_"))
    called = next((name for name in calls if name not in known), None)
    return f"external: calls {called}" if called else None


def _defined(code: str) -> Iterator[str]:
    """Names of functions, macros and types that a text introduces."""
    yield from re.findall(r"\b(\w+)\s*\([^(){};]*\)\s*(?:const\s*)?(?::[^{};]*)?\{", code)
    yield from re.findall(r"#\s*define\s+(\w+)", code)
    yield from re.findall(r"\b(?:struct|union|enum|class)\s+(\w+)", code)
    yield from re.findall(r"\btypedef\b[^;{}]*?\b(\w+)\s*;", code)
    yield from re.findall(r"\busing\s+(\w+)\s*=", code)


def _with_headers(source: Source) -> str:
    own = set(_defined(source.code))
    names = set(re.findall(r"[A-Za-z_]\w*", source.code)) - own
    helpers = []
    if source.language == "cpp":
        names -= {"bool", "true", "false"}  # C++ knows them
        used = set(_CALL.findall(source.code)) - own
        helpers = [text for name, text in _HELPERS.items() if name in used]
    return "\n".join([*(f"#include <{header}>" for header in headers_for(names)), *helpers, source.code])
