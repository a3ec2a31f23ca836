"""The clipped policy loss from hidden states, with gradients: all providers (pytest-benchmark)."""

from __future__ import annotations

import pytest

from bench.conftest import DEVICE_TYPE
from bench.providers import all_providers

PROVIDERS = [provider for provider in all_providers(DEVICE_TYPE) if "policy_grad" in provider.tasks()]


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
def test_policy_loss(run_case, provider) -> None:
    run_case("policy_grad", provider)
