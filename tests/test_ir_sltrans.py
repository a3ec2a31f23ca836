"""SLTrans files: rows streamed and counted, functions and programs cut out, errors in one sentence."""

from __future__ import annotations

import json
import random
import shutil
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("llvmlite", reason="IR groups need llvmlite (the train extra)")
pytest.importorskip("ziglang", reason="IR groups need ziglang (the train extra)")

from contest_programs import PROGRAMS  # noqa: E402

from oorl.cli import main  # noqa: E402
from oorl.data.ir_groups import read_ir_groups  # noqa: E402
from oorl.errors import UserError  # noqa: E402
from oorl.ir.compile import Modules, compile_sources  # noqa: E402
from oorl.ir.csource import Source, split_c  # noqa: E402
from oorl.ir.excerpts import MOST_CHARS, excerpts  # noqa: E402
from oorl.ir.sltrans import MOST_SHOWN, sltrans_sources, texts  # noqa: E402

SMALL = ["--max-winners", "4", "--max-losers", "4", "--inputs", "16", "--jobs", "1"]
POWER = """
#include <bits/stdc++.h>
using namespace std;
typedef long long ll;
#define rep(i, n) for (int i = 0; i < (n); i++)
const ll MOD = 1000003;
vector<int> graph[100];
ll power(ll a, ll b) { ll r = 1; a %= MOD; while (b > 0) { if (b & 1) r = r * a % MOD; a = a * a % MOD; b >>= 1; }
  return r; }
int clampi(int x, int lo, int hi) { return max(lo, std::min(x, hi)); }
int total(int n) { int t = 0; rep(i, n & 31) t += i * i; return t; }
int size(const vector<int> &v) { return v.size(); }
template <class T> T twice(T a) { return a + a; }
int spoken(int a) { cout << a; return a; }
int grouped(int a) { vector<int> v(a & 7); return a; }
int main() { int n; cin >> n; rep(i, n) { ll a, b; cin >> a >> b; cout << power(a, b) << endl; } }
"""
LARGEST = """
#include <cstdio>
#include <algorithm>
using namespace std;
int a[100];
int main() { int n; scanf("%d", &n); int best = -1000000;
  for (int i = 0; i < n && i < 100; i++) { scanf("%d", &a[i]); best = std::max(best, a[i]); }
  printf("%d\\n", best); return 0; }
"""
RUST = """
use std::io;
fn gcd(a: u64, b: u64) -> u64 { if b == 0 { a } else { gcd(b, a % b) } }
fn names(s: String) -> usize { s.len() }
fn main() { let mut s = String::new(); io::stdin().read_line(&mut s).unwrap(); println!("{}", gcd(4, 6)); }
"""


def parquet(path: Path, codes: list, kind: str = "string", column: str = "Source_Code", **settings) -> Path:
    pa = pytest.importorskip("pyarrow", reason="Parquet needs pyarrow (the train extra)")
    from pyarrow.parquet import write_table

    path.parent.mkdir(parents=True, exist_ok=True)
    fields = {column: pa.array(codes, kind), "IR_Original": pa.array(["; ModuleID = 'x'"] * len(codes))}
    write_table(pa.table(fields), path, **settings)
    return path


def jsonl(path: Path, rows: list) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def row(code: object) -> dict:
    return {"Source_Code": code, "IR_Original": "; ModuleID = 'x'"}


def read(*paths: Path, language: str | None = None, limit: int | None = None) -> tuple[list[Source], Counter]:
    reading: Counter = Counter()
    found = list(sltrans_sources([str(path) for path in paths], language, "CC-BY-SA-4.0", limit, reading))
    return found, reading


