"""Batches of log-probs, advantages and masks for the tests of the policy loss, and the options they go through."""

from __future__ import annotations

import itertools

import torch
from oorl_kernels.policy_loss import policy_loss

KERNEL_DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # without a GPU the kernels run in the interpreter
LENGTHS = (5, 0, 9, 1)  # one sequence is empty


def make_batch(seed: int = 0, rows: int = 4, tokens: int = 9, dtype: torch.dtype = torch.float64) -> dict:
    """Padded tensors; ratios reach well outside the clip range on both sides."""
    generator = torch.Generator().manual_seed(seed)

    def normal() -> torch.Tensor:
        return torch.randn(rows, tokens, generator=generator, dtype=torch.float64)

    logprobs = -normal().abs() - 0.1
    batch = {
        "token_logprobs": logprobs, "old_logprobs": logprobs + 0.4 * normal(), "advantages": normal(),
        "ref_logprobs": logprobs + 0.5 * normal(), "entropy": normal().abs(),
    }  # fmt: skip
    batch = {name: tensor.to(dtype) for name, tensor in batch.items()}
    lengths = torch.tensor([LENGTHS[i % len(LENGTHS)] for i in range(rows)]).clamp(max=tokens)
    inside = torch.arange(tokens) < lengths[:, None]
    batch["loss_mask"] = inside & (torch.rand(rows, tokens, generator=generator) > 0.2)
    batch["lengths"] = lengths
    return batch


def pack(batch: dict) -> dict:
    """The same tokens packed, without padding."""
    inside = torch.arange(batch["loss_mask"].shape[1]) < batch["lengths"][:, None]
    packed = {name: tensor[inside] for name, tensor in batch.items() if name != "lengths"}
    packed["cu_seqlens"] = torch.cat([torch.zeros(1, dtype=torch.long), batch["lengths"].cumsum(0)])
    return packed


def run(batch: dict, function=policy_loss, **options) -> tuple:
    """Output and the gradients in log-probs and (if used) entropy."""
    arguments = {name: tensor for name, tensor in batch.items() if name != "lengths"}
    if options.get("kl_coef", 0.0) == 0.0:
        arguments.pop("ref_logprobs", None)
    if options.get("entropy_coef", 0.0) == 0.0:
        arguments.pop("entropy", None)
    for name in {"token_logprobs", "entropy"} & arguments.keys():
        arguments[name] = arguments[name].detach().clone().requires_grad_()
    leaves = [arguments[name] for name in ("token_logprobs", "entropy") if name in arguments]
    out = function(**arguments, **options)
    loss = out if isinstance(out, torch.Tensor) else out.loss
    return out, torch.autograd.grad(loss, leaves)


def named(options: dict) -> str:
    return "-".join(str(options.get(name)) for name in ("surrogate", "ratio_level", "aggregation", "kl_estimator"))


OPTIONS = [
    dict(ratio_level=ratio_level, aggregation=aggregation, **extra)
    for ratio_level, (aggregation, extra) in itertools.product(
        ("token", "sequence"),
        (
            ("token_mean", {}),
            ("token_mean", {"kl_coef": 0.3, "kl_estimator": "k1", "dual_clip": 1.3}),
            ("seq_mean_token_mean", {"kl_coef": 0.3, "kl_estimator": "k2", "entropy_coef": 0.1, "clip_eps_high": 0.28}),
            ("seq_mean_token_sum_norm", {"kl_coef": 0.3, "kl_estimator": "k3", "max_tokens": 9, "kl_importance": True}),
            ("token_mean", {"surrogate": "cispo", "clip_eps_low": 0.3, "clip_eps_high": 0.28}),
            ("seq_mean_token_mean", {"surrogate": "cispo", "clip_eps_low": 1.0, "kl_coef": 0.3, "kl_estimator": "k2"}),
        ),
    )
]
