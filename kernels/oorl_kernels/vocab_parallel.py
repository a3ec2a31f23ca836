"""A head whose vocabulary is spread over a process group: what its ranks tell each other.

Rank r holds rows s_r .. s_r + V_r - 1 of the head, and every rank the same tokens. Of its slice it knows the maximum
m_r, R_r = sum exp(z - m_r) without the maximum's own 1, and S_r = sum exp(z - m_r) (z - m_r); together

    m = max_r m_r    1 + R = sum_r (1 + R_r) e_r    S = sum_r (S_r + (1 + R_r) (m_r - m)) e_r    with e_r = exp(m_r - m)

which is how the Triton forward merges its splits of the vocabulary too (Milakov and Gimelshein, arXiv 1805.02867). Each
rank merges all slices in the ranks' order, so the results are the same on each, bitwise. The gradient of a rank's slice
of the head needs nothing more than those; that of the hidden states is summed over the ranks.

Traffic: forward, 3 numbers a token (4 with an entropy); backward, a byte a token and the fp32 (float64) dX of the rows
that have a gradient. On the CPU, or with check_values, 7 integers more. No rank leaves another waiting: whether to
raise is decided by what all of them were told, and ranks without a token to score take part.

Dimensions: N tokens, H hidden, V vocabulary, R ranks.
"""

from __future__ import annotations

import zlib

import torch
import torch.distributed as dist
from torch import Tensor

from .head_inputs import RowParts, RowResults


def group_name(tp_group: object, vocab_start: int) -> str | None:
    """The name under which operators find the group again; TypeError and ValueError as the public functions say."""
    if type(vocab_start) is not int or vocab_start < 0:
        raise ValueError(f"vocab_start is {vocab_start!r}; it must be an integer, at least 0")
    if tp_group is None:
        if vocab_start != 0:
            raise ValueError(
                f"vocab_start is {vocab_start} but tp_group is missing; pass the group that holds the rest"
            )
        return None
    name = getattr(tp_group, "group_name", None)
    if not isinstance(name, str):
        raise TypeError(
            f"tp_group must be a torch.distributed.ProcessGroup this rank is a member of, not {type(tp_group).__name__}"
            " (of a DeviceMesh: mesh.get_group())"
        )
    return name


def slice_ids(target_ids: Tensor, start: int, size: int) -> Tensor:
    """Rows of this rank's slice, and -1 for ids that other ranks hold."""
    return torch.where((target_ids >= start) & (target_ids < start + size), target_ids - start, -1)


def agree(name: str, start: int, size: int, target_ids: Tensor, call: object, fault: int) -> tuple[int, int]:
    """The whole vocabulary's size, and the `fault` (or -1) of the first rank that found one.

    All ranks score the same tokens over slices that fit together, or all raise ValueError. `call`: whatever else must
    be the same on every rank.
    """
    places = torch.arange(1, target_ids.numel() + 1, device=target_ids.device)
    mine = [start, size, fault, target_ids.numel(), zlib.crc32(repr(call).encode())]
    mine = torch.tensor(mine, dtype=torch.long, device=target_ids.device)
    said = _gather(torch.cat([mine, target_ids.sum()[None], (target_ids * places).sum()[None]]), name).tolist()
    for rank, (_, _, _, count, other_call, *sums) in enumerate(said):
        if count != said[0][3]:
            what = f"target_ids has {said[0][3]} positions on rank 0 of tp_group and {count} on rank {rank}"
        elif sums != said[0][5:]:
            what = f"target_ids differ between ranks 0 and {rank} of tp_group"
        elif other_call != said[0][4]:
            what = f"ranks 0 and {rank} of tp_group differ in dtype, hidden size, entropy, or what scales the logits"
        else:
            continue
        raise ValueError(f"{what}; every rank must score the same tokens in the same way")
    end = 0
    for first, length, rank in sorted((first, length, rank) for rank, (first, length, *_) in enumerate(said)):
        if first != end:
            raise ValueError(
                f"rank {rank} of tp_group holds rows {first}..{first + length - 1} of the head where row {end} comes "
                "next: vocab_start and the rows of lm_head_weight must tile the vocabulary without gap or overlap"
            )
        end += length
    return end, next((fault for _, _, fault, *_ in said if fault >= 0), -1)


def merge(name: str, start: int, size: int, parts: RowParts, target_ids: Tensor) -> tuple[RowResults, Tensor]:
    """Results [N] over the whole vocabulary from those of this slice, and which of the ids [N] lie within it.

    Slices that do not tile the vocabulary leave no id within it: where values are not read back, rows become NaN.
    """
    values = torch.stack([part for part in parts if part is not None])
    integer = torch.int64 if values.dtype is torch.float64 else torch.int32
    layout = [torch.full((1,), number, dtype=integer, device=values.device) for number in (start, size)]
    gathered = _gather(torch.cat([*layout, values.view(integer).flatten()]), name)
    slices = gathered[:, 2:].contiguous().view(values.dtype).view(-1, *values.shape)
    results = merge_slices(*slices.unbind(1)) if parts.weighted is not None else merge_slices(*slices.unbind(1), None)
    starts, order = gathered[:, 0].sort()
    ends = gathered[:, 1][order].cumsum(0)
    tiled = torch.cat([ends.new_zeros(1), ends[:-1]]).eq(starts).all()
    return results, (target_ids >= 0) & (target_ids < ends[-1]) & tiled


def merge_slices(row_max: Tensor, rest: Tensor, target_logit: Tensor, weighted: Tensor | None) -> RowResults:
    """Results [N] of softmax sums [R, N] over slices; the equations are those of the module."""
    both, top = row_max.max(0)
    shift = row_max - both.masked_fill(both == -torch.inf, 0.0)
    scale = shift.exp()
    others = (1.0 + rest) * scale
    whole_rest = rest.gather(0, top[None])[0] + others.scatter(0, top[None], 0.0).sum(0)
    whole_weighted = None
    if weighted is not None:
        finite = shift.clamp(min=torch.finfo(shift.dtype).min)  # 0 * -inf must count as 0
        whole_weighted = ((weighted + (1.0 + rest) * finite) * scale).sum(0)
    return RowParts(both, whole_rest, target_logit.sum(0), whole_weighted).finish()


def union(keep: Tensor, name: str) -> Tensor:
    """Rows [N] that any rank keeps, so that sums over rows have one shape everywhere."""
    mask = keep.to(torch.uint8)
    dist.all_reduce(mask, dist.ReduceOp.MAX, _group(name))
    return mask != 0


def sum_over_ranks(gradient: Tensor, name: str) -> Tensor:
    """The gradient summed over the group, in place and in its own dtype."""
    if gradient.numel() > 0:
        dist.all_reduce(gradient, dist.ReduceOp.SUM, _group(name))
    return gradient


def _group(name: str) -> dist.ProcessGroup:
    """The group of that name: an operator's arguments are tensors, numbers and strings."""
    from torch.distributed.distributed_c10d import _resolve_process_group  # not in builds without distributed

    return _resolve_process_group(name)


def _gather(values: Tensor, name: str) -> Tensor:
    """[R, n] of every rank's [n]."""
    group = _group(name)
    gathered = values.new_empty(dist.get_world_size(group), values.numel())
    dist.all_gather(list(gathered.unbind(0)), values, group)
    return gathered
