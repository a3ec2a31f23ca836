"""The harness: undefined behaviour is filtered, crashes and endless loops are contained, unstable reads show."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import pytest

pytest.importorskip("llvmlite", reason="IR groups need llvmlite (the train extra)")
pytest.importorskip("ziglang", reason="IR groups need ziglang (the train extra)")

from oorl.ir import memory  # noqa: E402
from oorl.ir.compile import compile_sources  # noqa: E402
from oorl.ir.csource import Source  # noqa: E402
from oorl.ir.execute import AS_IT_IS, EVERY_WAY, GUARDED, MOST_BLOCKS, Harness  # noqa: E402
from oorl.ir.guard import PAD  # noqa: E402
from oorl.ir.inputs import MAX_LENGTH, argument_lists, harvest  # noqa: E402
from oorl.ir.layout import arguments_from_json, arguments_json, outcome_json  # noqa: E402
from oorl.ir.signature import CSignature  # noqa: E402

INT_MAX, INT_MIN = 2**63 - 1, -(2**63)
ARRAY = CSignature.from_prototype("long long", "const long long *xs, long long n")
WRITE = CSignature.from_prototype("void", "long long *xs, long long n")
TWO = CSignature.from_prototype("long long", "long long a, long long b")


def body(signature: CSignature, text: str) -> str:
    heads = {ARRAY: "i64 @f(ptr %0, i64 %1)", WRITE: "void @f(ptr %0, i64 %1)", TWO: "i64 @f(i64 %0, i64 %1)"}
    return f"define {heads[signature]} {{\n{text}\n}}\n"


def returns(harness: Harness, outcomes) -> list[str]:
    return [outcome_json(harness.signature, outcome)["ret"] for outcome in outcomes]


def test_values_arrive_and_return_whole():
    inputs = [[INT_MAX, 1], [INT_MIN, -1], [-5, 7]]
    harness = Harness(TWO, "f", inputs)
    [run] = harness.run([body(TWO, "  %3 = xor i64 %0, %1\n  ret i64 %3")])
    assert run.stable and len(run.runs) == len(EVERY_WAY)
    assert returns(harness, run.runs[0]) == [str(a ^ b) for a, b in inputs]


@pytest.mark.parametrize(
    ("code", "values"),
    [
        ("i1", [0, 1]),
        ("i8", [-128, 127]),
        ("u8", [0, 255]),
        ("i16", [-32768, 7]),
        ("u16", [65535]),
        ("i32", [-(2**31)]),
        ("u32", [2**32 - 1]),
        ("u64", [2**64 - 1]),
    ],
)
def test_every_integer_width_keeps_its_sign(code, values):
    row = {"ret": code, "params": [{"kind": "scalar", "name": "a", "type": code}]}
    signature = CSignature.from_json(row)
    scalar = signature.params[0].scalar
    harness = Harness(signature, "f", [[value] for value in values])
    [run] = harness.run(
        [
            f"define {scalar.extension} {scalar.llvm} @f({scalar.llvm} {scalar.extension} %0) {{\n"
            f"  ret {scalar.llvm} %0\n}}\n"
        ]
    )
    assert run.stable and returns(harness, run.runs[0]) == [str(value) for value in values]


def test_doubles_keep_their_bits_and_nans_are_one():
    signature = CSignature.from_prototype("double", "double x")
    inputs = [[0.1], [-0.0], [math.inf], [math.nan]]
    harness = Harness(signature, "f", inputs)
    same, other = harness.run(
        [
            "define double @f(double %0) {\n  ret double %0\n}\n",
            "define double @f(double %0) {\n  %2 = fneg double %0\n  ret double %2\n}\n",
        ]
    )
    assert returns(harness, same.runs[0]) == [(0.1).hex(), (-0.0).hex(), "inf", "nan"]
    assert same.runs[0][3] == other.runs[0][3] and same.runs[0][1] != other.runs[0][1]


def test_crashes_and_endless_loops_end_only_themselves():
    texts = [
        body(ARRAY, "  br label %3\n3:\n  br label %3"),
        body(ARRAY, "  %3 = load i64, ptr null\n  ret i64 %3"),
        body(ARRAY, "  %3 = sdiv i64 1, 0\n  ret i64 %3"),
        body(ARRAY, "  %3 = call i64 @f(ptr %0, i64 %1)\n  %4 = add i64 %3, %1\n  ret i64 %4"),  # the stack ends
        body(ARRAY, "  ret i64 %1"),
    ]
    harness = Harness(ARRAY, "f", [[[1, 2], 2], [[], 0]])
    for runs in (harness.run(texts), harness.look(texts), harness.decide(texts)):
        assert [run.failure for run in runs[:2]] == ["timeout", "crash"]
        assert runs[3].failure == "timeout", "the tank is empty before the stack ends"
        assert runs[4].stable and returns(harness, runs[4].runs[0]) == ["2", "0"]


def test_reads_outside_buffers_and_of_unwritten_memory_are_unstable():
    texts = {
        "before": body(ARRAY, "  %3 = getelementptr i64, ptr %0, i64 -1\n  %4 = load i64, ptr %3\n  ret i64 %4"),
        "behind": body(ARRAY, "  %3 = getelementptr i64, ptr %0, i64 %1\n  %4 = load i64, ptr %3\n  ret i64 %4"),
        "unwritten": body(ARRAY, "  %3 = alloca [8 x i64]\n  %4 = load volatile i64, ptr %3\n  ret i64 %4"),
        "address": body(ARRAY, "  %3 = ptrtoint ptr %0 to i64\n  ret i64 %3"),
        "write to const": body(ARRAY, "  store i64 5, ptr %0\n  ret i64 0"),
        "write": body(ARRAY, "  %3 = getelementptr i64, ptr %0, i64 %1\n  store i64 0, ptr %3\n  ret i64 0"),
    }
    harness = Harness(ARRAY, "f", [[[1, 2], 2]])
    for name, run in zip(texts, harness.run(list(texts.values()), AS_IT_IS), strict=True):
        assert run.failure is None and not run.stable, name


WHICHEVER = "  %r = and i64 %v, 0\n  ret i64 %r"  # the same, whatever was read
TABLES = "@0 = internal constant [2 x i64] [i64 3, i64 4]\n@1 = internal global [3 x i8] zeroinitializer\n"
MEMORY_CALLS = (
    "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)\ndeclare void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)\n"
    "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)\n"
)
COPIED = (
    "  %p = alloca [2 x i64]\n  %q = alloca [2 x i64]\n  store i64 5, ptr %p\n"
    "  call void @llvm.memcpy.p0.p0.i64(ptr %q, ptr %p, i64 16, i1 false)\n"
)
WITHIN = {
    "a buffer": "  %v = load i64, ptr %0\n",
    "its last byte": "  %p = getelementptr i8, ptr %0, i64 15\n  %b = load i8, ptr %p\n  %v = zext i8 %b to i64\n",
    "a written local": "  %p = alloca i64\n  store i64 5, ptr %p\n  %v = load i64, ptr %p\n",
    "a struct with padding": "  %p = alloca { i8, i32 }\n  store i8 5, ptr %p\n  %v = load i64, ptr %p\n",
    "a copied local": f"{COPIED}  %v = load i64, ptr %q\n",
    "a cleared local": (
        "  %p = alloca [2 x i64]\n  call void @llvm.memset.p0.i64(ptr %p, i8 0, i64 16, i1 false)\n"
        "  %q = getelementptr i64, ptr %p, i64 1\n  %v = load i64, ptr %q\n"
    ),
    "locals of a size known late": (
        "  %c = trunc i64 %1 to i32\n  %p = alloca i64, i32 %c\n  %q = getelementptr i64, ptr %p, i64 1\n"
        "  store i64 5, ptr %q\n  %v = load i64, ptr %q\n"
    ),
    "a vector": "  %p = load <2 x i64>, ptr %0, align 8\n  %v = extractelement <2 x i64> %p, i64 1\n",
    "an address": "  %p = alloca ptr\n  store ptr %0, ptr %p\n  %q = load ptr, ptr %p\n  %v = load i64, ptr %q\n",
    "a number where an address was": (
        "  %p = alloca ptr\n  store ptr %0, ptr %p\n  store i64 5, ptr %p\n  %v = load i64, ptr %p\n"
    ),
    "a table": "  %v = load i64, ptr getelementptr (i64, ptr @0, i64 1)\n",
    "a variable": "  store i8 3, ptr getelementptr (i8, ptr @1, i64 2)\n  %v = load i64, ptr %0\n",
}
BEYOND = {
    "behind a buffer": "  %p = getelementptr i64, ptr %0, i64 %1\n  %v = load i64, ptr %p\n",
    "before a buffer": "  %p = getelementptr i64, ptr %0, i64 -1\n  %v = load i64, ptr %p\n",
    "across its end": "  %p = getelementptr i8, ptr %0, i64 9\n  %v = load i64, ptr %p\n",
    "an unwritten local": "  %p = alloca i64\n  %v = load i64, ptr %p\n",
    "what a copy left unwritten": f"{COPIED}  %s = getelementptr i64, ptr %q, i64 1\n  %v = load i64, ptr %s\n",
    "behind a local": (
        "  %p = alloca i64\n  %q = alloca i64\n  store i64 5, ptr %p\n  store i64 5, ptr %q\n"
        "  %s = getelementptr i64, ptr %p, i64 1\n  %v = load i64, ptr %s\n"
    ),
    "a vector across the end": WITHIN["a vector"].replace("<2 x", "<4 x"),
    "behind a table": "  %v = load i64, ptr getelementptr (i64, ptr @0, i64 2)\n",
    "before a table": "  %v = load i64, ptr getelementptr (i8, ptr @0, i64 -1)\n",
    "behind a variable": "  store i8 3, ptr getelementptr (i8, ptr @1, i64 3)\n  %v = load i64, ptr %0\n",
    "into a table": "  store i64 3, ptr @0\n  %v = load i64, ptr %0\n",
    "a copy from behind a buffer": (
        "  %p = alloca [3 x i64]\n  call void @llvm.memmove.p0.p0.i64(ptr %p, ptr %0, i64 17, i1 false)\n"
        "  %v = load i64, ptr %p\n"
    ),
    "an address as a number": "  %p = alloca ptr\n  store ptr %0, ptr %p\n  %v = load i64, ptr %p\n",
    "a byte of a copied address": (
        "  %p = alloca ptr\n  %q = alloca ptr\n  store ptr %0, ptr %p\n"
        "  call void @llvm.memcpy.p0.p0.i64(ptr %q, ptr %p, i64 8, i1 false)\n"
        "  %s = getelementptr i8, ptr %q, i64 6\n  %b = load i8, ptr %s\n  %v = zext i8 %b to i64\n"
    ),
    "nowhere": "  %v = load i64, ptr inttoptr (i64 4096 to ptr)\n",
    "nobody's code": "  unreachable\nnever:\n  %v = load i64, ptr %0\n",
}


def test_a_guarded_copy_traps_where_a_result_may_rest_on_nothing():
    harness = Harness(ARRAY, "f", [[[1, 2], 2]])
    within, beyond = (
        {name: TABLES + body(ARRAY, text + WHICHEVER) + MEMORY_CALLS for name, text in texts.items()}
        for texts in (WITHIN, BEYOND)
    )
    for name, run in zip(within, harness.look(list(within.values())), strict=True):
        assert run.stable, f"{name}: {run}"
    for name, run in zip(beyond, harness.look(list(beyond.values())), strict=True):
        assert run.failure == "crash", f"{name}: {run}"


def test_undef_and_poison_follow_the_fill():
    texts = {
        "returned": "  ret i64 undef",
        "added": "  %3 = add i64 %1, poison\n  ret i64 %3",
        "narrow": "  %3 = zext i8 undef to i64\n  ret i64 %3",
        "chosen": "  %3 = icmp eq i64 %1, 2\n  %4 = select i1 %3, i64 undef, i64 0\n  ret i64 %4",
        "on the way": "  br label %3\n3:\n  %4 = phi i64 [ poison, %2 ]\n  ret i64 %4",
        "compared": "  %3 = icmp slt i64 %1, undef\n  %4 = zext i1 %3 to i64\n  ret i64 %4",
        "a float": "  %3 = fptosi float undef to i32\n  %4 = fcmp olt double poison, 1.0\n  %5 = zext i1 %4 to i64\n"
        "  ret i64 %5",
    }  # fmt: skip
    harmless = {
        "masked": "  %3 = and i64 undef, 0\n  ret i64 %3",
        "not taken": "  %3 = icmp eq i64 %1, 2\n  %4 = select i1 %3, i64 0, i64 poison\n  ret i64 %4",
        "in a vector": "  %3 = insertelement <2 x i64> poison, i64 %1, i64 0\n"
        "  %4 = shufflevector <2 x i64> %3, <2 x i64> poison, <2 x i32> <i32 0, i32 poison>\n"
        "  %5 = extractelement <2 x i64> %4, i64 0\n  ret i64 %5",
    }  # fmt: skip
    harness = Harness(ARRAY, "f", [[[1, 2], 2]])
    for name, run in zip(texts, harness.look([body(ARRAY, text) for text in texts.values()]), strict=True):
        assert run.failure is None and not run.stable, name
    for name, run in zip(harmless, harness.look([body(ARRAY, text) for text in harmless.values()]), strict=True):
        assert run.stable, name


def test_unwritten_memory_that_may_be_read_still_follows_the_fill():
    head = "  %p = alloca i64\n  %v = load i64, ptr %p\n"
    texts = [
        body(ARRAY, head + WHICHEVER),
        body(ARRAY, f"{head}  ret i64 %v"),
        body(ARRAY, BEYOND["behind a local"] + WHICHEVER),
    ]
    copied, returned, behind = Harness(ARRAY, "f", [[[1, 2], 2]], strict=False).look(texts)
    assert copied.stable
    assert returned.failure is None and not returned.stable
    assert behind.failure == "crash"


def test_both_sides_know_the_same_sizes():
    text = Path(memory.__file__).with_name("memory.c").read_text()
    [line] = re.findall(r"enum \{ (REGION = .*?) \};", text)
    sizes = dict(part.split(" = ") for part in line.split(", "))
    own = {"REGION": memory.REGION_BYTES, "LOCALS": memory.LOCALS, "PAD": PAD}
    assert {name: eval(value) for name, value in sizes.items()} == own


def test_a_call_that_traps_leaves_nothing_to_the_next():
    local = "  %p = alloca [64 x i64]\n  %q = getelementptr i64, ptr %p, i64 60\n"
    write, trap = f"{local}  store i64 7, ptr %q\n", "declare void @llvm.trap()\n"
    texts = [
        body(ARRAY, f"{write}  call void @llvm.trap()\n  ret i64 0") + trap,
        body(ARRAY, f"{write}  ret i64 0"),
        body(ARRAY, f"{local}  %v = load i64, ptr %q\n  ret i64 %v"),
    ]
    runs = Harness(ARRAY, "f", [[[1, 2], 2]]).look(texts)
    assert [run.failure for run in runs] == ["crash", None, "crash"]


BOTH = CSignature.from_prototype("long long", "const long long *xs, long long n, const long long *ys, long long m")


def test_reads_that_depend_on_what_lies_beside_are_unstable():
    head = "define i64 @f(ptr %0, i64 %1, ptr %2, i64 %3) {\n"
    texts = {
        # From the first buffer to the second: 64 bytes behind it, its zone, and the other's.
        "another buffer": "  %5 = getelementptr i8, ptr %0, i64 208\n  %6 = load i64, ptr %5\n  ret i64 %6\n}\n",
        "another local": (
            "  %5 = alloca [2 x i64]\n  %6 = alloca [2 x i64]\n  store i64 7, ptr %5\n  store i64 7, ptr %6\n"
            "  %7 = getelementptr i64, ptr %5, i64 2\n  %8 = load i64, ptr %7\n  ret i64 %8\n}\n"
        ),
        "an unwritten local": "  %5 = alloca { i8, i64 }\n  %6 = load i64, ptr %5\n  ret i64 %6\n}\n",
        "written beside a local": (
            "  %5 = alloca i64\n  %6 = alloca i64\n  store i64 1, ptr %5\n  store i64 1, ptr %6\n"
            "  %7 = getelementptr i64, ptr %5, i64 %1\n  store i64 9, ptr %7\n  %8 = load i64, ptr %6\n"
            "  %9 = load i64, ptr %5\n  %10 = add i64 %8, %9\n  ret i64 %10\n}\n"
        ),
    }
    table = "@0 = internal constant [2 x i64] [i64 3, i64 4]\n"
    texts["behind a table"] = "  %5 = load i64, ptr getelementptr (i64, ptr @0, i64 2)\n  ret i64 %5\n}\n"
    texts["before a table"] = (
        "  %5 = getelementptr i64, ptr @0, i64 -1\n  %6 = load i64, ptr %5\n  %7 = and i64 %6, 1\n  ret i64 %7\n}\n"
    )
    harness = Harness(BOTH, "f", [[[1, 2], 2, [5, 6], 2], [[3, 4], -1, [7, 8], 2], [[3, 4], 1, [7, 8], 2]])
    for name, run in zip(texts, harness.decide([table + head + text for text in texts.values()]), strict=True):
        assert run.failure or not run.stable, name


def test_the_guarded_copy_does_the_same():
    # Tables, one with an address in it, phis, a switch, allocas of all kinds, a call of another function of the text.
    text = """
