"""Log-prob, entropy and log-sum-exp of target tokens from hidden states and the LM head, without the logits.

    z = softcap(logit_scale * (x W^T + b)) / temperature,  softcap(u) = c tanh(u / c)
    logp = z_target - logsumexp(z)      entropy = logsumexp(z) - sum_v p_v z_v      (arXiv 2505.12723, in eq. 5-9)

Here are the two operators that autograd and torch.compile see, and the public function. Ignored rows never reach a
product; neither do, in the backward, rows whose incoming gradient is zero (clipped tokens, zero advantages). On an
accelerator finding those rows reads one count back to the host, once forward and once backward.

Memory: O(N) results, `workspace_mb` of logits at a time, a copy of the rows that count if others are left out.
Dimensions: N tokens, H hidden, V vocabulary.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from . import chunked
from .dispatch import choose_backend
from .head_inputs import HeadOptions, RowResults, head_inputs, take
from .head_rows import check_finite, check_ids, place, selected
from .head_tiles import compute_dtype
from .sparse import DEFAULT_TAU, Sparsity, sparse_token_logprobs

ENTROPY_MODES = ("none", "value", "grad")
BACKWARD_MODES = ("exact", "sparse")


class TokenLogprobs(NamedTuple):
    """Per-token results of `linear_token_logprobs`, each of target_ids' shape, float32 (float64 for float64 inputs)."""

    logprobs: Tensor  # carries the gradient; 0 at ignored positions
    entropy: Tensor | None  # None for entropy="none"; carries a gradient for entropy="grad"
    lse: Tensor  # log-sum-exp of z; carries no gradient


class SparseTokenLogprobs(NamedTuple):
    """`TokenLogprobs` with backward="sparse", and what that backward will do."""

    logprobs: Tensor
    entropy: Tensor | None
    lse: Tensor
    sparsity: Sparsity


def _implementation(backend: str):
    """The module whose `forward` and `backward` work on rows that all count."""
    if backend == "triton":
        from . import token_logprobs_triton

        return token_logprobs_triton
    return chunked


