"""From a program's text to a command that can be run: writes source and driver, compiles, tells compile errors apart.

``Compilers.build`` never raises for what a program contains. Compilers run through the caller's ``Launcher``, confined
like programs.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from oorl.errors import UserError
from oorl.reward.drivers.c_family import (
    CALL_FLAGS,
    LINK_FLAGS,
    STDIN_FLAGS,
    c_unit,
    cpp_unit,
    needs_all_headers,
)
from oorl.reward.drivers.java import COMPILE_CPU_S, CompilerStopped, JavacServer, compilation_unit
from oorl.reward.drivers.toolkit import Toolkit
from oorl.reward.languages import ENVIRONMENT, LANGUAGES, find_tool, missing_toolchain, signature_fault
from oorl.types import Signature

DETAIL_CHARS = 2000
MAX_SOURCE_CHARS = 1 << 18
Call = tuple[str, Signature]  # entry and signature of a call-mode build
# A shell moves the protocol to descriptors 3 and 4 for run-times that cannot redirect their own standard streams.
_AWAY = ("/bin/sh", "-c", 'exec "$@" 3<&0 4>&1 </dev/null >&2', "sh")


@dataclass(frozen=True)
class Limits:
    """What one process may use."""

    cpu_s: float = 10.0
    wall_s: float = 60.0
    memory_mb: int = 1024
    processes: int = 64
    output_bytes: int = 1 << 20


RESIDENT_LIMITS = Limits(cpu_s=3600.0, wall_s=86400.0, memory_mb=2048)


@dataclass(frozen=True)
class Completed:
    """How a process ended; ``verdict`` names the limit that ended it, if one did."""

    returncode: int
    stdout: bytes
    stderr: bytes
    cpu_s: float
    wall_s: float
    verdict: str | None = None


class Launcher(Protocol):
    """Starts processes under confinement; the pool's runner is one."""

    def run(self, argv: Sequence[str], limits: Limits, cwd: Path, env: Mapping[str, str]) -> Completed:
        """Run to the end, standard input empty."""

    def start(self, argv: Sequence[str], limits: Limits, cwd: Path, env: Mapping[str, str]) -> subprocess.Popen:
        """Start a resident compiler, standard input and output as pipes."""


@dataclass(frozen=True)
class Build:
    """What building gave: a command, or a verdict (CE, CE_LIMIT) with the compiler's words."""

    ok: bool
    verdict: str = ""
    detail: str = ""
    argv: tuple[str, ...] = ()
    cpu_s: float = 0.0

    def command(self, memory_mb: int) -> list[str]:
        """The command with the run-time's own heap limit filled in."""
        return [word.replace("{memory_mb}", str(max(memory_mb, 16))) for word in self.argv]