@0 = internal constant [2 x i64] [i64 0, i64 7]
@1 = private constant { i8, [1 x ptr] } { i8 1, [1 x ptr] [ptr getelementptr (i64, ptr @0, i64 1)] }
define i64 @f(i64 %0, i64 %1) {
  %3 = alloca [2 x i64]
  %4 = alloca { i8, double }, align 16
  %5 = alloca i64
  store i64 %0, ptr %5
  %6 = getelementptr [2 x i64], ptr %3, i64 0, i64 1
  store i64 %1, ptr %6
  %7 = and i64 %1, 3
  switch i64 %7, label %9 [
    i64 1, label %8
    i64 2, label %10
  ]
8:
  br label %10
9:
  %g = call i64 @g(i64 %0)
  br label %10
10:
  %11 = phi i64 [ 5, %2 ], [ 6, %8 ], [ %g, %9 ]
  %12 = load i64, ptr %5
  %13 = load i64, ptr %6
  %14 = add i64 %12, %13
  %15 = mul i64 %14, %11
  %16 = load ptr, ptr getelementptr ({ i8, [1 x ptr] }, ptr @1, i32 0, i32 1)
  %17 = load i64, ptr %16
  %18 = add i64 %15, %17
  ret i64 %18
}
define internal i64 @g(i64 %0) {
  %2 = alloca i64, i64 %0
  store i64 %0, ptr %2
  %3 = load i64, ptr %2
  ret i64 %3
}
"""
    inputs = [[a, b] for a in (1, 3, 10) for b in range(4)]
    harness = Harness(TWO, "f", inputs)
    [plain] = harness.run([text], AS_IT_IS)
    [guarded] = harness.run([text], GUARDED)
    expected = [str((a + b) * {1: 6, 2: 5}.get(b, a) + 7) for a, b in inputs]
    assert plain.stable and guarded.stable
    assert returns(harness, plain.runs[0]) == returns(harness, guarded.runs[0]) == expected


def test_how_long_a_call_may_run_is_counted_in_blocks():
    count = body(TWO, "  br label %3\n3:\n  %4 = phi i64 [ 0, %2 ], [ %5, %3 ]\n  %5 = add i64 %4, 1\n"
                 "  %6 = icmp slt i64 %5, %0\n  br i1 %6, label %3, label %7\n7:\n  ret i64 %5")  # fmt: skip
    fits = MOST_BLOCKS - 2  # the blocks before and after the loop
    [run] = Harness(TWO, "f", [[fits, 0]]).run([count])
    assert run.stable
    [run] = Harness(TWO, "f", [[fits + 1, 0]]).run([count])
    assert run.failure == "timeout"
    [run] = Harness(TWO, "f", [[fits + 1, 0]]).run([count], AS_IT_IS)
    assert run.stable


def test_written_buffers_are_outcomes():
    harness = Harness(WRITE, "f", [[[3, 4], 2]])
    [run] = harness.run([body(WRITE, "  store i64 9, ptr %0\n  ret void")])
    assert run.stable
    assert outcome_json(WRITE, run.runs[0][0]) == {"ret": None, "memory": {"xs": ["9", "4"]}}


def test_a_truth_in_memory_shows_as_the_byte_that_it_is():
    signature = CSignature.from_prototype("void", "bool *xs, long long n")
    harness = Harness(signature, "f", [[[1, 1], 2]])
    kept, other = harness.run(
        ["define void @f(ptr %0, i64 %1) {\n  store i8 " + v + ", ptr %0\n  ret void\n}\n" for v in "12"]
    )
    assert outcome_json(signature, kept.runs[0][0])["memory"] == {"xs": ["1", "1"]}
    assert outcome_json(signature, other.runs[0][0])["memory"] == {"xs": ["2", "1"]}


def test_inputs_with_undefined_behaviour_are_dropped():
    code = "#include <stdbool.h>\nbool f(long long a, long long b) { return a + b > a; }"
    signature = CSignature.from_prototype("bool", "long long a, long long b")
    [modules] = compile_sources([Source("f", code, "f", signature, "", "", "")])
    inputs = [[1, 2], [INT_MAX, 1], [INT_MIN, -1], [-3, 5], [INT_MAX, 0], [INT_MIN, INT_MIN]]
    overflows = [not INT_MIN <= a + b <= INT_MAX for a, b in inputs]
    kept = Harness(signature, "f", inputs).free_of_undefined_behaviour(modules.ub)
    assert kept == [k for k, bad in enumerate(overflows) if not bad]


def test_undefined_behaviour_of_a_helper_and_endless_inputs_are_dropped():
    code = """
    static long long part(long long a, long long b) { return a / b; }
    long long f(long long a, long long b) { while (a > 100) { a += b; b = 0; } return part(a, b - 1); }
    """
    [modules] = compile_sources([Source("f", code, "f", TWO, "", "", "")])
    inputs = [[9, 3], [9, 1], [500, 1], [101, -5], [8, 0]]
    kept = Harness(TWO, "f", inputs).free_of_undefined_behaviour(modules.ub)
    assert kept == [0, 3, 4]  # b = 1 divides by zero; a = 500 never ends


def test_inputs_fit_their_signature_and_repeat():
    signature = CSignature.from_prototype(
        "int", "const short *xs, int n, unsigned char c, bool b, double x, unsigned u"
    )
    first = list(itertools.islice(argument_lists(signature, "seed", [17]), 300))
    assert first == list(itertools.islice(argument_lists(signature, "seed", [17]), 300))
    assert first != list(itertools.islice(argument_lists(signature, "other", [17]), 300))
    for xs, n, c, b, _, u in first:
        assert n == len(xs) <= MAX_LENGTH and all(-(2**15) <= x < 2**15 for x in xs)
        assert 0 <= c < 256 and b in (0, 1) and 0 <= u < 2**32
    assert {n for _, n, *_ in first} == set(range(MAX_LENGTH + 1))
    assert any(c == 17 for _, _, c, *_ in first), "constants of the function are tried"
    for row in first[:20]:
        assert arguments_from_json(signature, arguments_json(signature, row)) == row


def test_constants_are_harvested_with_their_neighbours():
    assert harvest("  %3 = icmp slt i64 %1, 40\n  %17 = add i32 %3, -2\n") == [-3, -2, -1, 39, 40, 41]
