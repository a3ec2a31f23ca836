"""Who is measured, and how each one is called: one small class per provider, one method per task.

A task method takes a Call and returns Outputs; a provider without the method does not do the task. Tasks:

- ``logprobs``: the target's log-prob of every token, forward only;
- ``logprobs_grad``: the same, then dX and dW for one coefficient per token;
- ``cross_entropy_grad``: mean cross-entropy, then dX and dW (all that several peers can do);
- ``policy_grad``: clipped surrogate (eps 0.2, token mean), then dX and dW.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from importlib import metadata

import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from bench.shapes import Problem

TASKS = ("logprobs", "logprobs_grad", "cross_entropy_grad", "policy_grad")
CLIP_EPS = 0.2


@dataclass(frozen=True)
class Call:
    """What a provider may read: the problem, the behaviour policy's log-probs [N] fp32, the workspace it is granted."""

    problem: Problem
    old_logprobs: torch.Tensor
    workspace_mb: int = 64


@dataclass(frozen=True)
class Outputs:
    """What a task produced; the harness holds it against the truth and counts its bytes."""

    logprobs: torch.Tensor | None = None
    loss: torch.Tensor | None = None
    d_hidden: torch.Tensor | None = None
    d_head: torch.Tensor | None = None


class Provider:
    """Base of all providers: what package it comes from and whether it runs here."""

    name: str
    package: str

    def version(self) -> str:
        try:
            return metadata.version(self.package)
        except metadata.PackageNotFoundError:
            return "source"

    def absence(self, device: torch.device) -> str | None:
        """Why this provider cannot run on ``device``, or None if it can."""
        return None

    def tasks(self) -> tuple[str, ...]:
        return tuple(task for task in TASKS if hasattr(self, task))


class Oorl(Provider):
    """This package; ``backend`` as in linear_token_logprobs."""

    package = "oorl-kernels"

    def __init__(self, name: str = "oorl", backend: str = "auto"):
        self.name, self.backend = name, backend

    def _logprobs(self, call: Call) -> torch.Tensor:
        from oorl_kernels import linear_token_logprobs

        p = call.problem
        return linear_token_logprobs(
            p.hidden_states, p.lm_head_weight, p.target_ids, backend=self.backend, workspace_mb=call.workspace_mb
        ).logprobs

    def logprobs(self, call: Call) -> Outputs:
        with torch.no_grad():
            return Outputs(logprobs=self._logprobs(call))

    def logprobs_grad(self, call: Call) -> Outputs:
        return _weighted(call, self._logprobs(call))

    def cross_entropy_grad(self, call: Call) -> Outputs:
        return _differentiated(call, -self._logprobs(call).mean())

    def policy_grad(self, call: Call) -> Outputs:
        from oorl_kernels import linear_policy_loss

        p = call.problem
        result = linear_policy_loss(
            p.hidden_states,
            p.lm_head_weight,
            p.target_ids,
            old_logprobs=call.old_logprobs,
            advantages=p.advantages,
            loss_mask=torch.ones_like(p.target_ids, dtype=torch.bool),
            clip_eps_low=CLIP_EPS,
            clip_eps_high=CLIP_EPS,
            backend=self.backend,
            workspace_mb=call.workspace_mb,
        )
        return _differentiated(call, result.loss)


class TorchEager(Provider):
    """The textbook: all logits at once in the input's dtype, log-softmax in float32, autograd."""

    name, package = "torch-eager", "torch"

    def _logprobs(self, call: Call) -> torch.Tensor:
        return _materialized(call.problem.hidden_states, call.problem.lm_head_weight, call.problem.target_ids)

    def logprobs(self, call: Call) -> Outputs:
        with torch.no_grad():
            return Outputs(logprobs=self._logprobs(call))

    def logprobs_grad(self, call: Call) -> Outputs:
        return _weighted(call, self._logprobs(call))

    def cross_entropy_grad(self, call: Call) -> Outputs:
        return _differentiated(call, -self._logprobs(call).mean())

    def policy_grad(self, call: Call) -> Outputs:
        return _differentiated(call, _surrogate(call, self._logprobs(call)))