def test_both_splits_give_every_source_once(tmp_path):
    codes = list(PROGRAMS.values())
    first = parquet(tmp_path / "C" / "Perf_Optimized-00000.parquet", codes)
    shuffled = random.Random(1).sample([*codes, "int more(int a) { return a * 3; }\nint main(void) { return 0; }"], 15)
    second = parquet(tmp_path / "C" / "Size_Optimized-00000.parquet", shuffled)
    sources, reading = read(first, second)
    assert reading == {"rows": 29, "repeated": 14, "signature": 1}
    assert Counter(source.entry for source in sources) == {"main": 15, "gcd": 1, "more": 1}
    assert {source.licence for source in sources} == {"CC-BY-SA-4.0"} and {s.language for s in sources} == {"c"}
    assert sources[0].origin.startswith("SLTrans C/Perf_Optimized-00000.parquet row 1, Source_Code sha256 ")
    assert read(second, first)[1]["rows"] == 29 and {s.code for s in read(second, first)[0]} == {
        s.code for s in sources
    }
    assert read(first, limit=3)[1]["rows"] == 3


def test_cpp_functions_stand_alone_without_its_headers():
    sources, left_out = excerpts(POWER, "cpp", "p", "x")
    assert [source.entry for source in sources] == ["power", "clampi", "total"]
    assert sorted(reason.split(":")[0] for reason in left_out) == ["external"] * 3 + ["signature"] * 2
    assert "external: uses cin" in left_out and "external: uses cout" in left_out
    assert all("#include" not in source.code and "using" not in source.code for source in sources)
    assert "MOD" not in sources[1].code and "T max(T a, T b)" in sources[1].code and "#define rep" in sources[2].code
    assert all(isinstance(modules, Modules) for modules in compile_sources(sources))
    [program], _ = excerpts(LARGEST, "cpp", "p", "x")
    assert program.signature.mode == "stdin" and program.code.startswith("#include <stdio.h>\ntemplate")
    assert isinstance(compile_sources([program])[0], Modules)


def test_c_functions_take_the_headers_they_name():
    code = """
#include <stdio.h>
#include <stdlib.h>
#include <conio.h>
#include "own.h"
#define MAX 100
#define UNUSED 7
int table[MAX];
int distance(int a, int b) { return abs(a - b) > INT_MAX / 2 ? MAX : abs(a - b); }
int loud(int a) { printf("%d", a); return a; }
double root(double x) { return sqrt(x); }
static int helper(int a) { return a + MAX; }
int uses(int a) { return helper(a) * 2; }
"""
    sources, left_out = excerpts(code, "c", "n", "x")
    assert [source.entry for source in sources] == ["distance", "uses"]
    assert left_out == ["external: calls printf", "external: calls sqrt"]
    assert sources[0].code.startswith("#include <stdlib.h>\n#include <limits.h>\n#define MAX 100\nint distance")
    assert sources[1].code.startswith("#define MAX 100\nstatic int helper")


def test_rust_functions_without_their_program():
    sources, left_out = excerpts(RUST, "rust", "r", "x")
    assert [(source.entry, source.language) for source in sources] == [("gcd", "rust")]
    assert [reason.split(":")[0] for reason in left_out] == ["signature", "external"]
    assert excerpts("struct A;", "rust", "r", "x")[1][0].startswith("cut: ")


def test_texts_that_cannot_be_cut_are_left_out():
    assert excerpts("int a = 3; }}} {", "c", "n", "x") == ([], ["cut: no function definition is found"])
    [reason] = excerpts("int f(int a) { return a; }" + " " * MOST_CHARS, "c", "n", "x")[1]
    assert reason.startswith("size: ")
    assert excerpts("int main() { puts(\"{{{\"); /* } */ char c = '}'; ", "c", "n", "x")[1] == []
    rng = random.Random(0)
    for code in [*PROGRAMS.values(), POWER, LARGEST, RUST]:
        for _ in range(20):  # cut short, a piece taken out, pieces exchanged: no text ends the reading
            a, b = sorted(rng.sample(range(len(code)), 2))
            for broken in (code[:a], code[:a] + code[b:], code[a:b] + code[:a]):
                for language in ("c", "cpp", "rust"):
                    sources, left_out = excerpts(broken, language, "n", "x")
                    assert all(source.entry in source.code for source in sources)
                    assert all(":" in reason for reason in left_out)


