"""What is timed: a quantity (what is computed from the head) in a phase (forward, backward, or both)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Task:
    """``quantity`` names the provider's method; ``phase`` is the part of its computation inside the clock."""

    name: str
    quantity: Literal["logprobs", "cross_entropy", "policy_loss"]
    phase: Literal["forward", "backward", "both"]
    title: str


TASKS = {
    task.name: task
    for task in (
        Task("logprobs", "logprobs", "forward", "log-probs, forward"),
        Task("logprobs_backward", "logprobs", "backward", "log-probs, backward alone"),
        Task("logprobs_grad", "logprobs", "both", "log-probs, forward + backward"),
        Task("policy", "policy_loss", "forward", "clipped policy loss, forward"),
        Task("policy_backward", "policy_loss", "backward", "clipped policy loss, backward alone"),
        Task("policy_grad", "policy_loss", "both", "clipped policy loss, forward + backward"),
        Task("cross_entropy", "cross_entropy", "forward", "mean cross-entropy, forward"),
        Task("cross_entropy_backward", "cross_entropy", "backward", "mean cross-entropy, backward alone"),
        Task("cross_entropy_grad", "cross_entropy", "both", "mean cross-entropy, forward + backward"),
    )
}
