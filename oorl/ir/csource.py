"""Sources of IR groups: C or C++ files cut into self-contained functions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from oorl.errors import UserError
from oorl.ir.declarations import declared_types
from oorl.ir.signature import PROGRAM, CSignature

_COMMENT_OR_TEXT = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'", re.S)
_HEAD = re.compile(r"([A-Za-z_][\w\s\*]*?)\b([A-Za-z_]\w*)\s*\(([^(){};]*)\)\s*(?:noexcept\s*)?$", re.S)
# What stands for a contract's comment while a text is cut; its text may hold anything.
MARK = re.compile(r"\x00(\d+)\x00")  # stands for a contract
_CONTRACT = re.compile(r"/[/*][/*!]*\s*contract:(.*?)(?:\*/)?\s*$", re.S)
# What ends with a brace in C++ without being a function here: a namespace, an operator.
_CPP_BLOCK = re.compile(r"^\s*(?:inline\s+)?namespace\b|\boperator\s*(?:[-+*/%^&|~!=<>]+|\(\)|\[\])\s*\(")
CPP_ENDINGS = (".cc", ".cpp", ".cxx")


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
    language: str = "c"  # "c", "cpp" or "rust": which front end compiles it

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
    contract: str | None = None


@dataclass(frozen=True)
class CFile:
    """A C text cut at its top level: what stands outside function bodies, and the functions, in order."""

    declarations: tuple[str, ...]
    functions: tuple[CFunction, ...]

    @property
    def preamble(self) -> str:
        return "\n".join(self.declarations)


def marked(code: str, comment_or_text: re.Pattern) -> tuple[str, list[str]]:
    """The code without its comments, a mark with a number in the place of each contract, and the contracts."""
    contracts: list[str] = []

    def without_comment(match: re.Match) -> str:
        if match[0][0] != "/":
            return match[0]
        if found := _CONTRACT.match(match[0]):
            contracts.append(found[1].strip())
            return f"\x00{len(contracts) - 1}\x00"
        return " "

    return comment_or_text.sub(without_comment, code), contracts


def split_c(code: str) -> CFile:
    """Cut a C text (comments removed, contracts read) into preamble and function definitions."""
    code, contracts = marked(code, _COMMENT_OR_TEXT)
    preamble, functions, piece, position = [], [], "", 0
    while position < len(code):
        char = code[position]
        if char == "#" and not MARK.sub("", piece).strip():
            end = re.compile(r"(?<!\\)\n|\Z").search(code, position).end()
            preamble.append(code[position:end].rstrip("\n"))
            position, piece = end, ""
        elif char == "{":
            end = _closing_brace(code, position)
            marks, piece = MARK.findall(piece), MARK.sub("", piece)
            head = _HEAD.search(piece)
            if head and "=" not in piece:
                contract = contracts[int(marks[-1])] if marks else None
                text = piece.strip() + " " + MARK.sub("", code[position:end])
                functions.append(CFunction(head[2], head[1], head[3], text, contract))
                piece = ""
            elif _CPP_BLOCK.search(piece):
                preamble.append(piece.strip() + " " + MARK.sub("", code[position:end]))
                piece = ""
            else:
                piece += MARK.sub("", code[position:end])
            position = end
        else:
            piece += char
            position += 1
            if char == ";":
                preamble.append(MARK.sub("", piece).strip())
                piece = ""
    if piece.strip():
        preamble.append(MARK.sub("", piece).strip())
    return CFile(tuple(line for line in preamble if line and line != ";"), tuple(functions))


def read_source(path: str | Path) -> str:
    """The text of a source file; UserError when there is none."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as err:
        raise UserError(f"cannot read {path}: {err.strerror}; give the path of an existing source file") from err
    except UnicodeDecodeError as err:
        raise UserError(f"{path} is not UTF-8 text ({err.reason}); give the path of a source file") from err


def sources_of_file(
    path: str | Path, licence: str = "unknown", prune: bool = False
) -> tuple[list[Source], list[tuple[str, str]]]:
    """The functions of a C, C++ or Rust file (by its ending) with a simple signature, and ``(name, reason)`` for the
    others. Static functions and private ones are helpers: they come along with the functions that call them.
    ``prune`` leaves out of a C or C++ function's code the declarations that it does not need.
    """
    path = Path(path)
    text = read_source(path)
    if path.suffix == ".rs":
        from oorl.ir.rustsource import sources_of_rust

        return sources_of_rust(text, path.name, licence)
    language = "cpp" if path.suffix in CPP_ENDINGS else "c"
    text, private = plain_linkage(text) if language == "cpp" else (text, set())
    parts = split_c(text)
    if not any("static" not in function.result.split() for function in parts.functions):
        raise UserError(
            f"{path} defines no function that is not static; an IR group is made from a function definition"
        )
    return sources_of_parts(parts, path.name, licence, path.name, language, private=private, prune=prune)


