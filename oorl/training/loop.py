"""The training loop (arXiv 2505.12723): rollouts, unit tests, and preference over IR groups, in one update.

problems -> generate -> reward pool (runs by itself)
IR groups -> GEPO backward, completions -> old log-probs      while the unit tests run
verdicts -> rewards -> advantages -> policy loss backward
clip -> AdamW -> metrics -> evaluate, checkpoint
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from oorl.config import Config
from oorl.data.order import share, take
from oorl.policy.generation import Sampling, generate
from oorl.policy.model import Policy
from oorl.policy.preference import PreferenceGroup
from oorl.policy.scoring import Budget
from oorl.reward import Job, RewardPool
from oorl.training.checkpoint import export, save_checkpoint
from oorl.training.gepo import backward_gepo_loss
from oorl.training.mesh import join_world
from oorl.training.metrics import MetricsLog, StepMetrics
from oorl.training.objective import backward_policy_loss, make_experience, mini_batches, score_rollout
from oorl.training.optimizer import apply_update, learning_rate
from oorl.training.rollout import (
    Rollout,
    jobs,
    permute_rewards,
    record_rollout,
    record_verdicts,
    rewards_of,
    roll_out,
)
from oorl.training.setup import Run, derived_seed, open_pool, set_up


@dataclass(frozen=True)
class TrainResult:
    """What a finished run left: the exported model, the metrics, and the last step's values."""

    model_dir: Path
    metrics_path: Path
    steps: int
    last: dict[str, float]


def train(config: Config, *, resume: bool = False) -> TrainResult:
    """Run a configuration to its end and export the model.

    Writes ``training.out_dir``: config.toml, metrics.jsonl, checkpoints/, model/. With ``resume`` it continues from
    the latest checkpoint, and ends with the weights of a run that was never interrupted (bit for bit on CPU at an
    equal thread count). On ``KeyboardInterrupt`` the pool is closed and the step abandoned.

    Raises:
        UserError: something a person can mend; what was written before is whole.
    """
    with join_world(timeout_s=max(1800.0, 4 * config.reward.batch_deadline_s)) as world:
        run = set_up(config, world, resume=resume)
        metrics_path = run.out_dir / "metrics.jsonl"
        log = MetricsLog(metrics_path, world, run.progress.step, run.total_steps)
        with closing(log), open_pool(config, world) as pool:
            last = run_steps(run, pool, log)
        export(run.out_dir / "model", run.policy, run.prompter.tokenizer, world)
        return TrainResult(run.out_dir / "model", metrics_path, run.progress.step, last)


def run_steps(run: Run, pool: RewardPool | None, log: MetricsLog) -> dict[str, float]:
    """Take the remaining steps, with metrics after each and checkpoints on the way; returns the last metrics."""
    training, row = run.config.training, {}
    while run.progress.step < run.total_steps:
        step, metrics = run.progress.step, StepMetrics()
        with metrics.timed("step"):
            if run.config.objective.w_rl:
                rollout_step(run, pool, metrics)
            else:
                learn(run, None, None, metrics)
        run.progress.step += 1
        last = run.progress.step == run.total_steps
        if training.evaluate_every and (last or run.progress.step % training.evaluate_every == 0):
            with metrics.timed("evaluate"):
                evaluate(run, pool, metrics)
        row = metrics.merged(run.world)
        weights = {"loss/policy": run.config.objective.w_rl, "loss/gepo": run.config.objective.w_gepo}
        row["loss"] = sum(weight * row.get(name, 0.0) for name, weight in weights.items())
        log.write(step, row)
        if last or (training.save_every and run.progress.step % training.save_every == 0):
            save_checkpoint(run.checkpoints, run.policy, run.optimizer, run.progress, run.config, run.world)
    return row


def rollout_step(run: Run, pool: RewardPool, metrics: StepMetrics) -> None:
    """One step on fresh completions: the pool runs their tests while the trainer computes all that needs no reward."""
    config = run.config
    with metrics.timed("generate"):
        rollout = next_rollout(run)
    pending = pool.submit(jobs(rollout, run.prompter))  # returns at once

    def judge() -> Tensor:
        metrics.mean("rewards_ready_before_wait", pending.answered, len(pending))
        with metrics.timed("reward_wait"):
            results = pool.gather(pending, deadline_s=config.reward.batch_deadline_s)
        record_verdicts(metrics, results)
        metrics.sum("tests/cpu_s", sum(result.cpu_s for result in results))
        return rewards_of(results)

    learn(run, rollout, judge, metrics)


