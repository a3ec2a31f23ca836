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
        name, capability = torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device)
        backend = f"torch, chunked; {refusal}"
        if refusal is None:
            backend = f"triton; launch configuration: {config_source(capability)}"
        rows.append((str(device), f"{name}, sm_{capability[0]}{capability[1]}: {backend}"))
    if torch.backends.mps.is_available():
        rows.append(("mps", "torch, chunked"))
    return rows


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
