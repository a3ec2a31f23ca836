"""The examples of docs/integrations.md: what the page shows is what the files hold, and the files do what they say."""

from __future__ import annotations

import math
import re
import runpy
import sys
from pathlib import Path

import pytest
import tiny
import torch

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "docs" / "examples"


def run(name: str) -> dict:
    return runpy.run_path(str(EXAMPLES / name))


def test_the_page_shows_every_example_as_it_is() -> None:
    page = (ROOT / "docs" / "integrations.md").read_text()
    shown = re.findall(r"\[`(\w+\.py)`\]\(examples/\1\).*?```python\n(.*?)```", page, re.DOTALL)
    assert dict(shown) == {path.name: path.read_text() for path in EXAMPLES.glob("*.py")}


def test_policy_loop_learns_to_write_even_tokens() -> None:
    names = run("policy_loop.py")
    rewards = names["mean_rewards"]
    # 192 fair coins have a mean within 0.5 +- 0.15 (4 sigma); a loop with a wrong sign falls, one that is stuck stays.
    assert abs(rewards[0] - 0.5) < 0.15 and rewards[-1] > 0.85
    assert torch.isfinite(names["loss"])


def test_gepo_loop_ranks_every_pair_right() -> None:
    names = run("gepo_loop.py")
    assert names["losses"][0] == pytest.approx(math.log(2), rel=1e-6)  # policy and reference are one at first
    assert names["losses"][-1] < 0.5 * names["losses"][0]
    assert names["result"].pair_accuracy.eq(1).all() and names["result"].margin.gt(0).all()


def test_verl_call_gives_the_gradients_of_plain_torch() -> None:
    names = run("verl_call.py")
    hidden = names["hidden"].detach().double().requires_grad_()
    weight = names["lm_head"].weight.detach().double().requires_grad_()
    log_p = (hidden @ weight.T / 0.7).log_softmax(-1).flatten(0, 1)
    chosen = log_p.gather(-1, names["labels"].reshape(-1, 1))[:, 0]
    entropy = -(log_p.exp() * log_p).sum(-1)
    (-(names["advantages"] * chosen + 0.01 * entropy).mean()).backward()
    torch.testing.assert_close(names["hidden"].grad.double(), hidden.grad, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(names["lm_head"].weight.grad.double(), weight.grad, rtol=1e-5, atol=1e-7)


def test_trl_grpo_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trl", reason="trl is not installed")
    model = tiny.save_tiny_model(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["trl_grpo.py", str(model)])
    trainer = run("trl_grpo.py")["trainer"]
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert len(losses) == 5 and all(map(math.isfinite, losses))
    assert not torch.equal(tiny.weights_of(trainer.model), tiny.weights_of(tiny.tiny_model()))
