"""The ranks of a run: one process alone, or those that ``torchrun`` started (gloo on CPU, NCCL on GPU)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from oorl.errors import UsageError


@dataclass(frozen=True)
class World:
    """This process's place among the ranks; ``mesh`` is None for a process that runs alone, unsharded."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    device: torch.device = torch.device("cpu")
    mesh: DeviceMesh | None = None

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """Element-wise sum over the ranks, in float64."""
        total = torch.tensor(list(values), dtype=torch.float64, device=self.device)
        if self.mesh is not None:
            dist.all_reduce(total)
        return total.tolist()

    def max(self, value: int) -> int:
        """The largest of the ranks' values."""
        largest = torch.tensor(value, device=self.device)
        if self.mesh is not None:
            dist.all_reduce(largest, op=dist.ReduceOp.MAX)
        return int(largest)

    def gather(self, value: Any) -> list:
        """Every rank's picklable value, in rank order, on every rank."""
        if self.mesh is None:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def from_main(self, value: Any) -> Any:
        """The main rank's picklable value, on every rank."""
        box = [value]
        if self.mesh is not None:
            dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def barrier(self) -> None:
        if self.mesh is not None:
            dist.barrier()


@contextmanager
def join_world(timeout_s: float = 1800.0, device: str = "auto") -> Iterator[World]:
    """Join the ranks torchrun started, or be alone; ``timeout_s`` must lie far above the deadline of a reward batch.

    ``device`` is auto (a GPU where there is one), cpu or cuda. A single GPU process also gets a process group: FSDP's
    mixed precision keeps its fp32 master weights.
    """
    launched = "WORLD_SIZE" in os.environ
    cuda = torch.cuda.is_available() and device != "cpu"
    if device == "cuda" and not cuda:
        raise UsageError("device cuda: torch finds no CUDA device here; choose cpu, or auto")
    if not (launched or cuda):
        yield World()
        return
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    own = torch.device("cuda", local_rank) if cuda else torch.device("cpu")
    options: dict[str, Any] = {"timeout": timedelta(seconds=timeout_s)}
    if cuda:
        torch.cuda.set_device(own)
        options["device_id"] = own
    if not launched:
        options |= {"store": dist.HashStore(), "rank": 0, "world_size": 1}
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", **options)
    try:
        size = dist.get_world_size()
        yield World(dist.get_rank(), size, local_rank, own, init_device_mesh(own.type, (size,)))
    finally:
        dist.destroy_process_group()
