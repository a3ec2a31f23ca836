"""Samples by group and tokens by sequence, without a host synchronisation: every shape is known beforehand.

B samples, N tokens, G groups; groups are numbered by their order after sorting, so G <= B and buffers have size B.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Segments(NamedTuple):
    """A partition of B samples: `order` [B] sorts them by group, `index` [B] is each sample's segment in 0..B-1."""

    order: Tensor
    index: Tensor

    def starts(self) -> Tensor:
        """First sorted position [B+1] of every segment; B for segments that do not exist."""
        numbers = torch.arange(self.index.numel() + 1, device=self.index.device)
        return torch.searchsorted(self.index[self.order], numbers)

    def sum(self, values: Tensor) -> Tensor:
        """Per-segment sum [B] of per-sample values [B]; segments that do not exist sum to zero."""
        return torch.zeros_like(values).index_add(0, self.index, values)

    def min(self, values: Tensor) -> Tensor:
        """Per-segment minimum [B] of per-sample values [B]; segments that do not exist have the minimum inf."""
        return torch.full_like(values, float("inf")).scatter_reduce(0, self.index, values, "amin")


def group_segments(group_ids: Tensor) -> Segments:
    """Segments of equal ids; the ids may be any integers in any order."""
    sorted_ids, order = torch.sort(group_ids, stable=True)
    steps = (sorted_ids[1:] != sorted_ids[:-1]).long()
    sorted_index = torch.cat([steps.new_zeros(min(1, group_ids.numel())), steps.cumsum(0)])
    return Segments(order, torch.zeros_like(order).scatter(0, order, sorted_index))


def sequence_ids(num_tokens: int, cu_seqlens: Tensor) -> Tensor:
    """The sequence [N] each packed token belongs to; tokens past the last offset count to the last sequence."""
    positions = torch.arange(num_tokens, device=cu_seqlens.device, dtype=cu_seqlens.dtype)
    found = torch.searchsorted(cu_seqlens, positions, right=True) - 1
    return found.clamp_(0, max(cu_seqlens.numel() - 2, 0))
