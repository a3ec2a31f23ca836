"""The truth in float64 that gates every timing: all log-probs, and gradients on sampled rows and columns.

With c_n = dL/dlogp_n known, dL/dlogits_nv = c_n (1[v = target_n] - p_nv), so that
dX_n = c_n (W_target - sum_v p_nv W_v) and dW_v = sum_n c_n (1[v = target_n] - p_nv) x_n.
The head is visited in slabs: nothing of size N x V is held.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bench.inputs import Problem

SLAB_BYTES = 1 << 28  # of float64 head or logits held at a time
SAMPLED_ROWS = 64
SAMPLED_COLUMNS = 64

# The gate asks "is this the same function?", not "how exact is it?" (that is in the row): largest absolute log-prob
# error, and largest relative error of a gradient. bfloat16's bound admits providers that store bfloat16 logits, whose
# rounding is 2^-9 |z| with |z| up to about 30.
GATE = {"float32": (1e-3, 1e-3), "bfloat16": (0.25, 0.05), "float16": (0.05, 0.02)}


@dataclass(frozen=True)
class Truth:
    """Float64 values of one problem: logprobs [N], lse [N], entropy [N], and which rows of dX and dW are compared."""

    logprobs: torch.Tensor
    lse: torch.Tensor
    entropy: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor

    def old_logprobs(self, problem: Problem) -> torch.Tensor:
        """The behaviour policy's log-probs, float32 [N]: the truth moved by the problem's offsets."""
        return (self.logprobs - problem.log_ratio_offsets.double()).float()


@dataclass(frozen=True)
class Errors:
    """Distances from the truth; None where the task makes no such output."""

    logprob_max_abs: float | None = None
    loss_rel: float | None = None
    d_hidden_rel: float | None = None
    d_head_rel: float | None = None

    def verdict(self, dtype: str, gradient_bound: float | None = None) -> str | None:
        """None for the right function, else which output is not its; ``gradient_bound`` replaces the dtype's."""
        bounds = dict.fromkeys(("logprob_max_abs", "loss_rel"), GATE[dtype][0])
        bounds |= dict.fromkeys(("d_hidden_rel", "d_head_rel"), gradient_bound or GATE[dtype][1])
        for name, bound in bounds.items():
            value = getattr(self, name)
            if value is not None and not value <= bound:  # written so that NaN fails
                return f"{name} {value:.2e} is above the gate of {bound:.0e}"
        return None


