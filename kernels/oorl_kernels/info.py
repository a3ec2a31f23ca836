"""`python -m oorl_kernels.info`: what runs here, and why what does not run does not."""

from __future__ import annotations

from importlib import metadata

import torch

from .dispatch import interpreting, triton_installed, triton_refusal
from .launch_config import config_source


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _device_rows() -> list[tuple[str, str]]:
    devices = [torch.device("cpu")] + [torch.device("cuda", i) for i in range(torch.cuda.device_count())]
    rows = []
    for device in devices:
        refusal = triton_refusal(device, torch.float32)
        if device.type == "cpu":
            kernels = "interpreted on request (backend='triton')" if refusal is None else f"no Triton: {refusal}"
            rows.append(("cpu", f"torch, chunked; {kernels}"))
            continue
        backend = f"torch, chunked; {refusal}"
        if refusal is None:
            backend = f"triton; launch configuration: {config_source(torch.cuda.get_device_capability(device))}"
        rows.append((str(device), f"{torch.cuda.get_device_name(device)}, {_architecture(device)}: {backend}"))
    other = torch.accelerator.current_accelerator(check_available=True)
    if other is not None and other.type != "cuda":
        rows.append((other.type, f"torch, chunked; {triton_refusal(other, torch.float32)}"))
    return rows


def _architecture(device: torch.device) -> str:
    """sm_90 on NVIDIA, gfx942 or the like on AMD."""
    if torch.version.hip is not None:
        return torch.cuda.get_device_properties(device).gcnArchName
    return "sm_{}{}".format(*torch.cuda.get_device_capability(device))


def table() -> list[tuple[str, str]]:
    """(subject, finding) rows: versions, the interpreter, and the backend that backend='auto' takes on each device."""
    return [
        ("oorl-kernels", _version("oorl-kernels")),
        ("torch", torch.__version__),
        ("triton", _version("triton") if triton_installed() else "not installed (the torch backend needs none)"),
        ("interpreter", "on (TRITON_INTERPRET=1)" if interpreting() else "off"),
        *_device_rows(),
    ]


def main() -> int:
    """Print the table."""
    rows = table()
    width = max(len(subject) for subject, _ in rows)
    for subject, finding in rows:
        print(f"{subject:<{width}}  {finding}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
