"""Cleaned texts, pipelines and the distance between texts."""

from __future__ import annotations

import pytest

pytest.importorskip("llvmlite", reason="IR groups need llvmlite (the train extra)")
pytest.importorskip("ziglang", reason="IR groups need ziglang (the train extra)")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from oorl.ir.clean import clean, externals, instruction_count, named, reparsed  # noqa: E402
from oorl.ir.compile import CompileError, compile_sources  # noqa: E402
from oorl.ir.csource import Source, cluster_of, split_c  # noqa: E402
from oorl.ir.distance import distance, spread, tokens  # noqa: E402
from oorl.ir.llvm import parse  # noqa: E402
from oorl.ir.pipelines import PIPELINES, optimise  # noqa: E402
from oorl.ir.signature import CSignature  # noqa: E402

SUM = """
static long long half(long long a) { return a / 2; }
long long total(const long long *xs, long long xs_len, long long k) {
    long long s = 0;
    for (long long i = 0; i < xs_len; i++) s += xs[i] > k ? half(xs[i]) : 1;
    return s;
}
"""


def source(code: str, entry: str, result: str = "long long", parameters: str = "long long a") -> Source:
    return Source(
        entry, code, entry, CSignature.from_prototype(result, parameters), "Apache-2.0", "test", cluster_of(code)
    )


TOTAL = source(SUM, "total", parameters="const long long *xs, long long xs_len, long long k")


@pytest.fixture(scope="module")
def bases():
    [modules] = compile_sources([TOTAL])
    return modules


def test_cleaning_keeps_the_function_and_drops_the_machine():
    text = clean(
        '; ModuleID = "m"\nsource_filename = "a.c"\ntarget triple = "x"\n\n'
        "define dso_local noundef zeroext i1 @f(ptr noundef readonly captures(none) %0, "
        "i64 noundef range(i64 0, 9) %1) #0 {\n"
        "  %3 = load i64, ptr %0, align 8, !tbaa !5\n"
        "  br label %4, !llvm.loop !7\n\n4:                       ; preds = %2\n"
        "  %5 = icmp samesign ult i64 %3, %1\n  ret i1 %5\n}\n"
        'attributes #0 = { nounwind }\n!5 = !{!"int"}\n'
    )
    assert text == (
        "define zeroext i1 @f(ptr %0, i64 %1) {\n  %3 = load i64, ptr %0\n  br label %4\n4:\n"
        "  %5 = icmp samesign ult i64 %3, %1\n  ret i1 %5\n}\n"
    )


def test_alignment_of_vector_loads_is_meaning():
    # The default alignment of <2 x i64> is 16; an array of i64 promises 8, and a load that assumes more faults.
    assert "align 8" in clean("  %3 = load <2 x i64>, ptr %0, align 8\n")
    assert "align" not in clean("  %3 = load i64, ptr %0, align 8\n")


def test_every_pipeline_gives_a_fixed_point_of_cleaning(bases):
    texts = {optimise(getattr(bases, base), pipeline) for pipeline in PIPELINES for base in pipeline.bases}
    assert sum(len(pipeline.bases) for pipeline in PIPELINES) >= 50
    assert len(texts) >= 11, "the reference counts 11 to 40 distinct texts a function"
    for text in texts:
        assert reparsed(text) == text
        assert text.startswith("define i64 @total(ptr %0, i64 %1, i64 %2) {")
        assert reparsed(named(text)) == text, "explicit names lose nothing"
        for word in ("!", "#", "target", "noundef", "; preds", "half"):
            assert word not in text


def test_same_text_whether_compiled_alone_or_in_a_batch(bases):
    other = source("long long total(long long a) { return a + 7; }", "total")
    together = compile_sources([other, TOTAL])
    assert together[1] == bases
    assert "add nsw i64" in together[0].b0 and "@total(" in together[0].b0


def test_one_bad_function_does_not_spoil_its_batch(bases):
    bad = source("long long broken(long long a) { return a +; }", "broken")
    results = compile_sources([bad, TOTAL])
    assert (
        isinstance(results[0], CompileError)
        and "line 1" in str(results[0])
        and "expected expression" in str(results[0])
    )
    assert results[1] == bases


