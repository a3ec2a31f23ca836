"""Log-probs of the head, forward and with gradients, and mean cross-entropy: all providers (pytest-benchmark)."""

from __future__ import annotations

import pytest

from bench.conftest import DEVICE_TYPE
from bench.providers import all_providers

TASKS = ("logprobs", "logprobs_backward", "logprobs_grad", "cross_entropy_grad")
CASES = [
    pytest.param(task, provider, id=f"{task}-{provider.name}")
    for task in TASKS
    for provider in all_providers(DEVICE_TYPE)
    if task in provider.tasks()
]


@pytest.mark.parametrize(("task", "provider"), CASES)
def test_token_logprobs(run_case, task: str, provider) -> None:
    run_case(task, provider)
