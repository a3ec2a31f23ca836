"""Hidden states, head and next tokens of a small language model of code, stretched to any shape.

The file (`python -m bench.real_lm` makes it) holds hidden [n, h], head [v, h] (float16, or int8 with a scale a row in
head_scale [v, 1]) and targets [n]. With orthonormal rows Q [h, H], hidden Q and head Q have the logits of hidden and
head: so real distributions exist at every H. Longer batches repeat the states. A larger vocabulary repeats the head's
rows PADDING_NATS lower in every logit, as a real one ends in tokens that are hardly ever used.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from bench.shapes import Shape

REAL_LM_FILE = Path(__file__).resolve().parent / "data" / "real_lm.npz"
PADDING_NATS = 8.0


@dataclass(frozen=True)
class RealStates:
    """What the file holds, in float32 (targets int64)."""

    hidden: Tensor
    head: Tensor
    targets: Tensor


def digest(path: Path = REAL_LM_FILE) -> str | None:
    """First 12 hex digits of the file's SHA-256; None where it is not."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.exists() else None


def read_states(path: Path) -> RealStates:
    """Read the file; FileNotFoundError, ImportError or ValueError say in a sentence what is missing or wrong."""
    if not path.exists():
        raise FileNotFoundError(f"{path.name} is not in {path.parent} (python -m bench.real_lm makes it)")
    try:
        import numpy
    except ImportError as err:
        raise ImportError(f"numpy is not installed, which reads {path.name}") from err
    with numpy.load(path) as stored:
        missing = [name for name in ("hidden", "head", "targets") if name not in stored]
        if missing:
            raise ValueError(f"{path} holds no {' and no '.join(missing)}")
        arrays = {name: stored[name] for name in stored.files if stored[name].dtype.kind in "fiu"}
    hidden, head, targets = (torch.from_numpy(arrays[name]) for name in ("hidden", "head", "targets"))
    head = head.float() * (torch.from_numpy(arrays["head_scale"]).float() if "head_scale" in arrays else 1.0)
    if hidden.dim() != 2 or head.dim() != 2 or hidden.shape[1] != head.shape[1] or targets.shape != hidden.shape[:1]:
        shapes = ", ".join(f"{name} {list(arrays[name].shape)}" for name in ("hidden", "head", "targets"))
        raise ValueError(f"{path} should hold hidden [n, h], head [v, h] and targets [n], not {shapes}")
    if len(targets) and not 0 <= int(targets.min()) <= int(targets.max()) < len(head):
        raise ValueError(f"{path} has targets outside its vocabulary of {len(head)}")
    return RealStates(hidden.float(), head, targets.long())


def stretch(states: RealStates, shape: Shape, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """The states as float32 hidden [N, H], head [V, H] and targets [N] on the generator's device."""
    (count, width), vocab = states.hidden.shape, len(states.head)
    padded = shape.vocab > vocab
    if shape.vocab < vocab or shape.hidden < width + padded:
        raise ValueError(
            f"the real states have H={width} and V={vocab}, more than shape {shape.name} ({shape.dims}) can take"
        )
    device = generator.device
    hidden, head = states.hidden.to(device), states.head.to(device)
    if padded:  # one more feature: 1 in every state, -PADDING_NATS in every repeated row of the head
        rows = torch.arange(shape.vocab, device=device)
        below = torch.where(rows < vocab, 0.0, -PADDING_NATS)
        head = torch.cat([head[rows % vocab], below[:, None]], 1)
        hidden = torch.cat([hidden, torch.ones(count, 1, device=device)], 1)
    square = torch.randn(shape.hidden, hidden.shape[1], generator=generator, device=device, dtype=torch.float64)
    rotation = torch.linalg.qr(square).Q.T.float()  # orthonormal rows
    chosen = torch.arange(shape.tokens, device=device) % count
    return hidden[chosen] @ rotation, head @ rotation, states.targets.to(device)[chosen]