class TorchChunked(TorchEager):
    """The same in token chunks that fit the workspace, each recomputed in the backward by activation checkpointing."""

    name = "torch-chunked"

    def _logprobs(self, call: Call) -> torch.Tensor:
        p = call.problem
        rows = max(1, (call.workspace_mb << 20) // (p.shape.vocab * 4))
        parts = [
            checkpoint(_materialized, hidden, p.lm_head_weight, targets, use_reentrant=False)
            for hidden, targets in zip(p.hidden_states.split(rows), p.target_ids.split(rows), strict=True)
        ]
        return torch.cat(parts)


class TorchLinearCrossEntropy(Provider):
    """``F.linear_cross_entropy``, chunked with its default options (torch 2.13 and newer)."""

    name, package = "torch-linear-ce", "torch"

    def absence(self, device: torch.device) -> str | None:
        if not hasattr(F, "linear_cross_entropy"):
            return f"torch {torch.__version__} has no F.linear_cross_entropy"
        return None

    def _loss(self, call: Call, reduction: str) -> torch.Tensor:
        p = call.problem
        options = torch.nn.LinearCrossEntropyOptions()
        return F.linear_cross_entropy(
            p.hidden_states, p.lm_head_weight, p.target_ids, reduction=reduction, options=options
        )

    def logprobs(self, call: Call) -> Outputs:
        with torch.no_grad():
            return Outputs(logprobs=-self._loss(call, "none"))

    def logprobs_grad(self, call: Call) -> Outputs:
        return _weighted(call, -self._loss(call, "none"))

    def cross_entropy_grad(self, call: Call) -> Outputs:
        return _differentiated(call, self._loss(call, "mean"))


class LigerCrossEntropy(Provider):
    """Liger-Kernel's fused linear cross-entropy with its default options."""

    name, package = "liger-flce", "liger-kernel"

    def absence(self, device: torch.device) -> str | None:
        return _missing("liger_kernel", self.package) or (
            "its Triton kernels need a GPU" if device.type == "cpu" else None
        )

    def _loss(self, call: Call, reduction: str) -> torch.Tensor:
        from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

        p = call.problem
        return LigerFusedLinearCrossEntropyLoss(reduction=reduction)(p.lm_head_weight, p.hidden_states, p.target_ids)

    def logprobs_grad(self, call: Call) -> Outputs:
        return _weighted(call, -self._loss(call, "none"))

    def cross_entropy_grad(self, call: Call) -> Outputs:
        return _differentiated(call, self._loss(call, "mean"))


class LigerGrpo(Provider):
    """Liger-Kernel's chunked GRPO loss without a reference model; compiled only where a GPU makes that worth while."""

    name, package = "liger-grpo", "liger-kernel"

    def absence(self, device: torch.device) -> str | None:
        return _missing("liger_kernel", self.package)

    def policy_grad(self, call: Call) -> Outputs:
        from liger_kernel.chunked_loss import LigerFusedLinearGRPOLoss

        p, sequences = call.problem, call.problem.shape.sequences
        loss_fn = LigerFusedLinearGRPOLoss(
            beta=0.0,
            compiled=p.device.type == "cuda",
            use_ref_model=False,
            epsilon_low=CLIP_EPS,
            epsilon_high=CLIP_EPS,
            loss_type="dapo",  # token mean
        )
        loss, _ = loss_fn(
            p.hidden_states.view(sequences, -1, p.shape.hidden),
            p.lm_head_weight,
            p.target_ids.view(sequences, -1),
            torch.ones(sequences, p.shape.tokens // sequences, device=p.device),
            p.sequence_advantages,
            old_per_token_logps=call.old_logprobs.view(sequences, -1),
        )
        return _differentiated(call, loss)


class Quack(Provider):
    """QuACK's chunked linear cross-entropy (Hopper and newer)."""

    name, package = "quack", "quack-kernels"

    def absence(self, device: torch.device) -> str | None:
        return _missing("quack", self.package) or ("it needs a GPU" if device.type == "cpu" else None)

    def cross_entropy_grad(self, call: Call) -> Outputs:
        from quack.linear_cross_entropy import chunked_linear_cross_entropy

        p = call.problem
        loss = chunked_linear_cross_entropy(p.hidden_states, p.lm_head_weight, p.target_ids, reduction="mean")
        return _differentiated(call, loss)


def all_providers(device_type: str) -> list[Provider]:
    """Every provider, present or not; the harness writes a row for the absent ones too."""
    ours = [Oorl(), Oorl("oorl-torch", backend="torch")] if device_type == "cuda" else [Oorl()]  # one path on the CPU
    return [
        *ours,
        TorchEager(),
        TorchChunked(),
        TorchLinearCrossEntropy(),
        LigerCrossEntropy(),
        LigerGrpo(),
        Quack(),
    ]


def _missing(module: str, package: str) -> str | None:
    return None if importlib.util.find_spec(module) else f"{package} is not installed"


def _materialized(hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    logits = (hidden @ weight.T).float()
    return logits.log_softmax(-1).gather(-1, targets[:, None]).squeeze(-1)


def _surrogate(call: Call, logprobs: torch.Tensor) -> torch.Tensor:
    ratio = (logprobs - call.old_logprobs).exp()
    advantages = call.problem.advantages
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - CLIP_EPS, 1 + CLIP_EPS) * advantages).mean()


def _weighted(call: Call, logprobs: torch.Tensor) -> Outputs:
    p = call.problem
    grads = torch.autograd.grad(logprobs, (p.hidden_states, p.lm_head_weight), p.coefficients.to(logprobs.dtype))
    return Outputs(logprobs=logprobs.detach(), d_hidden=grads[0], d_head=grads[1])


def _differentiated(call: Call, loss: torch.Tensor) -> Outputs:
    p = call.problem
    grads = torch.autograd.grad(loss, (p.hidden_states, p.lm_head_weight))
    return Outputs(loss=loss.detach(), d_hidden=grads[0], d_head=grads[1])
