"""Figures of a file of IR groups: what reproduces is counted, what does not is named, samples repeat."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("llvmlite", reason="IR groups need llvmlite (the train extra)")
pytest.importorskip("ziglang", reason="IR groups need ziglang (the train extra)")

from bench.ir_groups import figures, main, sample  # noqa: E402
from oorl.cli import main as oorl  # noqa: E402
from oorl.data.rows import read_rows  # noqa: E402

SMALL = ["--max-chars", "700", "--max-winners", "4", "--max-losers", "4", "--inputs", "24"]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    path = tmp_path_factory.mktemp("figures") / "groups.jsonl"
    assert oorl(["build-ir", "--generate", "4", "--out", str(path), "--jobs", "1", *SMALL]) == 0
    return path


def test_a_row_holds_build_and_reverification(built, tmp_path, capsys):
    arguments = [
        str(built),
        "--reverify",
        "--jobs",
        "1",
        "--sample",
        "2",
        "--results",
        str(tmp_path),
        "--note",
        "small",
    ]
    assert main(arguments) == 0
    capsys.readouterr()
    [path] = tmp_path.rglob("ir-groups.jsonl")
    [row] = [json.loads(line) for line in path.read_text().splitlines()]
    groups = [group for _, group in read_rows(built)]
    assert row["build"] == json.loads(built.with_name("groups.jsonl.stats.json").read_text())
    assert row["reverify"]["groups"] == row["reverify"]["reproduce"] == row["build"]["kept"] == len(groups) == 4
    assert row["reverify"]["members"] == sum(len(g["winners"]) + len(g["losers"]) for g in groups)
    assert row["reverify"]["cpu_s"] > 0 and row["refused_by_check"] == {} and row["note"] == "small"
    [kept] = tmp_path.rglob("ir-groups-sample.jsonl.gz")
    sampled = [group for _, group in read_rows(kept)]
    assert len(sampled) == 2 and all(group in groups for group in sampled)


def test_what_does_not_reproduce_is_named(built, tmp_path):
    path = tmp_path / "groups.jsonl"
    lines = built.read_text().splitlines()
    row = json.loads(lines[1])
    row["losers"][0]["kill_rate"] = 0.9999
    path.write_text("\n".join([lines[0], json.dumps(row), *lines[2:]]) + "\n")
    path.with_name("groups.jsonl.stats.json").write_text(json.dumps({"kept": 4}))
    found = figures(path, reverify=0, leak=False, jobs=1)["reverify"]
    assert (found["groups"], found["reproduce"], found["faults"]) == (4, 3, {"WitnessNotReproduced": 1})
    assert found["named"][0].startswith(f"{row['group_id']}: WitnessNotReproduced: l0 differs on a share")


def test_samples_repeat_and_are_drawn_from_all(built):
    rows = [row for _, row in read_rows(built)]
    assert list(sample(built, 3)) == list(sample(built, 3))
    assert list(sample(built, 99)) == rows
    assert {row["group_id"] for seed in range(12) for row in sample(built, 1, seed)} == {r["group_id"] for r in rows}


def test_a_file_without_statistics_is_refused(tmp_path, capsys):
    (tmp_path / "groups.jsonl").write_text("{}\n")
    assert main([str(tmp_path / "groups.jsonl")]) == 1
    assert "groups.jsonl.stats.json" in capsys.readouterr().err
