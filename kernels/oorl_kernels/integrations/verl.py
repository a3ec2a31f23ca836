"""verl: its `linear_cross_entropy`, same arguments and results, computed by `linear_token_logprobs`.

The call shape is that of verl/utils/kernel/linear_cross_entropy.py (verl main of 2026); where verl imports it,
`from oorl_kernels.integrations.verl import linear_cross_entropy` takes its place. verl itself is not imported.
Dimensions: N tokens, H hidden, V vocabulary.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

from ..token_logprobs import linear_token_logprobs

REDUCTIONS = ("none", "sum", "mean")


class _Share(torch.autograd.Function):
    """The same tensor; of a gradient that every one of `ranks` has whole, each passes on its part of the sum."""

    @staticmethod
    def forward(ctx, tensor: Tensor, ranks: int) -> Tensor:
        ctx.ranks = ranks
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return gradient / ctx.ranks, None


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    labels: Tensor,
    temperature: float | Tensor | None = 1.0,
    reduction: str | None = "none",
    dist_process_group: dist.ProcessGroup | None = None,
) -> tuple[Tensor, Tensor]:
    """Log-probs of the labels and the entropies of their distributions; despite its name, no cross-entropy.

    z = hidden @ weight.T / temperature;  logp = z[label] - logsumexp(z);  entropy = logsumexp(z) - sum_v p_v z_v.

    Args:
        hidden: [..., H] with N rows in all, float32, bfloat16, float16 or float64; unlike in verl, H is not bound to
            multiples of 128 and no tensor needs to be contiguous.
        weight: [V, H]; with a group, this rank's equal share of the vocabulary's rows, in the order of ranks.
        labels: N ids of any shape, int32 or int64, in 0..V-1 (of the whole vocabulary). Unlike in verl, -100 is
            ignored: log-prob and entropy 0, no gradient, no work.
        temperature: a positive number or 0-d tensor; None: 1.
        reduction: of the log-probs: "none", "sum" or "mean" (over all N, ignored ones included); None: "none".
        dist_process_group: the tensor-parallel group that shares the vocabulary; every rank passes the same hidden
            states and labels. As in verl, the ranks' gradients of `hidden` are still to be summed over the group, which
            the backward of Megatron's sequence-parallel gather does.

    Returns:
        (logprobs, entropy), float32 (float64 for float64 inputs), both with a gradient to hidden and weight. Entropy
        and unreduced log-probs are flat [N], as verl's are; reduced log-probs are 0-d.

    Raises:
        ValueError, TypeError, IndexError: as `linear_token_logprobs`; ValueError for an unknown reduction.

    >>> logprobs, entropy = linear_cross_entropy(torch.zeros(1, 2, 3), torch.zeros(4, 3), torch.tensor([[0, 1]]))
    >>> logprobs, entropy
    (tensor([-1.3863, -1.3863]), tensor([1.3863, 1.3863]))
    """
    reduction = "none" if reduction is None else reduction.lower()
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction is {reduction!r}; it must be one of {', '.join(REDUCTIONS)}")
    hidden, parallel = hidden.reshape(-1, hidden.shape[-1]), {}
    if dist_process_group is not None:
        first = dist.get_rank(dist_process_group) * weight.shape[0]
        hidden = _Share.apply(hidden, dist.get_world_size(dist_process_group))
        parallel = {"tp_group": dist_process_group, "vocab_start": first}
    logprobs, entropy, _ = linear_token_logprobs(
        hidden,
        weight,
        labels.reshape(-1),
        temperature=1.0 if temperature is None else temperature,
        entropy="grad",
        **parallel,
    )
    if reduction != "none":
        logprobs = logprobs.sum() / (labels.numel() if reduction == "mean" else 1)
    return logprobs, entropy
