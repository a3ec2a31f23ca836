"""Java: completing a program into a compilation unit, and the resident compiler.

A completion may be a whole file, or static methods alone; the latter are put into a class, in front of which their
imports are moved.
"""

from __future__ import annotations

import os
import re
import select
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

COMPILE_S = 10.0
START_S = 30.0
JOBS_PER_SERVER = 500  # javac keeps some state between compilations

# What is no code: comments, text blocks, strings, characters. An unclosed comment or string ends with its line or the
# file.
_NO_CODE = re.compile(
    r'//[^\n]*|/\*.*?(?:\*/|\Z)|"""(?:\\.|.)*?(?:"""|\Z)|"(?:\\.|[^"\\\n])*"?|\'(?:\\.|[^\'\\\n])*\'?', re.DOTALL
)
_TYPE_DECLARATION = re.compile(r"(?<![\w.$])(class|interface|enum|record)\s+[A-Za-z_$]")
_IMPORT = re.compile(r"^[ \t]*import\s+[^;]+;", re.MULTILINE)
_IMPORTS = "import java.util.*; import java.util.function.*; import java.util.stream.*; "


class CompilerStopped(Exception):
    """The resident compiler went over its time or died; the message says which."""


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
    methods = re.search(r"\)\s*(throws\s[\w\s.,]+)?\{", outer)
    types = list(_TYPE_DECLARATION.finditer(outer))
    # A record's header has parentheses too: what stands alone is a method only if no type declaration leads up to it.
    if types and not (methods and _stands_alone(outer, methods.start())):
        return _IMPORTS + source
    imports = " ".join(match[0].strip() for match in _IMPORT.finditer(code))
    for found in reversed(list(_IMPORT.finditer(code))):
        source = source[: found.start()] + re.sub(r"[^\n]", " ", found[0]) + source[found.end() :]
    for found in reversed(types):  # a class inside another is static, unlike a record or an enum, only when it says so
        line = outer[: found.start()].rpartition("\n")[2]
        if found[1] == "class" and not re.search(r"\bstatic\b", line):
            source = source[: found.start()] + "static " + source[found.start() :]
    return f"{_IMPORTS}{imports} final class Solution {{ {source}\n}}\n"


def _at_depth_zero(code: str) -> str:
    """The code outside all braces, in its place; the braces' insides are blank."""
    depth, kept = 0, []
    for char in code:
        if char == "}":
            depth -= 1
        kept.append(char if depth <= 0 or char == "\n" else " ")
        if char == "{":
            depth += 1
    return "".join(kept)


def _stands_alone(outer: str, at: int) -> bool:
    """Whether the parenthesis closed at ``at`` belongs to a method and not to a record's header."""
    head = re.split(r"[;}]", outer[:at])[-1]
    return _TYPE_DECLARATION.search(head) is None


class JavacServer:
    """One resident compiler, started when first needed, and anew after many jobs, a time-out or its death; thread-safe.

    ``start`` gives a process with pipes for standard input and output; it is asked again for every new server.
    """

    def __init__(self, start: Callable[[], subprocess.Popen]) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None
        self._jobs = 0

    def compile(self, source: str) -> Compiled:
        """Compile one file. Raises CompilerStopped when the compiler took longer than ``COMPILE_S`` or died over it."""
        text = source.encode("utf-8", "replace")
        with self._lock:
            if self._process is None or self._jobs >= JOBS_PER_SERVER or self._process.poll() is not None:
                self._stop()
                self._process, self._jobs = self._start(), 0
            self._jobs += 1
            try:
                # The first job waits for the server to start, too.
                return self._exchange(text, time.monotonic() + COMPILE_S + (START_S if self._jobs == 1 else 0.0))
            except BaseException:
                self._stop()
                raise

    def close(self) -> None:
        """End the server."""
        with self._lock:
            self._stop()

    def _exchange(self, text: bytes, deadline: float) -> Compiled:
        try:
            self._process.stdin.write(struct.pack(">i", len(text)) + text)
            self._process.stdin.flush()
        except OSError as err:
            raise CompilerStopped("the compiler died") from err
        ok, cpu_ns, length = struct.unpack(">bqi", self._read(13, deadline))
        return Compiled(ok == 1, self._read(length, deadline), cpu_ns / 1e9)

    def _read(self, size: int, deadline: float) -> bytes:
        descriptor, data = self._process.stdout.fileno(), bytearray()
        while len(data) < size:
            if not select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise CompilerStopped(f"the compiler took longer than {COMPILE_S:g} s")
            part = os.read(descriptor, min(size - len(data), 1 << 16))
            if not part:
                raise CompilerStopped("the compiler died")
            data += part
        return bytes(data)

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                pipe.close()
            self._process = None
