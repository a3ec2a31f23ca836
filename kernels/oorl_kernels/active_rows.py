"""Rows that count: how they are found, taken out and put back, with or without asking the device how many there are.

On the CPU asking is free. On an accelerator it makes the host wait, and it is forbidden while a CUDA graph is captured;
kernels of our own need not ask, for they read the number where it lies (`DeviceRows`). Dimension: N rows.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class DeviceRows(NamedTuple):
    """Rows in an order that puts those that count first; how many they are, only the device knows."""

    index: Tensor  # [N] int32, each row once
    count: Tensor  # [1] int32


def capturing(device: torch.device) -> bool:
    """True while a CUDA graph is recorded: nothing may be read back then."""
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


def refuse_reads(check_values: bool, device: torch.device) -> None:
    """ValueError for checks that were asked for during a capture."""
    if check_values and not torch.compiler.is_compiling() and capturing(device):
        raise ValueError("check_values reads values back, which the capture of a CUDA graph forbids; check outside it")


def device_rows(keep: Tensor) -> DeviceRows:
    """The rows to keep [N], then the others, each in their order; no host read, and sizes that no value decides."""
    places = torch.arange(keep.numel(), device=keep.device)
    before = keep.cumsum(0)  # rows kept, up to and with each
    count = keep.sum()
    destination = torch.where(keep, before - 1, count + places - before)
    places = places.to(torch.int32)
    return DeviceRows(torch.empty_like(places).scatter_(0, destination, places), count.to(torch.int32).view(1))


def selected(keep: Tensor) -> Tensor | None:
    """Indices of the rows to keep, or None for all of them; one host read."""
    rows = keep.nonzero()[:, 0]
    return None if rows.numel() == keep.numel() else rows


def taken(tensor: Tensor, keep: Tensor) -> tuple[Tensor, Tensor | None]:
    """The rows to keep and their indices; during a capture all rows, zeros in place of the others, and None."""
    if capturing(keep.device):
        return tensor.masked_fill(~keep[:, None], 0.0), None
    rows = selected(keep)
    return take(tensor, rows), rows


def take(tensor: Tensor | None, rows: Tensor | None) -> Tensor | None:
    """Some rows of a tensor, or the tensor itself for None."""
    return tensor if tensor is None or rows is None else tensor.index_select(0, rows)


def place(values: Tensor | None, rows: Tensor | None, num_rows: int) -> Tensor | None:
    """Rows back in their places among `num_rows`, zeros elsewhere."""
    if values is None or rows is None:
        return values
    return values.new_zeros((num_rows, *values.shape[1:])).index_copy_(0, rows, values)