@torch.library.custom_op("oorl_kernels::token_logprobs", mutates_args=())
def _token_logprobs_op(
    hidden_states: Tensor,
    lm_head_weight: Tensor,
    target_ids: Tensor,
    bias: Tensor | None,
    inv_temperature: Tensor | None,
    temperature: float,
    logit_scale: float,
    softcap: float | None,
    ignore_index: int,
    with_entropy: bool,
    entropy_grad: bool,
    check_values: bool,
    backend: str,
    workspace_bytes: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(logprobs, entropy, row_max, log_sum), each [N]; entropy is empty without `with_entropy`."""
    options = HeadOptions(temperature, logit_scale, softcap, with_entropy, workspace_bytes)
    num_rows, vocab = target_ids.numel(), lm_head_weight.shape[0]
    counts = target_ids != ignore_index
    check_values = check_values or hidden_states.device.type == "cpu"
    if check_values:
        check_ids(target_ids, counts, vocab)
    rows = selected(counts)
    x, ids, inverse = take(hidden_states, rows), take(target_ids, rows), take(inv_temperature, rows)
    with torch.autocast(hidden_states.device.type, enabled=False):
        results = _implementation(backend).forward(x, lm_head_weight, ids.clamp(0, vocab - 1), bias, inverse, options)
    if check_values:
        check_finite(results, x, rows)
    logprobs = results.logprobs.masked_fill((ids < 0) | (ids >= vocab), float("nan"))
    entropy = logprobs.new_empty(0) if results.entropy is None else place(results.entropy, rows, num_rows)
    return place(logprobs, rows, num_rows), entropy, *(place(part, rows, num_rows) for part in results[2:])


@_token_logprobs_op.register_fake
def _(hidden_states, lm_head_weight, target_ids, bias, inv_temperature, temperature, logit_scale, softcap,
      ignore_index, with_entropy, entropy_grad, check_values, backend, workspace_bytes):  # fmt: skip
    result = torch.empty_like(target_ids, dtype=compute_dtype(hidden_states.dtype), device=hidden_states.device)
    entropy = torch.empty_like(result) if with_entropy else result.new_empty(0)
    return result, entropy, torch.empty_like(result), torch.empty_like(result)


@torch.library.custom_op("oorl_kernels::token_logprobs_backward", mutates_args=())
def _token_logprobs_backward_op(
    d_logprobs: Tensor,
    d_entropy: Tensor | None,
    hidden_states: Tensor,
    lm_head_weight: Tensor,
    target_ids: Tensor,
    bias: Tensor | None,
    inv_temperature: Tensor | None,
    logprobs: Tensor,
    entropy: Tensor,
    row_max: Tensor,
    log_sum: Tensor,
    temperature: float,
    logit_scale: float,
    softcap: float | None,
    ignore_index: int,
    backend: str,
    workspace_bytes: int,
    need_hidden: bool,
    need_weight: bool,
    need_bias: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of (hidden_states, lm_head_weight, bias); those not needed are empty."""
    options = HeadOptions(temperature, logit_scale, softcap, d_entropy is not None, workspace_bytes)
    keep = d_logprobs != 0
    if d_entropy is not None:
        keep = keep | (d_entropy != 0)
    rows = selected(keep & (target_ids != ignore_index))
    results = RowResults(logprobs, None if d_entropy is None else entropy, row_max, log_sum)
    with torch.autocast(hidden_states.device.type, enabled=False):
        d_hidden, d_weight, d_bias = _implementation(backend).backward(
            take(d_logprobs, rows),
            take(d_entropy, rows),
            take(hidden_states, rows),
            lm_head_weight,
            take(target_ids, rows).clamp(0, lm_head_weight.shape[0] - 1),
            bias,
            take(inv_temperature, rows),
            results.take(rows),
            options,
            (need_hidden, need_weight, need_bias),
        )
    unused = logprobs.new_empty(0)
    return (
        place(d_hidden, rows, target_ids.numel()) if need_hidden else unused,
        d_weight if need_weight else unused.clone(),
        d_bias if need_bias else unused.clone(),
    )


@_token_logprobs_backward_op.register_fake
def _(d_logprobs, d_entropy, hidden_states, lm_head_weight, target_ids, bias, inv_temperature,
      logprobs, entropy, row_max, log_sum, temperature, logit_scale, softcap, ignore_index, backend, workspace_bytes,
      need_hidden, need_weight, need_bias):  # fmt: skip
    def gradient(of: Tensor, needed: bool) -> Tensor:
        return of.new_empty(of.shape) if needed else logprobs.new_empty(0)

    return gradient(hidden_states, need_hidden), gradient(lm_head_weight, need_weight), gradient(bias, need_bias)


def _setup_context(ctx, inputs, output) -> None:
    hidden_states, lm_head_weight, target_ids, bias, inv_temperature, *scalars = inputs
    ctx.save_for_backward(hidden_states, lm_head_weight, target_ids, bias, inv_temperature, *output)
    ctx.temperature, ctx.logit_scale, ctx.softcap, ctx.ignore_index, _, ctx.entropy_grad, _ = scalars[:7]
    ctx.backend, ctx.workspace_bytes = scalars[7:]


def _autograd_backward(ctx, d_logprobs, d_entropy, *_constants):
    hidden_states, lm_head_weight, target_ids, bias, inv_temperature, *results = ctx.saved_tensors
    need = (ctx.needs_input_grad[0], ctx.needs_input_grad[1], bias is not None and ctx.needs_input_grad[3])
    d_hidden, d_weight, d_bias = _token_logprobs_backward_op(
        d_logprobs,
        d_entropy if ctx.entropy_grad else None,
        hidden_states,
        lm_head_weight,
        target_ids,
        bias,
        inv_temperature,
        *results,
        ctx.temperature,
        ctx.logit_scale,
        ctx.softcap,
        ctx.ignore_index,
        ctx.backend,
        ctx.workspace_bytes,
        *need,
    )
    return d_hidden if need[0] else None, d_weight if need[1] else None, None, d_bias if need[2] else None, *[None] * 10


_token_logprobs_op.register_autograd(_autograd_backward, setup_context=_setup_context)


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
    entropy: Literal["none", "value", "grad"] = "none",
    backward: Literal["exact", "sparse"] = "exact",
    sparse_tau: float = DEFAULT_TAU,
    sparse_seed: int | Tensor | None = None,
    backend: str = "auto",
    workspace_mb: int = 256,
    check_values: bool = False,
) -> TokenLogprobs | SparseTokenLogprobs:
    """Log-probability of each target token, from hidden states and the LM head; the logits are never stored.

    z = softcap(logit_scale * (hidden_states @ lm_head_weight.T + bias)) / temperature, softcap(u) = c tanh(u / c);
    logp = z[target] - logsumexp(z)   (the log pi of arXiv 2505.12723, eq. 5 to 9);  entropy = -sum_v p_v log p_v.

    Args:
        hidden_states: [..., H], float32, bfloat16, float16 or float64; any strides.
        lm_head_weight: [V, H], the same dtype; any strides; may be tied to the embedding. No DTensor: read it inside a
            module method that FSDP unshards.
        target_ids: [...], int32 or int64, in 0..V-1 or `ignore_index`.
        bias: [V], the same dtype.
        temperature: a positive number, or a tensor of target_ids' shape (or 0-d) that carries no gradient.
        logit_scale: multiplies the logits before the softcap.
        softcap: positive bound of the logits before the temperature; None: no bound.
        ignore_index: positions with this id give 0, carry no gradient and cost no product: prompt, padding, masks.
        entropy: "none"; "value": returned without gradient; "grad": returned with its gradient.
        backward: "exact"; or "sparse": unbiased, from the few softmax entries that stochastic rounding keeps, at about
            the cost of the forward alone where distributions are peaked, as a trained policy's are
            (docs/sparse-backward.md). Needs the full vocabulary on this rank. First order only, as "exact" is.
        sparse_tau: entries with p >= sparse_tau are kept exactly, others with probability p / sparse_tau at the value
            sparse_tau: smaller is more accurate and slower. A row that would keep over 512 entries is done exactly.
        sparse_seed: an int or a 0-d integer tensor that decides the rounding; None: drawn from torch's CPU generator.
        backend: "auto", "triton" (NVIDIA, compute capability 8.0 or newer, or Triton's interpreter) or "torch".
        workspace_mb: bound on the logits, or their gradients, that exist at a time.
        check_values: also on an accelerator, where it costs a synchronisation, raise for ids and values out of range.

    Returns:
        TokenLogprobs(logprobs, entropy, lse) of target_ids' shape, float32 (float64 for float64 inputs). `logprobs`
        carries the gradient to hidden_states, lm_head_weight and bias, each computed only if it requires one; `entropy`
        does with "grad"; `lse`, the log-sum-exp of z, never does. Second derivatives are not defined. With
        backward="sparse" SparseTokenLogprobs, whose fourth field `sparsity` counts entries and estimates the noise.

    Raises:
        ValueError: shapes, devices or options that do not fit; on the CPU (or with check_values) non-finite logits.
        TypeError: dtypes that do not fit, or a DTensor.
        IndexError: on the CPU (or with check_values) an id outside 0..V-1. Elsewhere its row is NaN.

    Numerics: logits, sums and dW are float32 for half inputs; p - 1 is formed before anything is rounded. Under
    autocast the tensors are cast to its dtype, as a linear layer's would be, and the results stay float32. With the
    Triton backend a row's forward result does not depend, bitwise, on the other rows. Time: 2 N V H operations forward
    and 6 backward, N counting the rows that are not ignored (and, backward, have a non-zero gradient).
    Memory: O(N), workspace_mb, and dX and dW themselves; for half inputs dX is summed in float32 first.

    >>> hidden, head = torch.zeros(2, 3), torch.zeros(4, 3)
    >>> linear_token_logprobs(hidden, head, torch.tensor([1, -100])).logprobs
    tensor([-1.3863,  0.0000])
    """
    head = head_inputs(hidden_states, lm_head_weight, target_ids, bias, temperature, logit_scale, softcap, workspace_mb)
    if entropy not in ENTROPY_MODES:
        raise ValueError(f"entropy is {entropy!r}; it must be one of {', '.join(ENTROPY_MODES)}")
    if backward not in BACKWARD_MODES:
        raise ValueError(f"backward is {backward!r}; it must be one of {', '.join(BACKWARD_MODES)}")
    chosen = choose_backend(backend, head.hidden_states.device, head.hidden_states.dtype)
    if backward == "sparse":
        logprobs, entropies, lse, sparsity = sparse_token_logprobs(
            head, ignore_index, entropy, check_values, chosen, sparse_tau, sparse_seed
        )
    else:
        logprobs, entropies, row_max, log_sum = _token_logprobs_op(
            head.hidden_states,
            head.lm_head_weight,
            head.target_ids,
            head.bias,
            head.inv_temperature,
            head.temperature,
            head.logit_scale,
            head.softcap,
            ignore_index,
            entropy != "none",
            entropy == "grad",
            check_values,
            chosen,
            head.workspace_bytes,
        )
        lse = (row_max + log_sum).detach()
    shape = target_ids.shape
    if entropy == "value":
        entropies = entropies.detach()
    entropies = None if entropy == "none" else entropies.view(shape)
    results = logprobs.view(shape), entropies, lse.view(shape)
    return SparseTokenLogprobs(*results, sparsity) if backward == "sparse" else TokenLogprobs(*results)
