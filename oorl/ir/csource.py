"""Sources of IR groups: generated programs, and C files cut into self-contained functions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from oorl.errors import UserError
from oorl.ir.signature import CSignature
from oorl.programs import IR, canonical, generate_program, render

_COMMENT_OR_TEXT = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'", re.S)
_HEAD = re.compile(r"([A-Za-z_][\w\s\*]*?)\b([A-Za-z_]\w*)\s*\(([^(){};]*)\)\s*$", re.S)


@dataclass(frozen=True)
class Source:
    """One function to make a group of: ``code`` compiles on its own and defines ``entry``."""

    name: str  # how messages and the group's id call it
    code: str
    entry: str
    signature: CSignature
    licence: str
    origin: str
    cluster: str  # equal for sources that are the same program: never in two splits

    def to_json(self) -> dict:
        return {
            **{name: getattr(self, name) for name in self.__dataclass_fields__},
            "signature": self.signature.to_json(),
        }

    @staticmethod
    def from_json(row: dict) -> Source:
        return Source(**{**row, "signature": CSignature.from_json(row["signature"])})


@dataclass(frozen=True)
class CFunction:
    """A function definition found in a C text."""

    name: str
    result: str
    parameters: str
    text: str


@dataclass(frozen=True)
class CFile:
    """A C text cut at its top level: everything outside function bodies, and the functions in order."""

    preamble: str
    functions: tuple[CFunction, ...]


def split_c(code: str) -> CFile:
    """Cut a C text (comments removed) into preamble and function definitions."""
    code = _COMMENT_OR_TEXT.sub(lambda m: " " if m[0][0] == "/" else m[0], code)
    preamble, functions, piece, position = [], [], "", 0
    while position < len(code):
        char = code[position]
        if char == "#" and not piece.strip():
            end = re.compile(r"(?<!\\)\n|\Z").search(code, position).end()
            preamble.append(code[position:end].rstrip("\n"))
            position, piece = end, ""
        elif char == "{":
            end = _closing_brace(code, position)
            head = _HEAD.search(piece)
            if head and "=" not in piece:
                functions.append(CFunction(head[2], head[1], head[3], piece.strip() + " " + code[position:end]))
                piece = ""
            else:
                piece += code[position:end]
            position = end
        else:
            piece += char
            position += 1
            if char == ";":
                preamble.append(piece.strip())
                piece = ""
    if piece.strip():
        preamble.append(piece.strip())
    return CFile("\n".join(line for line in preamble if line and line != ";"), tuple(functions))


def sources_of_file(path: str | Path, licence: str = "unknown") -> tuple[list[Source], list[tuple[str, str]]]:
    """The non-static functions of a C file with a simple signature, and ``(name, reason)`` for every other one."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as err:
        raise UserError(f"cannot read {path}: {err.strerror}; give the path of an existing C file") from err
    except UnicodeDecodeError as err:
        raise UserError(f"{path} is not UTF-8 text ({err.reason}); give the path of a C source file") from err
    parts = split_c(text)
    if not any("static" not in function.result.split() for function in parts.functions):
        raise UserError(
            f"{path} defines no function that is not static; an IR group is made from a C function definition"
        )
    sources, refused = [], []
    for function in parts.functions:
        if "static" in function.result.split():
            continue  # a helper: it comes along with the functions that call it
        name = f"{path.name}:{function.name}"
        try:
            signature = CSignature.from_prototype(function.result, function.parameters)
        except ValueError as err:
            refused.append((name, f"signature: {err}"))
            continue
        code = _self_contained(parts, function)
        sources.append(Source(name, code, function.name, signature, licence, str(path.name), cluster_of(code)))
    return sources, refused


def cluster_of(text: str) -> str:
    """The cluster of a text: its hash without regard to white space."""
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()


def generated_sources(seed: int) -> Iterator[Source]:
    """Endless C functions of the program generator; the same seed gives the same sequence."""
    index = 0
    while True:
        # One stream per seed: consecutive seeds must not share programs.
        own = int.from_bytes(hashlib.sha256(f"ir:{seed}:{index}".encode()).digest()[:7], "big")
        program = generate_program(own, config=IR)
        yield Source(
            name=f"gen-{seed}-{index}",
            code=render(program, "c"),
            entry=program.entry,
            signature=CSignature.from_types(program.signature),
            licence="Apache-2.0",
            origin=f"oorl.programs seed {own}",
            cluster=hashlib.sha256(canonical(program).encode()).hexdigest(),
        )
        index += 1


def _closing_brace(code: str, start: int) -> int:
    depth, position = 0, start
    # Literals are skipped whole: a brace inside one closes nothing.
    for token in re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|[{}]").finditer(code, start):
        depth += {"{": 1, "}": -1}.get(token[0], 0)
        position = token.end()
        if depth == 0:
            return position
    return len(code)


def _self_contained(parts: CFile, function: CFunction) -> str:
    """The preamble, the function, and the functions it names, transitively, in file order."""
    wanted, changed = {function.name}, True
    while changed:
        text = " ".join(f.text for f in parts.functions if f.name in wanted)
        words = set(re.findall(r"[A-Za-z_]\w*", text))
        more = {f.name for f in parts.functions if f.name in words}
        changed = not more <= wanted
        wanted |= more
    pieces = [parts.preamble] + [f.text for f in parts.functions if f.name in wanted]
    return "\n".join(piece for piece in pieces if piece) + "\n"
