"""The seeded inputs every provider is given: a shape filled from a distribution, and which of its rows count.

Dimensions: N tokens, B sequences, T tokens a sequence, H hidden, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bench.real_states import REAL_LM_FILE, read_states, stretch
from bench.shapes import DTYPES, Shape

IGNORE_INDEX = -100
DISTRIBUTIONS = ("mixed", "peaked", "diffuse", "real")
# Strongest pull of a row towards its target, in nats of logit: the rows' target probabilities then run from 1/V to 1.
PEAK_NATS = 24.0
# How far, in nats, a peaked row's target stands above everything else together: p from 0.95 to 0.999994.
PEAKED_NATS = (3.0, 12.0)
ENTROPY_ROWS = 256  # rows the sharpening factor is fitted on
SLAB_BYTES = 1 << 28


@dataclass(frozen=True)
class Inputs:
    """How a shape is filled. A row holds all of these, and `sharpen` and `mean_entropy` as they came out."""

    distribution: str = "mixed"
    """mixed: unit-variance logits, each row pulled towards its target by 0 to 24 nats; peaked: every target near p = 1;
    diffuse: no pull, every p near 1/V; real: hidden states and head of a small language model of code."""
    active: float = 1.0
    """Share of the rows that count. The others are the head of each sequence, as a prompt is."""
    frozen_head: bool = False
    """No gradient of the head is asked for."""
    entropy: float | None = None
    """Mean entropy in nats that the hidden states are scaled to; targets are then drawn from what results."""

    def __post_init__(self) -> None:
        if self.distribution not in DISTRIBUTIONS:
            raise ValueError(f"distribution must be one of {', '.join(DISTRIBUTIONS)}, not {self.distribution!r}")
        if not 0 < self.active <= 1:
            raise ValueError(f"active must be above 0 and at most 1, not {self.active}")
        if self.entropy is not None and not (self.entropy > 0 and math.isfinite(self.entropy)):
            raise ValueError(f"entropy must be a positive number of nats, not {self.entropy}")

    @property
    def label(self) -> str:
        """What differs from the plain case, in words; empty for none."""
        parts = [] if self.distribution == "mixed" else [f"{self.distribution} distribution"]
        parts += [] if self.entropy is None else [f"sharpened to {self.entropy:g} nats"]
        parts += [] if self.active == 1 else [f"{self.active:.0%} of rows active"]
        return ", ".join([*parts, "frozen head"] if self.frozen_head else parts)


@dataclass(frozen=True)
class Problem:
    """Inputs of one case; all providers see the same tensors.

    Shapes: hidden_states [N, H], lm_head_weight [V, H], target_ids [N] int64 in 0..V-1, loss_mask [N] bool,
    coefficients [N] float32 (the gradient that arrives at each log-prob; 0 where the mask is), sequence_advantages [B]
    float32, log_ratio_offsets [N] float32.
    """

    shape: Shape
    inputs: Inputs
    hidden_states: Tensor
    lm_head_weight: Tensor
    target_ids: Tensor
    loss_mask: Tensor
    coefficients: Tensor
    sequence_advantages: Tensor
    log_ratio_offsets: Tensor
    """old_logprobs = true log-probs - these: ratios well inside the clip range and well outside, none near its edge."""
    sharpen: float = 1.0
    """What the hidden states were multiplied by to reach `inputs.entropy`."""

    @property
    def device(self) -> torch.device:
        return self.hidden_states.device

    @property
    def advantages(self) -> Tensor:
        """Advantages per token, [N]."""
        return self.sequence_advantages.repeat_interleave(self.shape.tokens // self.shape.sequences)

    @property
    def labels(self) -> Tensor:
        """target_ids, with IGNORE_INDEX in the rows that do not count."""
        return self.target_ids.masked_fill(~self.loss_mask, IGNORE_INDEX)

    @property
    def differentiated(self) -> tuple[Tensor, ...]:
        """The tensors whose gradients are asked for: hidden states, and the head unless it is frozen."""
        return tuple(t for t in (self.hidden_states, self.lm_head_weight) if t.requires_grad)

    def detached(self) -> Problem:
        """The same without gradients, for a forward alone."""
        return replace(self, hidden_states=self.hidden_states.detach(), lm_head_weight=self.lm_head_weight.detach())


def make_problem(
    shape: Shape, device: str | torch.device = "cpu", inputs: Inputs | None = None, seed: int = 0, file=REAL_LM_FILE
) -> Problem:
    """Draw the inputs of ``shape``; seeded, but the stream differs between CPU and CUDA.

    Raises FileNotFoundError, ImportError or ValueError, with the reason, where real states are asked for and cannot be
    had.
    """
    inputs = inputs or Inputs()
    generator = torch.Generator(device).manual_seed(seed)
    options = {"generator": generator, "device": device}
    if inputs.distribution == "real":
        hidden, weight, targets = stretch(read_states(file), shape, generator)
        hidden, weight = hidden.float(), weight.to(DTYPES[shape.dtype])
    else:
        hidden, weight, targets = _synthetic(shape, inputs.distribution, options)
    sharpen = 1.0
    if inputs.entropy is not None:
        sharpen = sharpening(hidden, weight, inputs.entropy)
        hidden = (hidden * sharpen).to(weight.dtype).float()
        targets = sampled_targets(hidden, weight, generator)
    length = shape.tokens // shape.sequences
    prompt = length - max(1, round(inputs.active * length))
    mask = (torch.arange(length, device=device) >= prompt).repeat(shape.sequences)
    choices = torch.tensor([0.0, 0.02, -0.02, 0.5, -0.5], device=device)
    return Problem(
        shape=shape,
        inputs=inputs,
        hidden_states=hidden.to(weight.dtype).requires_grad_(),
        lm_head_weight=weight.requires_grad_(not inputs.frozen_head),
        target_ids=targets,
        loss_mask=mask,
        coefficients=torch.randn(shape.tokens, **options) * mask,
        sequence_advantages=torch.randn(shape.sequences, **options),
        log_ratio_offsets=choices[torch.randint(len(choices), (shape.tokens,), **options)],
        sharpen=sharpen,
    )


def _synthetic(shape: Shape, distribution: str, options: dict) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states (fp32), head and targets: unit-variance logits, the target's raised as the distribution says.

    The mixed one has flat and peaked rows, because purely random logits hide errors where p is near 1, which is where a
    policy under reinforcement learning lives.
    """
    weight = torch.randn(shape.vocab, shape.hidden, **options).mul_(shape.hidden**-0.5).to(DTYPES[shape.dtype])
    hidden = torch.randn(shape.tokens, shape.hidden, **options)
    targets = torch.randint(shape.vocab, (shape.tokens,), **options)
    share = torch.rand(shape.tokens, 1, **options)
    if distribution == "diffuse":
        return hidden, weight, targets
    target_rows = weight[targets].float()
    if distribution == "mixed":
        pull = share * PEAK_NATS
    else:
        # against log(V) + 1/2, what unit-variance logits sum to, and the target's own random logit
        above = PEAKED_NATS[0] + share * (PEAKED_NATS[1] - PEAKED_NATS[0])
        pull = above + math.log(shape.vocab) + 0.5 - (hidden * target_rows).sum(1, keepdim=True)
    return hidden + pull * target_rows / target_rows.square().sum(1, keepdim=True), weight, targets


