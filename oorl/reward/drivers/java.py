"""Java: completing a program into a compilation unit, and the resident compiler.

A completion may be a whole file, or static methods alone; the latter are put into a class, in front of which their
imports are moved.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

COMPILE_CPU_S = 10.0
WALL_S = 180.0  # a loaded machine may take its time over the above, and over starting the server
JOBS_PER_SERVER = 500  # javac keeps some state between compilations

# What is no code: comments, text blocks, strings, characters; an unclosed one ends with its line or the file.
_NO_CODE = re.compile(
    r'//[^\n]*|/\*.*?(?:\*/|\Z)|"""(?:\\.|.)*?(?:"""|\Z)|"(?:\\.|[^"\\\n])*"?|\'(?:\\.|[^\'\\\n])*\'?', re.DOTALL
)
_TYPE_DECLARATION = re.compile(r"(?<![\w.$])(class|interface|enum|record)\s+[A-Za-z_$]")
_METHOD_BODY = re.compile(r"\)\s*(throws\s[\w\s.,]+)?\{")
_IMPORT = re.compile(r"^[ \t]*import\s+[^;]+;", re.MULTILINE)
_IMPORTS = "import java.util.*; import java.util.function.*; import java.util.stream.*; "


class CompilerStopped(Exception):
    """The resident compiler died over a program, twice: the program is to blame."""


@dataclass(frozen=True)
class Compiled:
    """A compilation's outcome: the packed classes, or the diagnostics."""

    ok: bool
    payload: bytes
    cpu_s: float


def compilation_unit(source: str) -> str:
    """The whole file: everyday imports, and a class around methods that stand alone; line numbers are kept."""
    code = _NO_CODE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), source)
    if re.match(r"\s*package\b", code):
        return source  # a file with a package is a whole one
    outer = _at_depth_zero(code)
    types = list(_TYPE_DECLARATION.finditer(outer))
    if types and not any(_stands_alone(outer, body.start()) for body in _METHOD_BODY.finditer(outer)):
        return _IMPORTS + source
    imports = list(_IMPORT.finditer(code))
    edits = [(found.start(), found.end(), re.sub(r"[^\n]", " ", found[0])) for found in imports]
    edits += [(found.start(), found.start(), "static ") for found in types if _needs_static(outer, found)]
    head = _IMPORTS + " ".join(found[0].strip() for found in imports)
    return f"{head} final class Solution {{ {_edited(source, edits)}\n}}\n"


def _needs_static(outer: str, found: re.Match) -> bool:
    """Whether a class that goes inside another must be told to be static; records, enums and interfaces are anyway."""
    modifiers = outer[max(0, found.start() - 100) : found.start()].rpartition("\n")[2]
    return found[1] == "class" and re.search(r"\bstatic\b", modifiers) is None


def _edited(text: str, edits: list[tuple[int, int, str]]) -> str:
    """``text`` with each (start, end, replacement) carried out."""
    pieces, at = [], 0
    for start, end, replacement in sorted(edits):
        pieces += [text[at:start], replacement]
        at = end
    return "".join([*pieces, text[at:]])


def _at_depth_zero(code: str) -> str:
    """The code outside all braces, in its place; the braces' insides are blank."""
    depth, kept = 0, []
    for char in code:
        if char == "}":
            depth = max(0, depth - 1)
        kept.append(char if depth == 0 or char == "\n" else " ")
        if char == "{":
            depth += 1
    return "".join(kept)


def _stands_alone(outer: str, at: int) -> bool:
    """Whether the parenthesis closed at ``at`` is a method's; in front of a record's stands its declaration."""
    statement = max(outer.rfind(";", 0, at), outer.rfind("}", 0, at)) + 1
    return _TYPE_DECLARATION.search(outer, statement, at) is None


class JavacServer:
    """One resident compiler, started when first needed, and anew after many jobs or its death; thread-safe.

    ``start`` gives a process with pipes for standard input and output; it is asked again for every new server.
    """

    def __init__(self, start: Callable[[], subprocess.Popen]) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None
        self._jobs = 0

    def compile(self, source: str) -> Compiled:
        """Compile one file.

        Raises:
            CompilerStopped: the compiler ended itself over the program (``COMPILE_CPU_S``, memory), twice.
            TimeoutError: no answer within ``WALL_S``, which is nobody's fault but the machine's.
        """
        text = source.encode("utf-8", "replace")
        with self._lock:
            for _ in range(2):  # a first death may be an accident
                try:
                    return self._exchange(text, time.monotonic() + WALL_S)
                except (EOFError, BrokenPipeError):
                    self._stop()
                except BaseException:
                    self._stop()
                    raise
        raise CompilerStopped(f"the compiler went over {COMPILE_CPU_S:g} s of CPU time, or over its memory")

    def close(self) -> None:
        """End the server."""
        with self._lock:
            self._stop()

    def _exchange(self, text: bytes, deadline: float) -> Compiled:
        if self._process is None or self._jobs >= JOBS_PER_SERVER:
            self._stop()
            self._process, self._jobs = self._start(), 0
        self._jobs += 1
        self._process.stdin.write(struct.pack(">i", len(text)) + text)
        self._process.stdin.flush()
        ok, cpu_ns, length = struct.unpack(">bqi", self._read(13, deadline))
        return Compiled(ok == 1, self._read(length, deadline), cpu_ns / 1e9)

    def _read(self, size: int, deadline: float) -> bytes:
        descriptor, data = self._process.stdout.fileno(), bytearray()
        while len(data) < size:
            if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f"the Java compiler gave no answer within {WALL_S:g} s")
            part = os.read(descriptor, min(size - len(data), 1 << 16))
            if not part:
                raise EOFError
            data += part
        return bytes(data)

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):  # what was not sent yet cannot be now
                    pipe.close()
            self._process = None
