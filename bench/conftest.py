"""Options and fixtures of the pytest-benchmark suite (``pytest bench --shape cpu``; by default a tiny shape)."""

from __future__ import annotations

import statistics

import pytest
import torch

from bench.harness import Bench, Candidate, CudaClock, wall_clock_ms
from bench.inputs import make_problem
from bench.providers import Provider
from bench.shapes import SHAPES
from bench.tasks import TASKS

ROUNDS = 5
DEVICE_TYPE = "cuda" if torch.cuda.is_available() else "cpu"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shape", choices=sorted(SHAPES), default="smoke", help="problem size of the head benchmarks")
    parser.addoption("--bench-threads", type=int, default=2, help="CPU threads (default 2)")


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> torch.device:
    torch.set_num_threads(request.config.getoption("--bench-threads"))
    return torch.device(DEVICE_TYPE)


@pytest.fixture(scope="session")
def prepared(request: pytest.FixtureRequest, device: torch.device) -> Bench:
    """The chosen problem with its truth and its unit of time."""
    return Bench.prepare(make_problem(SHAPES[request.config.getoption("--shape")], device), workspace_mb=64)


@pytest.fixture
def run_case(benchmark, prepared: Bench, device: torch.device):
    """Gate one provider on one task, then time it; errors, bytes and the time in products go to extra_info."""

    def run(task: str, provider: Provider) -> None:
        candidate = Candidate(provider)
        prepared.gate(TASKS[task], candidate)
        if candidate.status == "absent":
            pytest.skip(candidate.reason)
        assert candidate.status == "ok", candidate.reason

        def fresh() -> tuple[tuple, dict]:
            return (prepared.start(TASKS[task], provider),), {}

        def call(timed) -> None:
            timed()
            if device.type == "cuda":
                torch.cuda.synchronize()

        clock = CudaClock(device) if device.type == "cuda" else wall_clock_ms
        # pytest-benchmark cannot interleave two functions: for published figures use python -m bench, which does.
        units = [clock(prepared.unit) for _ in range(ROUNDS)]
        call(*fresh()[0])
        benchmark.pedantic(call, setup=fresh, rounds=ROUNDS)
        shape = prepared.problem.shape
        benchmark.extra_info |= candidate.row() | {"shape": shape.name, "dims": shape.dims, "dtype": shape.dtype}
        if benchmark.enabled:  # else it was called once, and not timed
            benchmark.extra_info["gemm_units"] = benchmark.stats.stats.median * 1e3 / statistics.median(units)

    return run
