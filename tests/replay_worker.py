"""One rank of a replay: twenty steps on stored rollouts and verdicts, in one process or several.

python replay_worker.py OUT.pt MODEL DTYPE section.field=value ...      (run by test_training_ranks)
"""

from __future__ import annotations

import math
import random
import sys
from pathlib import Path

import tiny
import torch
from transformers import AutoModelForCausalLM, GPT2Config

from oorl.config import Config, override
from oorl.data.order import share
from oorl.policy.model import Policy, shard
from oorl.policy.preference import preference_group
from oorl.policy.prompts import Prompter
from oorl.policy.scoring import Budget
from oorl.training.checkpoint import Progress
from oorl.training.loop import learn
from oorl.training.mesh import World, join_world
from oorl.training.metrics import StepMetrics
from oorl.training.optimizer import build_optimizer
from oorl.training.reference import ScoreJournal, with_reference
from oorl.training.rollout import Rollout, Task
from oorl.training.setup import Run

STEPS, PROMPTS, GROUP = 20, 5, 4  # five prompts: two ranks get unequal shares
BASE = (
    "model.path=unused",
    "data.problems=unused",
    "data.groups=unused",
    f"rollout.prompts_per_step={PROMPTS}",
    f"rollout.group_size={GROUP}",
    "rollout.max_new_tokens=12",
    "objective.w_gepo=0.2",
    "gepo.groups_per_update=3",
    "optimizer.lr=1e-3",
    "training.row_tokens=48",
    "training.micro_batch_tokens=96",
)


def build_model(name: str):
    if name == "gpt2":  # LayerNorm keeps float64, where Qwen3's norms pass through fp32
        config = GPT2Config(
            vocab_size=258, n_embd=32, n_layer=2, n_head=2, n_positions=512, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0
        )
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="sdpa").eval()
    return tiny.tiny_model(tied=name == "qwen3-tied")


def stored_step(step: int) -> tuple[list[Task], list[tuple[int, ...]], torch.Tensor]:
    """A step's global batch, the same for every number of ranks: tasks, completions, rewards (some of them none)."""
    draw = random.Random(step)
    problems = tiny.tiny_problems(PROMPTS)
    tasks = [Task(problem, tuple(draw.randrange(2, 258) for _ in range(draw.randint(2, 20)))) for problem in problems]
    responses = [(*(draw.randrange(2, 258) for _ in range(draw.randint(1, 11))), 1) for _ in range(PROMPTS * GROUP)]
    rewards = [math.nan if draw.random() < 0.1 else float(draw.random() < 0.4) for _ in responses]
    return tasks, responses, torch.tensor(rewards, dtype=torch.float64)


def replay(config: Config, model_name: str, dtype: torch.dtype, world: World, cache: Path) -> dict:
    """Twenty steps; returns metrics, first gradients and last weights, whole, in float64."""
    policy = Policy(build_model(model_name).to(dtype))
    if world.mesh is not None:
        shard(policy, world.mesh)
    prompter = Prompter(tiny.byte_tokenizer())
    records = tiny.tiny_groups(4)
    groups = [preference_group(record, prompter) for record in records]
    budget = Budget(config.training.row_tokens, config.training.micro_batch_tokens)
    with ScoreJournal(cache if world.is_main else None, "key", world) as journal:
        groups = with_reference(policy, groups, {}, journal, budget, world, length_normalize=False)
    optimizer = build_optimizer(policy, config.optimizer)
    run = Run(config, world, policy, None, prompter, optimizer, [], [], groups, STEPS, Progress())
    rows, gradients = [], []
    optimizer.register_step_pre_hook(lambda *_: gradients.append(whole(p.grad for p in policy.parameters())))
    for step in range(STEPS):
        tasks, responses, rewards = stored_step(step)
        first = PROMPTS * world.rank // world.size
        mine = share(range(PROMPTS), world.rank, world.size)
        span = slice(mine[0] * GROUP, (mine[-1] + 1) * GROUP)
        rollout = Rollout(tuple(tasks[index] for index in mine), tuple(responses[span]), GROUP, first)
        metrics = StepMetrics()
        learn(run, rollout, lambda rewards=rewards, span=span: rewards[span], metrics)
        run.progress.step += 1
        rows.append({name: value for name, value in metrics.merged(world).items() if not name.startswith("time/")})
    return {"rows": rows, "gradients": gradients, "weights": whole(policy.parameters())}


def whole(tensors) -> torch.Tensor:
    """Sharded or not, as one vector."""
    return torch.cat(
        [(t.full_tensor() if hasattr(t, "full_tensor") else t).detach().flatten().double() for t in tensors]
    )


def main() -> None:
    torch.set_num_threads(1)
    out, model_name, dtype, *assignments = sys.argv[1:]
    config = override(Config(), [*BASE, *assignments])
    with join_world() as world:
        result = replay(config, model_name, getattr(torch, dtype), world, Path(out + ".ref"))
        if world.is_main:
            torch.save(result, out)


if __name__ == "__main__":
    main()
