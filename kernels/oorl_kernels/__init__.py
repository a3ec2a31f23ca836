"""Token log-probs straight from the LM head, and the losses that stand on them (arXiv 2505.12723)."""

from .advantages import group_advantages, reinforce_pp_advantages
from .dpo_loss import DpoLoss, dpo_loss
from .fused import linear_policy_loss
from .gepo_loss import GepoLoss, gepo_loss
from .head_module import LinearTokenLogprobs
from .policy_loss import PolicyLoss, PolicyMetrics, loss_normalizer, policy_loss
from .token_logprobs import TokenLogprobs, linear_token_logprobs

__all__ = [
    "DpoLoss",
    "GepoLoss",
    "LinearTokenLogprobs",
    "PolicyLoss",
    "PolicyMetrics",
    "TokenLogprobs",
    "dpo_loss",
    "gepo_loss",
    "group_advantages",
    "linear_policy_loss",
    "linear_token_logprobs",
    "loss_normalizer",
    "policy_loss",
    "reinforce_pp_advantages",
]
