"""Generated sources of IR groups: C functions of the kind people write, and functions of the program generator."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

from oorl.ir.csource import Source, sources_of_parts, split_c
from oorl.ir.generator.assemble import random_function
from oorl.ir.generator.identity import identity_of
from oorl.ir.signature import CSignature
from oorl.programs import IR, canonical, generate_program, render

__all__ = ["function_sources", "generated_sources", "program_sources"]

FUNCTIONS_PER_PROGRAM = 3
LICENCE = "Apache-2.0"


def generated_sources(seed: int) -> Iterator[Source]:
    """Endless generated C functions, of both kinds in turn; the same seed gives the same sequence."""
    functions, programs = function_sources(seed), program_sources(seed)
    while True:
        for _ in range(FUNCTIONS_PER_PROGRAM):
            yield next(functions)
        yield next(programs)


def function_sources(seed: int) -> Iterator[Source]:
    """Endless functions over scalars, arrays, texts, structs and matrices, each under a contract."""
    index = 0
    while True:
        own = _stream("function", seed, index)
        drawn = random_function(own)
        origin = f"oorl.ir.generator seed {own}, {'+'.join(drawn.skeletons)}"
        [source], _ = sources_of_parts(split_c(drawn.code), "generated", LICENCE, origin)
        yield replace(source, name=f"fn-{seed}-{index}", cluster=identity_of(source.code))
        index += 1


def program_sources(seed: int) -> Iterator[Source]:
    """Endless functions of the program generator: integers, floats and constant lists."""
    index = 0
    while True:
        own = _stream("ir", seed, index)
        program = generate_program(own, config=IR)
        yield Source(
            name=f"gen-{seed}-{index}",
            code=render(program, "c"),
            entry=program.entry,
            signature=CSignature.from_types(program.signature),
            licence=LICENCE,
            origin=f"oorl.programs seed {own}",
            cluster=hashlib.sha256(canonical(program).encode()).hexdigest(),
        )
        index += 1


def _stream(kind: str, seed: int, index: int) -> int:
    """A seed of its own for every function: consecutive seeds share none."""
    return int.from_bytes(hashlib.sha256(f"{kind}:{seed}:{index}".encode()).digest()[:7], "big")
