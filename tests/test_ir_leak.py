"""The leak test: finds what looks give away, alone and within a group, and finds nothing where there is nothing."""

from __future__ import annotations

import random

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the leak test needs scikit-learn (the eval extra)")
pytest.importorskip("llvmlite", reason="IR groups need llvmlite (the train extra)")

from oorl.cli import main  # noqa: E402
from oorl.data.ir_groups import IRGroup, write_ir_groups  # noqa: E402
from oorl.errors import UserError  # noqa: E402
from oorl.ir.candidate import looks, surface, unlikeness  # noqa: E402
from oorl.ir.leak import _area, leak_test  # noqa: E402


def text(lines: int, rng: random.Random) -> str:
    """A text of so many instructions; constants make it unlike any other."""
    body = "".join(f"  %{k + 1} = add i64 %{k}, {rng.randint(1, 9)}\n" for k in range(lines - 1))
    return f"define i64 @f(i64 %0) {{\n{body}  ret i64 %{lines - 1}\n}}\n"


def group(index: int, winners: list[str], losers: list[str]) -> IRGroup:
    return IRGroup(
        group_id=f"g{index}",
        source={"language": "c", "code": "long long f(long long a);", "entry": "f"},
        signature={"ret": "i64", "params": []},
        inputs={"args": [], "expected": []},
        toolchain={},
        naming="numbered",
        winners=tuple({"id": f"w{k}", "ir": ir} for k, ir in enumerate(winners)),
        losers=tuple({"id": f"l{k}", "ir": ir} for k, ir in enumerate(losers)),
        dedup_cluster=f"c{index}",
    )


def groups(more: int, spread: int, count: int = 200) -> list[IRGroup]:
    """Groups of 4 and 4 around a length of their own; losers are ``more`` instructions longer."""
    rng, made = random.Random(5), []
    for index in range(count):
        own = rng.randint(12, 12 + spread)
        winners = [text(own + rng.randint(-1, 1), rng) for _ in range(4)]
        losers = [text(own + more + rng.randint(-1, 1), rng) for _ in range(4)]
        made.append(group(index, winners, losers))
    return made


def test_the_surface_of_a_text_is_counted():
    ir = (
        "define zeroext i8 @f(ptr %0, i32 signext %1) {\n  %3 = add nsw i32 %1, -12\n  %4 = icmp slt i32 %3, 7\n"
        "  br i1 %4, label %5, label %8\n5:\n  %6 = load i8, ptr %0\n  %7 = add nuw nsw i8 %6, 7\n  ret i8 %7\n"
        "8:\n  ret i8 0\n}\n"
    )
    # length, lines, instructions, tokens, labels, declarations, longest and mean instruction
    found = surface(ir)
    assert found[:3] == (len(ir), 11, 7) and found[4:7] == (2, 0, 30)
    # the greatest name, distinct names, uses of names, constants, distinct ones, the longest, definitions
    assert found[8:15] == (8, 8, 14, 4, 3, 3, 4)
    flags = dict(zip("nsw nuw exact disjoint nneg samesign inbounds nusw zeroext signext tail immarg".split(),
                     found[15:], strict=True))  # fmt: skip
    assert {name: count for name, count in flags.items() if count} == {"nsw": 2, "nuw": 1, "zeroext": 1, "signext": 1}
    assert unlikeness(looks(ir), looks(ir)) == 0 < unlikeness(looks(ir), looks(ir.replace(" nuw", "")))


def test_the_area_is_that_of_the_library():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(3)
    scores, y = rng.integers(0, 9, size=200) / 8, rng.random(200) < 0.4  # with ties
    weights = rng.integers(0, 4, size=200)
    _, place = np.unique(scores, return_inverse=True)
    assert _area(place, y, weights) == pytest.approx(roc_auc_score(y, scores, sample_weight=weights), abs=1e-12)


def test_equal_looks_leak_nothing():
    alone, within = leak_test(groups(more=0, spread=20))
    assert alone.within_bounds and within.within_bounds
    assert alone.low <= alone.auc <= alone.high and within.low <= within.auc <= within.high


def test_longer_losers_are_found():
    alone, within = leak_test(groups(more=6, spread=1))
    assert alone.auc > 0.95 and alone.paired > 0.95 and not alone.within_bounds
    assert within.auc > 0.95


def test_what_shows_only_beside_the_winners_is_found_there():
    # A group's own length varies far more than its losers exceed it.
    alone, within = leak_test(groups(more=3, spread=400))
    assert alone.auc < 0.6 and within.auc > 0.9


def test_the_command_says_and_decides(tmp_path, capsys):
    write_ir_groups(tmp_path / "fine.jsonl", groups(more=0, spread=20))
    assert main(["data", "leak", str(tmp_path / "fine.jsonl")]) == 0
    said = capsys.readouterr().out
    assert "alone" in said and "in its group" in said and "leaves" not in said
    write_ir_groups(tmp_path / "leaks.jsonl", groups(more=6, spread=1, count=80))
    assert main(["data", "leak", str(tmp_path / "leaks.jsonl")]) == 1
    assert "leaves 0.45 to 0.55" in capsys.readouterr().out


def test_too_few_groups_are_refused():
    with pytest.raises(UserError, match="at least 50 functions, found 20"):
        leak_test(groups(more=0, spread=20, count=20))
