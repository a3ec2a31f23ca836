"""The definitions, written naively and differentiable: the oracle every kernel is measured against, in float64.

Loops over samples and tokens, no masking tricks, no reordering of sums; for tests and for reading, not for use.

N tokens, H hidden, V vocabulary, B samples, T tokens of a padded row, K scores, P pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor


def linear_token_logprobs(
    hidden_states: Tensor,
    lm_head_weight: Tensor,
    target_ids: Tensor,
    *,
    bias: Tensor | None = None,
    temperature: float | Tensor = 1.0,
    logit_scale: float = 1.0,
    softcap: float | None = None,
    ignore_index: int = -100,
) -> tuple[Tensor, Tensor, Tensor]:
    """(logprobs, entropy, lse) [N] of hidden states [N, H], a token at a time; ignored tokens are zeros."""
    zero = torch.zeros((), dtype=hidden_states.dtype)
    rows = []
    for n, target in enumerate(target_ids.tolist()):
        if target == ignore_index:
            rows.append((zero, zero, zero))
            continue
        z = (lm_head_weight @ hidden_states[n] + (0.0 if bias is None else bias)) * logit_scale
        if softcap is not None:
            z = softcap * torch.tanh(z / softcap)
        z = z / (temperature[n] if isinstance(temperature, Tensor) else temperature)
        lse = z.max() + (z - z.max()).exp().sum().log()
        log_p = z - lse
        rows.append((log_p[target], -(log_p.exp() * log_p).sum(), lse))
    logprobs, entropy, lse = (torch.stack(column) for column in zip(*rows, strict=True))
    return logprobs, entropy, lse


def group_advantages(rewards: Tensor, group_ids: Tensor, mode: str, valid: Tensor | None = None) -> Tensor:
    """Advantage [B] of every sample over its group: grpo, dr_grpo or rloo."""
    usable = [bool(v) for v in (valid if valid is not None else ~rewards.isnan())]
    advantages = torch.zeros_like(rewards)
    for i in range(len(rewards)):
        members = [j for j in range(len(rewards)) if group_ids[j] == group_ids[i] and usable[j]]
        if not usable[i] or len(members) < 2:
            continue
        mean = sum(rewards[j] for j in members) / len(members)
        if mode == "rloo":
            baseline = sum(rewards[j] for j in members if j != i) / (len(members) - 1)
            advantages[i] = rewards[i] - baseline
        elif mode == "dr_grpo":
            advantages[i] = rewards[i] - mean
        else:
            variance = sum((rewards[j] - mean) ** 2 for j in members) / (len(members) - 1)
            advantages[i] = (rewards[i] - mean) / (variance**0.5 + 1e-6)
    return advantages


def reinforce_pp_advantages(
    rewards: Tensor, kl: Tensor | None, loss_mask: Tensor, kl_coef: float, group_ids: Tensor | None = None
) -> Tensor:
    """Whitened return-to-go [B, T] of every trained token; NaN rewards and groups with one valid sample drop out."""
    returns = {}
    for i in range(len(rewards)):
        peers = [rewards[j] for j in range(len(rewards)) if group_ids is not None and group_ids[j] == group_ids[i]]
        peers = [r for r in peers if not r.isnan()]
        trained = [t for t in range(loss_mask.shape[1]) if loss_mask[i, t]]
        if rewards[i].isnan() or (group_ids is not None and len(peers) < 2):
            continue
        outcome = rewards[i] - (sum(peers) / len(peers) if peers else 0.0)
        token_rewards = {t: -kl_coef * kl[i, t] if kl is not None else 0.0 for t in trained}
        for t in trained:
            returns[i, t] = outcome + sum(token_rewards[u] for u in trained if u >= t)
    advantages = torch.zeros(loss_mask.shape, dtype=rewards.dtype)
    if returns:
        mean = sum(returns.values()) / len(returns)
        variance = sum((g - mean) ** 2 for g in returns.values()) / len(returns)
        for (i, t), g in returns.items():
            advantages[i, t] = (g - mean) / max(variance, torch.tensor(1e-8)) ** 0.5
    return advantages


def policy_loss(
    token_logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    loss_mask: Tensor,
    *,
    surrogate: str = "clip",
    ratio_level: str = "token",
    clip_eps_low: float = 0.2,
    clip_eps_high: float = 0.2,
    dual_clip: float | None = None,
    kl_coef: float = 0.0,
    ref_logprobs: Tensor | None = None,
    kl_estimator: str = "k3",
    kl_importance: bool = False,
    entropy: Tensor | None = None,
    entropy_coef: float = 0.0,
    aggregation: str = "token_mean",
    max_tokens: int | None = None,
) -> Tensor:
    """Clipped surrogate loss over padded [B, T], term by term; its gradient is autograd's."""
    total = torch.zeros((), dtype=token_logprobs.dtype)
    tokens = sequences = 0
    for i in range(loss_mask.shape[0]):
        trained = [t for t in range(loss_mask.shape[1]) if loss_mask[i, t]]
        if not trained:
            continue
        tokens, sequences = tokens + len(trained), sequences + 1
        mean_log_ratio = sum(token_logprobs[i, t] - old_logprobs[i, t] for t in trained) / len(trained)
        for t in trained:
            logp, advantage = token_logprobs[i, t], advantages[i, t]
            ratio = (logp - old_logprobs[i, t]).exp()
            if ratio_level == "sequence":  # the sequence's ratio, its gradient handed to each token (GSPO-token)
                ratio = mean_log_ratio.detach().exp() * (logp - logp.detach()).exp()
            clipped = ratio.clamp(1 - clip_eps_low, 1 + clip_eps_high)
            objective = torch.minimum(ratio * advantage, clipped * advantage)
            if surrogate == "cispo":
                objective = clipped.detach() * advantage * logp
            if dual_clip is not None and advantage < 0:
                objective = torch.maximum(objective, dual_clip * advantage)
            term = -objective
            if ref_logprobs is not None:
                x = ref_logprobs[i, t] - logp
                kl = {"k1": -x, "k2": x**2 / 2, "k3": x.exp() - 1 - x}[kl_estimator]
                weight = (logp - old_logprobs[i, t]).exp() if kl_importance else 1.0
                term = term + kl_coef * weight * kl
            if entropy is not None:
                term = term - entropy_coef * entropy[i, t]
            weight = {
                "token_mean": 1.0,
                "seq_mean_token_mean": 1.0 / len(trained),
                "seq_mean_token_sum_norm": 1.0 / (max_tokens or 1),
            }[aggregation]
            total = total + weight * term
    return total / max(tokens if aggregation == "token_mean" else sequences, 1)


