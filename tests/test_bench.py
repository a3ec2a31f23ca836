"""The benchmark harness: that it measures what it says, on problems of milliseconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench import report, rows
from bench.__main__ import main
from bench.harness import Bench, Candidate, measure_memory
from bench.oracle import Errors, compute_truth, gradient_errors, policy_truth
from bench.providers import CLIP_EPS, Call, Outputs, Provider, TorchEager
from bench.shapes import SHAPES, make_problem

CPU = torch.device("cpu")
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def bench() -> Bench:
    return Bench.prepare(make_problem(SHAPES["smoke"]), workspace_mb=1)


def float64_logprobs(problem) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hidden states, head and log-probs in float64, written as in the textbook."""
    hidden = problem.hidden_states.detach().double().requires_grad_()
    weight = problem.lm_head_weight.detach().double().requires_grad_()
    logprobs = (hidden @ weight.T).log_softmax(-1)[torch.arange(len(hidden)), problem.target_ids]
    return hidden, weight, logprobs


def test_truth_and_gradient_errors_agree_with_float64_autograd(bench: Bench) -> None:
    hidden, weight, logprobs = float64_logprobs(bench.problem)
    torch.testing.assert_close(bench.truth.logprobs, logprobs.detach(), rtol=0, atol=1e-12)
    coefficients = bench.problem.coefficients.double()
    grads = torch.autograd.grad(logprobs, (hidden, weight), coefficients)
    assert max(gradient_errors(bench.problem, bench.truth, coefficients, grads)) < 1e-13
    off_by_a_percent = (grads[0] * 1.01, grads[1] * 0.99)
    errors = gradient_errors(bench.problem, bench.truth, coefficients, off_by_a_percent)
    assert errors == pytest.approx((0.01, 0.01), rel=1e-6)


