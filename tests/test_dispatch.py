"""Which backend a call gets, and the launch configurations behind it."""

from __future__ import annotations

import pytest
import torch
from oorl_kernels import dispatch, launch_config
from oorl_kernels.dispatch import choose_backend, triton_refusal
from oorl_kernels.launch_config import KERNELS, head_config

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
CAPABILITIES = [(8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)]


@pytest.fixture
def machine(monkeypatch):
    """Pretend: a device of this capability, an interpreter that is on or off, an AMD build."""

    def pretend(capability=(9, 0), interpreter="0", hip=None, installed=True):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
        monkeypatch.setattr(torch.version, "hip", hip)
        monkeypatch.setattr(dispatch, "triton_installed", lambda: installed)
        monkeypatch.setenv("TRITON_INTERPRET", interpreter)

    return pretend


def test_auto(machine):
    machine()
    assert choose_backend("auto", CPU, torch.float32) == "torch"
    assert choose_backend("auto", CUDA, torch.bfloat16) == "triton"
    assert choose_backend("auto", CUDA, torch.float64) == "torch"
    assert choose_backend("torch", CUDA, torch.bfloat16) == "torch"
    machine(interpreter="1")
    assert choose_backend("auto", CPU, torch.float32) == "torch"  # the interpreter is only taken on request
    for elsewhere in ({"capability": (7, 5)}, {"hip": "6.4"}, {"installed": False}):
        machine(**elsewhere)
        assert choose_backend("auto", CUDA, torch.float16) == "torch"


@pytest.mark.parametrize(
    "setting, device, dtype, reason",
    [
        ({}, CPU, torch.float32, "set TRITON_INTERPRET=1"),
        ({"interpreter": "1"}, CPU, torch.bfloat16, "interpreter computes bfloat16 products wrongly"),
        ({}, CUDA, torch.float64, "not float64"),
        ({"capability": (7, 5)}, CUDA, torch.float16, "capability 7.5"),
        ({"hip": "6.4"}, CUDA, torch.float16, "NVIDIA devices, not AMD"),
        ({}, torch.device("mps"), torch.float16, "NVIDIA devices, not mps"),
        ({"installed": False}, CUDA, torch.float16, "not installed"),
    ],
)
def test_an_explicit_triton_says_why_it_cannot(machine, setting, device, dtype, reason):
    machine(**setting)
    assert reason in triton_refusal(device, dtype)
    with pytest.raises(ValueError, match=f"cannot run here: .*{reason}"):
        choose_backend("triton", device, dtype)


def test_an_explicit_triton_that_can(machine):
    machine(interpreter="1")
    assert choose_backend("triton", CPU, torch.float16) == "triton"
    assert choose_backend("triton", CUDA, torch.bfloat16) == "triton"
    with pytest.raises(ValueError, match="backend is 'gpu'"):
        choose_backend("gpu", CPU, torch.float32)


@pytest.mark.parametrize("capability", CAPABILITIES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kernel", KERNELS)
def test_configurations_fit_the_device(kernel, dtype, capability):
    config = head_config(kernel, capability, dtype)
    assert config.shared_bytes(dtype.itemsize) <= launch_config.shared_limit(capability)
    sides = (config.block_n, config.block_v, config.block_h, config.num_warps)
    assert all(side & (side - 1) == 0 for side in sides) and config.block_h >= 16
