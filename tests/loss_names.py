"""What Liger and TRL call their policy losses, as options of `policy_loss`."""

from __future__ import annotations

MAX_TOKENS = 11
"""Longest completion allowed, where a loss divides by it."""

GRPO = {
    "dapo": dict(aggregation="token_mean"),
    "bnpo": dict(aggregation="token_mean"),  # the local mean, which one process's dapo is too
    "grpo": dict(aggregation="seq_mean_token_mean"),
    "dr_grpo": dict(aggregation="seq_mean_token_sum_norm", max_tokens=MAX_TOKENS),
    "luspo": dict(aggregation="seq_mean_token_sum_norm", max_tokens=1),  # meant for sequence ratios
    "cispo": dict(surrogate="cispo", clip_eps_low=1.0),
}

EPSILON_HIGH = {"cispo": 1.28}
"""Their upper bound for a clip_eps_high of 0.28, where it is not 0.28: for CISPO the cap of the weight itself."""