def dpo_loss(
    policy_chosen: Tensor,
    policy_rejected: Tensor,
    ref_chosen: Tensor,
    ref_rejected: Tensor,
    *,
    beta: float = 0.1,
    loss_type: str = "sigmoid",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Mean loss over pairs."""
    total = torch.zeros((), dtype=policy_chosen.dtype)
    for p in range(len(policy_chosen)):
        delta = (policy_chosen[p] - ref_chosen[p]) - (policy_rejected[p] - ref_rejected[p])
        if loss_type == "ipo":
            total = total + (delta - 1 / (2 * beta)) ** 2
            continue
        right, flipped = torch.sigmoid(beta * delta), torch.sigmoid(-beta * delta)
        total = total - (1 - label_smoothing) * right.log() - label_smoothing * flipped.log()
    return total / len(policy_chosen)


def gepo_loss(
    policy_scores: Tensor,
    ref_scores: Tensor,
    is_winner: Tensor,
    group_ids: Tensor,
    *,
    num_groups: int,
    beta: float = 0.1,
    variance_weight: float = 1.0,
) -> tuple[Tensor, list[float], list[float], list[float]]:
    """Mean loss over groups; margin, winner variance and pair accuracy of each group."""
    total = torch.zeros((), dtype=policy_scores.dtype)
    margins, variances, accuracies = [], [], []
    for g in range(num_groups):
        members = [k for k in range(len(group_ids)) if group_ids[k] == g]
        winners = [policy_scores[k] - ref_scores[k] for k in members if is_winner[k]]
        losers = [policy_scores[k] - ref_scores[k] for k in members if not is_winner[k]]
        mean = sum(winners) / len(winners)
        margin = beta * (mean - sum(losers) / len(losers))
        variance = sum((r - mean) ** 2 for r in winners) / len(winners)
        total = total + torch.log1p(torch.exp(-margin)) + variance_weight * variance
        ranked = [1.0 if w > v else 0.5 if w == v else 0.0 for w in winners for v in losers]
        margins.append(margin.item())
        variances.append(variance.item())
        accuracies.append(sum(ranked) / len(ranked))
    return total / num_groups, margins, variances, accuracies
