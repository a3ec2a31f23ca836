"""One of the ranks that share a vocabulary: verl's call on this rank's slice of the head.

python verl_worker.py DIRECTORY      (run by test_integration_verl; reads operands.pt, writes rank<r>.pt)
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from oorl_kernels.integrations.verl import linear_cross_entropy
from torch import Tensor


def gradients(function: Callable, hidden: Tensor, weight: Tensor, labels: Tensor, *arguments) -> tuple[Tensor, ...]:
    """(log-probs, entropies, dX, dW) for coefficients that differ from token to token."""
    logprobs, entropy = function(hidden, weight, labels, *arguments)
    weights = torch.linspace(-1, 1, entropy.numel(), dtype=entropy.dtype, device=entropy.device)
    total = (logprobs * (weights if logprobs.dim() else 1.5)).sum() + (entropy * weights.square()).sum()
    return logprobs.detach(), entropy.detach(), *torch.autograd.grad(total, (hidden, weight))


def main() -> None:
    torch.set_num_threads(1)
    directory = Path(sys.argv[1])
    dist.init_process_group("gloo")
    hidden, weight, labels = torch.load(directory / "operands.pt", weights_only=True)
    share = weight.chunk(dist.get_world_size())[dist.get_rank()].clone().requires_grad_()
    found = gradients(linear_cross_entropy, hidden.requires_grad_(), share, labels, 0.7, "none", dist.group.WORLD)
    names = ("logprobs", "entropy", "d_hidden", "d_weight")
    torch.save(dict(zip(names, found, strict=True)), directory / f"rank{dist.get_rank()}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
