"""The policy loss's Triton kernels: against their torch twin, under torch.compile, and on a device."""

from __future__ import annotations

import pytest
import torch
from oorl_kernels.policy_loss import SurrogateOptions, policy_loss
from oorl_kernels.policy_loss_ops import policy_sums_triton
from oorl_kernels.policy_loss_torch import policy_sums_torch
from policy_batches import KERNEL_DEVICE, OPTIONS, make_batch, named, pack, run

# A compiled kernel takes its scalars as float32, so clip_eps = 0.2 is 3e-9 off there even in float64.
KERNEL_TOLERANCE = 1e-7 if KERNEL_DEVICE == "cuda" else 1e-12
# A float32 term is a few roundings of numbers near 1; sums here have under 100 terms.
FLOAT32_TOLERANCE = 100 * torch.finfo(torch.float32).eps


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("options", OPTIONS, ids=named)
def test_kernels_equal_their_twin_in_float64(options, packed):
    batch = make_batch(1, rows=5, tokens=13)
    batch = pack(batch) if packed else batch
    scalars = {name: value for name, value in options.items() if name in SurrogateOptions.__dataclass_fields__}
    arguments = [
        None if tensor is None else tensor.to(KERNEL_DEVICE)
        for tensor in (
            batch["old_logprobs"], batch["advantages"], batch["loss_mask"],
            batch["ref_logprobs"] if "kl_coef" in options else None, batch["entropy"], batch.get("cu_seqlens"),
        )
    ]  # fmt: skip
    results = []
    for function in (policy_sums_torch, policy_sums_triton):
        leaves = [batch["token_logprobs"].to(KERNEL_DEVICE).requires_grad_(), arguments[4].clone().requires_grad_()]
        loss, metrics = function(
            leaves[0], *arguments[:4], leaves[1], arguments[5], SurrogateOptions(**scalars), options["ratio_level"],
            options["aggregation"],
        )  # fmt: skip
        results.append((loss.detach(), *metrics, *torch.autograd.grad(loss, leaves)))
    for twin, kernel in zip(*results, strict=True):
        tolerance = KERNEL_TOLERANCE if twin.dtype is torch.float64 else FLOAT32_TOLERANCE  # metrics are float32
        torch.testing.assert_close(kernel, twin, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_kernels_equal_their_twin_through_the_public_function(dtype):
    """Strided inputs, more tokens than a block, and half-precision log-probs whose gradient keeps their dtype."""
    batch = {name: t.to(KERNEL_DEVICE) for name, t in make_batch(2, rows=7, tokens=300, dtype=dtype).items()}
    batch["loss_mask"] = torch.rand(7, 300, device=KERNEL_DEVICE) > 0.3
    strided = {name: t.t().contiguous().t() if t.dim() == 2 else t for name, t in batch.items()}
    options = dict(OPTIONS[6], kl_coef=0.1)
    twin, twin_grads = run(batch, backend="torch", **options)
    kernel, kernel_grads = run(strided, backend="triton", **options)
    torch.testing.assert_close(kernel.loss, twin.loss, rtol=1e-5, atol=1e-6)
    for kernel_grad, twin_grad in zip(kernel_grads, twin_grads, strict=True):
        assert kernel_grad.dtype is dtype
        tolerance = 4 * torch.finfo(dtype).eps  # one rounding to the dtype, and a few in float32 before it
        torch.testing.assert_close(kernel_grad, twin_grad, rtol=tolerance, atol=tolerance * 1e-3)


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_compiles_without_a_graph_break(backend):
    batch = {name: t.to(KERNEL_DEVICE) for name, t in pack(make_batch(3, dtype=torch.float32)).items()}

    def step(**arguments):
        return policy_loss(**arguments, backend=backend)

    torch._dynamo.reset()
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    options = OPTIONS[6]
    (want, want_grads), (got, grads) = run(batch, step, **options), run(batch, compiled, **options)
    torch.testing.assert_close((got.loss, *got.metrics, *grads), (want.loss, *want.metrics, *want_grads))


def test_operators_are_registered_as_torch_asks():
    logprobs = torch.randn(10, device=KERNEL_DEVICE, requires_grad=True)
    other, mask = torch.randn(10, device=KERNEL_DEVICE), torch.ones(10, dtype=torch.uint8, device=KERNEL_DEVICE)
    torch.library.opcheck(
        torch.ops.oorl_kernels.policy_loss_sums.default,
        (
            logprobs, other, other, mask, None, None, None, None, 5, 2, True, True, 0.2, 0.2, None, 0.0, 3, 0.0,
            False, False,
        ),
    )  # fmt: skip


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_the_device_without_synchronisation(dtype):
    batch = {name: t.cuda() for name, t in pack(make_batch(5, rows=64, tokens=2000, dtype=dtype)).items()}
    options = dict(OPTIONS[6], kl_coef=0.1)
    run(batch, backend="triton", **options)  # compiles
    torch.cuda.set_sync_debug_mode("error")
    try:
        kernel, kernel_grads = run(batch, backend="triton", **options)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    twin, twin_grads = run({name: t.double() if t.is_floating_point() else t for name, t in batch.items()}, **options)
    torch.testing.assert_close(kernel.loss.double(), twin.loss, rtol=1e-4, atol=1e-6)
    for kernel_grad, twin_grad in zip(kernel_grads, twin_grads, strict=True):
        tolerance = 4 * torch.finfo(dtype).eps
        torch.testing.assert_close(kernel_grad.double(), twin_grad, rtol=tolerance, atol=tolerance * 1e-3)
