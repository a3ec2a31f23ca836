"""Rows that do not count are left out without asking the device how many they are: what CUDA graphs need."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from oorl_kernels import active_rows, fused, head_backends, linear_policy_loss, linear_token_logprobs
from oorl_kernels.active_rows import device_rows
from oorl_kernels.head_inputs import HeadOptions
from strategies import IGNORED, HeadCase, cotangents, make_head
from tolerances import assert_rounding
from torch.utils._python_dispatch import TorchDispatchMode

SMALL_MB = 0.01  # slabs of a tile or two
FULL = {"bias": True, "row_temperature": True, "logit_scale": 1.3, "softcap": 3.0}
READS = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "unique", "item")


class NoHostReads(TorchDispatchMode):
    """Refuses operators that hand a value to the host or take a size from one."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        assert not any(read in name for read in READS), f"{name} reads a value back"
        if name == "index":
            assert all(index is None or index.dtype is not torch.bool for index in args[1]), "a mask decides a size"
        return func(*args, **(kwargs or {}))


@pytest.fixture
def captured(monkeypatch):
    """As if a CUDA graph were being captured."""
    for module in (active_rows, head_backends, fused):
        monkeypatch.setattr(module, "capturing", lambda device: True)


@pytest.mark.parametrize("keep", ["", "0", "1", "0110100", "1111", "0000"])
def test_rows_that_count_come_first(keep):
    keep = torch.tensor([digit == "1" for digit in keep], dtype=torch.bool)
    with NoHostReads():
        rows = device_rows(keep)
    count = int(rows.count)
    assert rows.index[:count].tolist() == keep.nonzero()[:, 0].tolist()
    assert rows.index[count:].tolist() == (~keep).nonzero()[:, 0].tolist()


def poisoned(case: HeadCase) -> HeadCase:
    """NaN hidden states where ids are ignored."""
    hidden_states = case.hidden_states.detach().masked_fill((case.target_ids == IGNORED)[:, None], torch.nan)
    return replace(case, hidden_states=hidden_states.requires_grad_())


def results_and_gradients(case: HeadCase, backend: str, entropy: str) -> dict[str, torch.Tensor]:
    """With a third of the incoming gradients zero."""
    got = linear_token_logprobs(*case.operands, **case.options, entropy=entropy, backend=backend, workspace_mb=SMALL_MB)
    weights = [c.to(case.hidden_states.dtype) for c in cotangents(case.target_ids.numel())]
    weights[0] = weights[0] * (torch.arange(case.target_ids.numel()) % 3 != 1)
    total = (got.logprobs * weights[0]).sum()
    if entropy == "grad":
        total = total + (got.entropy * weights[0]).sum()
    names = ("dX", "dW", "db")[: len(case.leaves)]
    results = {name: value.detach() for name, value in got._asdict().items() if value is not None}
    return results | dict(zip(names, torch.autograd.grad(total, case.leaves), strict=True))


@pytest.mark.parametrize(
    "backend, dtype, options, entropy, ignored",
    [
        ("triton", torch.float32, {}, "none", 0.4),
        ("triton", torch.float32, FULL, "grad", 0.4),
        ("triton", torch.float16, {"bias": True}, "none", 0.4),
        ("triton", torch.float32, {"bias": True}, "none", 1.0),
        ("torch", torch.float64, FULL, "grad", 0.4),
        ("torch", torch.float32, {"bias": True}, "value", 1.0),
    ],
)
def test_a_capture_changes_nothing(request, backend, dtype, options, entropy, ignored):
    case = poisoned(make_head(35, 97, 33, dtype, ignored=ignored, **options))
    if backend == "torch":  # what an ignored row's logits would be must not matter either
        case = replace(case, bias=(case.bias.detach() + 200.0).requires_grad_())
    want = results_and_gradients(case, backend, entropy)
    request.getfixturevalue("captured")
    got = results_and_gradients(case, backend, entropy)
    for name in ("logprobs", "entropy", "lse"):
        if backend == "triton" and name in want:
            assert torch.equal(got[name], want[name]), name
    for name, exact in want.items():
        assert_rounding(name, got[name], exact, 97)


@pytest.mark.parametrize("backend", ["triton", "torch"])
def test_nothing_is_read_back_during_a_capture(captured, backend):
    case = make_head(20, 40, 8, torch.float32, bias=True)
    operands = (*(t.detach() for t in case.operands), case.bias.detach(), None, HeadOptions(with_entropy=True))
    hidden_states, weight, ids, *rest = operands
    counts, ones = ids != IGNORED, torch.ones(20)
    with NoHostReads():
        ids = ids.clamp(min=0)
        results = head_backends.rows_forward(counts, hidden_states, weight, ids, *rest, backend, True)
        head_backends.rows_backward(
            counts, ones, ones, hidden_states, weight, ids, rest[0], rest[1], results, rest[2], (True,) * 3, backend,
            host_reads=True,
        )  # fmt: skip


def test_an_eager_call_reads_one_count_in_the_triton_backward(monkeypatch):
    """And a compiled one none, in either direction."""
    lists = []
    monkeypatch.setattr(head_backends, "device_rows", lambda keep: lists.append(1) or device_rows(keep))
    case = make_head(20, 40, 8, torch.float32)
    hidden_states, weight, ids = case.operands

    def loss(hidden_states, weight):
        return linear_token_logprobs(hidden_states, weight, ids, backend="triton").logprobs.sum()

    want = torch.autograd.grad(loss(hidden_states, weight), (hidden_states, weight))
    assert len(lists) == 1
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    got = torch.autograd.grad(compiled(hidden_states, weight), (hidden_states, weight))
    assert len(lists) == 3
    for actual, exact in zip(got, want, strict=True):
        assert_rounding("gradient", actual, exact, 40)


def test_the_policy_loss_in_one_sweep_stays_out_of_captures(captured, monkeypatch):
    case = make_head(10, 30, 4, torch.float32)
    monkeypatch.setattr(fused, "_linear_policy_sweep_op", None)
    ones = torch.ones(10)
    assert linear_policy_loss(*case.operands, ones, ones, ones, backend="torch").loss.isfinite()
    assert torch.Tag.cudagraph_unsafe in torch.ops.oorl_kernels.linear_policy_sweep.default.tags


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])  # Triton and chunked torch
def test_a_cuda_graph_follows_its_inputs(dtype):
    """Captured once, replayed for other tokens with another number of ignored ones."""
    first, second = (
        make_head(300, 1000, 64, dtype, seed=s, ignored=i).to(dtype, "cuda") for s, i in ((0, 0.5), (1, 0.2))
    )
    second = replace(second, lm_head_weight=first.lm_head_weight)

    def step(case: HeadCase) -> list[torch.Tensor]:
        logprobs = linear_token_logprobs(*case.operands).logprobs
        return [logprobs.detach(), *torch.autograd.grad(logprobs.sum(), case.leaves)]

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        step(first)  # compiles the kernels
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step(first)
    for case in (first, second):
        with torch.no_grad():
            first.hidden_states.copy_(case.hidden_states)
            first.target_ids.copy_(case.target_ids)
        graph.replay()
        torch.cuda.synchronize()
        for name, actual, exact in zip(("logprobs", "dX", "dW"), captured, step(case), strict=True):
            assert_rounding(name, actual, exact, 300)
