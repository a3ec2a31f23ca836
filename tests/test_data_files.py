"""Files of rows: plain, compressed, Parquet, through ``datasets``; the same bytes come back, broken ones are named."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from ir_rows import GROUP, group_row

from oorl.cli import main
from oorl.data.ir_groups import group_from_json, read_ir_groups, write_ir_groups
from oorl.data.jsonl import read_jsonl, write_jsonl
from oorl.data.parquet import read_parquet, write_parquet
from oorl.data.rows import read_rows, write_rows
from oorl.errors import UserError

pytest.importorskip("pyarrow", reason="Parquet needs pyarrow (the train extra)")

MIXED = [
    [["1"], "x\u00e9\u0000~", {"out": 3}, [{"tag": "a", "xs": ["1", "2"]}]],
    [[], "", {"out": 0}, []],
]


def odd_rows() -> list[dict]:
    """Groups with arguments of many types, fields that the schema does not know, and fields left out."""
    rows = [group_row(k) for k in range(4)]
    rows[1]["inputs"]["args"] = MIXED
    rows[1]["winners"][0]["check"]["validator"] = {"name": "alive-tv", "verdict": "proved"}
    rows[2] |= {"ref_scores": {"key": {"w0": -1.5e-300, "l0": 1e22}}, "note": ["\u2603", None, 2**70]}
    del rows[3]["split"], rows[3]["dedup_cluster"], rows[3]["ref_scores"]
    return rows


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz", ".parquet"])
def test_rows_survive_every_format(ending, tmp_path):
    rows = odd_rows()
    path = tmp_path / f"rows{ending}"
    assert write_rows(path, rows) == 4
    assert [row for _, row in read_rows(path)] == rows
    assert [number for number, _ in read_rows(path)] == [1, 2, 3, 4]
    again = tmp_path / f"again{ending}"
    write_rows(again, rows)
    assert again.read_bytes() == path.read_bytes()


def test_the_bytes_of_json_lines_come_back(tmp_path, capsys):
    original = tmp_path / "a.jsonl"
    write_jsonl(original, odd_rows())
    chain = [original, *(tmp_path / name for name in ("b.parquet", "c.jsonl.gz", "d.parquet", "e.jsonl"))]
    for source, out in zip(chain, chain[1:], strict=False):
        assert main(["data", "convert", str(source), str(out)]) == 0
        assert f"4 rows written to {out}" in capsys.readouterr().out
    assert chain[-1].read_bytes() == original.read_bytes()
    assert gzip.decompress(chain[2].read_bytes()) == original.read_bytes()


def test_problems_have_columns_too(tmp_path):
    problem = json.loads(
        '{"schema":"oorl.translation/1","task_id":"t","origin":{},"source_lang":"python","source_code":"def f(): 1",'
        '"target_lang":"cpp","target_decl":"","entry":"f","mode":"call","signature":{"params":[],"returns":"int"},'
        '"tests":[{"args":[],"returns":1}],"comparator":{"kind":"exact"},"limits":{"time_s":5.0,"memory_mb":512},'
        '"prompt_template":"auto"}'
    )
    write_parquet(tmp_path / "p.parquet", [problem])
    assert [row for _, row in read_parquet(tmp_path / "p.parquet")] == [problem]
    assert main(["data", "check", str(tmp_path / "p.parquet")]) == 0


@pytest.mark.parametrize("ending", [".jsonl.gz", ".parquet"])
def test_groups_are_read_and_checked_in_every_format(ending, tmp_path, capsys):
    groups = [group_from_json(group_row(k)) for k in range(3)]
    path = tmp_path / f"g{ending}"
    write_ir_groups(path, groups)
    assert read_ir_groups(path) == groups
    assert main(["data", "check", str(path)]) == 0
    assert "IR groups: 3" in capsys.readouterr().out
    broken = group_row(1)
    broken["losers"][0]["kill_rate"] = 7
    write_rows(path, [GROUP, broken])
    with pytest.raises(UserError, match=f"g{ending}:2: WrongValue: losers"):
        read_ir_groups(path)


@pytest.mark.parametrize("builder", ["parquet", "json"])
def test_datasets_loads_both_offline(builder, tmp_path):
    """In a process of its own: the offline switch is read when ``datasets`` is imported."""
    pytest.importorskip("datasets", reason="datasets is not installed (the bench extra)")
    path = tmp_path / ("g.parquet" if builder == "parquet" else "g.jsonl")
    rows = [group_row(k) for k in range(3)]
    rows[1]["inputs"]["args"] = MIXED
    write_rows(path, rows)
    where = {"data_files": str(path), "cache_dir": str(tmp_path / "cache")}
    script = (
        f"import json, sys, datasets\nloaded = datasets.load_dataset({builder!r}, **{where!r})\n"
        "json.dump([dict(row) for row in loaded['train']], sys.stdout)\n"
    )
    environment = {"HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for loaded, row in zip(json.loads(done.stdout), rows, strict=True):
        assert loaded["group_id"] == row["group_id"] and loaded["source"]["code"] == row["source"]["code"]
        assert [winner["ir"] for winner in loaded["winners"]] == [winner["ir"] for winner in row["winners"]]
        if builder == "parquet":  # as JSON lines, datasets guesses a type for mixed arguments: "1" comes back as 1
            assert json.loads(loaded["inputs"]) == row["inputs"]
            assert json.loads(loaded["losers"][0]["json"])["witness"] == row["losers"][0]["witness"]


def test_a_large_file_goes_through_in_pieces(tmp_path):
    def rows():
        for k in range(1500):
            row = group_row(k)
            row["source"]["code"] = f"/* {k} {'x' * 40_000} */"
            yield row

    tracemalloc.start()
    assert write_parquet(tmp_path / "g.parquet", rows()) == 1500
    assert sum(number == k for k, (number, _) in enumerate(read_parquet(tmp_path / "g.parquet"), 1)) == 1500
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30 << 20, "sixty megabytes of rows"


def damaged(tmp_path: Path, ending: str) -> Path:
    path = tmp_path / f"g{ending}"
    write_rows(path, [group_row(k) for k in range(40)])
    path.write_bytes(path.read_bytes()[:-200])
    return path


@pytest.mark.parametrize(
    ("ending", "sentence"), [(".jsonl.gz", "not a whole gzip file"), (".parquet", "not a whole Parquet file")]
)
def test_a_file_cut_short_is_named(ending, sentence, tmp_path, capsys):
    path = damaged(tmp_path, ending)
    with pytest.raises(UserError, match=sentence):
        read_ir_groups(path)
    for action in (["check", str(path)], ["convert", str(path), str(tmp_path / "out.jsonl")], ["stats", str(path)]):
        assert main(["data", *action]) == 1
        assert sentence in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out.jsonl").exists()


def test_files_that_are_something_else_are_named(tmp_path, capsys):
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"Source_Code": ["int f;"]}), tmp_path / "other.parquet")
    with pytest.raises(UserError, match="its columns .Source_Code. are not those of oorl.ir_group/1 or"):
        read_ir_groups(tmp_path / "other.parquet")
    (tmp_path / "text.jsonl.gz").write_text("no gzip")
    with pytest.raises(UserError, match="not a whole gzip file"):
        list(read_jsonl(tmp_path / "text.jsonl.gz"))
    for name in ("gone.parquet", "gone.jsonl.gz"):
        with pytest.raises(UserError, match=f"cannot read .*{name}"):
            read_ir_groups(tmp_path / name)
    write_jsonl(tmp_path / "g.jsonl", [GROUP])
    assert main(["data", "convert", str(tmp_path / "g.jsonl"), str(tmp_path / "." / "g.jsonl")]) == 2
    assert "is the file that is read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([], "there are no rows to write"),
        ([{"a": 1}], "rows of schema None have no columns"),
        ([GROUP, {"schema": "oorl.translation/1"}], "row 2: schema 'oorl.translation/1' in a file of oorl.ir_group/1"),
        ([{**GROUP, "winners": [{"id": "w0"}]}], "row 1: winners: not what oorl.ir_group/1 says"),
        ([{**GROUP, "naming": 3}], "row 1: naming: not what oorl.ir_group/1 says"),
        ([{**GROUP, "source": "text"}], "row 1: source: not what oorl.ir_group/1 says"),
    ],
)
def test_rows_without_columns_are_refused_and_nothing_is_written(rows, reason, tmp_path):
    write_parquet(tmp_path / "g.parquet", [group_row(5)])
    with pytest.raises(UserError, match=reason):
        write_parquet(tmp_path / "g.parquet", rows)
    assert [row["group_id"] for _, row in read_parquet(tmp_path / "g.parquet")] == ["g5"]


def test_without_pyarrow_the_remedy_is_told(tmp_path):
    script = (
        "import sys\nsys.modules['pyarrow'] = None\nfrom oorl.cli import main\n"
        f"sys.exit(main(['data', 'check', {str(tmp_path / 'g.parquet')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (
        done.returncode == 1 and 'pip install "oorl-kernels[train]"' in done.stderr and "Traceback" not in done.stderr
    )
