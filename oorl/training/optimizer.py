"""AdamW on fp32 master weights, the cosine schedule, and clipping."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.distributed.tensor import DTensor

from oorl.config import OptimizerConfig


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW over the trainable parameters; weight decay, if any, spares vectors (norms and biases)."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trained if parameter.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [parameter for parameter in trained if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    # foreach: a few fused kernels for all tensors, and it takes the DTensors FSDP leaves behind.
    return torch.optim.AdamW(groups, lr=config.lr, betas=(config.beta1, config.beta2), eps=config.eps, foreach=True)


def learning_rate(update: int, total_updates: int, config: OptimizerConfig) -> float:
    """The rate of update 0, 1, ...: linear warm-up, then a cosine down to ``min_lr_ratio`` of the peak.

    A pure function of the update's number, so a resumed run needs no schedule state.

    >>> config = OptimizerConfig(lr=1.0, warmup_ratio=0.2)
    >>> [round(learning_rate(update, 10, config), 3) for update in (0, 1, 2, 9)]
    [0.5, 1.0, 1.0, 0.038]
    """
    warmup = math.ceil(config.warmup_ratio * total_updates)
    if update < warmup:
        return config.lr * (update + 1) / warmup
    progress = (update - warmup) / max(total_updates - warmup, 1)
    cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return config.lr * (config.min_lr_ratio + (1 - config.min_lr_ratio) * cosine)


def apply_update(model: nn.Module, optimizer: torch.optim.Optimizer, lr: float, max_grad_norm: float) -> float:
    """Clip the gradients to a global norm, take one step at ``lr``, clear the gradients; returns the norm before
    clipping.

    A norm that is not finite leaves the weights as they are: one poisoned batch must not end a run.
    """
    limit = max_grad_norm if max_grad_norm > 0 else math.inf
    norm = nn.utils.clip_grad_norm_(model.parameters(), limit)
    grad_norm = float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
    for group in optimizer.param_groups:
        group["lr"] = lr
    if math.isfinite(grad_norm):
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return grad_norm