class Compilers:
    """The build services of one node; thread-safe. ``cache_dir`` keeps drivers and precompiled parts."""

    def __init__(self, cache_dir: Path, launcher: Launcher) -> None:
        self.launcher = launcher
        self._toolkit = Toolkit(Path(cache_dir))
        self._javac = JavacServer(self._start_javac)

    def build(
        self,
        language_id: str,
        mode: Literal["call", "stdin"],
        signature: Signature | None,
        entry: str,
        source: str,
        build_dir: Path,
    ) -> Build:
        """Write ``source`` and its driver into ``build_dir`` and compile.

        In stdin mode ``signature`` and ``entry`` are not looked at. Raises UserError when the toolchain is missing or
        the language cannot take the signature.
        """
        if absent := missing_toolchain(language_id):
            raise UserError(absent)
        if mode == "call" and (fault := signature_fault(language_id, signature, entry)):
            raise UserError(fault)
        if len(source) > MAX_SOURCE_CHARS:
            return Build(False, "CE_LIMIT", f"the program is longer than {MAX_SOURCE_CHARS} characters")
        source = source.removeprefix("\ufeff")
        build_dir = Path(build_dir).resolve()
        build_dir.mkdir(parents=True, exist_ok=True)
        call = (entry, signature) if mode == "call" else None
        if language_id == "java":
            return self._java(call, source, build_dir)
        if language_id in ("c", "cpp"):
            return self._c_family(language_id, call, source, build_dir)
        return self._interpreted(language_id, call, source, build_dir)

    def close(self) -> None:
        """End the resident compiler."""
        self._javac.close()

    def __enter__(self) -> Compilers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _interpreted(self, language_id: str, call: Call | None, source: str, build_dir: Path) -> Build:
        row = LANGUAGES[language_id]
        path = build_dir / row.source_file
        if language_id == "php" and not source.lstrip().startswith("<?"):
            source = "<?php\n" + source
        path.write_bytes(source.encode("utf-8", "replace"))
        tool = find_tool(row.tools[0])
        if call is None:
            return self._whole_program(language_id, tool, path)
        entry, signature = call
        driver = (str(self._toolkit.driver(language_id)), *(("call",) if language_id == "python" else ()))
        words = (tool, *row.run_flags, *driver, str(path), entry, *_type_words(signature))
        return Build(True, argv=(*(_AWAY if language_id in ("php", "javascript") else ()), *words))

    def _whole_program(self, language_id: str, tool: str, path: Path) -> Build:
        """Its syntax is looked at once, before running it; in call mode the driver does that, which saves a process."""
        run_flags = LANGUAGES[language_id].run_flags
        check = {
            "python": (*run_flags, "-c", "import sys; compile(open(sys.argv[1], 'rb').read(), 'main.py', 'exec')"),
            "php": ("-n", "-l", "-d", "display_errors=stderr"),
            "bash": ("-n",),
            "javascript": ("--check",),
        }[language_id]
        driver = (str(self._toolkit.driver("python")), "main") if language_id == "python" else ()
        return self._compile((tool, *check, str(path)), path.parent, (tool, *run_flags, *driver, str(path)))

    def _c_family(self, language_id: str, call: Call | None, source: str, build_dir: Path) -> Build:
        row = LANGUAGES[language_id]
        compiler, unit, program = find_tool(row.tools[0]), build_dir / row.source_file, build_dir / "program"
        if call is None:
            unit.write_bytes(source.encode("utf-8", "replace"))
            header = ("-include", str(self._toolkit.cpp_header("stdin"))) if language_id == "cpp" else ()
            words = (compiler, *row.compile_flags, *STDIN_FLAGS, *header, str(unit), "-o", str(program), "-lm")
            return self._compile(words, build_dir, (str(program),))
        entry, signature = call
        unit.write_bytes(
            (cpp_unit if language_id == "cpp" else c_unit)(source, entry, signature).encode("utf-8", "replace")
        )
        words = (compiler, *row.compile_flags, *CALL_FLAGS, *LINK_FLAGS, str(unit), "-o", str(program))
        command = (str(self._toolkit.cpp_runner()), str(program))
        if language_id == "cpp":
            header = self._toolkit.cpp_header("all" if needs_all_headers(source) else "everyday")
            words = (*words, "-include", str(header))
        return self._compile(words, build_dir, command)

    def _java(self, call: Call | None, source: str, build_dir: Path) -> Build:
        program = build_dir / "program.classes"
        try:
            compiled = self._javac.compile(compilation_unit(source))
        except CompilerStopped as stopped:
            return Build(False, "CE_LIMIT", str(stopped))
        if not compiled.ok:
            return Build(False, "CE", diagnostics(compiled.payload, build_dir), cpu_s=compiled.cpu_s)
        program.write_bytes(compiled.payload)
        words = ("call", str(program), call[0], *_type_words(call[1])) if call else ("main", str(program))
        java, jar = self._toolkit.java()
        argv = (java, *LANGUAGES["java"].run_flags, "-cp", str(jar), "oorl.JavaDriver", *words)
        return Build(True, argv=argv, cpu_s=compiled.cpu_s)

    def _start_javac(self) -> subprocess.Popen:
        java, jar = self._toolkit.java()
        options = ("-Xshare:auto", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx768m", "-Xss16m")
        words = (
            java,
            *options,
            "-cp",
            str(jar),
            "oorl.JavacServer",
            str(COMPILE_CPU_S),
            *LANGUAGES["java"].compile_flags,
        )
        home = self._toolkit.cache_dir / "javac"  # its own: it may write there
        home.mkdir(exist_ok=True)
        return self.launcher.start(words, RESIDENT_LIMITS, home, scratch_environment(home))

    def _compile(self, argv: Sequence[str], build_dir: Path, command: Sequence[str]) -> Build:
        done = self.launcher.run(argv, Limits(), build_dir, scratch_environment(build_dir))
        if done.verdict is not None:
            return Build(False, "CE_LIMIT", f"the compiler was stopped: {done.verdict}", cpu_s=done.cpu_s)
        if done.returncode != 0:
            return Build(False, "CE", diagnostics(done.stderr or done.stdout, build_dir), cpu_s=done.cpu_s)
        return Build(True, argv=tuple(command), cpu_s=done.cpu_s)


def _type_words(signature: Signature) -> tuple[str, ...]:
    return (*(str(kind) for _, kind in signature.params), str(signature.returns))


def scratch_environment(directory: Path) -> dict[str, str]:
    """The clean environment with home and temporary files in ``directory``."""
    return {**ENVIRONMENT, "HOME": str(directory), "TMPDIR": str(directory)}


def diagnostics(stderr: bytes, build_dir: Path) -> str:
    """A compiler's complaint without directories, trimmed to its beginning, where the first error is."""
    text = stderr.decode("utf-8", "replace").replace(f"{build_dir}/", "").strip()
    return text if len(text) <= DETAIL_CHARS else text[: DETAIL_CHARS - 3] + "..."
