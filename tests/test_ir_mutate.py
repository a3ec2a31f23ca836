"""Every mutation operator changes a function made for it; every neutral operator changes none."""

from __future__ import annotations

import itertools
import re

import pytest

pytest.importorskip("llvmlite", reason="IR groups need llvmlite (the train extra)")

from oorl.ir.clean import reparsed  # noqa: E402
from oorl.ir.execute import Harness  # noqa: E402
from oorl.ir.inputs import argument_lists  # noqa: E402
from oorl.ir.listing import listing_of  # noqa: E402
from oorl.ir.mutate import OPERATORS, edits_of  # noqa: E402
from oorl.ir.neutral import NEUTRAL_OPERATORS  # noqa: E402
from oorl.ir.signature import CSignature  # noqa: E402

TWO = CSignature.from_prototype("long long", "long long a, long long b")


def two(body: str) -> str:
    return f"define i64 @f(i64 %0, i64 %1) {{\n{body}\n}}\n"


COMPARE = two("  %3 = icmp slt i64 %0, %1\n  %4 = zext i1 %3 to i64\n  ret i64 %4")
BRANCH = two("  %3 = icmp slt i64 %0, %1\n  br i1 %3, label %4, label %5\n4:\n  ret i64 %0\n5:\n  ret i64 %1")
MERGE = two(
    "  %3 = icmp slt i64 %0, %1\n  br i1 %3, label %4, label %5\n4:\n  br label %5\n"
    "5:\n  %6 = phi i64 [ 3, %2 ], [ 8, %4 ]\n  ret i64 %6"
)
MERGE = reparsed(MERGE)
MINIMUM = two("  %3 = call i64 @llvm.smin.i64(i64 %0, i64 %1)\n  ret i64 %3") + "declare i64 @llvm.smin.i64(i64, i64)\n"
ARITHMETIC = two("  %3 = add nsw i64 %0, 5\n  %4 = sub i64 %3, %1\n  ret i64 %4")
SHIFT = two("  %3 = ashr i64 %0, 2\n  ret i64 %3")
SELECT = two("  %3 = icmp sgt i64 %0, 0\n  %4 = select i1 %3, i64 %0, i64 %1\n  ret i64 %4")
CELLS = two(
    "  %3 = alloca [4 x i64]\n  store i64 %0, ptr %3\n"
    "  %4 = getelementptr [4 x i64], ptr %3, i64 0, i64 1\n  store i64 7, ptr %4\n"
    "  %5 = getelementptr [4 x i64], ptr %3, i64 0, i64 2\n  store i64 %1, ptr %5\n"
    "  %6 = load i64, ptr %4\n  ret i64 %6"
)
TWICE = two("  %3 = alloca i64\n  store i64 %0, ptr %3\n  store i64 %1, ptr %3\n  %4 = load i64, ptr %3\n  ret i64 %4")
WIDE = two("  %3 = mul i64 %0, 12884901889\n  %4 = add i64 %3, %1\n  ret i64 %4")
CONDITIONS = two(
    "  %3 = icmp slt i64 %0, %1\n  %4 = icmp slt i64 %0, 3\n  br i1 %4, label %5, label %6\n5:\n  ret i64 %0\n6:\n"
    "  %7 = zext i1 %3 to i64\n  ret i64 %7"
)
FLOATING = two(
    "  %3 = sitofp i64 %0 to double\n  %4 = fmul double %3, 2.500000e+00\n  %5 = fptosi double %4 to i64\n  ret i64 %5"
)
SWITCH = two(
    "  switch i64 %0, label %4 [\n    i64 1, label %3\n    i64 5, label %3\n  ]\n3:\n  ret i64 %1\n4:\n  ret i64 -9"
)
CRAFTED = {
    "branch_swap": BRANCH, "constant_condition": BRANCH, "predicate_negate": COMPARE, "predicate_boundary": COMPARE,
    "predicate_signedness": COMPARE, "extension_kind": COMPARE, "shift_kind": SHIFT, "operand_swap": ARITHMETIC,
    "binary_swap": ARITHMETIC, "minmax_swap": MINIMUM, "constant_step": ARITHMETIC, "constant_sign": ARITHMETIC,
    "gep_index": CELLS, "switch_case": SWITCH, "phi_constant": MERGE, "phi_swap": MERGE,
    "operand_reuse": ARITHMETIC, "drop_instruction": ARITHMETIC, "drop_store": TWICE, "wrong_return": ARITHMETIC,
    "select_swap": SELECT, "narrowing": WIDE, "branch_condition": CONDITIONS, "float_constant": FLOATING,
    "reorder_memory": TWICE,
}  # fmt: skip
NEUTRAL = {
    "commute": two("  %3 = add i64 %0, %1\n  %4 = mul i64 %3, %0\n  ret i64 %4"), "mirror_compare": BRANCH,
    "drop_flags": ARITHMETIC, "negate_constant": ARITHMETIC, "reorder_phi": MERGE,
}  # fmt: skip


