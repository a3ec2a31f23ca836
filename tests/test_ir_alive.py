"""alive-tv, played by a script that answers as the real one prints: verdicts, time limits, and what the build does."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("llvmlite", reason="IR groups need llvmlite (the train extra)")
pytest.importorskip("ziglang", reason="IR groups need ziglang (the train extra)")

from oorl.doctor import ir_rows  # noqa: E402
from oorl.ir import IRConfig, build_groups, sources_of_file  # noqa: E402
from oorl.ir import alive as alive_module  # noqa: E402
from oorl.ir.alive import compare, validate, verdict_of  # noqa: E402

HEAD = """
----------------------------------------
define i32 @f(i32 noundef %0) {
  ret i32 %0
}
=>
define i32 @f(i32 noundef %0) {
  ret i32 %0
}
"""


def summary(correct: int, incorrect: int, failed: int, errors: int) -> str:
    return (
        f"Summary:\n  {correct} correct transformations\n  {incorrect} incorrect transformations\n"
        f"  {failed} failed-to-prove transformations\n  {errors} Alive2 errors\n"
    )


WRONG = (
    "Transformation doesn't verify!\n\nERROR: Value mismatch\n\nExample:\ni32 noundef %#0 = #x00000000 (0)\n\n"
    "Source:\n\nTarget:\nSource value: #x00000000 (0)\nTarget value: #x00000001 (1)\n\n"
)
TOO_HARD = (
    "ERROR: Couldn't prove the correctness of the transformation\n"
    "Alive2 approximated the semantics of the programs and therefore we\ncannot conclude whether the bug found is valid"
)


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        (HEAD + "Transformation seems to be correct!\n\n" + summary(1, 0, 0, 0), "proved"),
        (HEAD + "Transformation seems to be correct! (syntactically equal)\n\n" + summary(1, 0, 0, 0), "proved"),
        (HEAD + WRONG + summary(0, 1, 0, 0), "refuted"),
        (HEAD + "ERROR: Timeout\n\n" + summary(0, 0, 1, 0), "undecided"),
        (HEAD + TOO_HARD + "\n" + summary(0, 0, 1, 0), "undecided"),
        ("ERROR: Unsupported instruction: %3 = va_arg\nERROR: Could not translate 'f' to Alive IR\n"
         + summary(0, 0, 0, 1), "undecided"),
        (HEAD + "Transformation doesn't verify!\nERROR: program doesn't type check!\n\n" + summary(0, 0, 0, 1),
         "undecided"),
        # what it printed before it counted what it could not prove: a time out among the incorrect ones
        ("Transformation doesn't verify!\nERROR: Timeout\n\nSummary:\n  0 correct transformations\n"
         "  1 incorrect transformations\n  0 errors\n", "undecided"),
        ("Transformation doesn't verify!\nERROR: Value mismatch\n\nSummary:\n  0 correct transformations\n"
         "  1 incorrect transformations\n  0 errors\n", "refuted"),
        # another LLVM's text
        ("src.ll:3:8: error: expected instruction opcode\nLLVM ERROR: Could not read bitcode from 'src.ll'\n",
         "undecided"),
        (summary(0, 0, 0, 0), "undecided"),
        ("", "undecided"),
    ],
)  # fmt: skip
def test_its_answers_are_read(said, verdict):
    assert verdict_of(said) == verdict


def fake(folder: Path, body: str) -> str:
    """An alive-tv in a folder: ``options``, ``source`` and ``target`` are what it was given."""
    path = folder / "alive-tv"
    path.write_text(
        f"#!{sys.executable}\nimport pathlib, sys, time\n"
        "options = [a for a in sys.argv[1:] if a.startswith('-')]\n"
        "source, target = (pathlib.Path(a).read_text() for a in sys.argv[1:] if not a.startswith('-'))\n" + body
    )
    path.chmod(0o755)
    return str(path)


def answering(text: str) -> str:
    return f"print({text!r})\n"


def test_both_texts_arrive_with_limits(tmp_path):
    command = fake(
        tmp_path,
        "right = 'target triple' in source and 'ret i32 %0' in source and 'ret i32 7' in target\n"
        "right &= {'--smt-to=5000', '--src-unroll=3', '--tgt-unroll=3', '--disable-undef-input'} <= set(options)\n"
        f"print({summary(1, 0, 0, 0)!r} if right else 'wrong')\n",
    )
    body = "define i32 @f(i32 %0) {{\n  ret i32 {}\n}}\n"
    assert compare(command, body.format("%0"), body.format("7")) == "proved"
    assert compare(command, body.format("%0"), body.format("8")) == "undecided"


def test_one_that_hangs_or_dies_decides_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(alive_module, "CALL_S", 0.3)
    assert compare(fake(tmp_path, "time.sleep(60)\n"), "", "") == "undecided"
    assert compare(fake(tmp_path, "import os\nos.abort()\n"), "", "") == "undecided"
    assert compare(str(tmp_path / "gone"), "", "") == "undecided"


def test_without_it_nothing_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    counts: Counter = Counter()
    assert validate("", ["a", "b"], counts) == [None, None] and not counts
    assert ("alive-tv", "missing") in [row[:2] for row in ir_rows()]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    path = tmp_path_factory.mktemp("c") / "f.c"
    path.write_text("int f(int a, int b) { int c = a ^ b; if (a < 9) c += b & 7; else c -= a % 5; return c; }\n")
    return sources_of_file(path)[0]


def built(sources, folder: Path, monkeypatch, body: str):
    fake(folder, body)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    assert ("alive-tv", "works") in [row[:2] for row in ir_rows()]
    [outcome] = build_groups(sources, IRConfig(max_winners=8, max_losers=4, inputs=24), jobs=1)
    return outcome


def test_a_refuted_winner_is_left_out_and_the_others_say_what_was_found(sources, tmp_path, monkeypatch):
    verdicts = (
        "stem = target.split('target triple')[1]\n"
        "kind = 0 if 'alloca' not in stem else 1 if 'srem' in stem else 2\n"
        f"print([{summary(1, 0, 0, 0)!r}, {summary(0, 0, 1, 0)!r}, {WRONG + summary(0, 1, 0, 0)!r}][kind])\n"
    )
    outcome = built(sources, tmp_path, monkeypatch, verdicts)
    said = [winner["check"]["validator"]["verdict"] for winner in outcome.group.winners]
    for winner, verdict in zip(outcome.group.winners, said, strict=True):
        assert "srem" in winner["ir"] or "alloca" not in winner["ir"]
        assert verdict == ("undecided" if "alloca" in winner["ir"] else "proved")
        assert winner["check"]["validator"]["name"] == "alive-tv"
    counted = {name: n for name, n in outcome.counts.items() if name.startswith("validator ")}
    assert counted["validator refuted"] == 8 - len(said) > 0
    assert counted["validator proved"] == said.count("proved") and counted["validator undecided"] > 0


def test_a_function_it_refutes_as_a_whole_is_refused(sources, tmp_path, monkeypatch):
    outcome = built(sources, tmp_path, monkeypatch, answering(WRONG + summary(0, 1, 0, 0)))
    assert outcome.group is None and outcome.reason == "winners: alive-tv refutes all but 0 of 8"
    assert outcome.counts == {"distinct": outcome.counts["distinct"], "validator refuted": 8}
