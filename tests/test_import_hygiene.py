"""What importing loads, in processes of their own: the arrows between packages, and what stays light."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def loaded_by(statement: str, prelude: str = "") -> set[str]:
    """Top-level modules in sys.modules after a statement in a fresh interpreter."""
    code = f"{prelude}\n{statement}\nimport sys; print('\\n'.join({{name.split('.')[0] for name in sys.modules}}))"
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'kernels'}{os.pathsep}{ROOT}"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


def test_kernels_is_a_source_root():
    """A package called `kernels` would shadow the one transformers imports."""
    assert not (ROOT / "kernels" / "__init__.py").exists()
    assert not (ROOT / "tests" / "__init__.py").exists()


def test_oorl_kernels_stands_alone():
    trainers = {"transformers", "trl", "verl", "accelerate", "peft", "deepspeed"}
    assert not loaded_by("import oorl_kernels") & (trainers | {"oorl"})
    assert not loaded_by("import oorl_kernels.integrations.trl, oorl_kernels.integrations.verl") & (trainers | {"oorl"})


def test_oorl_kernels_without_triton():
    """Off Linux there is no triton: the torch paths must work, and an explicit request must say what is missing."""
    code = """
import torch
from oorl_kernels import group_advantages, linear_policy_loss, linear_token_logprobs
ids = torch.tensor([1, 2])
hidden = torch.ones(2, 3, requires_grad=True)
logprobs = linear_token_logprobs(hidden, torch.ones(4, 3), ids).logprobs
linear_policy_loss(hidden, torch.ones(4, 3), ids, logprobs.detach(), torch.ones(2), torch.ones(2)).loss.backward()
group_advantages(torch.tensor([0.0, 1.0]), torch.zeros(2, dtype=torch.long), mode="grpo")
try:
    linear_token_logprobs(hidden, torch.ones(4, 3), ids, backend="triton")
except ValueError as err:
    assert "triton package is not installed" in str(err), err
"""
    hide = """
import importlib.util, sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "triton":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hidden())
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *args: None if name == "triton" else find_spec(name, *args)
"""
    assert "triton" not in loaded_by(code, hide)


@pytest.mark.parametrize(
    "module", ["oorl", "oorl.cli", "oorl.config", "oorl.reward", "oorl.programs", "oorl.data", "oorl.ir"]
)
def test_loads_without_torch(module):
    assert "torch" not in loaded_by(f"import {module}")
