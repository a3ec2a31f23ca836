"""Inputs that several test modules draw: LM heads as data, plain PyTorch for them, and Hypothesis strategies."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from hypothesis import strategies as st
from oorl_kernels import linear_token_logprobs
from torch import Tensor
from torch.nn import functional as F

IGNORED = -100


@dataclass(frozen=True)
class HeadCase:
    """Operands of `linear_token_logprobs` and its options, on one device and in one dtype."""

    hidden_states: Tensor  # [N, H]
    lm_head_weight: Tensor  # [V, H]
    target_ids: Tensor  # [N]
    bias: Tensor | None = None
    temperature: float | Tensor = 1.0
    logit_scale: float = 1.0
    softcap: float | None = None

    @property
    def operands(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.hidden_states, self.lm_head_weight, self.target_ids

    @property
    def options(self) -> dict:
        names = ("bias", "temperature", "logit_scale", "softcap")
        return {name: getattr(self, name) for name in names}

    @property
    def leaves(self) -> list[Tensor]:
        """What carries gradients: hidden states, weight and, if there is one, bias."""
        return [t for t in (self.hidden_states, self.lm_head_weight, self.bias) if t is not None]

    def to(self, dtype: torch.dtype, device: str = "cpu") -> HeadCase:
        """The same case elsewhere: fresh leaves that require gradients."""

        def leaf(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.detach().to(device, dtype).requires_grad_()

        temperature = self.temperature
        if isinstance(temperature, Tensor):
            temperature = temperature.to(device, torch.float64 if dtype is torch.float64 else torch.float32)
        return replace(
            self,
            hidden_states=leaf(self.hidden_states),
            lm_head_weight=leaf(self.lm_head_weight),
            bias=leaf(self.bias),
            target_ids=self.target_ids.to(device),
            temperature=temperature,
        )


def make_head(
    num_rows: int,
    vocab: int,
    hidden: int,
    dtype: torch.dtype = torch.float64,
    *,
    seed: int = 0,
    spread: float = 2.0,
    bias: bool = False,
    row_temperature: bool = False,
    ignored: float = 0.2,
    **options,
) -> HeadCase:
    """Random operands, rounded to `dtype`, with logits of about `spread` nats and a share of ignored rows."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    target_ids = torch.randint(0, vocab, (num_rows,), generator=generator)
    target_ids[torch.rand(num_rows, generator=generator) < ignored] = IGNORED
    if row_temperature:
        options["temperature"] = 0.5 + torch.rand(num_rows, generator=generator)
    case = HeadCase(
        normal(num_rows, hidden), normal(vocab, hidden) * spread / hidden**0.5, target_ids,
        normal(vocab) if bias else None, **options,
    )  # fmt: skip
    return case.to(dtype)


def torch_logprobs(case: HeadCase) -> tuple[Tensor, Tensor, Tensor]:
    """What one would write in PyTorch: (logprobs, entropy, lse), a float32 softmax over logits of the case's dtype."""
    full = torch.float64 if case.hidden_states.dtype is torch.float64 else torch.float32
    z = F.linear(case.hidden_states, case.lm_head_weight, case.bias).to(full) * case.logit_scale
    if case.softcap is not None:
        z = case.softcap * torch.tanh(z / case.softcap)
    z = z / (case.temperature[:, None] if isinstance(case.temperature, Tensor) else case.temperature)
    counts = case.target_ids != IGNORED
    log_p = z.log_softmax(-1)
    logprobs = log_p.gather(1, case.target_ids.clamp(min=0)[:, None])[:, 0]
    entropy = -(log_p.exp() * log_p).sum(-1)
    return tuple(torch.where(counts, values, 0.0) for values in (logprobs, entropy, z.logsumexp(-1)))


def cotangents(num_rows: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Incoming gradients of log-probs and entropies, float64."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(num_rows, generator=generator, dtype=torch.float64) for _ in range(2))


def gradients(outputs: tuple[Tensor, Tensor | None], case: HeadCase, seed: int = 1) -> list[Tensor]:
    """Gradients of the leaves for those cotangents; without an entropy only that of the log-probs."""
    pairs = zip(outputs, cotangents(case.target_ids.numel(), seed), strict=True)
    total = sum((out * cot.to(out.device, out.dtype)).sum() for out, cot in pairs if out is not None)
    return list(torch.autograd.grad(total, case.leaves))


def check_certainty(backend: str, device: str, dtype: torch.dtype, margin: float) -> None:
    """A target `margin` nats above 99 other tokens: its log-prob and gradient to a few roundings of their dtypes."""
    hidden_states = torch.eye(4, dtype=dtype, device=device)[:1].requires_grad_()
    lm_head_weight = torch.zeros(100, 4, dtype=dtype, device=device)
    lm_head_weight[3, 0] = margin
    target_ids = torch.tensor([3], device=device)
    scale = 2.0**10  # a loss scale, or float16 could not hold the gradient
    logprobs = linear_token_logprobs(hidden_states, lm_head_weight, target_ids, backend=backend).logprobs
    (logprobs * scale).sum().backward()
    rest = 99 * math.exp(-margin)
    float32 = torch.finfo(torch.float32)
    assert abs(logprobs.item() + math.log1p(rest)) <= 20 * float32.eps * rest
    want = scale * margin * rest / (1 + rest)
    # dlogits are rounded to the dtype, where float16 is denormal too, then dX
    denormal = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps * margin
    bound = want * (2 * torch.finfo(dtype).eps + 20 * float32.eps) + denormal
    assert abs(hidden_states.grad[0, 0].item() - want) <= bound


head_cases = st.builds(
    make_head,
    num_rows=st.integers(1, 12),
    vocab=st.integers(1, 40),
    hidden=st.integers(1, 9),
    seed=st.integers(0, 2**16),
    spread=st.sampled_from([0.1, 2.0, 12.0]),
    bias=st.booleans(),
    row_temperature=st.booleans(),
    softcap=st.sampled_from([None, 3.0]),
    logit_scale=st.sampled_from([1.0, -0.6]),
)
"""Small heads in float64 with every option."""
