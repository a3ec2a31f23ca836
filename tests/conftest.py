"""Shared by every test: without a GPU the Triton kernels run in Triton's interpreter, and torch keeps to one thread."""

from __future__ import annotations

import os
import signal

import torch

# A shell starts background jobs with interrupts ignored, and children inherit that; some tests interrupt children.
signal.signal(signal.SIGINT, signal.default_int_handler)

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when a kernel module is first imported

import pytest  # noqa: E402

torch.set_num_threads(1)  # tests run beside the compilers and the reward pool
# Memory nobody has written yet holds NaN, so that a result which reads it is seen to be wrong.
torch.use_deterministic_algorithms(True, warn_only=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        skip = pytest.mark.skip(reason="needs a CUDA device (scripts/gpu_check runs it)")
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(skip)


@pytest.fixture(scope="module")
def pool():
    """A reward pool of two slots, for the tests of one file."""
    from oorl.reward import PoolConfig, RewardPool

    with RewardPool(PoolConfig(slots=2)) as started:
        yield started