def test_a_missing_entry_and_assembly_are_named():
    assert "does not define gone" in str(
        compile_sources([source("long long here(long long a) { return a; }", "gone")])[0]
    )
    code = 'long long f(long long a) { __asm__ volatile("nop"); return a; }'
    assert "inline assembly" in str(compile_sources([source(code, "f")])[0])


def test_externals_and_instructions():
    text = (
        "define i64 @f(i64 %0) {\n  %2 = call i64 @puts(i64 %0)\n  ret i64 %2\n}\n"
        "declare i64 @puts(i64)\ndeclare i64 @llvm.abs.i64(i64, i1)\n"
    )
    assert externals(text) == ["puts"]
    assert instruction_count(text) == 2
    with pytest.raises(ValueError, match="error: "):
        parse("define i64 @f() {\n  ret i32 0\n}\n")


def levenshtein(a, b) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (x != y))
    return row[-1]


@given(st.lists(st.sampled_from("abcd"), max_size=40), st.lists(st.sampled_from("abcd"), max_size=40))
@settings(max_examples=150, deadline=None)
def test_distance_is_levenshtein_over_the_longer_length(a, b):
    longest = max(len(a), len(b))
    expected = levenshtein(a, b) / longest if longest else 0.0
    assert distance(a, b) == pytest.approx(expected, abs=1e-12)


def test_tokens_do_not_shift_when_an_instruction_goes():
    long = (
        "define i64 @f(i64 %0) {\n  %2 = add i64 %0, 1\n  %3 = mul i64 %0, 3\n  %4 = sub i64 %3, 5\n  ret i64 %4\n}\n"
    )
    short = "define i64 @f(i64 %0) {\n  %2 = mul i64 %0, 3\n  %3 = sub i64 %2, 5\n  ret i64 %3\n}\n"
    # one line of five words goes, and the product's reference to the parameter is nearer by one
    assert levenshtein(tokens(long), tokens(short)) == 6 + 1


def test_spread_picks_the_far_ones():
    texts = ["aaaa", "aaab", "bbbb", "aacc"]
    assert spread(texts, 2) == [0, 2]
    assert spread(texts, 9) == [0, 2, 3, 1]
    assert spread([], 3) == []


def test_c_files_are_cut_at_their_top_level():
    parts = split_c(
        "#include <stdbool.h>\n#define TWO \\\n 2\ntypedef int number; /* { */\nint table[2] = {1, 2};\n"
        "static int one(void) { return \"}\"[0] == '{'; } // }\n"
        "int two(int a,\n  const int *xs, int n) { { } return one() + TWO; }\n"
    )
    assert [f.name for f in parts.functions] == ["one", "two"]
    assert parts.functions[1].text.endswith("return one() + TWO; }")
    assert parts.preamble.splitlines() == [
        "#include <stdbool.h>",
        "#define TWO \\",
        " 2",
        "typedef int number;",
        "int table[2] = {1, 2};",
    ]


@pytest.mark.parametrize(
    ("result", "parameters", "reason"),
    [
        ("char *", "int a", "result"),
        ("int", "struct point p", "neither a scalar nor a pointer"),
        ("int", "int *xs", "not followed by an integer length"),
        ("int", "int *xs, double n", "not followed by an integer length"),
        ("int", "int (*f)(int)", "neither a scalar nor a pointer"),
        ("int", "int a, ...", "neither a scalar nor a pointer"),
    ],
)
def test_signatures_that_are_not_simple_are_refused_by_name(result, parameters, reason):
    with pytest.raises(ValueError, match=reason):
        CSignature.from_prototype(result, parameters)


def test_signatures_round_trip_through_json():
    signature = CSignature.from_prototype(
        "static unsigned int", "const double *restrict xs, size_t n, bool b, short s, uint8_t out[], int m"
    )
    assert CSignature.from_json(signature.to_json()) == signature
    assert [p.type for p in signature.params] == ["f64", "u64", "i1", "i16", "u8", "i32"]
    assert [p.length_of for p in signature.params] == [None, "xs", None, None, None, "out"]
    assert [p.const for p in signature.buffers] == [True, False]
    assert signature.ret == "u32" and CSignature.from_prototype("void", "int *xs, int n").ret is None
