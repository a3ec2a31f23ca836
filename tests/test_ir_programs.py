"""Whole programs: groups whose texts, linked as real executables, answer as the record says; what cannot be one."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess

import pytest

pytest.importorskip("llvmlite", reason="IR groups need llvmlite (the train extra)")
pytest.importorskip("ziglang", reason="IR groups need ziglang (the train extra)")

from contest_programs import PROGRAMS, REFUSED  # noqa: E402

from oorl.data.ir_groups import IRGroup, group_from_json  # noqa: E402
from oorl.ir.compile import compile_sources  # noqa: E402
from oorl.ir.config import IRConfig  # noqa: E402
from oorl.ir.csource import Source, sources_of_parts, split_c  # noqa: E402
from oorl.ir.execute import EVERY_WAY  # noqa: E402
from oorl.ir.llvm import machine, parse  # noqa: E402
from oorl.ir.programs import OUTPUT_BYTES, ProgramHarness  # noqa: E402
from oorl.ir.rerun import ProgramCalls  # noqa: E402
from oorl.ir.reverify import reverify  # noqa: E402
from oorl.ir.signature import PROGRAM, CSignature  # noqa: E402
from oorl.ir.worker import answer  # noqa: E402

SMALL = IRConfig(max_winners=4, max_losers=4, inputs=16)


def program(name: str, code: str) -> Source:
    [source] = [s for s in sources_of_parts(split_c(code), name, "test", name)[0] if s.entry == "main"]
    return source


def outcome(name: str, code: str) -> dict:
    source = program(name, code)
    [modules] = compile_sources([source])
    return answer(source, modules, SMALL)


@pytest.fixture(scope="module")
def answers() -> dict[str, dict]:
    return {name: outcome(name, code) for name, code in PROGRAMS.items()}


@pytest.fixture(scope="module")
def groups(answers) -> dict[str, IRGroup]:
    assert not {name: row["reason"] for name, row in answers.items() if row["reason"]}
    return {name: group_from_json(row["group"]) for name, row in answers.items()}


@pytest.fixture(scope="module")
def linker() -> str:
    if not (found := shutil.which("gcc")):
        pytest.skip("the independent road needs gcc, which is not on PATH")
    return found


def executed(executable, text: str) -> dict:
    done = subprocess.run([executable], input=text.encode(), capture_output=True, timeout=20)
    return {"stdout": done.stdout.decode("latin-1"), "exit": done.returncode}


def linked(linker: str, ir: str, path) -> str:
    """An executable of an IR text: LLVM's object file, the machine's linker and C library."""
    path.with_suffix(".o").write_bytes(machine(1).emit_object(parse(ir)))
    subprocess.run([linker, path.with_suffix(".o"), "-o", path, "-lm"], check=True, capture_output=True)
    return str(path)


def test_the_source_compiled_by_gcc_answers_as_the_record_says(groups, linker, tmp_path):
    for name, group in groups.items():
        (tmp_path / f"{name}.c").write_text(group.source["code"])
        executable = str(tmp_path / name)
        subprocess.run([linker, "-O1", "-w", tmp_path / f"{name}.c", "-o", executable, "-lm"], check=True)
        answers = [executed(executable, text) for text in group.inputs["args"]]
        assert answers == group.inputs["expected"], name
        assert len({str(row) for row in answers}) >= 2 and len(answers) == 16, name


def test_members_linked_as_executables_answer_as_the_record_says(groups, linker, tmp_path):
    for name, group in groups.items():
        winner = linked(linker, group.winners[-1]["ir"], tmp_path / f"{name}_w")
        for text, expected in list(zip(group.inputs["args"], group.inputs["expected"], strict=True))[:5]:
            assert executed(winner, text) == expected, name
        for loser in group.losers[:2]:
            witness = loser["witness"]
            got = executed(linked(linker, loser["ir"], tmp_path / name), group.inputs["args"][witness["input"]])
            assert got == witness["got"] != witness["expected"] == group.inputs["expected"][witness["input"]], name
            assert witness["kind"] == ("stdout" if got["stdout"] != witness["expected"]["stdout"] else "exit")


def test_the_record_of_a_program(groups):
    group = groups["calculator"]
    assert group.signature == {"ret": "i32", "params": [], "mode": "stdin"} == PROGRAM.to_json()
    assert CSignature.from_json(group.signature) is PROGRAM
    assert group.source["entry"] == "main" and all(isinstance(text, str) for text in group.inputs["args"])
    assert {row["exit"] for row in group.inputs["expected"]} & {2, 3}
    assert len(group.winners) == len(group.losers) == 4
    assert "value returned: %5d #1" in groups["lines"].winners[0]["ir"]


@pytest.mark.parametrize("name", REFUSED)
def test_what_makes_no_group_is_refused_with_its_kind(name):
    kind, code = REFUSED[name]
    row = outcome(name, code)
    assert row["group"] is None and row["reason"].split(":")[0] == kind, row["reason"]


def test_programs_reproduce_by_another_road_and_forged_ones_do_not(groups):
    row = groups["max_subarray"].to_json()
    row["winners"], row["losers"] = row["winners"][:2], row["losers"][:1]
    assert reverify(group_from_json(row)) is None
    forged = copy.deepcopy(row)
    forged["inputs"]["expected"][2]["stdout"] += "7"
    assert reverify(group_from_json(forged)).startswith("ReferenceFails: the source answers")
    forged = copy.deepcopy(row)
    forged["losers"][0]["witness"]["got"]["stdout"] += "7"
    assert reverify(group_from_json(forged)).startswith("WitnessNotReproduced: l0 answers")
    for signature in ({"ret": "i64", "params": [], "mode": "stdin"}, {"ret": "i32", "params": [], "mode": "socket"}):
        assert reverify(group_from_json({**row, "signature": signature})).startswith("SignatureMismatch")
    forged = {**row, "inputs": {**row["inputs"], "args": [["3"]] * len(row["inputs"]["args"])}}
    assert reverify(group_from_json(forged)).startswith("SignatureMismatch: inputs")


STATEFUL = """@0 = private constant [4 x i8] c"%d\\0A\\00"
@count = global i32 5
@seen = internal global [64 x i8] zeroinitializer
define i32 @main() {
  %1 = call i32 @getchar()
  %2 = and i32 %1, 63
  %3 = getelementptr i8, ptr @seen, i32 %2
  %4 = load i8, ptr %3
  store i8 1, ptr %3
  %5 = load i32, ptr @count
  %6 = add i32 %5, 1
  store i32 %6, ptr @count
  %7 = zext i8 %4 to i32
  %8 = mul i32 %7, 100
  %9 = add i32 %8, %6
  %10 = call i32 (ptr, ...) @printf(ptr @0, i32 %9)
  ret i32 %2
}
declare i32 @getchar()
declare i32 @printf(ptr, ...)
"""


def test_every_input_finds_variables_as_they_were():
    inputs = ["a", "b", "a", ""]
    [run] = ProgramHarness(inputs).run([STATEFUL])
    assert run.stable and len(run.runs) == len(EVERY_WAY)
    assert [one.memory[0] for one in run.runs[0]] == [b"6\n"] * 4
    assert ProgramCalls(inputs).run([STATEFUL]) == [
        [[{"stdout": "6\n", "exit": status} for status in (33, 34, 33, 63)]]
    ]


def main_of(body: str, declared: str = "") -> str:
    return f"define i32 @main() {{\n{body}\n}}\n{declared}"


def test_crashes_endless_loops_and_long_outputs_end_only_themselves():
    loop = main_of("  br label %1\n1:\n  %2 = call i32 @putchar(i32 65)\n  br label %1", "declare i32 @putchar(i32)\n")
    crash = main_of("  %1 = load volatile i32, ptr null\n  ret i32 %1")
    fine = main_of("  %1 = call i32 @getchar()\n  ret i32 %1", "declare i32 @getchar()\n")
    long = main_of(
        "  br label %1\n1:\n  %2 = phi i32 [ 0, %0 ], [ %4, %1 ]\n  %3 = call i32 @putchar(i32 65)\n"
        f"  %4 = add i32 %2, 1\n  %5 = icmp ult i32 %4, {OUTPUT_BYTES + 1}\n  br i1 %5, label %1, label %6\n"
        "6:\n  ret i32 0",
        "declare i32 @putchar(i32)\n",
    )
    harness = ProgramHarness(["A", "B"])
    for recover in (False, True):
        runs = harness.run([loop, crash, fine, long], recover=recover)
        assert [run.failure for run in runs] == ["timeout", "crash", None, None]
        assert runs[2].stable and [one.ret[0] for one in runs[2].runs[0]] == [65, 66]
        assert runs[3].runs[0] == (None, None) and not runs[3].stable
    again = ProgramCalls(["A", "B"]).run([loop, crash, fine, long])
    assert again[:2] == ["timeout", "crash"] and again[3] == [[None, None]]
    assert again[2] == [[{"stdout": "", "exit": 65}, {"stdout": "", "exit": 66}]]


def test_what_lies_beside_variables_may_not_be_written_or_shown():
    declared = "@a = global [4 x i32] zeroinitializer\n@b = internal global i32 7\ndeclare i32 @getchar()\n"
    call = "  %1 = call i32 @getchar()\n"
    texts = {
        "inside": call + "  store i32 %1, ptr getelementptr (i8, ptr @a, i64 12)\n  ret i32 %1",
        "above": call + "  store i32 %1, ptr getelementptr (i8, ptr @a, i64 16)\n  ret i32 %1",
        "below": call + "  store i32 %1, ptr getelementptr (i8, ptr @b, i64 -4)\n  ret i32 %1",
        "shown": "  %1 = load volatile i32, ptr getelementptr (i8, ptr @b, i64 4)\n  ret i32 %1",
    }
    runs = ProgramHarness(["A", "B"]).run([main_of(body, declared) for body in texts.values()])
    assert {name: run.stable for name, run in zip(texts, runs, strict=True)} == {
        "inside": True, "above": False, "below": False, "shown": False
    }  # fmt: skip


def test_the_heap_and_exit_are_the_programs_own():
    text = main_of(
        "  %1 = call ptr @calloc(i64 4, i64 4)\n  %2 = load i32, ptr %1\n  %3 = call ptr @realloc(ptr %1, i64 64)\n"
        "  store i32 7, ptr %3\n  call void @free(ptr %3)\n  %4 = call ptr @malloc(i64 1000000000)\n"
        "  %5 = icmp eq ptr %4, null\n  %6 = zext i1 %5 to i32\n  %7 = add i32 %6, 300\n  %8 = add i32 %7, %2\n"
        "  call void @exit(i32 %8)\n  unreachable",
        "declare ptr @calloc(i64, i64)\ndeclare ptr @realloc(ptr, i64)\ndeclare void @free(ptr)\n"
        "declare ptr @malloc(i64)\ndeclare void @exit(i32)\n",
    )
    [run] = ProgramHarness([""]).run([text])
    assert run.stable and run.runs[0][0].ret[0] == 301 & 255


def test_the_same_program_gives_the_same_group_and_counts(answers):
    again = outcome("sum", PROGRAMS["sum"])
    assert again["group"] == answers["sum"]["group"] and again["counts"] == answers["sum"]["counts"]
    assert again["counts"]["mutant differs"] >= 4 and again["counts"]["distinct"] > 8


def test_a_function_may_not_call_what_a_program_may():
    source = sources_of_parts(split_c("int puts(const char *);\nint f(int a) { return puts(0) + a; }"), "f", "", "")[0][
        0
    ]
    [modules] = compile_sources([source])
    assert answer(source, modules, SMALL)["reason"] == "external: calls puts"
    code = "extern int level;\nint f(int a) { return level + a; }"
    [source] = sources_of_parts(split_c(code), "f", "", "")[0]
    assert answer(source, compile_sources([source])[0], SMALL)["reason"] == "external: calls level"


def test_functions_that_keep_something_between_calls_are_refused():
    code = """
int k = 5; int table[4] = {1, 2, 3, 4}; int empty[10]; int counter = 3; static int mod = 7; const int p[3] = {1, 2, 3};
int f1(int a) { return a + k; }
int f2(int a) { return table[a & 3] + p[a & 1]; }
int f3(int a) { return empty[a & 7] + a; }
int f4(int a) { return ++counter + a; }
int f5(int a) { static int calls = 3; calls++; return a; }
int f6(int a) { return a % mod; }
int f7(int a) { table[a & 3] = a; return a; }
"""
    sources = sources_of_parts(split_c(code), "state", "", "", prune=True)[0]
    reasons = [answer(s, m, SMALL)["reason"] for s, m in zip(sources, compile_sources(sources), strict=True)]
    kept = [re.search(r"^state: keeps (.*) between calls", reason or "") for reason in reasons]
    assert [found and found[1] for found in kept] == [None, None, "empty", "counter", "f5.calls", None, "table"]
