"""Checks that the losses share: shape, dtype and device errors always raise; values are looked at on the CPU only."""

from __future__ import annotations

import torch
from torch import Tensor


def values_checkable(tensor: Tensor) -> bool:
    """True where reading values costs no synchronisation and breaks no graph: on the CPU, outside torch.compile."""
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()


def check_tensor(name: str, tensor: Tensor, floating: bool = True) -> None:
    """Refuses what is no plain tensor, DTensors by name, and (if `floating`) dtypes that are not floating point."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, not {type(tensor).__name__}")
    if type(tensor).__name__ == "DTensor":
        raise TypeError(f"{name} is a DTensor; pass the local tensor of this rank (tensor.to_local())")
    if floating and not tensor.dtype.is_floating_point:
        raise TypeError(f"{name} must be floating point, not {tensor.dtype}")


def check_scores(name: str, scores: Tensor) -> None:
    """Where values may be looked at, every score must be finite."""
    if values_checkable(scores) and not scores.isfinite().all():
        worst = int((~scores.isfinite()).nonzero()[0])
        raise ValueError(f"{name}[{worst}] is {float(scores[worst])}; scores must be finite")


def check_same(name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    """The two tensors must agree in shape and device."""
    if tensor.shape != other.shape:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}; it must have {other_name}'s, {tuple(other.shape)}")
    if tensor.device != other.device:
        raise ValueError(f"{name} is on {tensor.device} and {other_name} on {other.device}; move them to one device")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """The option must be one of its documented values."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(choices)}")


def check_normalizer(normalizer: float | Tensor | None) -> None:
    """A denominator is a positive number, a 0-d tensor (its value is not read) or None."""
    if isinstance(normalizer, Tensor):
        if normalizer.dim() != 0:
            raise ValueError(f"normalizer must be a number or a 0-d tensor, not of shape {tuple(normalizer.shape)}")
    elif normalizer is not None and not normalizer > 0:
        raise ValueError(f"normalizer is {normalizer}; it must be positive (None takes the local count)")


def check_cu_seqlens(cu_seqlens: Tensor, tokens: Tensor, name: str) -> None:
    """`cu_seqlens` must be an integer [B+1] tensor running from 0 to the number of tokens without a step down."""
    check_tensor("cu_seqlens", cu_seqlens, floating=False)
    if tokens.dim() != 1:
        raise ValueError(f"with cu_seqlens, {name} must be packed [N], not of shape {tuple(tokens.shape)}")
    if cu_seqlens.dim() != 1 or cu_seqlens.numel() < 1 or cu_seqlens.dtype not in (torch.int32, torch.int64):
        raise ValueError(
            f"cu_seqlens must be int32 or int64 of shape [B+1], not {cu_seqlens.dtype} {tuple(cu_seqlens.shape)}"
        )
    if cu_seqlens.device != tokens.device:
        raise ValueError(f"cu_seqlens is on {cu_seqlens.device} and {name} on {tokens.device}; move them to one device")
    if values_checkable(cu_seqlens):
        if cu_seqlens[0] != 0 or cu_seqlens[-1] != tokens.numel() or (cu_seqlens.diff() < 0).any():
            raise ValueError(
                f"cu_seqlens must rise from 0 to the {tokens.numel()} tokens of {name}; "
                f"it runs from {int(cu_seqlens[0])} to {int(cu_seqlens[-1])}"
                + (" with a step down" if (cu_seqlens.diff() < 0).any() else "")
            )
