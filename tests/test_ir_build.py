"""``oorl build-ir``: the same bytes on any number of workers, interrupts and resumes, errors in one sentence."""

from __future__ import annotations

import fcntl
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("llvmlite", reason="IR groups need llvmlite (the train extra)")
pytest.importorskip("ziglang", reason="IR groups need ziglang (the train extra)")

from oorl.cli import main  # noqa: E402
from oorl.data.ir_groups import read_ir_groups, write_ir_groups  # noqa: E402
from oorl.errors import UserError  # noqa: E402
from oorl.ir.frontend import check_compilers  # noqa: E402
from oorl.ir.toolchain import require_readable, require_toolchain  # noqa: E402

SMALL = ["--max-chars", "500", "--max-winners", "4", "--max-losers", "4", "--inputs", "24"]
FUNCTIONS = "\n".join(
    f"long long f{k}(long long a, long long b) {{ long long c = a * {k + 2}; if (b > {k}) c -= b; "
    f"else c += {k} - a % 7; return c; }}"
    for k in range(11)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("build")
    (path / "functions.c").write_text(FUNCTIONS)
    return path


@pytest.fixture(scope="module")
def whole(folder) -> Path:
    out = folder / "whole.jsonl"
    assert main(["build-ir", str(folder / "functions.c"), "--out", str(out), "--jobs", "2", *SMALL]) == 0
    return out


def test_one_worker_writes_the_same_bytes(folder, whole):
    out = folder / "one.jsonl"
    assert main(["build-ir", str(folder / "functions.c"), "--out", str(out), "--jobs", "1", *SMALL]) == 0
    assert out.read_bytes() == whole.read_bytes()
    assert len(read_ir_groups(out)) == 11
    assert sorted(p.name for p in folder.glob("one.jsonl*")) == [
        "one.jsonl",
        "one.jsonl.stats.json",
        "one.jsonl.stats.png",
    ]


def test_statistics_are_written(whole):
    row = json.loads(Path(f"{whole}.stats.json").read_text())
    assert row["functions"] == row["kept"] == 11
    assert row["winners_per_group"] == row["losers_per_group"] == 4.0
    assert row["chars"]["max"] <= 500


def test_reverify_finds_the_one_that_was_changed(folder, whole, capsys):
    groups = read_ir_groups(whole)[:2]
    good = folder / "good.jsonl"
    write_ir_groups(good, groups)
    assert main(["data", "check", str(good), "--reverify", "--jobs", "1"]) == 0
    assert "2 of 2 groups (16 members) reproduce" in capsys.readouterr().out
    row = groups[1].to_json()
    row["losers"][0]["witness"]["got"]["ret"] += "1"
    (folder / "bad.jsonl").write_text(json.dumps(groups[0].to_json()) + "\n" + json.dumps(row) + "\n")
    assert main(["data", "check", str(folder / "bad.jsonl"), "--reverify", "--jobs", "1"]) == 1
    said = capsys.readouterr().out
    assert f"{groups[1].group_id}: WitnessNotReproduced: l0" in said
    assert "1 of 2 groups (16 members) reproduce: WitnessNotReproduced (1)" in said


def start(folder: Path, out: Path, *more: str) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [
        sys.executable,
        "-m",
        "oorl",
        "build-ir",
        str(folder / "functions.c"),
        "--out",
        str(out),
        "--jobs",
        "1",
        *SMALL,
        *more,
    ]
    return subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["interrupt", "kill"])
def test_an_interrupted_build_goes_on_where_it_was(folder, whole, number):
    out = folder / f"{number.name}.jsonl"
    partial = Path(f"{out}.incomplete")
    process = start(folder, out)
    until = time.monotonic() + 120
    while (not partial.exists() or not partial.read_bytes()) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert not out.exists() and partial.stat().st_size > 0, said
    if number == signal.SIGINT:
        assert process.returncode == 130 and "--resume goes on" in said and "Traceback" not in said
        assert 1 <= len(read_ir_groups(partial)) < 11
    else:
        with partial.open("a") as file:
            file.write('{"schema": "cut sh')  # what a kill in the middle of a line leaves
    refused = start(folder, out)
    _, said = refused.communicate(timeout=60)
    assert refused.returncode == 2 and "add --resume" in said
    other = start(folder, out, "--resume", "--seed", "9")
    _, said = other.communicate(timeout=60)
    assert other.returncode == 2 and "is another build" in said
    assert main(["build-ir", str(folder / "functions.c"), "--out", str(out), "--jobs", "2", "--resume", *SMALL]) == 0
    assert out.read_bytes() == whole.read_bytes()
    counted = [json.loads(Path(f"{path}.stats.json").read_text()) for path in (out, whole)]
    assert counted[0]["operators"] == counted[1]["operators"]
    assert not partial.exists()


