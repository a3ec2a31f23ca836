"""The off-policy half: group equivalent preference optimization in two passes (arXiv 2505.12723, eq. 6-9).

The loss of a group needs the scores of all its members, but its gradient is a weighted sum of theirs:

    dL/dtheta = sum_k (dL/ds_k) ds_k/dtheta

So the members are scored without gradient, the loss is differentiated with respect to the scores alone, and each
member is run once more with its coefficient. Exact, and the memory is one batch's, whatever the size of the group.
DPO over the pairs of a group (``gepo.loss``) is a loss of the same scores and goes the same way.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from oorl_kernels import GepoLoss, dpo_loss, gepo_loss
from torch import Tensor

from oorl.config import Config
from oorl.policy.model import Policy
from oorl.policy.packing import PackedBatch
from oorl.policy.preference import PreferenceGroup, member_trees, score_members
from oorl.policy.scoring import Budget
from oorl.training.mesh import World
from oorl.training.metrics import StepMetrics


def group_loss(scores: Tensor, groups: Sequence[PreferenceGroup], config: Config, normalizer: float) -> GepoLoss:
    """Loss of scored groups against their reference scores; ``scores`` [K] as ``score_members`` orders them.

    The figures per group do not depend on ``gepo.loss``: the mean margin of a group's pairs is the group's own.
    """
    sizes = torch.tensor([len(group.members) for group in groups])
    is_winner = torch.cat([torch.arange(len(group.members)) < group.num_winners for group in groups])
    reference = torch.tensor([score for group in groups for score in group.ref_scores], dtype=scores.dtype)
    gepo = gepo_loss(
        scores,
        reference,
        is_winner,
        torch.arange(len(groups)).repeat_interleave(sizes),
        num_groups=len(groups),
        beta=config.gepo.beta,
        variance_weight=config.gepo.variance_weight,
        normalizer=normalizer,
    )
    if config.gepo.loss == "gepo":
        return gepo
    parts = zip(scores.split(sizes.tolist()), reference.split(sizes.tolist()), groups, strict=True)
    losses = [_pair_loss(part, ref, group.num_winners, config.gepo.beta, normalizer) for part, ref, group in parts]
    return gepo._replace(loss=torch.stack(losses).sum())


def _pair_loss(scores: Tensor, reference: Tensor, num_winners: int, beta: float, normalizer: float) -> Tensor:
    """DPO of one group, mean over its n m winner-loser pairs and divided by ``normalizer``; scores [n + m]."""
    winner, loser = torch.cartesian_prod(torch.arange(num_winners), torch.arange(num_winners, len(scores))).T
    pairs = scores[winner], scores[loser], reference[winner], reference[loser]
    return dpo_loss(*pairs, beta=beta, normalizer=len(winner) * normalizer).loss


def backward_gepo_loss(
    policy: Policy, groups: Sequence[PreferenceGroup], config: Config, world: World, metrics: StepMetrics
) -> None:
    """Add the gradient of w_gepo L_gepo over this rank's ``groups`` to the parameters', in two passes.

    L_gepo is the loss that ``gepo.loss`` names.
    """
    budget = Budget(config.training.row_tokens, config.training.micro_batch_tokens)
    normalize = config.gepo.length_normalize
    normalizer = max(world.sum([len(groups)])[0], 1.0)
    batches = pack_groups(groups, budget, world)
    scores = score_members(policy, batches, length_normalize=normalize).requires_grad_()
    if groups:
        result = group_loss(scores, groups, config, normalizer)
        result.loss.backward()
        metrics.sum("loss/gepo", result.loss.detach() / config.updates_per_step)
        metrics.mean("gepo/margin", result.margin.sum(), len(groups))
        metrics.mean("gepo/winner_variance", result.winner_variance.sum(), len(groups))
        metrics.mean("gepo/pair_accuracy", result.pair_accuracy.sum(), len(groups))
    weight = config.objective.w_gepo * world.size
    for batch in batches:
        logprobs, _ = policy.score(batch)
        if not batch.indices:
            (logprobs.sum() * 0.0).backward()
            continue
        coefficients = scores.grad[list(batch.indices)].to(logprobs) * weight
        if normalize:
            coefficients = coefficients / batch.cu_seqlens.diff().to(logprobs)
        (batch.sum_per_sequence(logprobs) * coefficients).sum().backward()


def pack_groups(groups: Sequence[PreferenceGroup], budget: Budget, world: World) -> list[PackedBatch]:
    """Batches of all members of this rank's groups, as many as the rank with the most has."""
    trees = member_trees(groups)
    return budget.pack(trees, num_batches=world.max(len(budget.pack(trees))))
