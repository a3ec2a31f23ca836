"""Log-probs of whole batches of completions under a policy, without gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from oorl.policy.model import Policy
from oorl.policy.packing import PackedBatch, Tree, idle_batch, pack


@dataclass(frozen=True)
class Budget:
    """How many tokens are laid out at once: completions of one prompt share rows, rows share a forward."""

    row_tokens: int = 1024
    batch_tokens: int = 16384

    def pack(self, trees: Sequence[Tree], num_batches: int = 0) -> list[PackedBatch]:
        """Pack trees, and add idle batches until there are ``num_batches``."""
        batches = pack(trees, row_tokens=self.row_tokens, batch_tokens=self.batch_tokens)
        return batches + [idle_batch()] * (num_batches - len(batches))


@torch.no_grad()
def score_responses(
    policy: Policy, batches: Sequence[PackedBatch], *, temperature: float = 1.0, with_entropy: bool = False
) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """Token log-probs, and entropies when asked, of every completion in ``batches``: index -> [its length] fp32."""
    logprobs: dict[int, Tensor] = {}
    entropies: dict[int, Tensor] = {}
    for batch in batches:
        scored, entropy = policy.score(batch, temperature, with_entropy)
        lengths = batch.cu_seqlens.diff().tolist()
        if batch.indices:
            logprobs |= zip(batch.indices, scored.split(lengths), strict=True)
            if entropy is not None:
                entropies |= zip(batch.indices, entropy.split(lengths), strict=True)
    policy.release()
    return logprobs, entropies