@torch.no_grad()
def compute_truth(problem: Problem, seed: int = 1) -> Truth:
    """Log-probs and entropies of all rows in float64, and the sample that gradients are compared on."""
    shape, device = problem.shape, problem.device
    lse = torch.full((shape.tokens,), -torch.inf, dtype=torch.float64, device=device)
    mean_logit = torch.zeros_like(lse)  # under the softmax of the columns seen so far
    hidden = problem.hidden_states.double()
    for _, head in _slabs(problem):
        for start in range(0, shape.tokens, _rows_at_once(head)):
            part = slice(start, start + _rows_at_once(head))
            logits = hidden[part] @ head.T
            of_slab = logits.logsumexp(1)
            together = torch.logaddexp(lse[part], of_slab)
            slab_mean = ((logits - of_slab[:, None]).exp_() * logits).sum(1)
            mean_logit[part] = mean_logit[part] * (lse[part] - together).exp() + slab_mean * (of_slab - together).exp()
            lse[part] = together
    target_logits = (hidden * problem.lm_head_weight[problem.target_ids].double()).sum(1)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(shape.tokens, generator=generator)[:SAMPLED_ROWS].to(device)
    # Half of the compared columns are somebody's target: a uniform sample would nearly always miss them.
    hit = problem.target_ids[torch.randperm(shape.tokens, generator=generator)[: SAMPLED_COLUMNS // 2].to(device)]
    drawn = torch.randint(shape.vocab, (SAMPLED_COLUMNS // 2,), generator=generator).to(device)
    return Truth(target_logits - lse, lse, lse - mean_logit, rows, torch.cat([hit, drawn]))


@dataclass(frozen=True)
class Gradients:
    """Exact dX on the sampled rows and dW on the sampled columns (None for a frozen head), in float64."""

    d_hidden: torch.Tensor
    d_head: torch.Tensor | None
    bf16: dict[str, float | None]
    """Errors, as fields of a row, that rounding the exact dL/dlogits to bfloat16 would make: a yardstick for noise."""

    def errors(self, truth: Truth, d_hidden: torch.Tensor, d_head: torch.Tensor | None) -> dict[str, float | None]:
        """Relative Frobenius errors of gradients, as fields of `Errors`."""
        of_head = None if d_head is None else relative_error(d_head[truth.columns], self.d_head)
        return {"d_hidden_rel": relative_error(d_hidden[truth.rows], self.d_hidden), "d_head_rel": of_head}


@torch.no_grad()
def exact_gradients(problem: Problem, truth: Truth, coefficients: torch.Tensor) -> Gradients:
    """dX and dW where they are compared, given c_n [N] in float64."""
    hidden, rows, columns = problem.hidden_states.double(), truth.rows, truth.columns
    d_hidden = torch.zeros(len(rows), problem.shape.hidden, dtype=torch.float64, device=problem.device)
    rounded = torch.zeros_like(d_hidden)
    for start, head in _slabs(problem):
        p = (hidden[rows] @ head.T - truth.lse[rows, None]).exp_()
        d_logits = _d_logits(p, problem.target_ids[rows], start, coefficients[rows])
        d_hidden += d_logits @ head
        rounded += d_logits.bfloat16().double() @ head
    bf16 = {"bf16_d_hidden_rel": relative_error(rounded, d_hidden), "bf16_d_head_rel": None}
    if not problem.lm_head_weight.requires_grad:
        return Gradients(d_hidden, None, bf16)
    p = (hidden @ problem.lm_head_weight[columns].double().T - truth.lse[:, None]).exp_()  # [N, columns]
    hit = (problem.target_ids[:, None] == columns[None, :]).double()
    d_logits = coefficients[:, None] * (hit - p)
    d_head = d_logits.T @ hidden
    bf16["bf16_d_head_rel"] = relative_error(d_logits.bfloat16().double().T @ hidden, d_head)
    return Gradients(d_hidden, d_head, bf16)


def _d_logits(p: torch.Tensor, targets: torch.Tensor, start: int, coefficients: torch.Tensor) -> torch.Tensor:
    """c (1[v = target] - p) for a slab of columns that begins at ``start``."""
    inside = (targets >= start) & (targets < start + p.shape[1])
    d_logits = -p
    d_logits[inside, targets[inside] - start] += 1.0
    return d_logits.mul_(coefficients[:, None])


def policy_truth(problem: Problem, truth: Truth, clip_eps: float) -> tuple[float, torch.Tensor]:
    """The clipped surrogate's mean over the loss mask and its gradient for each log-prob, in float64."""
    logprobs = truth.logprobs.clone().requires_grad_()
    ratio = (logprobs - truth.old_logprobs(problem).double()).exp()
    advantages = problem.advantages.double()
    surrogate = torch.minimum(ratio * advantages, ratio.clamp(1 - clip_eps, 1 + clip_eps) * advantages)
    loss = -surrogate[problem.loss_mask].mean()
    (coefficients,) = torch.autograd.grad(loss, logprobs)
    return float(loss.detach()), coefficients


def cross_entropy_truth(problem: Problem, truth: Truth) -> tuple[float, torch.Tensor]:
    """Mean cross-entropy over the loss mask and its gradient for each log-prob, in float64."""
    mask = problem.loss_mask.double()
    return float(-(truth.logprobs * mask).sum() / mask.sum()), -mask / mask.sum()


def relative_error(got: torch.Tensor, true: torch.Tensor) -> float:
    """||got - true|| / ||true||, in float64."""
    return float((got.double() - true).norm() / true.norm())


def _slabs(problem: Problem):
    """(first column, float64 head slab) over the vocabulary."""
    width = max(1, SLAB_BYTES // (8 * problem.shape.hidden))
    for start in range(0, problem.shape.vocab, width):
        yield start, problem.lm_head_weight.detach()[start : start + width].double()


def _rows_at_once(head: torch.Tensor) -> int:
    return max(1, SLAB_BYTES // (8 * head.shape[0]))