@pytest.fixture(scope="module")
def harness() -> Harness:
    # One and five are what the switch looks at; equal arguments are what the boundaries look at.
    drawn = list(itertools.islice(argument_lists(TWO, "mutants", [1, 5]), 40))
    return Harness(TWO, "f", drawn + [[k, k] for k in range(-1, 7)])


def variants(text: str, operators: tuple) -> list[str]:
    listing = listing_of(text)
    [edits] = edits_of(listing, operators).values()
    valid = []
    for edit in edits:
        try:
            valid.append(reparsed(listing.edited(edit)))
        except ValueError:
            continue  # the verifier's to refuse: a value that does not dominate its use
    return valid


def test_there_is_a_crafted_function_for_every_operator():
    assert set(CRAFTED) == {operator.__name__ for operator in OPERATORS}
    assert set(NEUTRAL) == {operator.__name__ for operator in NEUTRAL_OPERATORS}
    assert len(OPERATORS) >= 10


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: operator.__name__)
def test_operator_yields_a_valid_mutant_that_differs(operator, harness):
    original = CRAFTED[operator.__name__]
    assert reparsed(original) == original
    mutants = variants(original, (operator,))
    assert mutants and original not in mutants
    reference, *runs = harness.run([original, *mutants])
    assert reference.stable
    differing = [run for run in runs if run.stable and run.runs[0] != reference.runs[0]]
    assert differing, f"{operator.__name__} made {mutants}"


@pytest.mark.parametrize("operator", NEUTRAL_OPERATORS, ids=lambda operator: operator.__name__)
def test_neutral_operator_changes_the_text_and_nothing_else(operator, harness):
    original = NEUTRAL[operator.__name__]
    edited = variants(original, (operator,))
    assert edited and original not in edited
    reference, *runs = harness.run([original, *edited])
    for run in runs:
        assert run.stable and run.runs[0] == reference.runs[0]


def test_no_constant_shifts_by_more_than_the_width():
    listing = listing_of(two("  %3 = lshr i64 %0, 63\n  %4 = shl i64 %3, 0\n  ret i64 %4"))
    edits = [edit.replacement for own in edits_of(listing).values() for edit in own if edit.replacement]
    amounts = [int(amount) for text in edits for amount in re.findall(r"(?:lshr|shl) i64 %v\d+, (-?\d+)", text)]
    assert amounts and set(amounts) == {0, 1, 62, 63}  # 0 and 63 where the shift itself is changed
    swapped = edits_of(listing_of(two("  %3 = mul i64 %0, 64\n  ret i64 %3")))["binary_swap"]
    assert [edit.replacement for edit in swapped] == ["  %v3 = add i64 %v0, 64"]


def test_edits_keep_to_their_line():
    listing = listing_of(ARITHMETIC)
    assert listing.types == {"%v0": "i64", "%v1": "i64", "%v3": "i64", "%v4": "i64"}
    for edits in edits_of(listing).values():
        for edit in edits:
            after = listing.edited(edit).splitlines()
            assert after != list(listing.lines), edit
            if edit.rename is None:
                behind = len(listing.lines) - edit.line - edit.lines
                assert after[: edit.line] == list(listing.lines[: edit.line])
                assert after[len(after) - behind :] == list(listing.lines[edit.line + edit.lines :])