def sources_of_parts(
    parts: CFile,
    name: str,
    licence: str,
    origin: str,
    language: str = "c",
    *,
    contracts: dict[str, str] | None = None,
    private: Collection[str] = (),
    prune: bool = False,
) -> tuple[list[Source], list[tuple[str, str]]]:
    """``sources_of_file`` for a text that is cut already.

    ``contracts`` are those that stand elsewhere, by function; ``private`` functions are helpers, as static ones are;
    ``prune`` leaves out the declarations that a function does not need.
    """
    sources, refused = [], []
    types = declared_types(parts.preamble)
    for function in parts.functions:
        if "static" in function.result.split() or function.name in private:
            continue
        own = f"{name}:{function.name}"
        contract = function.contract or (contracts or {}).get(function.name)
        try:
            if "template" in function.text.partition("(")[0].split("<")[0].split():
                raise ValueError("it is a template")
            signature = PROGRAM
            if function.name != "main":
                signature = CSignature.from_prototype(function.result, function.parameters, contract, types)
        except ValueError as err:
            refused.append((own, str(err) if str(err).startswith("contract:") else f"signature: {err}"))
            continue
        code = _self_contained(_pruned(parts, function) if prune else parts, function, language)
        sources.append(Source(own, code, function.name, signature, licence, origin, cluster_of(code), language))
    return sources, refused


def _pruned(parts: CFile, function: CFunction) -> CFile:
    """The text with those declarations only that the function names, transitively."""
    words = set(re.findall(r"\w+", _self_contained(CFile((), parts.functions), function)))
    kept: list[str] = []
    for line in reversed(parts.declarations):  # what is declared later may use what is declared before
        other = line.startswith("#") and not re.match(r"#\s*define\b", line)
        if other or declared_names(line) & words:
            kept.append(line)
            words |= set(re.findall(r"\w+", line))
    return CFile(tuple(reversed(kept)), parts.functions)


def declared_names(line: str) -> set[str]:
    """The names that a declaration at the top level, or a macro's definition, introduces."""
    if line.startswith("#"):
        return set(re.findall(r"#\s*define\s+(\w+)", line))
    names = set(re.findall(r"\b(?:struct|union|enum)\s+(\w+)\s*\{", line))
    if "enum" in line:
        names |= set(re.findall(r"\w+", line))
    body = re.sub(r"__attribute__\s*\(\(.*?\)\)(?=\s|;|$)", " ", re.sub(r"\{.*\}", " ", line, flags=re.S), flags=re.S)
    if found := re.search(r"\(\s*\*\s*(\w+)", body) if body.startswith("typedef") else None:
        return names | {found[1]}
    body = re.sub(r"<[^<>;]*>", " ", body)  # a template's arguments are no declarators
    end = ";" if body.startswith("typedef") else r"[(=\[;]"
    for piece in body.split(",") if "(" not in body else [body]:
        head = re.split(end, piece)[0].split("[")[0]
        names |= set(re.findall(r"(\w+)\s*$", head))
    return names


def plain_linkage(code: str) -> tuple[str, set[str]]:
    """A C++ text without ``extern "C"`` and unnamed namespaces, and the functions that stood in the latter.

    Entries are declared ``extern "C"`` when they are compiled.
    """
    private: set[str] = set()
    while found := re.search(r'extern\s+"C"\s*\{|\bnamespace\s*\{', code):
        end = _closing_brace(code, found.end() - 1)
        inner = code[found.end() : end - 1]
        if found[0].startswith("namespace"):
            private |= {function.name for function in split_c(inner).functions}
        code = code[: found.start()] + inner + code[end:]
    return re.sub(r'extern\s+"C"\s+', "", code), private


def cluster_of(text: str) -> str:
    """The cluster of a text: its hash without regard to white space."""
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()


def _closing_brace(code: str, start: int) -> int:
    depth, position = 0, start
    # Literals are skipped whole: a brace inside one closes nothing.
    for token in re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|[{}]").finditer(code, start):
        depth += {"{": 1, "}": -1}.get(token[0], 0)
        position = token.end()
        if depth == 0:
            return position
    return len(code)


def _self_contained(parts: CFile, function: CFunction, language: str = "c") -> str:
    """The preamble, the function, and the functions it names, transitively, in file order."""
    wanted, changed = {function.name}, True
    while changed:
        text = " ".join(f.text for f in parts.functions if f.name in wanted)
        words = set(re.findall(r"[A-Za-z_]\w*", text))
        more = {f.name for f in parts.functions if f.name in words}
        changed = not more <= wanted
        wanted |= more
    declarations, pieces = parts.declarations, []
    exported = language == "cpp" and function.name != "main"
    for part in parts.functions:
        if part.name in wanted:
            pieces.append(_exported(part) if exported and part.name == function.name else part.text)
    if exported:  # a prototype without the linkage would contradict it
        prototype = re.compile(rf"[^{{}}=]*\b{function.name}\s*\([^{{}}]*;")
        declarations = tuple(line for line in declarations if not prototype.fullmatch(line))
    return "\n".join(piece for piece in ("\n".join(declarations), *pieces) if piece) + "\n"


def _exported(function: CFunction) -> str:
    """A C++ function under its plain name, emitted whether or not it is called."""
    body = function.text[function.text.index("{", function.text.index(f"{function.name}")) :]
    result = re.sub(r"\b(?:constexpr|inline|extern)\b", " ", function.result)
    return f'extern "C" {" ".join(result.split())} {function.name}({function.parameters}) {body}'