def test_generated_groups_leave_out_another_files_programs(folder):
    first, second = folder / "first.jsonl", folder / "second.jsonl"
    assert main(["build-ir", "--generate", "2", "--seed", "4", "--out", str(first), *SMALL]) == 0
    assert (
        main(
            [
                "build-ir",
                "--generate",
                "2",
                "--seed",
                "4",
                "--split",
                "test",
                "--exclude",
                str(first),
                "--out",
                str(second),
                *SMALL,
            ]
        )
        == 0
    )
    a, b = read_ir_groups(first), read_ir_groups(second)
    assert len(a) == len(b) == 2
    assert not {group.dedup_cluster for group in a} & {group.dedup_cluster for group in b}
    assert {group.split for group in b} == {"test"}
    assert json.loads(Path(f"{second}.stats.json").read_text())["refused"]["duplicate"] >= 2


def test_two_builds_of_one_file_do_not_mix(folder, capsys):
    out = folder / "contended.jsonl"
    with open(folder / "contended.jsonl.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["build-ir", str(folder / "functions.c"), "--out", str(out), *SMALL]) == 2
    assert "is being built by another process" in capsys.readouterr().err
    assert main(["build-ir", str(folder / "functions.c"), "--out", str(out), *SMALL]) == 0
    assert not (folder / "contended.jsonl.lock").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["--out", "x.jsonl"], 2, "give C files or --generate N"),
        (["--generate", "2"], 2, "say where the groups go"),
        (["--generate", "0", "--out", "x.jsonl"], 2, "--generate is 0; it must be at least 1"),
        (["--generate", "2", "--out", "x.jsonl", "--max-winners", "1"], 2, "max_winners 1 do not fit"),
        (["--generate", "2", "--out", "x.jsonl.gz"], 2, "`oorl data convert` makes x.jsonl.gz"),
        (["gone.c", "--out", "x.jsonl"], 1, "cannot read gone.c"),
    ],
)
def test_mistakes_are_one_sentence(arguments, status, sentence, capsys):
    assert main(["build-ir", *arguments]) == status
    said = capsys.readouterr().err
    assert sentence in said and said.count("\n") == 1


def test_a_file_that_does_not_compile_is_refused_and_counted(tmp_path, capsys):
    (tmp_path / "bad.c").write_text("long long f(long long a) { return undeclared; }\n")
    assert main(["build-ir", str(tmp_path / "bad.c"), "--out", str(tmp_path / "x.jsonl"), *SMALL]) == 1
    said = capsys.readouterr()
    assert "none of 1 functions gave a group" in said.err and "compile 1" in said.out
    [line] = (tmp_path / "x.jsonl.refused.jsonl").read_text().splitlines()
    refused = json.loads(line)
    assert refused["source"] == "bad.c:f" and "line 1: error: use of undeclared" in refused["reason"]
    assert f"bad.c:f: left out, {refused['reason']}" in said.err


@pytest.mark.parametrize("package", ["llvmlite", "ziglang"])
def test_a_missing_package_is_named_with_its_remedy(package, tmp_path):
    script = (
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        f"importlib.util.find_spec = lambda name, *rest: None if name == {package!r} else find(name, *rest)\n"
        "from oorl.cli import main\n"
        f"sys.exit(main(['build-ir', '--generate', '1', '--out', {str(tmp_path / 'x.jsonl')!r}]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"{package}, which is not installed" in done.stderr and 'pip install "oorl-kernels[train]"' in done.stderr


@pytest.mark.parametrize(("package", "found"), [("llvmlite", "0.44.0"), ("ziglang", "0.12.1")])
def test_a_toolchain_too_old_is_named_with_its_remedy(package, found, monkeypatch):
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: found if name == package else real(name))
    with pytest.raises(UserError, match=rf"{package} 0\.\d+ or newer, found {found}; run `pip install --upgrade"):
        require_toolchain()


def test_a_compiler_newer_than_the_optimiser_is_named():
    require_readable("rustc", 22, 22)
    require_readable("rustc", 19, 22)
    with pytest.raises(UserError, match="rustc prints the IR of LLVM 23, and llvmlite .* reads LLVM 22 at most"):
        require_readable("rustc", 23, 22)
    check_compilers(rust=False)  # these fit


def test_nothing_here_loads_torch():
    modules = "oorl.ir, oorl.ir.command, oorl.ir.reverify_worker, oorl.ir.reverify, oorl.ir.worker, oorl.programs"
    script = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    assert subprocess.run([sys.executable, "-c", script], env=environment, timeout=60).returncode == 0