def learn(run: Run, rollout: Rollout | None, judge: Callable[[], Tensor] | None, metrics: StepMetrics) -> None:
    """All updates of one step. ``judge`` gives the rollout's rewards [B] when they are needed, NaN for none.

    Stored rollouts and verdicts replay exactly: pass them with ``judge=lambda: rewards``. No rollout: GEPO alone.
    """
    config, world, seed = run.config, run.world, derived_seed(run.config.training.seed, "updates", run.progress.step)
    torch.manual_seed(derived_seed(seed, "rounding", world.rank))  # what a sparse head backward draws from
    with metrics.timed("gepo"):  # the unit tests are running
        backward_gepo(run, metrics)
    chosen: Sequence[Tensor | None] = [None]
    if rollout is not None:
        budget = Budget(config.training.row_tokens, config.training.micro_batch_tokens)
        with metrics.timed("old_logprobs"):
            old, entropy = score_rollout(run.policy, rollout, budget, config.rollout.temperature, world)
            metrics.mean("entropy", entropy.sum(), len(entropy))
            ref = None
            if run.reference is not None:
                ref, _ = score_rollout(run.reference, rollout, budget, config.rollout.temperature, world)
                metrics.mean("kl", (old - ref).sum(), len(old))
        rewards = judge()
        record_rollout(metrics, rollout, rewards, config.rollout.max_new_tokens, run.eos_token_id)
        if config.training.permute_rewards:
            rewards = permute_rewards(rewards, world, seed)
        experience = make_experience(rollout, rewards, old, ref, config, world)
        chosen = mini_batches(experience, config, seed)
    for number, mask in enumerate(chosen):
        with metrics.timed("update"):
            if number:
                backward_gepo(run, metrics)
            if mask is not None:
                backward_policy_loss(run.policy, experience, mask, config, world, metrics)
            lr = learning_rate(run.progress.updates, run.total_updates, config.optimizer)
            grad_norm = apply_update(run.policy, run.optimizer, lr, config.optimizer.max_grad_norm)
        run.progress.updates += 1
        metrics.max("grad_norm", grad_norm)
        metrics.max("lr", lr)
    record_sparsity(metrics, run.policy)


def record_sparsity(metrics: StepMetrics, policy: Policy) -> None:
    """What the step's sparse head backwards kept, and the power of their noise; nothing where they were exact."""
    for sparsity in policy.sparsities:
        metrics.mean("head/entries_per_row", sparsity.entries, sparsity.sparse_rows)
        metrics.mean("head/noise_to_signal", sparsity.noise, sparsity.signal)
        metrics.sum("head/dense_rows", sparsity.dense_rows)
    policy.sparsities.clear()


def next_rollout(run: Run) -> Rollout:
    """Sample this rank's share of the step's problems and advance the cursor."""
    config, world = run.config, run.world
    number = config.rollout.prompts_per_step
    picked = take(len(run.tasks), derived_seed(config.training.seed, "problems"), run.progress.problem_cursor, number)
    run.progress.problem_cursor += number
    mine = [run.tasks[index] for index in share(picked, world.rank, world.size)]
    seed = derived_seed(config.training.seed, "rollout", run.progress.step, world.rank)
    first = number * world.rank // world.size
    return roll_out(run.policy, mine, config.rollout, run.eos_token_id, first_task=first, seed=seed)


def backward_gepo(run: Run, metrics: StepMetrics) -> None:
    """Add GEPO's gradient over this rank's share of the update's groups, if GEPO is wanted."""
    if not run.config.objective.w_gepo:
        return
    backward_gepo_loss(run.policy, next_groups(run), run.config, run.world, metrics)


def next_groups(run: Run) -> list[PreferenceGroup]:
    number = run.config.gepo.groups_per_update
    picked = take(len(run.groups), derived_seed(run.config.training.seed, "groups"), run.progress.group_cursor, number)
    run.progress.group_cursor += number
    return [run.groups[index] for index in share(picked, run.world.rank, run.world.size)]


def evaluate(run: Run, pool: RewardPool, metrics: StepMetrics) -> None:
    """Greedy pass@1 on the held-out problems, overall and by language pair; samples without a reward are left out."""
    config, world = run.config, run.world
    tasks = share(run.held_out, world.rank, world.size)
    sampling = Sampling(
        config.rollout.max_new_tokens, run.eos_token_id, temperature=0.0, batch_sequences=config.rollout.batch_sequences
    )
    completions = generate(run.policy, [task.prompt for task in tasks], sampling, seed=0)
    submitted = [
        Job(task.problem.task_id, task.problem, run.prompter.decode(group[0]), extract="evaluate")
        for task, group in zip(tasks, completions, strict=True)
    ]
    results = pool.gather(pool.submit(submitted), deadline_s=config.reward.batch_deadline_s)
    for task, result in zip(tasks, results, strict=True):
        if result.reward is not None:
            metrics.mean("eval/pass_at_1", result.reward)
            metrics.mean(f"eval/{task.problem.source_lang}-{task.problem.target_lang}/pass_at_1", result.reward)