def test_bad_rows_are_reported_and_the_rest_is_read(tmp_path, capsys):
    rows = [
        row(PROGRAMS["sum"]), "{not json", "[1, 2]", {"IR_Original": "x"}, row(None), row(7), row("  \n"),
        row("no code"), row(POWER), row(RUST), "", row(PROGRAMS["gcd"]), row(PROGRAMS["sum"]),
    ]  # fmt: skip
    path = jsonl(tmp_path / "C" / "rows.jsonl", rows)
    sources, reading = read(path)
    assert [source.entry for source in sources] == ["main", "gcd", "main"]
    assert reading == {"rows": 12, "bad": 9, "repeated": 1}
    said = capsys.readouterr().err.splitlines()
    assert len(said) == reading["bad"] and all(line.startswith(f"{path}: row ") for line in said)
    reasons = {int(line.split("row ")[1].split(":")[0]): line.split(": ", 2)[2] for line in said}
    assert reasons[2].startswith("not valid JSON") and reasons[3] == "not a JSON object but list"
    assert reasons[4] == "Source_Code: missing" and reasons[5] == "Source_Code: null"
    assert reasons[6] == "Source_Code: not text but int" and reasons[7] == "Source_Code: empty"
    assert reasons[8] == "Source_Code: not C or C++, it defines no function"
    assert reasons[9].startswith("Source_Code: not C but C++ (#include <bits/stdc++.h>")
    assert reasons[10] == "Source_Code: not C or C++ but Rust"
    assert read(path, language="rust")[1]["bad"] == 11
    capsys.readouterr()
    many = jsonl(tmp_path / "C" / "many.jsonl", [row(k) for k in range(MOST_SHOWN + 30)])
    capsys.readouterr()
    assert read(many)[1]["bad"] == MOST_SHOWN + 30
    assert len(capsys.readouterr().err.splitlines()) == MOST_SHOWN + 1


def test_null_rows_of_parquet(tmp_path):
    path = parquet(tmp_path / "C" / "a.parquet", [PROGRAMS["sum"], None, PROGRAMS["gcd"]])
    sources, reading = read(path)
    assert len(sources) == 3 and reading == {"rows": 3, "bad": 1}
    path = parquet(tmp_path / "C" / "b.parquet", [1, 2], kind="int64")
    assert read(path) == ([], Counter({"rows": 2, "bad": 2}))


