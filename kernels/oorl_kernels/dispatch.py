"""Which backend computes a call.

`auto` takes the Triton kernels on an NVIDIA device of compute capability 8.0 or newer and chunked torch everywhere else
(CPU, AMD, Apple, float64). Triton's interpreter (`TRITON_INTERPRET=1`) lets the same kernels run on a CPU, slowly.
"""

from __future__ import annotations

import importlib.util
import os

import torch

BACKENDS = ("auto", "triton", "torch")
TRITON_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
MIN_TRITON_CAPABILITY = (8, 0)  # bf16 tensor cores and asynchronous copies


def triton_installed() -> bool:
    """True where the `triton` package can be imported (it is published for Linux only)."""
    return importlib.util.find_spec("triton") is not None


def interpreting() -> bool:
    """True where Triton kernels run in the interpreter: the variable is read when a kernel module is first imported."""
    return os.environ.get("TRITON_INTERPRET", "0") == "1"


def triton_refusal(device: torch.device, dtype: torch.dtype) -> str | None:
    """Why the Triton kernels cannot take tensors of this device and dtype, or None if they can."""
    if not triton_installed():
        return "the triton package is not installed"
    if dtype not in TRITON_DTYPES:
        return f"the Triton kernels take float32, bfloat16 and float16, not {str(dtype).removeprefix('torch.')}"
    if device.type == "cpu":
        if not interpreting():
            return "the tensors are on the CPU; set TRITON_INTERPRET=1 before importing to run the kernels there"
        if dtype is torch.bfloat16:
            return "Triton's interpreter computes bfloat16 products wrongly; use float32 or float16 there"
        return None
    if device.type != "cuda" or torch.version.hip is not None:
        return (
            f"the Triton kernels are written for NVIDIA devices, not {'AMD' if device.type == 'cuda' else device.type}"
        )
    capability = torch.cuda.get_device_capability(device)
    if capability < MIN_TRITON_CAPABILITY:
        return f"the device has compute capability {capability[0]}.{capability[1]}, and the kernels need 8.0"
    return None


def choose_backend(backend: str, device: torch.device, dtype: torch.dtype) -> str:
    """`triton` or `torch` for a call; an explicit `triton` that cannot be had is a ValueError that says why."""
    if backend not in BACKENDS:
        raise ValueError(f"backend is {backend!r}; it must be one of {', '.join(BACKENDS)}")
    if backend == "torch" or (backend == "auto" and device.type != "cuda"):
        return "torch"
    refusal = triton_refusal(device, dtype)
    if refusal is None:
        return "triton"
    if backend == "triton":
        raise ValueError(f"backend='triton' cannot run here: {refusal} (backend='auto' picks what can)")
    return "torch"