def test_slabs_of_any_size_give_the_same_truth(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.oracle.SLAB_BYTES", 8 * 64 * 100)  # 100 columns, then 64 rows at a time
    torch.testing.assert_close(compute_truth(bench.problem).lse, bench.truth.lse, rtol=0, atol=1e-12)


def test_policy_truth_is_the_clipped_surrogate(bench: Bench) -> None:
    _, _, logprobs = float64_logprobs(bench.problem)
    loss, coefficients = policy_truth(bench.problem, bench.truth, CLIP_EPS)
    old, advantages = bench.call.old_logprobs.double(), bench.problem.advantages.double()
    terms, slopes = [], []
    for logprob, before, advantage in zip(logprobs.tolist(), old.tolist(), advantages.tolist(), strict=True):
        ratio = torch.tensor(logprob - before, dtype=torch.float64).exp().item()
        clipped = min(max(ratio, 1 - CLIP_EPS), 1 + CLIP_EPS)
        terms.append(min(ratio * advantage, clipped * advantage))
        slopes.append(ratio * advantage if ratio * advantage <= clipped * advantage else 0.0)
    assert loss == pytest.approx(-sum(terms) / len(terms), rel=1e-9)
    torch.testing.assert_close(coefficients, -torch.tensor(slopes, dtype=torch.float64) / len(slopes))
    assert 0 < sum(slope == 0 for slope in slopes) < len(slopes), "some ratios must be clipped and some not"


def test_problem_mixes_flat_and_peaked_rows(bench: Bench) -> None:
    probabilities = bench.truth.logprobs.exp()
    assert (probabilities > 0.99).any() and (probabilities < 0.1).any()


def test_memory_is_peak_less_outputs() -> None:
    def allocate() -> Outputs:
        scratch = torch.ones(256, 1024)  # 1 MiB, dropped
        return Outputs(loss=scratch.sum(), d_head=torch.empty(512, 1024))  # 2 MiB, kept

    outputs, memory = measure_memory(allocate, CPU)
    assert outputs.d_head.shape == (512, 1024)
    assert memory.d_head_bytes == 2 << 20
    assert memory.workspace_bytes == pytest.approx(1 << 20, abs=4096)
    assert memory.peak_bytes == pytest.approx(3 << 20, abs=4096)


class Wrong(TorchEager):
    name = "wrong"

    def logprobs(self, call: Call) -> Outputs:
        return Outputs(logprobs=super().logprobs(call).logprobs + 0.01)


class NotANumber(TorchEager):
    name = "nan"

    def logprobs(self, call: Call) -> Outputs:
        return Outputs(logprobs=super().logprobs(call).logprobs * float("nan"))


class Greedy(Provider):
    name, package = "greedy", "torch"

    def logprobs(self, call: Call) -> Outputs:
        return Outputs(logprobs=torch.empty(1 << 60))


class Broken(Provider):
    name, package = "broken", "torch"

    def logprobs(self, call: Call) -> Outputs:
        raise RuntimeError("no such kernel\nwith a long explanation")


class Elsewhere(Provider):
    name, package = "elsewhere", "no-such-package"

    def absence(self, device: torch.device) -> str:
        return "no-such-package is not installed"

    def logprobs(self, call: Call) -> Outputs:
        raise AssertionError("never called")


def test_only_the_right_are_timed_and_the_others_say_why(bench: Bench) -> None:
    ticks: list[str] = []
    providers = [TorchEager(), Wrong(), NotANumber(), Greedy(), Broken(), Elsewhere()]
    results = {c.provider.name: c for c in bench.measure("logprobs", providers, rounds=3, tick=ticks.append)}
    assert {name: c.status for name, c in results.items()} == {
        "torch-eager": "ok",
        "wrong": "wrong",
        "nan": "wrong",
        "greedy": "oom",
        "broken": "failed",
        "elsewhere": "absent",
    }
    assert results["wrong"].reason == "logprob_max_abs 1.00e-02 is above the gate of 1e-03"
    assert results["broken"].reason == "RuntimeError: no such kernel"
    assert len(results["torch-eager"].samples_ms) == len(results["torch-eager"].unit_samples_ms) == 3
    assert all(not c.samples_ms for name, c in results.items() if name != "torch-eager")
    assert len(ticks) == len(providers) + 3
    assert "gemm_units" not in results["wrong"].row()


def test_a_row_gives_the_median_and_extremes_of_the_ratios() -> None:
    candidate = Candidate(TorchEager(), samples_ms=[4.0, 9.0, 2.0], unit_samples_ms=[2.0, 3.0, 2.0])
    row = candidate.row()
    assert (row["gemm_units"], row["gemm_units_min"], row["gemm_units_max"]) == (2.0, 1.0, 3.0)
    assert (row["median_ms"], row["unit_median_ms"]) == (4.0, 2.0)


def test_gate_names_the_quantity_and_its_bound() -> None:
    assert Errors(logprob_max_abs=1e-4, d_hidden_rel=1e-4, d_head_rel=1e-4).verdict("float32") is None
    assert Errors(d_head_rel=0.2).verdict("bfloat16") == "d_head_rel 2.00e-01 is above the gate of 5e-02"


def test_command_appends_rows_and_resume_measures_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--shape", "smoke", "--rounds", "1", "--threads", "1", "--out", str(tmp_path), "--resume"]
    arguments += ["--provider", "torch-eager", "torch-chunked", "quack"]
    assert main([*arguments, "--task", "logprobs"]) == 0
    assert main(arguments) == 0
    assert main(arguments) == 0
    assert "nothing to do" in capsys.readouterr().out
    stored = rows.read_rows(tmp_path)
    assert len(stored) == len({(row["task"], row["provider"]) for row in stored}) == 9
    eager = next(row for row in stored if row["provider"] == "torch-eager" and row["task"] == "logprobs_grad")
    assert eager["status"] == "ok" and eager["gemm_units"] > 0 and eager["d_head_bytes"] == 1031 * 64 * 4
    assert {"commit", "dirty", "source", "torch", "packages", "device", "threads", "command", "date"} <= set(eager)
    quack = next(row for row in stored if row["provider"] == "quack")
    assert quack["status"] == "absent" and quack["reason"]


def test_report_draws_from_rows_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = {
        "device": "Abacus 9000", "threads": 2, "shape": "toy", "tokens": 8, "hidden": 4, "vocab": 16,
        "dtype": "float32", "task": "logprobs_grad", "torch": "2.99", "commit": "0123456789abcdef",
        "dirty": True, "provider_version": "1",
    }  # fmt: skip
    timed = {
        "status": "ok", "reason": None, "gemm_units_min": 2.9, "gemm_units_max": 3.4, "median_ms": 31.0,
        "unit_median_ms": 10.0, "workspace_bytes": 3 << 20, "d_head_bytes": 5 << 20, "logprob_max_abs": 1e-6,
        "d_hidden_rel": 2e-6, "d_head_rel": 3e-6,
    }  # fmt: skip
    old, new = "2026-01-01T00:00:00+00:00", "2026-01-02T00:00:00+00:00"
    stored = [
        common | timed | {"provider": "oorl", "gemm_units": 9.99, "date": old},
        common | timed | {"provider": "oorl", "gemm_units": 3.25, "date": new},
        common | {"provider": "quack", "status": "absent", "reason": "quack-kernels is not installed", "date": new},
    ]
    rows.append_rows(tmp_path / "abacus" / "a.jsonl", stored)
    assert report.main(["--results", str(tmp_path), "--plots", str(tmp_path / "plots")]) == 0
    text = capsys.readouterr().out
    assert "| oorl | 3.25 | 2.90 - 3.40 | 31.0 | 3.0 | 5 | 1.0e-06 | 2.0e-06 | 3.0e-06 |" in text
    assert "| quack | absent: quack-kernels is not installed |" in text
    assert "9.99" not in text, "a newer row of the same measurement replaces the older in tables"
    assert "commit 012345678+changes" in text
    svg = (tmp_path / "plots" / "abacus-9000-toy.svg").read_text()
    assert "<svg" in svg


def test_report_says_what_is_missing_or_broken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main(["--results", str(tmp_path)]) == 1
    assert "no rows" in capsys.readouterr().err
    (tmp_path / "x.jsonl").write_text('{"schema": "oorl.bench_row/1"\n')
    assert report.main(["--results", str(tmp_path)]) == 1
    assert "x.jsonl:1 is not JSON" in capsys.readouterr().err


def test_stored_rows_are_readable() -> None:
    for row in rows.read_rows(ROOT / "bench" / "results"):
        assert row["status"] in ("ok", "absent", "oom", "wrong", "failed", "crashed")
        assert (row["status"] == "ok") == ("gemm_units" in row), json.dumps(row)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device: scripts/gpu_check would start its work")
@pytest.mark.parametrize("what", ("test", "bench"))
def test_gpu_check_without_a_gpu_is_one_sentence(what: str) -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts" / "gpu_check", what], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == "" and done.stderr.count("\n") == 1 and "no CUDA device" in done.stderr


def test_gpu_check_notes_passed_tests_and_leaves_them_out(tmp_path: Path) -> None:
    """The plugin alone, on two tests of which one fails until a file appears."""
    (tmp_path / "test_two.py").write_text(
        "import pathlib\ndef test_a():\n    pass\ndef test_b():\n    assert pathlib.Path('mended').exists()\n"
    )
    (tmp_path / "twice.py").write_text(
        "import importlib.machinery, importlib.util, json, pathlib, sys, time, pytest\n"
        "loader = importlib.machinery.SourceFileLoader('gpu_check', sys.argv[1])\n"
        "module = importlib.util.module_from_spec(importlib.util.spec_from_loader('gpu_check', loader))\n"
        "loader.exec_module(module)\n"
        "notes = pathlib.Path('notes.jsonl')\n"
        "lines = [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []\n"
        "passed = {line['test'] for line in lines if line['outcome'] == 'passed'}\n"
        "run = module.ResumableRun(notes, passed, {}, time.monotonic() + float(sys.argv[2]))\n"
        "pytest.main(['-q', '-p', 'no:cacheprovider', 'test_two.py'], plugins=[run])\n"
        "print('COUNTS', json.dumps([run.counts, run.selected - run.reached]))\n"
    )

    def run(budget_s: int) -> list:
        command = [sys.executable, "twice.py", str(ROOT / "scripts" / "gpu_check"), str(budget_s)]
        environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        return json.loads(done.stdout.split("COUNTS")[1])

    assert run(-1) == [{"passed": 1, "failed": 0, "skipped": 0}, 1], "out of time after the first"
    assert run(60) == [{"passed": 0, "failed": 1, "skipped": 0}, 0], "the passed one is not run again"
    (tmp_path / "mended").touch()
    assert run(60) == [{"passed": 1, "failed": 0, "skipped": 0}, 0]