def test_twenty_thousand_rows_are_never_held(tmp_path):
    path = tmp_path / "C" / "large.jsonl"
    path.parent.mkdir()
    filler = "int x; " * 300
    with path.open("w") as file:
        for k in range(20_000):
            file.write(json.dumps(row(f"int f{k}(int a) {{ return a; }} // {filler}")) + "\n")
    assert path.stat().st_size > 40e6
    tracemalloc.start()
    count = sum(code.startswith(f"int f{number - 1}(") for number, code, _ in texts(str(path)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_000 and peak < 2e6


def build(*arguments: object) -> int:
    return main(["build-ir", *map(str, arguments), *SMALL])


def test_a_build_from_rows_counts_what_it_read(tmp_path):
    path = parquet(tmp_path / "C" / "Perf_Optimized-00000.parquet", [PROGRAMS["sum"], None, PROGRAMS["gcd"], RUST])
    cpp = jsonl(tmp_path / "C++" / "rows.jsonl", [row(LARGEST)])
    own = tmp_path / "own.c"
    own.write_text("int twice(int a) { return a % 1000 * 2; }\n")
    outs = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for out, jobs in zip(outs, ("1", "2"), strict=True):
        assert build(path, own, cpp, "--out", out, "--jobs", jobs) == 0
    assert outs[0].read_bytes() == outs[1].read_bytes()
    groups = read_ir_groups(outs[0])
    assert [group.source["entry"] for group in groups] == ["twice", "main", "gcd", "main", "main"]
    assert [group.source["licence"] for group in groups] == ["unknown"] + ["CC-BY-SA-4.0"] * 4
    assert [group.signature.get("mode") for group in groups] == [None, "stdin", None, "stdin", "stdin"]
    assert "mode" not in groups[0].signature and isinstance(groups[0].inputs["args"][0], list)
    statistics = json.loads(Path(f"{outs[0]}.stats.json").read_text())
    assert statistics["reading"] == {"rows": 5, "bad": 2} and statistics["kept"] == 5


def test_rust_rows_become_groups(tmp_path):
    if not shutil.which("rustc"):
        pytest.skip("rustc is not on PATH")
    out = tmp_path / "groups.jsonl"
    assert (
        build(jsonl(tmp_path / "rows.jsonl", [row(RUST)]), "--language", "rust", "--licence", "MIT", "--out", out) == 0
    )
    [group] = read_ir_groups(out)
    assert group.source["entry"] == "gcd" and group.source["licence"] == "MIT"


def test_files_that_cannot_serve_are_told_at_once(tmp_path, capsys, monkeypatch):
    good = parquet(tmp_path / "C" / "good.parquet", [PROGRAMS["sum"]] * 50)
    cut = tmp_path / "C" / "cut.parquet"
    cut.write_bytes(good.read_bytes()[:-40])
    wrong = parquet(tmp_path / "C" / "wrong.parquet", ["x"], column="content")
    empty = parquet(tmp_path / "C" / "empty.parquet", [])
    blank = jsonl(tmp_path / "C" / "blank.jsonl", ["", ""])
    astray = parquet(tmp_path / "Go" / "rows.parquet", [PROGRAMS["sum"]])
    own = tmp_path / "own.c"
    own.write_text("int f(int a) { return a; }\n")
    cases = [
        ((cut,), 1, "as Parquet"),
        ((wrong,), 1, "has no column Source_Code (its columns: content, IR_Original)"),
        ((empty,), 1, "holds no rows"),
        ((blank,), 1, "holds no rows"),
        ((tmp_path / "C" / "none.parquet",), 1, "cannot read"),
        ((tmp_path / "C" / "none.jsonl",), 1, "cannot read"),
        ((astray,), 2, "say it with --language"),
        ((own, "--limit", 3), 2, "--language and --limit are for SLTrans files"),
        ((own, "--language", "c"), 2, "--language and --limit are for SLTrans files"),
        ((good, "--limit", 0), 2, "--limit is 0; it must be at least 1"),
    ]
    for arguments, status, expected in cases:
        assert build(*arguments, "--out", tmp_path / "out.jsonl") == status, arguments
        said = capsys.readouterr().err.strip()
        assert expected in said and "Traceback" not in said and len(said.splitlines()) == 1, said
    assert not list(tmp_path.glob("out.jsonl*"))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert build(good, "--out", tmp_path / "out.jsonl") == 1
    assert 'pip install "oorl-kernels[train]"' in capsys.readouterr().err


def test_a_damaged_page_is_named_with_its_row(tmp_path):
    codes = [f"int f(int a) {{ return a + {k}; }} // {random.Random(k).random()}" for k in range(2000)]
    path = parquet(tmp_path / "C" / "a.parquet", codes, row_group_size=500, compression="zstd", use_dictionary=False)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"a\.parquet cannot be read after row \d+ \(.*\); fetch the file again"):
        list(texts(str(path)))


def test_every_program_survives_being_cut():
    for code in PROGRAMS.values():
        sources, _ = excerpts(code, "c", "n", "x")
        [program] = [source for source in sources if source.entry == "main"]
        assert [f.text for f in split_c(program.code).functions] == [f.text for f in split_c(code).functions]
