"""python -m oorl_kernels.info: a table of what runs here."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from oorl_kernels import info


def test_table_of_this_machine(capsys, monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    assert info.main() == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert rows["torch"] == torch.__version__
    assert rows["interpreter"] == "off"
    assert rows["cpu"].startswith("torch, chunked; no Triton: ")
    assert len([name for name in rows if name.startswith("cuda")]) == torch.cuda.device_count()


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: ["Hopper", "Turing"][device.index])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: [(9, 0), (7, 5)][device.index])
    rows = dict(info.table())
    assert rows["cuda:0"].startswith("Hopper, sm_90: triton; launch configuration: ")
    assert rows["cuda:1"].startswith("Turing, sm_75: torch, chunked; the device has compute capability 7.5")


def test_other_makers_take_chunked_torch_and_say_why(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.version, "hip", "6.4")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "MI300X")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(gcnArchName="gfx942"))
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: torch.device("xpu"))
    rows = dict(info.table())
    reason = "torch, chunked; the Triton kernels are written for NVIDIA devices, not"
    assert rows["cuda:0"] == f"MI300X, gfx942: {reason} AMD"
    assert rows["xpu"] == f"{reason} xpu"


def test_interpreter_is_named(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    rows = dict(info.table())
    assert rows["interpreter"].startswith("on") and "interpreted on request" in rows["cpu"]
