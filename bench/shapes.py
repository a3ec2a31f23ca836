"""Named problem sizes: heads of real models, the shapes peers publish figures for, and their twins for a CPU.

Dimensions: N tokens, H hidden, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


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


def cpu_twin(of: Shape, tokens: int, vocab: int) -> Shape:
    """A smaller problem in float32 with the same H, and so the same share of arithmetic outside the products."""
    source = f"twin of {of.name}: its H, N/{of.tokens / tokens:.3g}, V/{of.vocab / vocab:.3g}"
    return Shape(f"cpu-{of.name}", tokens, of.hidden, vocab, "float32", min(of.sequences, 4), source)


_PUBLISHED = (
    Shape("qwen3-0.6b", 8192, 1024, 151936, "bfloat16", 8, "Qwen3-0.6B head"),
    Shape("qwen3-8b", 16384, 4096, 151936, "bfloat16", 16, "Qwen3-8B head"),
    Shape("llama3-8b", 8192, 4096, 128256, "bfloat16", 8, "Llama-3-8B head"),
    Shape("gemma3-4b", 8192, 2560, 262208, "bfloat16", 8, "Gemma-3-4B head"),
    Shape("trl-7244", 8192, 4096, 151936, "bfloat16", 8, "TRL issue 7244 (Qwen3-8B head)"),
    Shape("liger", 16384, 4096, 131072, "bfloat16", 16, "Liger-Kernel pull request 1370"),
    Shape("quack", 16384, 4096, 128256, "bfloat16", 16, "QuACK's published shape (Llama-3-8B head)"),
    Shape("verl", 2169, 896, 151936, "bfloat16", 1, "verl's kernel test (Qwen2.5-0.5B head)"),
)
_BY_NAME = {shape.name: shape for shape in _PUBLISHED}
_FOR_CPU = (
    Shape("smoke", 96, 64, 1031, "float32", 4, "odd sizes, for the harness's own tests"),
    Shape("cpu", 2048, 1024, 32768, "float32", 4, "the CPU reference problem"),
    Shape("cpu-small", 256, 1024, 32768, "float32", 4, "an eighth of the reference problem's tokens"),
    cpu_twin(_BY_NAME["qwen3-0.6b"], 512, 18992),
    cpu_twin(_BY_NAME["qwen3-8b"], 512, 9496),
    cpu_twin(_BY_NAME["llama3-8b"], 512, 8016),
    cpu_twin(_BY_NAME["gemma3-4b"], 512, 16388),
    cpu_twin(_BY_NAME["trl-7244"], 128, 18992),
    cpu_twin(_BY_NAME["liger"], 512, 8192),
    cpu_twin(_BY_NAME["quack"], 256, 16032),
    cpu_twin(_BY_NAME["verl"], 271, 18992),
)
SHAPES = {shape.name: shape for shape in (*_FOR_CPU, *_PUBLISHED)}
