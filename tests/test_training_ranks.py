"""Two ranks over gloo learn what one process learns: losses, gradients, weights of twenty stored steps; and resume."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import replay_worker
import tiny
import torch
from ranks import run_ranks
from transformers import AutoModelForCausalLM

from oorl.config import Config, override
from oorl.training.mesh import World


def replayed(size: int, out: Path, *arguments: str) -> dict:
    """What ``size`` ranks made of the stored steps."""
    run_ranks(size, "replay_worker.py", out.with_suffix(".log"), str(out), *arguments)
    return torch.load(out, weights_only=True)


def alone(tmp_path: Path, model: str, dtype: torch.dtype, *assignments: str) -> dict:
    config = override(Config(), [*replay_worker.BASE, *assignments])
    return replay_worker.replay(config, model, dtype, World(), tmp_path / "alone.ref")


def assert_agree(one: dict, two: dict, gradient_tolerance: float, weight_tolerance: float) -> None:
    for step, (a, b) in enumerate(zip(one["rows"], two["rows"], strict=True)):
        assert set(a) == set(b)
        for name in a:
            assert b[name] == pytest.approx(a[name], rel=1e3 * gradient_tolerance, abs=1e3 * gradient_tolerance), (
                step,
                name,
            )
    first, largest = one["gradients"][0], one["gradients"][0].abs().max()
    assert largest > 0
    torch.testing.assert_close(two["gradients"][0], first, rtol=0, atol=gradient_tolerance * float(largest))
    torch.testing.assert_close(two["weights"], one["weights"], rtol=0, atol=weight_tolerance)


@pytest.mark.slow
@pytest.mark.parametrize(
    "assignments",
    [
        ("objective.advantages=grpo",),
        ("objective.advantages=reinforce++", "training.num_iterations=2"),
    ],
    ids=["grpo", "reinforce++-two-passes"],
)
def test_two_ranks_equal_one_in_float64(assignments: tuple[str, ...], tmp_path: Path) -> None:
    """Nothing but the order of float64 sums differs: 1e-16 a sum, times thousands of sums and forty updates."""
    one = alone(tmp_path, "gpt2", torch.float64, *assignments)
    two = replayed(2, tmp_path / "two.pt", "gpt2", "float64", *assignments)
    assert_agree(one, two, gradient_tolerance=1e-11, weight_tolerance=1e-8)


@pytest.mark.slow
def test_two_ranks_equal_one_for_a_tied_qwen3_in_fp32(tmp_path: Path) -> None:
    """fp32 gradients differ by their rounding; AdamW's eps is raised above it, for it divides noise by its own size."""
    shape = ("objective.advantages=reinforce++_baseline", "optimizer.eps=1e-4")
    one = alone(tmp_path, "qwen3-tied", torch.float32, *shape)
    two = replayed(2, tmp_path / "two.pt", "qwen3-tied", "float32", *shape)
    assert_agree(one, two, gradient_tolerance=3e-6, weight_tolerance=2e-5)


@pytest.mark.slow
def test_one_sharded_rank_is_the_plain_process_bit_for_bit(tmp_path: Path) -> None:
    shape = ("objective.advantages=rloo",)
    one = alone(tmp_path, "qwen3", torch.float32, *shape)
    sharded = replayed(1, tmp_path / "one.pt", "qwen3", "float32", *shape)
    assert torch.equal(one["weights"], sharded["weights"])
    assert one["rows"] == sharded["rows"]


@pytest.mark.slow
def test_two_ranks_resume_bit_for_bit_and_share_a_reward_pool(tmp_path: Path) -> None:
    model = tiny.save_tiny_model(tmp_path / "model")
    problems, groups = tiny.write_tiny_data(tmp_path)
    run_ranks(
        2,
        "train_worker.py",
        tmp_path / "said.log",
        str(tmp_path),
        f"model.path={model}",
        f"data.problems={problems}",
        f"data.groups={groups}",
        "rollout.prompts_per_step=3",
        "rollout.group_size=4",
        "rollout.max_new_tokens=12",
        "training.steps=3",
        "training.save_every=2",
    )
    weights = [
        tiny.weights_of(AutoModelForCausalLM.from_pretrained(tmp_path / name / "model", dtype=torch.float32))
        for name in ("whole", "cut")
    ]
    assert torch.equal(*weights) and not torch.equal(weights[0], tiny.weights_of(tiny.tiny_model()))
    rows = [json.loads(line) for line in (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1, 2]
    (judged,) = [json.loads(line) for line in (tmp_path / "judged" / "metrics.jsonl").read_text().splitlines()]
    assert judged["verdicts/FORMAT"] + judged["verdicts/INFRA"] == 12  # both ranks' samples