@torch.no_grad()
def sharpening(hidden: Tensor, weight: Tensor, entropy: float) -> float:
    """The factor on the hidden states at which the mean entropy of evenly spaced rows is ``entropy`` (bisection)."""
    rows = hidden[:: max(1, len(hidden) // ENTROPY_ROWS)][:ENTROPY_ROWS]
    logits = rows @ weight.float().T
    if entropy >= math.log(weight.shape[0]):
        raise ValueError(f"a mean entropy of {entropy} nats is more than log V = {math.log(weight.shape[0]):.2f}")
    low, high = 0.0, 1.0
    while _mean_entropy(logits * high) > entropy:
        low, high = high, high * 2
        if high > 1e6:
            raise ValueError(f"no scale of the hidden states gives a mean entropy of {entropy} nats: logits are tied")
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if _mean_entropy(logits * middle) > entropy else (low, middle)
    return high


def _mean_entropy(logits: Tensor) -> float:
    log_p = logits.log_softmax(1)
    return -(log_p.exp() * log_p).sum(1).mean().item()


@torch.no_grad()
def sampled_targets(hidden: Tensor, weight: Tensor, generator: torch.Generator) -> Tensor:
    """One draw from every row's softmax (the largest of logits plus Gumbel noise), [N]; a block of rows at a time."""
    head, targets = weight.float(), []
    for rows in hidden.split(max(1, SLAB_BYTES // (8 * len(head)))):
        logits = rows @ head.T
        noise = torch.empty_like(logits).exponential_(generator=generator)
        targets.append((logits - noise.log_()).argmax(1))
    return torch.cat(targets)
