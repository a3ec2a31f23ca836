"""Named problem sizes, and the seeded inputs every provider is given.

Dimensions: N tokens, T tokens a sequence, H hidden, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

# Strongest pull of a row towards its target, in nats of logit: the rows' target probabilities then run from 1/V to 1.
PEAK_NATS = 24.0


@dataclass(frozen=True)
class Shape:
    """One benchmark problem: ``tokens`` rows of ``hidden`` features against a head of ``vocab`` rows."""

    name: str
    tokens: int
    hidden: int
    vocab: int
    dtype: str
    sequences: int
    """Number of equally long sequences the tokens are cut into (peers that want [B, T] get them so)."""
    source: str
    """Which model or publication the sizes come from."""

    @property
    def gemm_flops(self) -> int:
        """Operations of one hidden x head product, the unit of time here."""
        return 2 * self.tokens * self.hidden * self.vocab

    @property
    def dims(self) -> str:
        return f"{self.tokens}x{self.hidden}x{self.vocab}"


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("smoke", 96, 64, 1031, "float32", 4, "odd sizes, for the harness's own tests"),
        Shape("cpu", 2048, 1024, 32768, "float32", 4, "the CPU reference problem"),
        Shape("qwen3-0.6b", 8192, 1024, 151936, "bfloat16", 8, "Qwen3-0.6B head"),
        Shape("verl", 2169, 896, 151936, "bfloat16", 1, "verl's kernel test (Qwen2.5-0.5B head)"),
        Shape("trl-7244", 8192, 4096, 151936, "bfloat16", 8, "TRL issue 7244 (Qwen3-8B head)"),
        Shape("qwen3-8b", 16384, 4096, 151936, "bfloat16", 16, "Qwen3-8B head"),
        Shape("liger", 16384, 4096, 131072, "bfloat16", 16, "Liger-Kernel pull request 1370"),
        Shape("quack", 16384, 4096, 128256, "bfloat16", 16, "QuACK's published shape (Llama-3-8B head)"),
    )
}


@dataclass(frozen=True)
class Problem:
    """Inputs of one shape; all providers see the same tensors.

    Shapes: hidden_states [N, H], lm_head_weight [V, H], target_ids [N] int64, coefficients [N] float32 (the gradient
    that arrives at each log-prob), sequence_advantages [B] float32, log_ratio_offsets [N] float32.
    """

    shape: Shape
    hidden_states: torch.Tensor
    lm_head_weight: torch.Tensor
    target_ids: torch.Tensor
    coefficients: torch.Tensor
    sequence_advantages: torch.Tensor
    log_ratio_offsets: torch.Tensor
    """old_logprobs = true log-probs - these: ratios well inside the clip range and well outside, none near its edge."""

    @property
    def device(self) -> torch.device:
        return self.hidden_states.device

    @property
    def advantages(self) -> torch.Tensor:
        """Advantages per token, [N]."""
        return self.sequence_advantages.repeat_interleave(self.shape.tokens // self.shape.sequences)


def make_problem(shape: Shape, device: str | torch.device = "cpu", seed: int = 0) -> Problem:
    """Draw the inputs of ``shape``: unit-variance logits, each row pulled towards its target by 0 to PEAK_NATS nats.

    A mix of flat and peaked rows, because purely random logits (every p near 1/V) hide errors where p is near 1, which
    is where a policy under reinforcement learning lives. Seeded per shape; the stream differs between CPU and CUDA.
    """
    generator = torch.Generator(device).manual_seed(seed)
    dtype = DTYPES[shape.dtype]
    options = {"generator": generator, "device": device}
    weight = torch.randn(shape.vocab, shape.hidden, **options).mul_(shape.hidden**-0.5).to(dtype)
    hidden = torch.randn(shape.tokens, shape.hidden, **options)
    targets = torch.randint(shape.vocab, (shape.tokens,), **options)
    pull = torch.rand(shape.tokens, 1, **options) * PEAK_NATS
    target_rows = weight[targets].float()
    hidden += pull * target_rows / target_rows.square().sum(1, keepdim=True)
    choices = torch.tensor([0.0, 0.02, -0.02, 0.5, -0.5], device=device)
    return Problem(
        shape=shape,
        hidden_states=hidden.to(dtype).requires_grad_(),
        lm_head_weight=weight.requires_grad_(),
        target_ids=targets,
        coefficients=torch.randn(shape.tokens, **options),
        sequence_advantages=torch.randn(shape.sequences, **options),
        log_ratio_offsets=choices[torch.randint(len(choices), (shape.tokens,), **options)],
    )
