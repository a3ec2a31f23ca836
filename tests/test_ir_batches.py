"""Which functions one call of the front end compiles: declarations are shared, and never contradict one another."""

from __future__ import annotations

import pytest

pytest.importorskip("llvmlite", reason="IR groups need llvmlite (the train extra)")
pytest.importorskip("ziglang", reason="IR groups need ziglang (the train extra)")

from oorl.ir import compile as compiling  # noqa: E402
from oorl.ir.compile import CompileError, batches_of, compile_sources  # noqa: E402
from oorl.ir.csource import Source, sources_of_parts, split_c  # noqa: E402

POINT = "struct point { int x; int y; };"
OTHER_POINT = "struct point { double x; };"
RANGE = "struct range { int lo; int hi; };"


def source(*lines: str, name: str = "f") -> Source:
    found, refused = sources_of_parts(split_c("\n".join(lines)), name, "Apache-2.0", "test")
    assert not refused
    return found[0]


def of_point(name: str) -> tuple[str, str]:
    return "// contract: p[1]; p.x in 0..9", f"int {name}(const struct point *p) {{ return (int)p->x + 1; }}"


def of_range(name: str) -> tuple[str, str]:
    return "// contract: r[1]", f"int {name}(const struct range *r) {{ return r->hi > r->lo; }}"


PLAIN = ("int plus(int a, int b) { return a + b; }",)
WITH_HELPER = (
    "static int twice(int a) { return 2 * a; }",
    "// contract: p[1]",
    "int f(const struct point *p) { static const int bonus[2] = {5, 9}; return twice(p->y) + bonus[p->x & 1]; }",
)
LIMITED = ("int f(int a) { return a % LIMIT; }",)


def batched(*sources: Source) -> list[list[int]]:
    return [batch.members for _, batch in batches_of(sources)]


def test_what_agrees_is_compiled_together():
    sources = [
        source(POINT, *of_point("f")), source(*PLAIN), source(RANGE, *of_range("g")),
        source(POINT, RANGE, *of_range("h")),
        source("#include <stdint.h>", "uint8_t low(uint32_t a) { return (uint8_t)a; }"),
    ]  # fmt: skip
    [(language, batch)] = batches_of(sources)
    assert language == "c" and batch.members == [0, 1, 2, 3, 4]
    assert list(batch.declarations) == [POINT, RANGE, "#include <stdint.h>"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((POINT, *of_point("f")), (OTHER_POINT, *of_point("g"))),
        (("#define LIMIT 4", *LIMITED), ("#define LIMIT 5", *LIMITED)),
        (("#define LIMIT 4", *LIMITED), ("int g(int LIMIT) { return LIMIT + 1; }",)),
        (("int g(int LIMIT) { return LIMIT + 1; }",), ("#define LIMIT 4", *LIMITED)),
        (("#if 1", "typedef int word;", "#endif", "int f(int a) { return (word)a; }"), PLAIN),
        (("static const int steps[2] = {1, 2};", "int f(int a) { return steps[a & 1]; }"),
         ("static const int steps[2] = {3, 4};", "int f(int a) { return steps[a & 1]; }")),
    ],
    ids=["structs", "macros", "a macro and a parameter", "a parameter and a macro", "conditional lines", "tables"],
)  # fmt: skip
def test_what_contradicts_is_not(first, second):
    assert batched(source(*first), source(*second)) == [[0], [1]]


def test_equal_declarations_stay_together_whatever_they_are():
    lines = ("#if 1", "typedef int word;", "#endif")
    sources = [source(*lines, f"int f{k}(int a) {{ return (word)a + {k}; }}") for k in range(3)]
    assert batched(*sources) == [[0, 1, 2]]


def test_a_text_compiled_among_others_is_the_text_compiled_alone(monkeypatch):
    sources = [
        source(POINT, *of_point("f")), source(OTHER_POINT, *of_point("f")), source(RANGE, *of_range("f")),
        source(*PLAIN), source(POINT, *WITH_HELPER),
    ]  # fmt: skip
    calls = []
    front_end = compiling.run_front_end
    monkeypatch.setattr(compiling, "run_front_end", lambda *rest: calls.append(rest[0]) or front_end(*rest))
    together = compile_sources(sources)
    assert len(calls) == 2  # the four whose declarations agree, and the one with the other point
    assert together == [compile_sources([one])[0] for one in sources]
    assert not any(isinstance(modules, CompileError) for modules in together)


def test_one_bad_function_costs_only_itself():
    bad = source("int broken(int a) { return undeclared + a; }")
    good, other = source(POINT, *of_point("f")), source(RANGE, *of_range("g"))
    answers = compile_sources([good, bad, other])
    assert isinstance(answers[1], CompileError) and "undeclared" in str(answers[1])
    assert [answers[0], answers[2]] == compile_sources([good, other])
